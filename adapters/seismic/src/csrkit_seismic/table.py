"""`Table`: the codes, residuals, ids and payloads beside the index, by row.

Rows are only ever added. A replaced or deleted row is dead, until `Table.compact`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json, to_json

from csrkit.stores.adapter import Upsert
from csrkit.vectors import SparseVectors
from csrkit_seismic.scoring import Scorer

__all__ = ["Table"]

_NONE = b"null"


class Table:
    """What is stored, in memory.

    Attributes:
        ids: Id of each row, dead ones included.
        row_of: Row of each id that is stored.
        payloads: JSON of the payload of each row, or null: a hit gets a copy of its own.
    """

    def __init__(self) -> None:
        self.ids: list[int | str] = []
        self.row_of: dict[int | str, int] = {}
        self.payloads: list[bytes] = []
        self._codes: list[SparseVectors] = []
        self._scorer: Scorer | None = None
        self._residuals: list[NDArray[np.uint8]] = []

    def put(self, upsert: Upsert) -> None:
        """Add rows; those of the same ids before them die."""
        first = len(self.ids)
        if upsert.payloads is None:
            olds = [self.row_of.get(one) for one in upsert.ids]
            self.payloads += [_NONE if old is None else self.payloads[old] for old in olds]
        else:
            self.payloads += [to_json(load) if load else _NONE for load in upsert.payloads]
        self.ids += upsert.ids
        self._codes.append(upsert.codes)
        self._scorer = None
        rest = upsert.residuals
        self._residuals.append(
            np.zeros((len(upsert.ids), 0), np.uint8) if rest is None else rest.copy()
        )
        self.row_of.update(zip(upsert.ids, range(first, len(self.ids)), strict=True))

    def drop(self, ids: Sequence[int | str]) -> None:
        """Let rows die."""
        for one in ids:
            row = self.row_of.pop(one, None)
            if row is not None:
                self.payloads[row] = _NONE

    def payload(self, row: int) -> dict[str, Any]:
        """Return a copy of the payload of a row, empty if it has none."""
        return from_json(self.payloads[row]) or {}

    def is_live(self, row: int) -> bool:
        """Tell whether a row is the one of its id."""
        return self.row_of.get(self.ids[row]) == row

    @property
    def is_whole(self) -> bool:
        """True if no row is dead."""
        return len(self.row_of) == len(self.ids)

    @property
    def codes(self) -> SparseVectors:
        """All rows, dead ones included; not of a table that never had one."""
        if len(self._codes) > 1:
            self._codes = [SparseVectors.concat(self._codes)]
        return self._codes[0]

    @property
    def scorer(self) -> Scorer:
        """All rows, to be scored; not of a table that never had one."""
        if self._scorer is None:
            self._scorer = Scorer(self.codes)
        return self._scorer

    @property
    def residuals(self) -> NDArray[np.uint8]:
        """Residuals of all rows, uint8 (n, width)."""
        if len(self._residuals) > 1:
            self._residuals = [np.concatenate(self._residuals)]
        return self._residuals[0]

    def compact(self, first: int = 0) -> None:
        """Forget the dead rows from the first on."""
        live = sorted(self.row_of.values())
        kept = [*range(first), *(row for row in live if row >= first)]
        if len(kept) < len(self.ids):
            self._codes, self._residuals = [self.codes[kept]], [self.residuals[kept]]
            self._scorer = None
            self.row_of = {self.ids[row]: new for new, row in enumerate(kept) if self.is_live(row)}
            self.payloads = [self.payloads[row] for row in kept]
            self.ids = [self.ids[row] for row in kept]
