"""`MemoryStore`: codes in memory, every score exact. The reference of the contract suite.

    score(q, d) = sum_j q_j * d_j        over the latents j that both have

Scores are summed in double precision over an inverted list (the columns of the
codes), so a query costs its posting cost and nothing else. It is a reference
and a scratch pad: one process, nothing on disk until `MemoryStore.save`, and
the index is rebuilt at the first search after a change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import numpy as np

from csrkit.errors import ConfigError, FormatError, StoreError
from csrkit.stores._checks import (
    Held,
    checked_dim,
    checked_held,
    checked_limit,
    checked_upsert,
    kept_residuals,
)
from csrkit.stores._holder import Holder
from csrkit.stores._ids import all_found, checked_ids
from csrkit.stores.base import Hit, Ids, Payload
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MemoryStore", "PayloadFilter", "open_url"]

PayloadFilter: TypeAlias = Callable[[Payload], bool]
_FORMAT = 1


class _Postings(NamedTuple):
    """The codes by latent: those of latents[i] are entries indptr[i]:indptr[i + 1].

    Only latents that occur are listed: a CSC matrix would need 17 GB for the
    row pointer of codes over 2**31 - 1 latents.
    """

    latents: NDArray[np.int32]
    indptr: NDArray[np.int64]
    rows: NDArray[np.int64]
    values: NDArray[np.float64]


class MemoryStore(Holder):
    """Codes in memory with exact scores.

    Equal scores come in the order in which the ids were first upserted;
    replacing a code does not move its id. Threads may share it, and a copy is a
    store of its own.

    ``filter`` of `search` is a callable from a payload to bool: the documents
    for which it is true are considered. Ids without a payload show it ``{}``.

    Examples:
        >>> codes = SparseVectors.from_dense([[0.6, 0.8, 0], [0, 0, 1]])
        >>> store = MemoryStore()
        >>> store.upsert(["a", "b"], codes, [{"lang": "en"}, {"lang": "de"}])
        >>> [hit.id for hit in store.search(codes[0])[0]]
        ['a']
        >>> store.search(codes[1], filter=lambda payload: payload["lang"] == "en")
        [[]]
    """

    def __init__(self) -> None:
        self._parts: list[SparseVectors] = []
        self._residuals: list[NDArray[np.uint8]] = []  # as the parts; (n, 0) if none are kept
        self._row_of: dict[int | str, int] = {}  # id -> row of the parts together
        self._payloads: dict[int | str, dict[str, Any]] = {}  # ids with a payload only
        self._postings: _Postings | None = None  # None: changed since the last search
        self._lock = RLock()  # readers rebuild the index, and merge the parts

    def __repr__(self) -> str:
        return f"MemoryStore({self.count()} codes, dim={self.dim})"

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            state = {key: copy(value) for key, value in vars(self).items() if key != "_lock"}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=RLock())

    def upsert(
        self,
        ids: Ids,
        codes: SparseVectors,
        payloads: Sequence[Payload | None] | None = None,
        *,
        residuals: NDArray[np.uint8] | None = None,
    ) -> None:
        """Insert or replace codes, payloads and residuals; see `ResidualStore.upsert`.

        Args:
            ids: One id per code, each once.
            codes: Rows to store.
            payloads: One JSON object or None per id; left out, ids keep theirs.
            residuals: uint8 (n, width), or None; as the first upsert had it.

        Raises:
            ShapeError: If the numbers or the widths do not match.
            StoreError: If an id or payload is refused.
        """
        checked = checked_upsert(ids, codes, payloads, self._known, residuals)
        if not checked.ids:
            return
        with self._lock:
            checked_held(checked, self._known)  # another thread may have been first
            self._known = self._known or self._noted(checked)
            first = sum(map(len, self._parts))
            self._parts.append(codes)
            self._residuals.append(_or_none_kept(checked.residuals, len(codes)).copy())
            self._row_of.update(zip(checked.ids, range(first, first + len(codes)), strict=True))
            self._postings = None
            for one, payload in zip(checked.ids, checked.payloads or [], strict=False):
                self._payloads.pop(one, None)
                if payload:
                    self._payloads[one] = payload

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: PayloadFilter | None = None
    ) -> list[list[Hit]]:
        """Find the codes with the largest inner product, exactly.

        Args:
            codes: Queries, one result list each.
            limit: Most hits per query, at least 1.
            filter: Which payloads to consider; all if None.

        Returns:
            Hits by falling score, equal ones by first upsert.

        Raises:
            ConfigError: If limit is below 1, or the filter is not callable.
            ShapeError: If the width of the codes is not the store's.
        """
        checked_limit(limit)
        checked_dim(codes, self.dim)
        if filter is not None and not callable(filter):
            raise ConfigError(
                f"expected filter to be a callable from a payload to bool, got {filter!r}"
            )
        with self._lock:
            postings, ids = self._index(), list(self._row_of)
        scored = (_scores(query, postings, len(ids)) for query in codes)
        return [self._hits(scores, ids, limit, filter) for scores in scored]

    def _hits(
        self,
        scores: NDArray[np.float64],
        ids: list[int | str],
        limit: int,
        keep: PayloadFilter | None,
    ) -> list[Hit]:
        found = np.flatnonzero(scores)
        hits: list[Hit] = []
        for row in found[np.argsort(-scores[found], kind="stable")]:  # ties: lower row first
            payload = self._payloads.get(ids[row])
            if keep is None or keep(payload or {}):
                hits.append(Hit(ids[row], float(scores[row]), deepcopy(payload)))
                if len(hits) == limit:
                    break
        return hits

    def _index(self) -> _Postings | None:
        """Return the postings, in the order of the ids; None if there are no ids."""
        if self._postings is None and self._row_of:
            live, residuals = self._rows(list(self._row_of.values()))
            self._parts, self._residuals = [live], [residuals]
            self._row_of = {one: row for row, one in enumerate(self._row_of)}
            order = np.argsort(live.indices, kind="stable")
            latents, starts = np.unique(live.indices[order], return_index=True)
            self._postings = _Postings(
                latents,
                np.append(starts, live.nnz),
                np.repeat(np.arange(len(live)), live.counts)[order],
                live.values[order].astype(np.float64),
            )
        return self._postings

    def _rows(self, rows: list[int]) -> tuple[SparseVectors, NDArray[np.uint8]]:
        if len(self._parts) > 1:
            self._parts = [SparseVectors.concat(self._parts)]
            self._residuals = [np.concatenate(self._residuals)]
        return self._parts[0][rows], self._residuals[0][rows]

    def fetch(self, ids: Ids) -> SparseVectors:
        """Return the stored codes of the ids, in their order.

        Args:
            ids: Ids that were upserted; one may occur several times.

        Returns:
            One row per id.

        Raises:
            StoreError: If an id is not in the store, or nothing was ever stored.
        """
        return self.fetch_both(ids)[0]

    def fetch_residuals(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the stored residuals of the ids, in their order.

        Args:
            ids: Ids that were upserted; one may occur several times.

        Returns:
            uint8 (n, residual_bytes).

        Raises:
            StoreError: If an id is not in the store, or the store keeps no residuals.
        """
        return kept_residuals(self.fetch_both(ids)[1])

    def fetch_both(self, ids: Ids) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        """Return the stored codes and residuals of the ids, in their order.

        Args:
            ids: Ids that were upserted; one may occur several times.

        Returns:
            One row per id, and uint8 (n, residual_bytes), or None if the store
            keeps no residuals.

        Raises:
            StoreError: If an id is not in the store, or nothing was ever stored.
        """
        plain = checked_ids(ids)
        with self._lock:
            rows = all_found(plain, self._row_of)
            if self._known is None:
                raise StoreError("nothing was stored yet, so the width of the codes is not known")
            codes, residuals = self._rows(rows)
        return codes, residuals if self.residual_bytes else None

    def delete(self, ids: Ids) -> None:
        """Remove ids; those that are not there are ignored.

        Args:
            ids: Ids to remove.

        Raises:
            StoreError: If an entry is no id.
        """
        plain = checked_ids(ids)
        with self._lock:
            for one in plain:
                if self._row_of.pop(one, None) is not None:
                    self._payloads.pop(one, None)
                    self._postings = None

    def count(self) -> int:
        """Return the exact number of stored ids."""
        return len(self._row_of)

    def save(self, path: str | Path) -> None:
        """Write the store to a folder: codes as safetensors, ids and payloads as JSON, residuals.

        Args:
            path: Folder, made if missing; a store in it is replaced.

        Raises:
            StoreError: If nothing was ever stored, or no folder can be made there.
        """
        folder = Path(path)
        with self._lock:
            codes, residuals = self.fetch_both(list(self._row_of))
            rows = [[one, self._payloads.get(one)] for one in self._row_of]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {folder}: {error.strerror}") from error
        codes.save(folder / "codes.safetensors")
        np.save(folder / "residuals.npy", _or_none_kept(residuals, len(codes)))
        head = {"csrkit": "MemoryStore", "format": _FORMAT, "codec": self.codec}
        text = json.dumps(head | {"rows": rows})
        (folder / "store.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a folder written by `save`.

        Args:
            path: The folder.

        Returns:
            The store that was saved, ids in the same order.

        Raises:
            FormatError: If the folder holds none, or one of another format.
        """
        folder = Path(path)
        rows, codec = _read_rows(folder / "store.json")
        store = cls()
        try:
            codes = SparseVectors.load(folder / "codes.safetensors")
            residuals = np.load(folder / "residuals.npy", allow_pickle=False)
            ids, payloads = [one for one, _ in rows], [payload for _, payload in rows]
            kept = residuals if residuals.shape[1] else None
            store.upsert(ids, codes, payloads, residuals=kept)
        except (ValueError, LookupError, TypeError, OSError, EOFError, StoreError) as error:
            raise FormatError(f"{folder} does not hold a whole MemoryStore: {error}") from error
        store._known = Held(codes.dim, residuals.shape[1], codec)  # even if there are no ids
        store._parts, store._residuals = store._parts or [codes], store._residuals or [residuals]
        return store


def _scores(query: SparseVectors, postings: _Postings | None, size: int) -> NDArray[np.float64]:
    """Score every document, float64 (size,); 0 where nothing is shared."""
    if postings is None or not query.nnz:
        return np.zeros(size)
    shared, where, asked = np.intersect1d(
        postings.latents, query.indices, assume_unique=True, return_indices=True
    )
    if not len(shared):
        return np.zeros(size)
    spans = [slice(*postings.indptr[i : i + 2]) for i in where]
    rows = np.concatenate([postings.rows[span] for span in spans])
    weights = [
        postings.values[span] * float(weight)
        for span, weight in zip(spans, query.values[asked], strict=True)
    ]
    return np.bincount(rows, np.concatenate(weights), size).astype(np.float64, copy=False)


def _or_none_kept(residuals: NDArray[np.uint8] | None, n: int) -> NDArray[np.uint8]:
    """Return residuals as they are kept: uint8 (n, 0) where there are none."""
    return np.zeros((n, 0), np.uint8) if residuals is None else residuals


def _read_rows(file: Path) -> tuple[list[Any], str | None]:
    """Return the rows and the codec of a saved store."""
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"no MemoryStore at {file.parent}: {error}") from error
    if not isinstance(saved, Mapping) or saved.get("csrkit") != "MemoryStore":
        raise FormatError(f"{file} was not written by MemoryStore.save")
    if saved.get("format") != _FORMAT or not isinstance(saved.get("rows"), list):
        got = saved.get("format")
        raise FormatError(f"expected a MemoryStore of format {_FORMAT}, got {got!r}")
    return saved["rows"], saved.get("codec")


def open_url(url: str, *, create: bool = False) -> MemoryStore:
    """Return an empty store for ``memory:``.

    Args:
        url: ``memory:`` and nothing after it.
        create: Makes no difference: the store is new each time.

    Returns:
        A new store.

    Raises:
        ConfigError: If something follows.
    """
    if url != "memory:":
        raise ConfigError(f"expected 'memory:', got {url!r}: a MemoryStore has no address")
    return MemoryStore()
