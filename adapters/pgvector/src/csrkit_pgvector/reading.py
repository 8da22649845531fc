"""Codes and residuals by id, in one statement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from csrkit.errors import StoreError
from csrkit.stores.adapter import Held, all_found, shown
from csrkit.vectors import SparseVectors
from csrkit_pgvector.keys import plain, spelled
from csrkit_pgvector.rows import unpacked
from csrkit_pgvector.table import Table

__all__ = ["fetched", "stacked"]

_FETCH = """
select {id}, sparsevec_send({code}), %(residual)s from {table}
where {id} = any(%%s::text[]::{type}[]) and {code} is not null
"""


def fetched(
    table: Table, ids: Sequence[int | str], held: Held | None
) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
    """Return codes and residuals.

    Args:
        table: The table, refreshed.
        ids: Plain ids.
        held: What the table holds.

    Returns:
        One row per id, and uint8 (n, residual_bytes), or None if none are kept.

    Raises:
        StoreError: If there is no code for an id, or no residual where they are kept (the
            message names it), or nothing was ever stored.
    """  # noqa: DOC502  # raised by helpers too
    if held is None:
        raise StoreError(f"cannot fetch {shown(ids)}: nothing was stored yet")
    words = {"residual": "{residual}" if held.residual_bytes else "null"}
    with table.reported(f"fetch {shown(ids)}", atomic=False):
        found = table.run(_FETCH % words, spelled(table, ids), binary=True) if ids else []
    rows = all_found(ids, {plain(one): (code, rest) for one, code, rest in found})
    return stacked(ids, rows, held)


def stacked(
    ids: Sequence[int | str], rows: Sequence[tuple[bytes, bytes | None]], held: Held
) -> tuple[SparseVectors, NDArray[np.uint8] | None]:
    """Stack codes and residuals as the server sends them.

    Args:
        ids: Plain ids, for the message.
        rows: Code and residual of each.
        held: What the table holds.

    Returns:
        One row per id, and uint8 (n, residual_bytes), or None if none are kept.

    Raises:
        StoreError: If a residual is missing; the message names the id.
    """
    codes, width = unpacked([code for code, _ in rows], held.dim), held.residual_bytes
    if not width:
        return codes, None
    rests = [rest for _, rest in rows if rest is not None]
    if len(rests) < len(rows):
        bare = [one for one, (_, rest) in zip(ids, rows, strict=True) if rest is None]
        raise StoreError(f"no residual is stored for {shown(bare)}: store the codes again with it")
    return codes, np.frombuffer(b"".join(rests), np.uint8).reshape(-1, width)
