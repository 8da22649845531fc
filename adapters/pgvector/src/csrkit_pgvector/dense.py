"""What a table holds beside codes: dense vectors, their distances, and the other columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from csrkit.collection.home import CodeVector, DenseVector, Description
from csrkit.vectors import SparseVectors
from csrkit_pgvector.notes import Note
from csrkit_pgvector.rows import unpacked
from csrkit_pgvector.table import Table

__all__ = ["code_rows", "dense_of", "dense_rows", "described", "operator", "payload_of"]

_TYPES = {"vector": "float32", "halfvec": "float16"}
_OPERATORS = {"Cosine": "<=>", "Dot": "<#>", "Euclid": "<->", "Manhattan": "<+>"}
_CLASSES = {"cosine": "Cosine", "ip": "Dot", "l2": "Euclid", "l1": "Manhattan"}
_HEADER = 4  # bytes before the numbers of a vector: its width, and 0
_FACTS = """
select (select count(*) from {table}), current_setting('server_version'),
  (select extversion from pg_extension where extname = 'vector')
"""


def operator(distance: str) -> str:
    """Return pgvector's operator of a distance.

    Args:
        distance: As a `DenseVector` names it.

    Returns:
        Such as ``<=>``; smaller is nearer.
    """
    return _OPERATORS[distance]


def dense_of(table: Table, name: str) -> DenseVector | None:
    """Describe a dense vector.

    Args:
        table: The table, refreshed.
        name: Name of a column.

    Returns:
        What is known of it, its distance from its index, or cosine; None if it is no column
        of vectors, or neither its type nor a row tells how wide they are.
    """
    column = table.columns.get(name)
    if column is None or column.type not in _TYPES:
        return None
    dim = column.width
    if dim < 1:
        some = "select vector_dims({vector}) from {table} where {vector} is not null limit 1"
        found = table.run(table.composed(some, vector=sql.Identifier(name)))
        if not found:
            return None
        dim = found[0][0]
    classes = [one.split("_")[1] for one in column.indexes if one.startswith(column.type)]
    distance = _CLASSES.get(classes[0], "Cosine") if classes else "Cosine"
    return DenseVector(name, dim, distance, _TYPES[column.type])


def described(table: Table) -> Description:
    """Describe a table.

    Args:
        table: The table, refreshed.

    Returns:
        What it is now.
    """
    ((count, server, extension),) = table.run(_FACTS)
    named = sorted(table.columns.items())
    dense = [dense_of(table, name) or _residual_of(table, name) for name, _ in named]
    others = payload_of(table)
    return Description(
        engine="PostgreSQL",
        version=f"{server} with pgvector {extension}",
        title=table.names.table,
        count=count,
        dense=tuple(one for one in dense if one is not None),
        sparse=tuple(name for name, one in named if one.type == "sparsevec"),
        payload_indexes=tuple(
            (name, one.type) for name, one in named if name in others and one.indexes
        ),
        aliases=(),
        can_add_in_place=True,
    )


def _residual_of(table: Table, name: str) -> DenseVector | None:
    """Describe residuals, as the vectors of bytes that other engines make of them."""
    code = table.columns.get(name.removesuffix("_residual"))
    note = Note.of(code.comment) if code is not None and name.endswith("_residual") else None
    return DenseVector(name, note.residual_bytes, "Dot", "uint8") if note else None


def payload_of(table: Table) -> list[str]:
    """Return the names of the columns that are no key, no vector, and nothing of csrkit's.

    Args:
        table: The table, refreshed.

    Returns:
        Their names.
    """
    codes = [name for name, one in table.columns.items() if one.type == "sparsevec"]
    own = {table.names.id, *codes, *(f"{name}_residual" for name in codes)}
    return [
        name for name, one in table.columns.items() if name not in own and one.type not in _TYPES
    ]


def dense_rows(bodies: Sequence[bytes | None], dim: int) -> NDArray[np.float32]:
    """Stack dense vectors as the server sends them.

    Args:
        bodies: One vector each, as bytes; None where a row has none.
        dim: Width.

    Returns:
        float32 (n, dim), a row of NaN for one that is missing or of another width.
    """
    size = _HEADER + 4 * dim
    blank = bytes(_HEADER) + np.full(dim, np.nan, ">f4").tobytes()
    whole = [one if one is not None and len(one) == size else blank for one in bodies]
    parts = b"".join([one[_HEADER:] for one in whole])
    return np.frombuffer(parts, ">f4").astype(np.float32).reshape(len(bodies), dim)


def code_rows(
    bodies: Sequence[bytes | None], rests: Sequence[bytes | None], codes: CodeVector
) -> tuple[SparseVectors, NDArray[np.bool_], NDArray[np.uint8] | None]:
    """Stack codes and residuals.

    Args:
        bodies: One code each, as bytes; None where a row has none.
        rests: One residual each; None where a row has none.
        codes: What they are.

    Returns:
        One code per row, bool (n,) whether it has one with its residual, and uint8
        (n, residual_bytes), or None if none are kept.
    """
    width = codes.residual_bytes
    is_whole = [
        body is not None and (not width or rest is not None)
        for body, rest in zip(bodies, rests, strict=True)
    ]
    empty = bytes(12)
    stacked = unpacked([body or empty for body in bodies], codes.n_latents)
    if not width:
        return stacked, np.array(is_whole, bool), None
    flat = b"".join([rest if rest is not None else bytes(width) for rest in rests])
    residuals = np.frombuffer(flat, np.uint8).reshape(len(rests), width)
    return stacked, np.array(is_whole, bool), residuals
