"""`measure` against rankings counted by hand, and the caption share against its words."""

from __future__ import annotations

import numpy as np
import pytest

from csrkit import SparseVectors, joint
from csrkit.errors import ConfigError, ShapeError
from csrkit.joint.measures import caption_share

from .conftest import Scenes


def by_hand(scores: np.ndarray, partners: list[set[int]]) -> list[list[float]]:
    """Hit rates at 1, 5, 10 and MRR@10 of each query."""
    rows = []
    for row, wanted in zip(scores, partners, strict=True):
        order = sorted(range(len(row)), key=lambda j: (-row[j], j))
        rank = min(order.index(j) for j in wanted)
        rows.append([float(rank < n) for n in (1, 5, 10)] + [1 / (rank + 1) if rank < 10 else 0.0])
    return rows


@pytest.mark.parametrize("side", ["sparse", "dense", "hybrid"])
def test_both_directions_are_counted_by_hand(
    model: joint.JointModel, unseen: Scenes, side: str
) -> None:
    picked = unseen.pairs[20:90]  # not every image, and not from row 0
    found = joint.measure(model, unseen.text, unseen.image, picked)
    texts, images = picked[:, 0], np.unique(picked[:, 1])
    z = model.encode_text(unseen.text), model.encode_image(unseen.image)
    h = model.dense_text(unseen.text), model.dense_image(unseen.image)
    scores = {
        "sparse": z[0].to_dense() @ z[1].to_dense().T,
        "dense": h[0] @ h[1].T,
        "hybrid": model.hybrid_scores(unseen.text, unseen.image),
    }[side][np.ix_(texts, images)]
    ways = getattr(found, side)
    expected = by_hand(scores, [{int(image - images[0])} for image in picked[:, 1]])
    np.testing.assert_allclose(np.stack(ways.text_to_image, axis=1), expected)
    partners = [set(np.flatnonzero(picked[:, 1] == image).tolist()) for image in images]
    np.testing.assert_allclose(np.stack(ways.image_to_text, axis=1), by_hand(scores.T, partners))
    assert ways.text_to_image.means()[0] == pytest.approx(np.mean(expected, axis=0)[0])


def test_cost_and_active_latents_follow_k(model: joint.JointModel, unseen: Scenes) -> None:
    whole = joint.measure(model, unseen.text, unseen.image, unseen.pairs)
    cut = joint.measure(model, unseen.text, unseen.image, unseen.pairs, k_text=3, k_image=5)
    assert (cut.text_active, cut.image_active) == (3, 5)
    assert cut.text_cost < whole.text_cost
    codes = [model.encode_text(unseen.text, k=3), model.encode_image(unseen.image, k=5)]
    shares = [(code.to_dense() > 0).mean(axis=0) for code in codes]
    assert cut.text_cost == pytest.approx(shares[0] @ shares[1])
    assert cut.dense.text_to_image.means() == whole.dense.text_to_image.means()


def test_the_caption_share_counts_words_among_the_heaviest() -> None:
    words = SparseVectors.from_dense([[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    images = SparseVectors.from_dense([[0.9, 0.1, 0.5, 0], [0, 0.3, 0.2, 0.1]])
    pairs = np.array([[0, 0], [1, 1], [2, 1]])
    # caption 0: word 0 of words 0 and 1; caption 1: none of word 3; caption 2 has no word
    assert caption_share(words, images, pairs, n=2) == pytest.approx((0.5 + 0) / 2)
    assert caption_share(words, images, pairs, n=3) == pytest.approx((1 + 1) / 2)
    with pytest.raises(ShapeError, match="expected captions with words"):
        caption_share(words, images, pairs[2:])


def test_the_report_reads(model: joint.JointModel, unseen: Scenes) -> None:
    found = joint.measure(model, unseen.text, unseen.image, unseen.pairs, captions=unseen.captions)
    text = str(found)
    assert f"{100 * found.sparse.text_to_image.hit_1.mean():5.1f}" in text
    assert f"{found.caption_share:.0%} of a caption's words" in text


def test_too_few_pairs_are_refused(model: joint.JointModel, unseen: Scenes) -> None:
    with pytest.raises(ConfigError, match="at least 10 texts and as many images in the pairs, got"):
        joint.measure(model, unseen.text, unseen.image, unseen.pairs[:12])
    with pytest.raises(ShapeError, match="expected one caption per text, got 1 for 200 texts"):
        joint.measure(model, unseen.text, unseen.image, unseen.pairs, captions=[[1]])
