"""Fitting: what each method changes, what it learns, seeds, starts, and refused inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from csrkit import joint
from csrkit.errors import ConfigError, ShapeError
from csrkit.joint import loop
from csrkit.joint.captions import bag_of_words
from csrkit.joint.expansion import ExpansionControl
from csrkit.joint.start import Affine, cca, pca

from .conftest import WORDS, Scenes, fitted, quick


def hit_rate(scores: np.ndarray, pairs: np.ndarray) -> float:
    return float((scores.argmax(axis=1) == pairs[:, 1]).mean())


def sparse_scores(model: joint.JointModel, data: Scenes) -> np.ndarray:
    return model.encode_text(data.text).dot(model.encode_image(data.image))


def test_it_learns_to_find_images_of_captions(model: joint.JointModel, unseen: Scenes) -> None:
    chance = 1 / len(unseen.image)
    assert hit_rate(sparse_scores(model, unseen), unseen.pairs) > 25 * chance
    assert hit_rate(model.hybrid_scores(unseen.text, unseen.image), unseen.pairs) > 25 * chance


def word_share(model: joint.JointModel, data: Scenes) -> float:
    """Share of the words of captions among the six heaviest latents of their images."""
    code = model.encode_image(data.image).to_dense()
    best = np.argsort(-code, axis=1)[:, :6]
    pairs = zip(data.captions, data.pairs[:, 1], strict=True)
    return float(np.mean([np.isin(words, best[image]).mean() for words, image in pairs]))


def test_expansion_control_keeps_latents_to_their_words(data: Scenes, unseen: Scenes) -> None:
    settings: dict[str, Any] = {"epochs": 12, "head_rate": 1e-2, "embeddings_rate": 1e-4}
    settings |= {"head_start": "random"}  # else they are at their words from the start
    controlled = fitted(data, expansion="batch", **settings)
    assert word_share(controlled, unseen) > 0.7  # chance is 6 of 30
    assert word_share(fitted(data, **settings), unseen) < 0.4


def test_one_seed_one_model(data: Scenes) -> None:
    first = fitted(data, epochs=1)
    assert fitted(data, epochs=1).fingerprint == first.fingerprint
    assert fitted(data, epochs=1, seed=1).fingerprint != first.fingerprint


@pytest.mark.parametrize("method", ["full", "no_distillation", "frozen", "dense_to_sparse"])
def test_methods_change_the_dense_side_or_leave_it(data: Scenes, method: str) -> None:
    starts = cca(data.text[data.pairs[:, 0]], data.image[data.pairs[:, 1]], 12)
    model = fitted(data, method=method, epochs=1)
    moved = np.abs(model.text_weight - starts[0].weight).max()
    assert (moved > 1e-3) == (method in ("full", "no_distillation"))
    assert np.abs(model.embeddings - data.embeddings).max() > 1e-3
    if method == "dense_to_sparse":
        assert model.temperature == pytest.approx(0.07)


def test_a_penalty_thins_the_codes(data: Scenes) -> None:
    def active(eta: float, **settings: Any) -> int:
        settings |= {"epochs": 6, "head_start": "random", "text_penalty": eta, "image_penalty": eta}
        return fitted(data, **settings).encode_text(data.text).nnz

    dense = active(0.0)
    assert active(0.3) < 0.8 * dense
    assert active(0.3, regularizer="flops") < dense


def test_the_best_epoch_is_kept(data: Scenes) -> None:
    model = fitted(data, epochs=4, holdout=30)
    provenance = model.spec.provenance
    assert provenance.hit_rate is not None
    assert provenance.pairs == 540  # 30 of 300 images with two captions each
    assert provenance.steps % (540 // 64) == 0
    assert provenance.fit["dim"] == 12


def test_random_words_and_default_names(data: Scenes) -> None:
    config = quick(n_latents=20, width=8, epochs=1)
    model = joint.fit(data.text, data.image, data.pairs, config=config, progress=False)
    assert (model.n_latents, model.spec.width, model.tokens[3]) == (20, 8, "latent 3")
    logits = np.expm1(model.encode_text(data.text).values)
    assert 0.2 < logits.std() < 2  # started at a standard deviation of 1


def test_a_vocabulary_keeps_the_ids(data: Scenes) -> None:
    ids = joint.frequent_tokens(data.captions, 10, leave_out=[0])
    model = joint.fit(
        data.text,
        data.image,
        data.pairs,
        embeddings=data.embeddings,
        tokens=[f"w{i}" for i in range(WORDS)],
        vocabulary=ids,
        config=quick(epochs=1, embeddings_rate=0.0),
        progress=False,
    )
    assert model.token_ids.tolist() == ids.tolist()
    assert model.tokens == tuple(f"w{i}" for i in ids)
    np.testing.assert_array_equal(model.embeddings, data.embeddings[ids].astype(np.float32))


@pytest.mark.parametrize("adapter", ["residual", "identity"])
def test_sides_of_one_space_need_no_projection(data: Scenes, adapter: str) -> None:
    config = joint.JointConfig(adapter=adapter, epochs=1, batch_size=64)
    model = joint.fit(data.text, data.image, data.pairs, config=config, progress=False)
    changed = not np.array_equal(model.text_weight, np.eye(16, dtype=np.float32))
    assert changed == (adapter == "residual")
    assert model.dim == 16


def test_a_given_projection_is_the_start(data: Scenes) -> None:
    rng = np.random.default_rng(3)
    text = rng.normal(size=(5, 16)), rng.normal(size=5)
    image = torch.randn(5, 16)
    model = joint.fit(
        data.text,
        data.image,
        data.pairs,
        text_projection=text,
        image_projection=image,
        config=joint.JointConfig(method="frozen", epochs=1),
        progress=False,
    )
    np.testing.assert_allclose(model.text_weight, text[0].astype("f4"), rtol=1e-6)
    np.testing.assert_allclose(model.text_bias, text[1].astype("f4"), rtol=1e-6)
    np.testing.assert_array_equal(model.image_weight, image.numpy())
    assert not model.image_bias.any()


# -- starts ----------------------------------------------------------------------------------


def test_cca_agrees_with_the_definition() -> None:
    """Its directions are those whose projections correlate most: the scipy-free textbook way."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(4000, 2))
    text = np.hstack([shared * [3, 1], rng.normal(size=(4000, 3))]) @ rng.normal(size=(5, 5))
    image = np.hstack([shared, rng.normal(size=(4000, 2))]) @ rng.normal(size=(4, 4)) + 5
    maps = cca(text.astype("f4"), image.astype("f4"), 3)
    projected = [x @ one.weight.T + one.bias for x, one in zip((text, image), maps, strict=True)]
    found = [np.corrcoef(projected[0][:, i], projected[1][:, i])[0, 1] for i in range(3)]
    assert found[0] > 0.97
    assert found[1] > 0.9
    assert abs(found[2]) < 0.15
    assert np.abs(projected[1].mean(axis=0)).max() < 1e-3


