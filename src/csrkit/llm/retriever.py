"""`LLMRetriever`: a trained language model that turns texts into codes and vectors.

    code    z_v = log(1 + relu(s max_l h_l . w_v - c_v))   latents are tokens of the vocabulary
    vector  e   = mean_l h_l / |h_l|

Scores are inner products of codes as they are: what training has taught is in their lengths,
so they are not normalised. It never changes; `csrkit.llm.fit` makes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from csrkit.errors import ConfigError, ShapeError
from csrkit.llm.backbone import Backbone
from csrkit.llm.config import LLMConfig
from csrkit.llm.data import is_unicode
from csrkit.llm.encoding import Side, TextEncoder
from csrkit.llm.heads import SparseHead
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.llm.evaluable import Evaluable
    from csrkit.model.encoder import SearchEncoder

__all__ = ["LLMRetriever", "Provenance", "SharedToken"]

BATCH = 32  # texts encoded at once
EFFORTS = (8, 32, 128)  # tokens of a query for the efforts of a Searcher, as far as there are any


class Provenance(BaseModel):
    """Where a retriever came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    csrkit: str = Field(description="version that trained it")
    triples: int = Field(ge=0, description="triples trained on")
    loss: float | None = Field(default=None, description="mean loss of the last steps")


class SharedToken(NamedTuple):
    """A token that two codes share, and what it adds to their score.

    Attributes:
        token: As the tokenizer spells it.
        latent: Its id.
        query: Weight in the query.
        document: Weight in the document.
        contribution: Their product.
    """

    token: str
    latent: int
    query: float
    document: float
    contribution: float


