"""Where the head starts: the rotation that brings rows to the words of their captions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from csrkit import joint
from csrkit.errors import ConfigError
from csrkit.joint.captions import bag_of_words
from csrkit.joint.start import towards_words, whitened
from csrkit.vectors import SparseVectors

from .conftest import WORDS, Scenes, fitted, quick

STILL = {"epochs": 1, "head_rate": 1e-12, "embeddings_rate": 0.0, "adapter_rate": 1e-12}


def word_share(model: joint.JointModel, data: Scenes) -> float:
    """Share of the words of captions among the six heaviest latents of their images."""
    bags = bag_of_words(data.captions, model.token_ids)
    return joint.caption_share(bags, model.encode_image(data.image), data.pairs, 6)


def described(seed: int, n: int, words: int) -> tuple[np.ndarray, SparseVectors]:
    rng = np.random.default_rng(seed)
    captions = [rng.choice(words, 3, replace=False).tolist() for _ in range(n)]
    return rng.normal(size=(n, 5)).astype(np.float32), bag_of_words(captions, np.arange(words))


def test_it_is_the_procrustes_rotation_onto_whitened_words() -> None:
    dense, bags = described(0, 200, 40)
    # rows of unit covariance and mean zero: whitening them changes no more than their scale
    embeddings = np.linalg.qr(np.random.default_rng(1).normal(size=(40, 6)))[0][:, 1:]
    embeddings = np.linalg.qr(embeddings - embeddings.mean(axis=0))[0].astype(np.float32)
    start = towards_words(dense, bags, embeddings)
    targets = bags.to_dense() @ embeddings
    expected, _ = scipy.linalg.orthogonal_procrustes(dense - dense.mean(axis=0), targets)
    np.testing.assert_allclose(start.weight, expected.T, atol=1e-5)
    np.testing.assert_allclose(start.bias, -start.weight @ dense.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("width", [3, 5, 9])
def test_it_keeps_angles_as_far_as_there_is_room(width: int) -> None:
    dense, bags = described(2, 100, 30)
    embeddings = np.random.default_rng(3).normal(size=(30, width)).astype(np.float32)
    weight = towards_words(dense, bags, embeddings).weight
    small = weight.T @ weight if width >= 5 else weight @ weight.T
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-5)


def test_codes_can_be_read_before_anything_is_learned(data: Scenes, unseen: Scenes) -> None:
    started = fitted(data, head_start="captions", **STILL)
    assert word_share(started, unseen) > 0.7
    assert word_share(fitted(data, head_start="random", **STILL), unseen) < 0.4  # 6 of 30 by chance


def test_training_keeps_them_readable(data: Scenes, unseen: Scenes) -> None:
    settings = {"epochs": 8, "head_rate": 3e-3}
    read, drawn = (fitted(data, head_start=start, **settings) for start in ("captions", "random"))
    assert word_share(read, unseen) > 0.7
    assert word_share(drawn, unseen) < 0.4
    found = [
        joint.measure(model, unseen.text, unseen.image, unseen.pairs) for model in (read, drawn)
    ]
    rates = [one.sparse.text_to_image.hit_1.mean() for one in found]
    assert rates[0] > rates[1] - 0.02


def test_random_words_become_those_of_the_captions(data: Scenes, unseen: Scenes) -> None:
    model = joint.fit(
        data.text,
        data.image,
        data.pairs,
        tokens=[f"word {i}" for i in range(WORDS)],
        captions=data.captions,
        config=quick(epochs=1, width=32),
        progress=False,
    )
    assert word_share(model, unseen) > 0.7


def test_captions_are_taken_where_they_are_given(data: Scenes) -> None:
    assert fitted(data, epochs=1).spec.provenance.fit["head_start"] == "captions"
    rows = data.text, data.image, data.pairs
    model = joint.fit(*rows, config=quick(epochs=1, n_latents=8, width=8), progress=False)
    assert model.spec.provenance.fit["head_start"] == "random"
    # captions that nothing is to be done with need not have words
    config, captions = quick(epochs=1, head_start="random"), [[-1]] * len(data.text)
    joint.fit(*rows, captions=captions, config=config, progress=False)


def test_a_start_from_captions_asks_for_them(data: Scenes) -> None:
    rows = data.text, data.image, data.pairs
    config = quick(head_start="captions")
    with pytest.raises(ConfigError, match=r"expected captions=.*\(head_start='captions'\)"):
        joint.fit(*rows, config=config, progress=False)
    with pytest.raises(ConfigError, match=r"among the 4096 latents for .* got none in 600"):
        joint.fit(*rows, captions=[[-1]] * 600, config=config, progress=False)


def test_whitened_words_point_all_ways_alike(data: Scenes, unseen: Scenes) -> None:
    rng = np.random.default_rng(4)
    skewed = (rng.normal(size=(400, 6)) * [9, 3, 1, 1, 1, 1] + 5).astype(np.float32)
    rows = whitened(skewed)
    spread = np.linalg.eigvalsh(np.cov(rows.T))
    assert spread.max() < 4 * spread.min()  # 81 times before; the ridge leaves some
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-4)
    lengths = [np.linalg.norm(part, axis=1).mean() for part in (rows, skewed)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-5)
    # a start that whitens does so before anything is learned, and can be read as well
    model = fitted(data, whiten=True, **STILL)
    expected = whitened(data.embeddings.astype(np.float32))
    np.testing.assert_allclose(model.embeddings, expected, atol=1e-6)
    assert word_share(model, unseen) > 0.7