def test_pca_keeps_cosines() -> None:
    rng = np.random.default_rng(0)
    text, image = rng.normal(size=(2, 50, 6)).astype("f4")
    one, other = pca(text, image, 6)
    assert one is other
    np.testing.assert_allclose(
        (text @ one.weight.T) @ (image @ one.weight.T).T, text @ image.T, atol=1e-4
    )
    with pytest.raises(ConfigError, match="texts of 6, images of 4"):
        pca(text, image[:, :4], 3)


def test_equal_rows_have_no_direction() -> None:
    with pytest.raises(ShapeError, match="expected rows that differ"):
        cca(np.ones((9, 4), "f4"), np.ones((9, 4), "f4"), 2)
    assert isinstance(Affine(np.eye(2), np.zeros(2)), tuple)


# -- expansion control ------------------------------------------------------------------------


def test_words_of_captions_without_special_tokens() -> None:
    bags = bag_of_words([[101, 7, 7, 9, 102], [3], []], np.array([9, 7, 101]), special=[101, 102])
    assert bags.to_dense().tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_expansion_rises_from_never_to_always() -> None:
    bags = bag_of_words([[0], [1], [2]], np.arange(4))
    rows = torch.tensor([2, 0])
    for kind in ("batch", "sample"):
        config = joint.JointConfig(expansion=kind)  # type: ignore[arg-type]
        control = ExpansionControl(config, bags, 200, torch.Generator().manual_seed(0))
        first = control.mask(rows, 0)
        assert first is not None
        assert first.tolist() == [[False, False, True, False], [True, False, False, False]]
        assert control.mask(rows, 190) is None
        assert control.probability(95) == pytest.approx(0.5)
        drawn = [control.mask(rows, 95) for _ in range(400)]
        free = [2 if mask is None else int(mask.all(dim=1).sum()) for mask in drawn]
        assert sum(free) / 800 == pytest.approx(0.5, abs=0.08)
        assert (1 in free) == (kind == "sample")


# -- refusals ----------------------------------------------------------------------------------

