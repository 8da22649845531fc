"""What a table holds: its dense vectors and their distances, its codes, and the other columns."""

from __future__ import annotations

from psycopg import sql

from csrkit.collection.home import DenseVector, Description
from csrkit_pgvector.notes import Note
from csrkit_pgvector.table import Table

__all__ = ["dense_of", "described", "payload_of"]

_TYPES = {"vector": "float32", "halfvec": "float16"}
_CLASSES = {"cosine": "Cosine", "ip": "Dot", "l2": "Euclid", "l1": "Manhattan"}
_SOME = "select vector_dims({vector}) from {table} where {vector} is not null limit 1"
_FACTS = """
select (select count(*) from {table}), current_setting('server_version'),
  (select extversion from pg_extension where extname = 'vector')
"""


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
        found = table.run(table.composed(_SOME, vector=sql.Identifier(name)))
        if not found:
            return None
        dim = found[0][0]
    classes = [one.split("_")[1] for one in column.indexes if one.startswith(column.type)]
    distance = _CLASSES.get(classes[0], "Cosine") if classes else "Cosine"
    return DenseVector(name, dim, distance, _TYPES[column.type])


def described(table: Table) -> Description:
    """Describe a table.

    Args:
        table: The table, which is refreshed.

    Returns:
        What it is now.
    """
    table.refresh()
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
