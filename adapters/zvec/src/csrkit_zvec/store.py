"""`ZvecStore`: codes in zvec's embedded engine, searched exactly or along an HNSW graph.

An upsert survives the death of the process once it returns, for zvec writes a log first.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import zvec
from numpy.typing import NDArray

from csrkit.errors import ConfigError, StoreError
from csrkit.stores import Hit
from csrkit.stores import adapter as checks
from csrkit.stores.adapter import Holder
from csrkit.stores.base import Ids, Payload
from csrkit.vectors import SparseVectors
from csrkit_zvec import rows
from csrkit_zvec.engine import Engine
from csrkit_zvec.folder import Index, opened
from csrkit_zvec.note import Note

__all__ = ["ZvecStore"]


class ZvecStore(Holder):
    """Codes in a folder; one process at a time, for zvec locks it.

    Filters are zvec's strings, ``"lang = 'en'"``, over the payload's keys that ``fields`` declare.
    Codes of documents are taken to be non-negative, as csrkit's are.

    Args:
        path: Folder; made if missing, opened if a ZvecStore made it.
        create: Make a store in a folder that is missing or empty; False refuses.
        index: ``zvec.FlatIndexParam`` or ``HnswIndexParam`` of ``MetricType.IP``; None: as
            stored, flat and so exact for a new folder. A graph is built by `optimize`.
        fields: ``zvec.FieldSchema`` of each key of the payloads that filters are to see, nullable
            if a payload may be without; fixed when the folder is made.
        codec: Fingerprint of the codec, ``model.fingerprint``; see `bind`.

    Raises:
        ConfigError: If zvec refuses a setting.
        StoreError: If the folder is no ZvecStore's, has other settings or another codec's codes,
            is open elsewhere, or is not there and may not be made.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        create: bool = True,
        index: Index | None = None,
        fields: Sequence[zvec.FieldSchema] = (),
        codec: str | None = None,
    ) -> None:
        self._folder = Path(path)
        folder = Path(path)
        note, collection = opened(folder, index, fields, create=create)
        self._engine, self._known = Engine(folder, collection), note.held
        if codec is not None:
            self.bind(codec)

    @property
    def collection(self) -> zvec.Collection:
        """Zvec's own object, for what csrkit does not wrap; what it writes is not checked."""
        return self._engine.collection

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
        self._engine.check(checked)
        if checked.ids and self._known is None:
            held = self._noted(checked)  # before the first code: zvec knows no widths
            Note(**held._asdict()).write(self._engine.folder)
            self._known = held
        self._engine.write(checked)

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: str | None = None
    ) -> list[list[Hit]]:
        """Find the codes with the largest inner product; see `Store.search`."""
        checks.checked_limit(limit)
        checks.checked_dim(codes, self.dim)
        if filter is not None and not isinstance(filter, str):
            raise ConfigError(
                "expected filter to be a condition of zvec such as \"lang = 'en'\", "
                f"got {type(filter).__name__}"
            )
        with self._engine.reported("search"):
            return [self._engine.hits(code, limit, filter) for code in rows.spelled(codes)]

    def optimize(self) -> None:
        """Build the graph of an HNSW index and drop deleted codes: once after a large load."""
        with self._engine.reported("optimize"):
            self.collection.optimize()

    def fetch(self, ids: Ids) -> SparseVectors:
        """Return the stored codes of the ids, in their order; see `Store.fetch`."""
        return self.fetch_both(ids)[0]

    def fetch_residuals(self, ids: Ids) -> NDArray[np.uint8]:
        """Return the stored residuals of the ids; see `ResidualStore.fetch_residuals`."""
        return checks.kept_residuals(self.fetch_both(ids)[1])

    def fetch_both(self, ids: Ids) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
        """Return codes and residuals in one call of zvec; see `ResidualStore.fetch_both`."""
        plain, width = checks.checked_ids(ids), self.residual_bytes
        docs = checks.all_found(plain, self._engine.read(plain, residuals=bool(width)))
        if self.dim is None:
            raise StoreError("nothing was stored yet, so the width of the codes is not known")
        codes = rows.codes_of(docs, self.dim)
        return codes, rows.residuals_of(docs, width) if width else None

    def delete(self, ids: Ids) -> None:
        """Remove ids; see `Store.delete`."""
        self._engine.delete(checks.checked_ids(ids))

    def count(self) -> int:
        """Return the exact number of stored ids."""
        with self._engine.reported("count"):
            return self._engine.count

    def close(self) -> None:
        """Flush and release the folder; the store cannot be used afterwards."""
        self._engine.close()
