"""Codes and residuals by id, in one statement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from csrkit.stores.adapter import Held, all_found
from csrkit.vectors import SparseVectors
from csrkit_pgvector.keys import plain, spelled
from csrkit_pgvector.rows import unpacked
from csrkit_pgvector.table import Table

__all__ = ["fetched"]

_FETCH = """
select {id}, sparsevec_send({code}), %(residual)s from {table}
where {id} = any(%%s::text[]::{type}[]) and {code} is not null
"""


def fetched(
    table: Table, ids: Sequence[int | str], held: Held
) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
    """Return codes and residuals.

    Args:
        table: The table, refreshed.
        ids: Plain ids.
        held: What the table holds.

    Returns:
        One row per id, and uint8 (n, residual_bytes), or None if none are kept.

    Raises:
        StoreError: If there is no code for an id; the message names it.
    """  # noqa: DOC502  # raised by `all_found`
    width = held.residual_bytes
    words = {"residual": "{residual}" if width else "null"}
    found = table.run(_FETCH % words, spelled(table, ids), binary=True) if ids else []
    rows = all_found(ids, {plain(one): (code, rest) for one, code, rest in found})
    codes = unpacked([code for code, _ in rows], held.dim)
    if not width:
        return codes, None
    return codes, np.frombuffer(b"".join([rest for _, rest in rows]), np.uint8).reshape(-1, width)
