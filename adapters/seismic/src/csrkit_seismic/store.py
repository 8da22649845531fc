"""`SeismicStore`: codes in memory under Seismic's approximate index.

Seismic finds candidates, which are scored again by the codes themselves: scores are exact, and
what is approximate is which documents are found. `seeking` says what is searched exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from csrkit.errors import ConfigError, StoreError
from csrkit.stores import Hit
from csrkit.stores import adapter as checks
from csrkit.stores.adapter import Holder, shown
from csrkit.stores.base import Ids, Payload
from csrkit.vectors import SparseVectors
from csrkit_seismic.files import check_writable, load, save
from csrkit_seismic.index import Index, Knobs
from csrkit_seismic.saved import Saved
from csrkit_seismic.seeking import Effort, Filter, Seeker, check_filter, knobs_of
from csrkit_seismic.table import Table

__all__ = ["SeismicStore"]


class SeismicStore(Holder):
    """Codes in memory, and in a folder once they are saved.

    Args:
        path: Folder to read, and to write by `save` and `close`; None for memory alone.
        create: Begin an empty store if the folder is missing or empty; False refuses.
        effort: How much of the index a search looks at: "fast", "balanced", "accurate", or
            `Knobs`, Seismic's own two.
        codec: Fingerprint of the codec, ``model.fingerprint``; see `bind`.

    Raises:
        ConfigError: If the effort is none.
        StoreError: If the folder is no SeismicStore's, damaged, of another codec's codes, or is
            not there and may not be made.
    """

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        create: bool = True,
        effort: Effort | Knobs = "balanced",
        codec: str | None = None,
    ) -> None:
        self._knobs, self._folder = knobs_of(effort), None if path is None else Path(path)
        self._table, self._index, self._indexed, self._is_saved = Table(), None, 0, True
        self._version, there = 0, load(self._folder, create=create) if self._folder else None
        if there:
            saved, self._table, self._index = there
            self._version, self._known, self._indexed = saved.version, saved.held, saved.indexed
        if codec is not None:
            self.bind(codec)

    def upsert(
        self,
        ids: Ids,
        codes: SparseVectors,
        payloads: Sequence[Payload | None] | None = None,
        *,
        residuals: NDArray[np.uint8] | None = None,
    ) -> None:
        """Insert or replace codes, payloads and residuals; see `ResidualStore.upsert`."""
        checked = checks.checked_upsert(ids, codes, payloads, self._known, residuals)
        if checked.ids:
            check_writable(self._folder if self._is_saved else None)  # not after a long load
            self._known = self._known or self._noted(checked)
            self._table.put(checked)
            self._is_saved = False

    def build(self, *, n_postings: int = 3500) -> None:
        """Build the index over everything stored: after the load, and after many changes.

        It needs a temporary file of 8 bytes for each latent of a code.

        Args:
            n_postings: Most documents in the list of a latent, on average: more find more.

        Raises:
            ConfigError: If the number is below 1.
            StoreError: If nothing is stored, or Seismic fails.
        """
        if n_postings < 1:
            raise ConfigError(f"expected {n_postings=} to be at least 1")
        if not self.count():
            raise StoreError("cannot build the index: nothing is stored")
        self._index, self._indexed, self._is_saved = None, 0, False
        self._table.compact()
        self._index = Index.built(self._table.codes, n_postings=n_postings)
        self._indexed = self.count()

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: Filter | None = None
    ) -> list[list[Hit]]:
        """Find the codes with the largest inner product; see `Store.search`."""
        checks.checked_limit(limit)
        checks.checked_dim(codes, self.dim)
        check_filter(filter)
        if not self.count():
            return [[] for _ in codes]
        seeker = Seeker(self._table, self._index, self._indexed, self._knobs)
        return [seeker.hits(one, limit, filter) for one in ([codes] if len(codes) == 1 else codes)]

    def fetch(self, ids: Ids) -> SparseVectors:
        """Return the stored codes of the ids; see `Store.fetch`."""
        return self.fetch_both(ids)[0]

    def fetch_residuals(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the stored residuals of the ids; see `ResidualStore.fetch_residuals`."""
        return checks.kept_residuals(self.fetch_both(ids)[1])

    def fetch_both(self, ids: Ids) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        """Return codes and residuals of the ids; see `ResidualStore.fetch_both`."""
        plain = checks.checked_ids(ids)
        if self._known is None:
            raise StoreError(f"cannot fetch {shown(plain)}: nothing was stored yet")
        rows = checks.all_found(plain, self._table.row_of)
        rest = self._table.residuals[rows] if self.residual_bytes else None
        return self._table.codes[rows], rest

    def delete(self, ids: Ids) -> None:
        """Remove ids; see `Store.delete`."""
        self._table.drop(checks.checked_ids(ids))
        self._is_saved = False

    def count(self) -> int:
        """Return the exact number of stored ids."""
        return len(self._table.row_of)

    def save(self) -> None:
        """Write codes, ids, payloads and index to the folder; what it held is replaced whole."""
        if self._folder is None:
            raise StoreError("cannot save: the store was made without a folder, path=")
        if self._known is not None and not self._is_saved:
            saved = Saved(version=self._version + 1, indexed=self._indexed, **self._known._asdict())
            save(self._folder, self._table, saved, self._index)
            self._version, self._is_saved = saved.version, True

    def close(self) -> None:
        """Save, if there is a folder."""
        self.save() if self._folder else None