@dataclass(frozen=True, eq=False)
class LLMRetriever:
    """A sparse retriever, a dense one, or both, of one language model.

    Attributes:
        backbone: The language model, bidirectional.
        head: Scale and shift of the codes.
        config: Settings that it was trained with; lengths, prefixes and k go on counting.
        provenance: Where it came from.
    """

    backbone: Backbone
    head: SparseHead
    config: LLMConfig
    provenance: Provenance

    @property
    def dim(self) -> int:
        """Width of the dense vectors."""
        return self.backbone.dim

    @property
    def n_latents(self) -> int:
        """Width of the codes: the vocabulary."""
        return self.backbone.vocabulary

    @property
    def ladder(self) -> tuple[int, ...]:
        """The k that `csrkit.Searcher` takes for its efforts; the last is all that is active."""
        return (*(k for k in EFFORTS if k < self.n_latents), self.n_latents)

    @property
    def card(self) -> None:
        """Nothing is measured of a retriever: a search promises no recall."""
        return None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over settings, weights and vocabulary, 64 hexadecimal digits.

        Codes of different fingerprints must never share an index.
        """
        digest = hashlib.sha256(self.config.model_dump_json().encode())
        tensors = dict(self.backbone.model.state_dict()) | {"shift": self.head.shift}
        for name in sorted(tensors):
            value = tensors[name].detach().cpu().contiguous()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(memoryview(value.reshape(-1).view(torch.uint8).numpy()))
        vocabulary = sorted(self.backbone.tokenizer.get_vocab().items())
        digest.update(repr(vocabulary).encode())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return (
            f"LLMRetriever({self.config.head}, dim={self.dim}, n_latents={self.n_latents}, "
            f"fingerprint={self.fingerprint[:12]!r})"
        )

    # -- encode -----------------------------------------------------------------

    def encode(
        self, texts: Sequence[str], *, k: int | None = None, side: Side = "document"
    ) -> SparseVectors:
        """Turn texts into codes over the vocabulary.

        Texts are encoded in batches of similar length; logits of a whole batch never exist
        at once. The batch that a text is in changes its values by float rounding.

        Args:
            texts: n texts.
            k: Most latents per code, from 1 to n_latents; by default as trained, which is
                all that are active unless the config bounds them.
            side: "query" or "document": which prefix, length and default k apply.

        Returns:
            n codes of width n_latents with positive values, not normalised. A blank text
            has an empty one.

        Raises:
            ConfigError: If k is out of range, the side is neither, or no codes were trained.
            ShapeError: If the texts are not a sequence of strings.
        """
        self._check("sparse", self.config.is_sparse, side)
        k = self._checked_k(k, side)
        rows = self._tokens(texts, side)
        parts: list[SparseVectors] = []
        order: list[int] = []
        with self._encoding("sparse") as encoder:
            for chosen in _by_length(rows):
                codes = encoder([rows[row] for row in chosen], side).sparse
                assert codes is not None  # the head is there
                parts.append(_sparse(codes, k))
                order += chosen
        empty = [row for row, tokens in enumerate(rows) if not tokens]
        joined = SparseVectors.concat([*parts, _empty(len(empty), self.n_latents)])
        return joined[np.argsort([*order, *empty])] if rows else joined

    def encode_query(self, texts: Sequence[str], *, k: int | None = None) -> SparseVectors:
        """Encode queries: `encode` with ``side="query"``, as `csrkit.Searcher` calls it.

        Args:
            texts: As for `encode`.
            k: As for `encode`.

        Returns:
            One code per query.

        Raises:
            ConfigError: As `encode`.
            ShapeError: As `encode`.
        """  # noqa: DOC502  # raised by `encode`
        return self.encode(texts, k=k, side="query")

    def encode_dense(self, texts: Sequence[str], *, side: Side = "document") -> NDArray[np.float32]:
        """Turn texts into vectors.

        Args:
            texts: n texts, none of them blank.
            side: "query" or "document".

        Returns:
            float32 (n, dim), of norm 1 with ``renormalize`` and shorter otherwise; rank by
            inner product.

        Raises:
            ConfigError: If the side is neither, or no vectors were trained.
            ShapeError: If the texts are not a sequence of strings, or one is blank.
        """
        self._check("dense", self.config.is_dense, side)
        texts = list(texts) if isinstance(texts, Iterator) else texts
        rows = self._tokens(texts, side)
        blank = next((row for row, tokens in enumerate(rows) if not tokens), None)
        if blank is not None:
            raise ShapeError(f"expected texts with tokens in them, got {texts[blank]!r} at {blank}")
        found = np.empty((len(rows), self.dim), dtype=np.float32)
        with self._encoding("dense") as encoder:
            for chosen in _by_length(rows):
                vectors = encoder([rows[row] for row in chosen], side).dense
                assert vectors is not None  # the head is there
                found[chosen] = vectors.float().cpu().numpy()
        return found

    def _check(self, head: str, trained: bool, side: str) -> None:
        if not trained:
            raise ConfigError(
                f"expected a retriever with a {head} head, this one was trained with "
                f"head={self.config.head!r}: fit with LLMConfig(head={head!r}) or head='both'"
            )
        if side not in ("query", "document"):
            raise ConfigError(f"expected side 'query' or 'document', got {side!r}")

    def _checked_k(self, k: int | None, side: Side) -> int | None:
        if k is None:
            return self.config.query_k if side == "query" else self.config.document_k
        whole = isinstance(k, int | np.integer) and not isinstance(k, bool)
        if not whole or not 1 <= k <= self.n_latents:
            raise ConfigError(
                f"expected k from 1 to n_latents={self.n_latents}, got encode(k={k!r})"
            )
        return int(k)

    def _tokens(self, texts: Sequence[str], side: Side) -> list[list[int]]:
        """Tokenize; a blank text has no tokens, whatever the tokenizer adds to it."""
        if isinstance(texts, str | Mapping | Set) or not isinstance(texts, Iterable):
            hint = ": list(corpus.values()) are those of read_corpus"
            raise ShapeError(
                f"expected a list of texts, got {texts!r:.40}"
                + (hint if isinstance(texts, Mapping) else "")
            )
        listed = list(texts)
        for row, text in enumerate(listed):
            if not isinstance(text, str) or not is_unicode(text):
                raise ShapeError(
                    f"expected a list of texts, got {str(text)[:40]!r} ({type(text).__name__}) "
                    f"at {row}"
                )
        found = self._encoder().tokenize(listed, side)
        return [row if text.strip() else [] for row, text in zip(found, listed, strict=True)]

    def _encoder(self, head: str | None = None) -> TextEncoder:
        # one head alone, and no k: SparseVectors.top breaks ties by the lower index
        update = {"head": head or self.config.head, "query_k": None, "document_k": None}
        return TextEncoder(self.backbone, self.head, self.config.model_copy(update=update))

    @contextmanager
    def _encoding(self, head: str) -> Iterator[TextEncoder]:
        """Give the encoder of one head, without gradients."""
        self.backbone.model.eval()
        with torch.no_grad():
            yield self._encoder(head)

    # -- reading ------------------------------------------------------------------

    def tokens(self, latents: Sequence[int] | NDArray[np.integer]) -> list[str]:
        """Spell latents, which are tokens.

        Args:
            latents: Ids, such as ``codes.indices`` or the latents of an
                `csrkit.search.Explanation`.

        Returns:
            One string per latent; "" for rows of the head that the tokenizer has no token for.

        Raises:
            ShapeError: If they are not whole numbers below n_latents.
        """
        refusal = ShapeError(
            f"expected latents, whole numbers from 0 to {self.n_latents - 1} such as "
            f"codes.indices, got {latents!r:.60}"
        )
        try:
            ids = np.asarray(latents)
        except ValueError as error:  # ragged lists, or codes
            raise refusal from error
        whole = ids.ndim == 1 and (ids.dtype.kind in "iu" or not ids.size)
        if not whole or (ids.size and not 0 <= ids.min() <= ids.max() < self.n_latents):
            raise refusal
        found = self.backbone.tokenizer.convert_ids_to_tokens(ids.tolist())
        return [token or "" for token in found]

    def explain(self, query: str, document: str) -> tuple[SharedToken, ...]:
        """Say why a document scores as it does: the tokens that its code shares with the query's.

        Args:
            query: Text.
            document: Text.

        Returns:
            The shared tokens, the largest contribution first; they add up to the score.

        Raises:
            ConfigError: As `encode`.
        """  # noqa: DOC502  # raised by `encode`
        asked, stored = self.encode([query], side="query"), self.encode([document])
        latents, ours, theirs = np.intersect1d(asked.indices, stored.indices, return_indices=True)
        q, d = asked.values[ours].astype(float), stored.values[theirs].astype(float)
        order = np.argsort(-(q * d), kind="stable")
        names = self.tokens(latents[order])
        rows = zip(names, latents[order].tolist(), q[order], d[order], strict=True)
        return tuple(
            SharedToken(name, one, float(a), float(b), float(a * b)) for name, one, a, b in rows
        )

    def evaluable(self, docs: Sequence[str], queries: Sequence[str]) -> Evaluable:
        """Return what `csrkit.evaluate` takes: codes and vectors of the same texts.

        ``csrkit.evaluate(*retriever.evaluable(docs, queries), qrels=qrels)`` says how much of the
        exact search by vectors the codes find at each k, beside other ways to compress these.

        Args:
            docs: Texts, none of them blank.
            queries: Likewise.

        Returns:
            An encoder, and the vectors of both. They have norm 1: similarity is the cosine.

        Raises:
            ConfigError: If the retriever lacks one of the heads (``head="both"`` has them).
            ShapeError: If the texts are not sequences of strings, or one is blank.
        """  # noqa: DOC502  # raised by `encode` and `encode_dense`
        from csrkit.llm.evaluable import evaluable

        return evaluable(self, list(docs), list(queries))

    def save(self, path: str | Path) -> None:
        """Write the retriever to a folder: JSON, safetensors and the tokenizer's files.

        Args:
            path: Folder; made if needed. A retriever saved there before is replaced.

        Raises:
            FormatError: If the path is a file, a folder that holds something else, or cannot
                be written to.
        """
        from csrkit.llm.files import save

        save(self, Path(path))


def _by_length(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield batches of row numbers, the longest texts first, without the empty ones."""
    filled = [row for row, tokens in enumerate(rows) if tokens]
    order = sorted(filled, key=lambda row: -len(rows[row]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def _empty(n: int, dim: int) -> SparseVectors:
    nothing = np.empty(0)
    indptr = np.zeros(n + 1, dtype=np.int64)
    return SparseVectors(indptr, nothing.astype(np.int32), nothing.astype(np.float32), dim)


def _sparse(codes: torch.Tensor, k: int | None) -> SparseVectors:
    rows, latents = codes.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(codes)).cpu().numpy()
    found = SparseVectors(
        np.concatenate([[0], np.cumsum(counts)]),
        latents.to(torch.int32).cpu().numpy(),
        codes[rows, latents].float().cpu().numpy(),
        codes.shape[1],
    )
    return found if k is None else found.top(k)


if TYPE_CHECKING:

    def _fits(retriever: LLMRetriever) -> SearchEncoder:  # so a Searcher takes it
        return retriever
