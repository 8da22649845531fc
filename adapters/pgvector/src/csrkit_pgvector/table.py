"""`Table`: one table of PostgreSQL, what its catalogue says of it, and statements for it.

Every name goes through psycopg's own composition, every value is a parameter or a literal
that psycopg quotes, and every failure of the vendor becomes `StoreError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.pq import ExecStatus
from psycopg.rows import tuple_row

from csrkit.errors import StoreError
from csrkit_pgvector.catalogue import CATALOGUE, Column
from csrkit_pgvector.names import Names

__all__ = ["Table"]

_IDS = ("jsonb", "smallint", "integer", "bigint", "uuid", "text", "character varying")


class Table:
    """A table behind a connection; statements name it ``{table}`` and its columns alike.

    The type of the ids is ``{type}`` to them.

    Args:
        connection: Where it is.
        names: What is called what.
        is_own: Whether `close` closes the connection.

    Raises:
        ConfigError: If a name is out of its range.
    """  # noqa: DOC502  # raised by `Names.identifiers`

    def __init__(self, connection: Connection[Any], names: Names, *, is_own: bool = False) -> None:
        self.connection, self.names, self.is_own = connection, names, is_own
        self.columns: dict[str, Column] = {}  # as last seen
        self._parts = self._escaped(names.identifiers())
        self._ready: dict[str, bytes] = {}  # statements by template

    def _escaped(self, parts: Mapping[str, sql.Composable]) -> dict[str, sql.Composable]:
        """Double the percent signs, which psycopg would take for placeholders."""
        texts = {key: part.as_string(self.connection) for key, part in parts.items()}
        return {key: sql.SQL(text.replace("%", "%%")) for key, text in texts.items()}

    def composed(self, template: str, **parts: sql.Composable) -> bytes:
        """Return a statement; ``parts`` fill in what the names do not."""
        found = None if parts else self._ready.get(template)
        if found is None:
            whole = sql.SQL(template).format(**self._parts, **self._escaped(parts))
            found = whole.as_bytes(self.connection)
        if not parts:
            self._ready[template] = found
        return found

    def run(
        self, statement: str | bytes, *values: Any, binary: bool = False
    ) -> list[tuple[Any, ...]]:
        """Run a statement, or what a template becomes, and return its rows."""
        ready = self.composed(statement) if isinstance(statement, str) else statement
        with psycopg.Cursor(self.connection, row_factory=tuple_row) as cursor:
            cursor.execute(ready, values, binary=binary)
            answer = cursor.pgresult
            has_rows = answer is not None and answer.status == ExecStatus.TUPLES_OK
            return cursor.fetchall() if has_rows else []

    def copy(self, template: str, rows: Iterable[tuple[bytes | None, ...]]) -> None:
        """Send rows of a binary COPY, for which psycopg knows no placeholders."""
        plain = self.composed(template).replace(b"%%", b"%")
        with psycopg.Cursor(self.connection) as cursor, cursor.copy(plain) as copy:
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def reported(self, doing: str, *, atomic: bool = True) -> Iterator[None]:
        """Turn failures of the vendor into StoreError, and undo what was done before them."""
        alone = not atomic and self.connection.autocommit
        try:
            with nullcontext() if alone else self.connection.transaction():
                yield
        except psycopg.Error as error:
            words = error.diag.message_primary or str(error).strip() or type(error).__name__
            if error.diag.message_detail:
                words += f": {error.diag.message_detail}"
            if "hnsw index" in words:
                words += ": encode with fewer latents (k), or do without the index"
            raise StoreError(f"table {self.names.table!r}: cannot {doing}: {words}") from error

    @property
    def quoted(self) -> str:
        """The name of the table as SQL spells it."""
        return self._parts["table"].as_string(None).replace("%%", "%")

    def refresh(self) -> Column | None:
        """Read the catalogue and return the column of codes; what cannot hold codes is refused."""
        with self.reported("read its columns", atomic=False):
            found = self.run(CATALOGUE, self.quoted)
        self.columns = {column: Column(*rest) for column, *rest in found}
        keys = [name for name, column in self.columns.items() if column.is_primary]
        if keys and self.names.id not in self.columns:
            self.names = self.names._replace(id=keys[0])
        if self.columns:
            self.check(self.names.id, *_IDS)
            self.check(self.names.code, "sparsevec", None)
            kind = sql.SQL(self.columns[self.names.id].type)  # one of a few, so no harm in it
            parts = self._escaped({**self.names.identifiers(), "type": kind})
            if parts != self._parts:
                self._parts, self._ready = parts, {}
        code = self.columns.get(self.names.code)
        if code is not None and code.width < 1:
            raise StoreError(
                f"table {self.names.table!r}: expected {self.names.code!r} to declare the width of "
                "the codes, sparsevec(n), got sparsevec: alter the type of the column"
            )
        return code

    def check(self, name: str, *types: str | None) -> None:
        """Refuse a column of another type; None among the types allows that it is missing."""
        found = self.columns[name].type if name in self.columns else None
        if found not in types:
            raise StoreError(
                f"table {self.names.table!r}: expected a column {name!r} of type "
                f"{' or '.join(filter(None, types))}, got {found or 'none'}: name another column"
            )

    def close(self) -> None:
        """Close the connection if it is the table's own."""
        if self.is_own:
            self.connection.close()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Close the table if what is done with it first fails: nobody else could."""
        try:
            yield
        except BaseException:
            self.close()
            raise
