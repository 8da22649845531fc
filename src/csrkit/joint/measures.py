"""`measure`: how well each side of a joint model finds, in both directions, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from csrkit.errors import ConfigError, ShapeError
from csrkit.joint.captions import bag_of_words, token_lists
from csrkit.joint.inputs import as_matrix, as_pairs, as_rows_of_both
from csrkit.metrics import hit_rate_at, mrr_at, posting_cost
from csrkit.model.rows import check_width

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from csrkit.joint.model import JointModel
    from csrkit.vectors import SparseVectors

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

__all__ = ["Found", "Quality", "Ways", "caption_share", "measure"]

DEPTH = 10
TOP_WORDS = 20  # heaviest latents in which the words of a caption are looked for
_QUERIES = 512  # scored at a time
_ENTRIES = 1 << 24  # of dense document codes held at a time, 64 MB


class Found(NamedTuple):
    """How well queries of one modality found their partners, one value per query.

    Attributes:
        hit_1: float64 (q,), 1 where the first hit is a partner, else 0.
        hit_5: Likewise of the first five.
        hit_10: Likewise of the first ten.
        mrr_10: One over the rank of the first partner, 0 beyond rank 10.
    """

    hit_1: Doubles
    hit_5: Doubles
    hit_10: Doubles
    mrr_10: Doubles

    def means(self) -> tuple[float, float, float, float]:
        """Return the means, in the order of the fields."""
        return tuple(float(values.mean()) for values in self)  # type: ignore[return-value]


class Ways(NamedTuple):
    """Both directions.

    Attributes:
        text_to_image: Texts ask for images.
        image_to_text: Images ask for texts.
    """

    text_to_image: Found
    image_to_text: Found


@dataclass(frozen=True, eq=False)
class Quality:
    """What `measure` found; means are over the queries of a direction.

    Attributes:
        sparse: By inner product of codes.
        dense: By cosine in the shared space.
        hybrid: By the weighted sum of both, see `JointModel.hybrid_scores`.
        text_cost: Posting cost of a text that asks the images: postings visited per image.
        image_cost: Posting cost of an image that asks the texts, per text.
        text_active: Mean active latents of a text.
        image_active: Mean active latents of an image.
        caption_share: Share of a caption's words among the 20 heaviest latents of its image,
            in [0, 1]; None without captions.
    """

    sparse: Ways
    dense: Ways
    hybrid: Ways
    text_cost: float
    image_cost: float
    text_active: float
    image_active: float
    caption_share: float | None

    def __str__(self) -> str:
        lines = ["            text to image                image to text"]
        lines += ["            hit@1  @5   @10   MRR@10     hit@1  @5   @10   MRR@10"]
        for name in ("sparse", "dense", "hybrid"):
            cells = [
                " ".join(f"{100 * value:5.1f}" for value in way.means())
                for way in getattr(self, name)
            ]
            lines.append(f"{name:10} " + "      ".join(cells))
        lines.append(
            f"posting cost {self.text_cost:.1f} and {self.image_cost:.1f}; active latents "
            f"{self.text_active:.0f} of a text, {self.image_active:.0f} of an image"
        )
        if self.caption_share is not None:
            lines.append(f"{self.caption_share:.0%} of a caption's words lead its image's code")
        return "\n".join(lines)


def measure(
    model: JointModel,
    text: ArrayLike,
    image: ArrayLike,
    pairs: ArrayLike | None = None,
    *,
    k_text: int | None = None,
    k_image: int | None = None,
    captions: Sequence[Sequence[int]] | None = None,
    special: Sequence[int] = (),
) -> Quality:
    """Measure a joint model on pairs that it was not fitted on.

    Every image that occurs in the pairs is a candidate for every text that does, and the
    other way round; a text may have several images.

    Args:
        model: The model.
        text: Numbers (n_texts, text_dim).
        image: Numbers (n_images, image_dim).
        pairs: Whole numbers (m, 2), rows of text and image; None: row i belongs to row i.
        k_text: Most latents per text code; None keeps all that fire.
        k_image: Most latents per image code.
        captions: For each text the ids of its tokens, for ``caption_share``.
        special: Ids among them that are no words.

    Returns:
        Hit rates, MRR@10, cost and active latents.

    Raises:
        ShapeError: If an input has the wrong shape or contents.
        ConfigError: If a k is out of range, or there are fewer than ten texts or images.
    """
    texts, images = as_matrix("text", text), as_matrix("image", image)
    known = as_pairs(pairs, len(texts), len(images))
    rows, columns = np.unique(known[:, 0]), np.unique(known[:, 1])
    if min(len(rows), len(columns)) < DEPTH:
        raise ConfigError(
            f"expected at least {DEPTH} texts and as many images in the pairs, "
            f"got {len(rows)} and {len(columns)}"
        )
    local = np.stack(
        [np.searchsorted(rows, known[:, 0]), np.searchsorted(columns, known[:, 1])], axis=1
    )
    both = _Both(model, texts[rows], images[columns], k_text, k_image)
    share = None
    if captions is not None:
        lists = token_lists(captions)
        if len(lists) != len(texts):
            raise ShapeError(
                f"expected one caption per text, got {len(lists)} for {len(texts)} texts"
            )
        words = bag_of_words([lists[row] for row in rows], model.token_ids, special)
        share = caption_share(words, both.image, local)
    return Quality(
        sparse=_ways(both.sparse, local),
        dense=_ways(both.cosines, local),
        hybrid=_ways(both.hybrid, local),
        text_cost=float(posting_cost(both.text, both.image).mean()),
        image_cost=float(posting_cost(both.image, both.text).mean()),
        text_active=float(both.text.counts.mean()),
        image_active=float(both.image.counts.mean()),
        caption_share=share,
    )


def caption_share(
    words: SparseVectors, images: SparseVectors, pairs: ArrayLike, n: int = TOP_WORDS
) -> float:
    """Measure whether codes can be read: do the words of a caption lead its image's code?

    Args:
        words: The words of each caption, see `JointModel.latents_of`.
        images: The codes of the images.
        pairs: Whole numbers (m, 2), rows of both.
        n: Heaviest latents of an image that count.

    Returns:
        Mean over the pairs whose caption has a word, of the share of its words that are among
        the n heaviest latents of the image; in [0, 1]. By chance it is n / n_latents.

    Raises:
        ShapeError: If no caption has a word, the codes are of two widths, or a pair holds no
            rows of theirs.
    """
    check_width(images, words.dim)
    pairs = as_rows_of_both(pairs, len(words), len(images))
    asked, best = words[pairs[:, 0]], images.top(n)[pairs[:, 1]]
    shared = (asked.to_scipy() != 0).multiply(best.to_scipy() != 0).sum(axis=1)
    filled = asked.counts > 0
    if not filled.any():
        raise ShapeError("expected captions with words among the latents, got none")
    return float((np.asarray(shared).ravel()[filled] / asked.counts[filled]).mean())


class _Both:
    """Texts and images as codes and dense vectors, and the scores between any of them."""

    def __init__(
        self,
        model: JointModel,
        texts: Floats,
        images: Floats,
        k_text: int | None,
        k_image: int | None,
    ) -> None:
        self.text = model.encode_text(texts, k=k_text)
        self.image = model.encode_image(images, k=k_image)
        self._dense = model.dense_text(texts), model.dense_image(images)
        self._weights = model.spec.dense_weight / model.temperature, model.spec.sparse_weight

    def cosines(self, part: slice, *, turned: bool) -> Floats:
        text, image = self._dense
        return image[part] @ text.T if turned else text[part] @ image.T

    def sparse(self, part: slice, *, turned: bool) -> Floats:
        asked, stored = (self.image, self.text) if turned else (self.text, self.image)
        return _products(asked[part], stored)

    def hybrid(self, part: slice, *, turned: bool) -> Floats:
        dense, sparse = self._weights
        scores = dense * self.cosines(part, turned=turned)
        scores += sparse * self.sparse(part, turned=turned)
        return np.asarray(scores, dtype=np.float32)


def _products(asked: SparseVectors, stored: SparseVectors) -> Floats:
    """Inner products by dense blocks: codes with hundreds of latents are quickest so."""
    rows = max(1, _ENTRIES // stored.dim)
    queries = asked.to_dense()
    blocks = [
        queries @ stored[start : start + rows].to_dense().T for start in range(0, len(stored), rows)
    ]
    return np.concatenate(blocks, axis=1)


def _ways(scores: Callable[..., Floats], pairs: NDArray[np.int64]) -> Ways:
    return Ways(
        _found(lambda part: scores(part, turned=False), pairs),
        _found(lambda part: scores(part, turned=True), pairs[:, ::-1]),
    )


def _found(scores: Callable[[slice], Floats], pairs: NDArray[np.int64]) -> Found:
    """Rank by scores of blocks of queries; pairs hold query and partner."""
    n = int(pairs[:, 0].max()) + 1
    relevant: list[set[int]] = [set() for _ in range(n)]
    for query, partner in pairs.tolist():
        relevant[query].add(partner)
    blocks = (slice(start, min(start + _QUERIES, n)) for start in range(0, n, _QUERIES))
    found = np.concatenate(list(_best(scores, blocks)))
    hits = [hit_rate_at(found, relevant, depth) for depth in (1, 5, 10)]
    return Found(hits[0], hits[1], hits[2], mrr_at(found, relevant, DEPTH))


def _best(
    scores: Callable[[slice], Floats], blocks: Iterator[slice]
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of the ten highest scores of each query; -1 where a score is 0."""
    for block in blocks:
        values = scores(block)
        best = np.argpartition(-values, DEPTH - 1, axis=1)[:, :DEPTH]
        best.sort(axis=1)  # ties go to the lower row
        reached = np.take_along_axis(values, best, axis=1)
        order = np.argsort(-reached, axis=1, kind="stable")
        ranked = np.take_along_axis(best, order, axis=1)
        yield np.where(np.take_along_axis(reached, order, axis=1) == 0, -1, ranked)
