"""`Names`: what is called what in a table, and how statements spell it."""

from __future__ import annotations

from typing import NamedTuple

from psycopg import sql

from csrkit.errors import ConfigError

__all__ = ["Names"]

_LONGEST = 63  # bytes of a name: the server cuts longer ones off, and would mix up two of them


class Names(NamedTuple):
    """What is called what in a table.

    Attributes:
        table: The table.
        schema: Its schema; None for the first of the search path that has it.
        id: Column of the ids, unique: jsonb, a whole number, uuid or text. A table without
            a column of this name is keyed by its primary key.
        payload: Column of the payloads, jsonb; a table may be without.
        code: Column of the codes; that of the residuals is ``"<code>_residual"``.
    """

    table: str
    schema: str | None = None
    id: str = "id"
    payload: str = "payload"
    code: str = "csr"

    @property
    def residual(self) -> str:
        """Column of the residuals."""
        return f"{self.code}_residual"

    def identifiers(self) -> dict[str, sql.Composable]:
        """Quote the names.

        Returns:
            What statements call ``{table}``, ``{id}``, ``{payload}``, ``{code}``, ``{residual}``.

        Raises:
            ConfigError: If one is no name, or none that the server keeps as it is.
        """
        columns = {key: getattr(self, key) for key in ("id", "payload", "code", "residual")}
        path = [self.table] if self.schema is None else [self.schema, self.table]
        for one in (*path, *columns.values()):
            if not _is_name(one):
                raise ConfigError(f"expected names of 1 to {_LONGEST} bytes, got {one!r}")
        quoted = {key: sql.Identifier(name) for key, name in columns.items()}
        return {"table": sql.Identifier(*path), **quoted}


def _is_name(one: object) -> bool:
    if not isinstance(one, str) or "\0" in one:
        return False
    sent = one.encode(errors="ignore")  # a lone surrogate is none of UTF-8
    return sent.decode() == one and 0 < len(sent) <= _LONGEST
