"""What PostgreSQL's catalogue says of the columns of a table."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CATALOGUE", "Column"]

# one row per column, its name before the fields of `Column`; the parameter is the quoted table
CATALOGUE = """
select attname, format_type(atttypid, null), atttypmod, col_description(attrelid, attnum),
  coalesce(array_agg(opcname::text) filter (where indisvalid and indpred is null), array[]::text[]),
  coalesce(bool_or(indisprimary), false)
from pg_attribute
  left join pg_index on indrelid = attrelid and indnatts = 1 and indkey[0] = attnum
  left join pg_opclass on pg_opclass.oid = indclass[0]
where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
group by attrelid, attnum, attname, atttypid, atttypmod order by attnum
"""


class Column(NamedTuple):
    """What the catalogue says of a column.

    Attributes:
        type: Its type as the server spells it, without a width.
        width: Declared width of a vector, -1 if there is none.
        comment: Its comment, or None.
        indexes: Operator class of each whole index over it alone, such as "sparsevec_ip_ops".
        is_primary: Whether it alone is the primary key.
    """

    type: str
    width: int
    comment: str | None
    indexes: list[str]
    is_primary: bool