X, Y = np.random.default_rng(0).normal(size=(2, 20, 6))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (((X, Y[:5]), {}), ShapeError, "one text per image, got 20 texts and 5 images"),
        (((X, Y, [[0, 20]] * 2), {}), ShapeError, r"got image 20 in pair 0; the image side has 20"),
        (((X, Y, [[0.5, 1]]), {}), ShapeError, r"whole numbers, the rows of text and image"),
        (((X, Y, [[0, 1], [2, 1]]), {}), ShapeError, "got 2 pairs of 2 texts and 1 images"),
        (((X, Y * 0), {}), ShapeError, r"adapter='residual', which has no bias, got image row 0"),
        (((X, Y), {"embeddings": np.zeros((9, 2))}), ShapeError, "embeddings that differ, got 9"),
        (
            ((X, Y), {"captions": [[]] * 20, "config": joint.JointConfig(expansion="sample")}),
            ConfigError,
            "captions with words among the 4096 latents .* got none in 20 captions",
        ),
        (((X[0], Y), {}), ShapeError, r"expected text as numbers of shape \(n, dim\)"),
        (((X, Y * np.inf), {}), ShapeError, "expected finite image, got row 0 with NaN or Inf"),
        (((X, Y), {"embeddings": X, "tokens": ["a"]}), ShapeError, "got 1 tokens and 20 rows"),
        (((X, Y), {"tokens": "abc"}), ShapeError, "list of strings, got 'abc'"),
        (((X, Y), {"embeddings": X, "vocabulary": [1, 1]}), ShapeError, "each once"),
        (((X, Y), {"captions": [[1]]}), ShapeError, "got 1 for 20 texts"),
        (((X, Y), {"captions": [["a"]] * 20}), ShapeError, "lists of token ids"),
        (((X, Y), {"text_projection": np.eye(6)}), ConfigError, "got text_projection alone"),
        (
            ((X, Y), {"text_projection": np.ones((6, 3)), "image_projection": np.eye(6)}),
            ShapeError,
            r"weight of shape \(dim, 6\), got \(6, 3\): transpose it",
        ),
        (
            ((X, Y), {"text_projection": np.eye(6)[:2], "image_projection": np.eye(6)}),
            ConfigError,
            "text_projection of dim 2, an image_projection of dim 6",
        ),
        (((X, Y), {"config": {"epochs": 1}}), ConfigError, r"JointConfig\(...\), got dict"),
        (
            ((X, Y), {"config": joint.JointConfig(expansion="batch")}),
            ConfigError,
            r"expected captions=.*JointConfig\(expansion='batch'\)",
        ),
        (
            ((X, Y[:, :4]), {"config": joint.JointConfig(adapter="residual")}),
            ConfigError,
            "texts of 6, images of 4",
        ),
        (
            ((X, Y[:, :4]), {"config": joint.JointConfig(dim=5)}),
            ConfigError,
            "expected dim of at most 4",
        ),
        (((X, Y), {"config": joint.JointConfig(device="moon")}), ConfigError, "device='moon'"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    call: tuple[tuple[Any, ...], dict[str, Any]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        joint.fit(*call[0], **call[1], progress=False)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_a_tower_does_not_matter(data: Scenes, scale: float) -> None:
    models = [
        joint.fit(
            data.text * factor,
            data.image,
            data.pairs,
            config=quick(epochs=1, n_latents=20, width=8),
            progress=False,
        )
        for factor in (np.float32(1), np.float32(scale))
    ]
    dense = [
        model.dense_text(data.text * factor)
        for model, factor in zip(models, (np.float32(1), np.float32(scale)), strict=True)
    ]
    assert (dense[0] * dense[1]).sum(axis=1).min() > 0.999


def test_settings_are_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        joint.JointConfig(text_penalty=float("inf"))


def test_a_divergence_says_what_to_lower(data: Scenes) -> None:
    with pytest.raises(ConfigError, match=r"diverged by step \d+: lower JointConfig\(head_rate="):
        fitted(data, head_rate=1e30, embeddings_rate=1e30)


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Interrupt training at a step, or ruin a weight there."""
    done, whole = [0], loop._step

    def patched(model: Any, optimizer: Any, loss: Any) -> None:
        done[0] += 1
        if done[0] == step and how == "interrupt":
            raise KeyboardInterrupt
        whole(model, optimizer, loss)
        if done[0] == step:
            with torch.no_grad():
                model.head.bias[0] = torch.nan

    monkeypatch.setattr(loop, "_step", patched)


@pytest.mark.parametrize(
    ("how", "message"), [("interrupt", "was interrupted: returning"), ("ruin", "diverged by step")]
)
def test_what_was_learned_before_is_kept(
    data: Scenes, monkeypatch: pytest.MonkeyPatch, how: str, message: str
) -> None:
    stop_at(12, monkeypatch, how)
    with pytest.warns(UserWarning, match=rf"{message}.* the weights of step 9"):
        model = fitted(data, epochs=3)  # 9 steps each
    assert model.spec.provenance.steps == 9
    if how == "interrupt":
        stop_at(2, monkeypatch, how)
        with pytest.raises(KeyboardInterrupt):
            fitted(data, epochs=3)


def test_importing_joint_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import csrkit.joint, sys; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
