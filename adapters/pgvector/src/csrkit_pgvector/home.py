"""`PgHome`: a table with a column of dense vectors, as a job that compresses it in place sees it.

The columns that a job adds are empty at first, which changes no row; filling them writes each
row anew, as every update of PostgreSQL does, so the table grows until vacuum has freed the
old rows. Triggers of the table run at each update, as they do for anybody's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import Connection, sql
from pydantic import ValidationError

from csrkit.collection.home import (
    Busy,
    CodeVector,
    DenseVector,
    Description,
    Marker,
    Page,
    PointId,
)
from csrkit.errors import ConfigError, StoreError
from csrkit.stores import Hit
from csrkit.stores.adapter import Held, Upsert
from csrkit.vectors import SparseVectors
from csrkit_pgvector import schema
from csrkit_pgvector.connection import opened
from csrkit_pgvector.dense import code_rows, dense_of, dense_rows, described, operator, payload_of
from csrkit_pgvector.notes import Note
from csrkit_pgvector.reading import Search, plain
from csrkit_pgvector.table import Names, Table
from csrkit_pgvector.urls import parsed, url_of
from csrkit_pgvector.writing import update

__all__ = ["PgHome", "open_home"]

_ROWS = 1000  # of a sample, read at a time
_PATIENCE = "set local lock_timeout = '5s'"  # a lock that is waited for holds up everybody else
# what may pass: lost connections, deadlocks, full disks and memory, locks, shutdowns, time-outs
_PASSING = ("08", "40", "53", "55P03", "57P", "57014")
_LIST = """
select {id} from {table} where ({keep}) and (%%s::text is null or %(key)s > %%s::text::%(type)s)
order by %(key)s limit %%s
"""
_COUNT = "select count(*) from {table} where {vector} is not null"
_DRAW = """
select {id} from {table} tablesample bernoulli (%s) repeatable (%s) where {vector} is not null
"""
_READ = """
select {id}, %(vector)s, %(code)s, %(residual)s, %(payload)s from {table} t
where {id} = any(%%s::text[]::%(type)s[])
"""
_SIZE = "select pg_total_relation_size(to_regclass(%s))"
_NEAR = """
select {id}, ({vector} %(operator)s %%s::vector) + 0 as distance from {table}
where {vector} is not null and ({keep}) order by distance limit %%s
"""


class PgHome:
    """A table of PostgreSQL with pgvector; see `csrkit.collection.home.Home`.

    Ids are whole numbers, uuids or text. The payload of a row are its other columns. The
    distance of a dense vector is that of its index, or cosine if it has none.

    Args:
        connection: A connection of psycopg, or what `psycopg.connect` takes: only with the
            latter a job goes on after a lost connection.
        table: Name of the table, or `Names` of it and of its key.

    Raises:
        ConfigError: If a name is out of its range, or the key is jsonb.
        StoreError: If there is no connection, no pgvector 0.7 or no such table.
    """

    def __init__(self, connection: Connection[Any] | str, table: str | Names) -> None:
        self._conninfo = connection if isinstance(connection, str) else None
        self._table = opened(connection, table, create=False)
        self.url = url_of(self._table.connection, self._table.names)
        if schema.id_type(self._table) == "jsonb":
            self.close()
            raise ConfigError(
                f"expected {self.url} to be keyed by a whole number, a uuid or text, got jsonb: "
                "name another unique column, Names(table, id=...)"
            )

    @contextmanager
    def _calling(self, doing: str, *, atomic: bool = False) -> Iterator[Table]:
        """Yield the table, on a living connection; what may pass becomes `Busy`."""
        if self._conninfo is not None and self._table.connection.closed:
            try:
                self._table.connection = psycopg.connect(self._conninfo, autocommit=True)
            except psycopg.Error as error:
                raise Busy(f"cannot connect to PostgreSQL: {str(error).strip()}") from error
        try:
            with self._table.reported(doing, atomic=atomic):
                yield self._table
        except StoreError as error:
            is_lost = self._table.connection.closed
            state = getattr(error.__cause__, "sqlstate", None) or ("08" if is_lost else "")
            if state.startswith(_PASSING) and not (is_lost and self._conninfo is None):
                raise Busy(str(error)) from error.__cause__
            raise

    def _named(self, name: str) -> Table:
        """Return the table with the codes of this name."""
        table = Table(self._table.connection, self._table.names._replace(code=name))
        table.refresh()
        return table

    # -- what there is --------------------------------------------------------

    def describe(self) -> Description:
        """Return what the table is now; see `Home.describe`."""
        with self._calling("describe it") as table:
            table.refresh()
            return described(table)

    def ids(
        self, after: PointId | None = None, *, size: int = 4096, filter: Any = None
    ) -> Iterator[list[PointId]]:
        """List ids in the order of the key; see `Home.ids`."""
        return self._listed(after, size, filter)

    def missing(
        self, name: str, after: PointId | None = None, *, size: int = 4096
    ) -> Iterator[list[PointId]]:
        """List the ids of rows where a column is null; see `Home.missing`."""
        return self._listed(after, size, sql.SQL("{} is null").format(sql.Identifier(name)))

    def _listed(
        self, after: PointId | None, size: int, keep: sql.Composable | None
    ) -> Iterator[list[PointId]]:
        kind = schema.id_type(self._table)
        # text by its characters, as csrkit sorts it, whatever the language of the database
        key = '{id} collate "C"' if schema.is_text(self._table) else "{id}"
        words = {"key": key, "type": kind}
        text = self._table.composed(_LIST % words, keep=keep or sql.SQL("true"))
        while True:
            last = None if after is None else str(after)
            with self._calling("list its ids") as table:
                page = [plain(one) for (one,) in table.run(text, last, last, size)]
            if not page:
                return
            yield page
            after = page[-1]

    def sample(self, n: int, vector: str, *, seed: int = 0) -> Page:
        """Draw rows, of which it reads no more than the ids; see `Home.sample`."""
        ids = self._drawn(n, vector, seed)
        pages = [self.read(ids[at : at + _ROWS], vector=vector) for at in range(0, len(ids), _ROWS)]
        there = [one for page in pages for one in page.ids]
        rows = [page.vectors for page in pages if page.vectors is not None]
        vectors = np.concatenate([dense_rows([], self._source(vector).dim), *rows])
        good = np.flatnonzero(vectors.any(axis=1) & np.isfinite(vectors).all(axis=1))
        return Page([there[row] for row in good.tolist()], vectors[good])

    def _drawn(self, n: int, vector: str, seed: int) -> list[PointId]:
        self._source(vector)
        column, seeded = sql.Identifier(vector), seed % 2**31
        with self._calling("draw a sample") as table:
            ((count,),) = table.run(table.composed(_COUNT, vector=column))
            share = 100 * min(1.0, (1.2 * n + 100) / max(count, 1))
            draw = table.composed(_DRAW, vector=column)
            found = table.run(draw, share, seeded)
            if len(found) < min(n, count):  # unlikely
                found = table.run(draw, 100, seeded)
        chosen = np.random.default_rng(seed).permutation(len(found))[:n]
        return [plain(found[row][0]) for row in chosen.tolist()]

    def _source(self, vector: str) -> DenseVector:
        with self._calling(f"look at {vector!r}") as table:
            table.refresh()
            found = dense_of(table, vector)
        if found is None:
            title = self._table.names.table
            raise StoreError(f"table {title!r} has no dense vector {vector!r} (any more)")
        return found

    # -- rows -----------------------------------------------------------------

    def read(
        self,
        ids: Sequence[PointId],
        *,
        vector: str | None = None,
        codes: CodeVector | None = None,
        payload: bool = False,
    ) -> Page:
        """Read rows by id; see `Home.read`."""
        dim = 0 if vector is None else self._source(vector).dim
        with self._calling(f"read {len(ids)} rows") as table:
            found = table.run(
                self._reading(vector, codes, payload), schema.spelled(table, ids), binary=True
            )
        rows = {plain(one): rest for one, *rest in found}
        there = [one for one in ids if one in rows]
        page = Page(there)
        if vector is not None:
            page = page._replace(vectors=dense_rows([rows[one][0] for one in there], dim))
        if codes is not None:
            bodies, rests = [rows[one][1] for one in there], [rows[one][2] for one in there]
            stacked, is_coded, residuals = code_rows(bodies, rests, codes)
            page = page._replace(codes=stacked, is_coded=is_coded, residuals=residuals)
        return page._replace(payloads=[rows[one][3] for one in there]) if payload else page

    def _reading(self, vector: str | None, codes: CodeVector | None, payload: bool) -> bytes:
        words = dict.fromkeys(("vector", "code", "residual", "payload"), "null")
        parts: dict[str, sql.Composable] = {}
        if vector is not None:
            words["vector"] = "vector_send({vector}::vector)"
            parts["vector"] = sql.Identifier(vector)
        if codes is not None:
            words["code"], parts["codes"] = "sparsevec_send({codes})", sql.Identifier(codes.name)
        if codes is not None and codes.residual_bytes:
            words["residual"], parts["rest"] = "{rest}", sql.Identifier(f"{codes.name}_residual")
        others = payload_of(self._table) if payload else []
        if payload:
            listed = [sql.SQL("t.{}").format(sql.Identifier(name)) for name in others]
            parts["others"] = sql.SQL(", ").join(listed)
            words["payload"] = "(select to_jsonb(o) from (select {others}) o)"
        return self._table.composed(
            _READ % (words | {"type": schema.id_type(self._table)}), **parts
        )

    def add(self, codes: CodeVector) -> None:
        """Add the columns; see `Home.add`."""
        with self._calling(f"add {codes.name!r}", atomic=True) as table:
            table.run(_PATIENCE)
            schema.add_columns(self._named(codes.name), Held(codes.n_latents, codes.residual_bytes))

    def write(self, codes: CodeVector, page: Page) -> list[PointId]:
        """Set codes on rows that are there; see `Home.write`."""
        assert page.codes is not None  # a page to write
        batch = Upsert(page.ids, page.codes, None, page.residuals)
        with self._calling(f"set {codes.name!r} on {len(page.ids)} rows", atomic=True):
            found = update(self._named(codes.name), batch)
        return [one for one in page.ids if str(one) not in found]

    def drop(self, codes: CodeVector) -> None:
        """Drop the columns; see `Home.drop`."""
        text = "alter table {table} drop column if exists {code}"
        if codes.residual_bytes:
            text += ", drop column if exists {residual}"
        with self._calling(f"drop {codes.name!r}", atomic=True) as table:
            table.run(_PATIENCE)
            self._named(codes.name).run(text)

    # -- searching ------------------------------------------------------------

    def exact(
        self, queries: NDArray[np.float32], vector: str, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search a dense vector by a scan of the table; see `Home.exact`."""
        distance = self._source(vector).distance
        words = {"operator": operator(distance)}
        parts = {"vector": sql.Identifier(vector), "keep": filter or sql.SQL("true")}
        text = self._table.composed(_NEAR % words, **parts)
        with self._calling(f"search {vector!r}") as table:
            answers = [table.run(text, str(row.tolist()), limit) for row in queries]
        return [[Hit(plain(one), _score(distance, far)) for one, far in rows] for rows in answers]

    def sparse(
        self, queries: SparseVectors, name: str, *, limit: int = 10, filter: Any = None
    ) -> list[list[Hit]]:
        """Search the codes by a scan of the table; see `Home.sparse`."""
        with self._calling(f"search {name!r}"):
            search = Search(self._named(name), filter, walk=False)
            found = [search.hits(code, limit) for code in queries]
        return [[Hit(hit.id, hit.score) for hit in hits] for hits in found]

    def matching(self, field: str, value: str | int | bool) -> sql.Composed:
        """Return a condition on a column, or on a field of ``payload``; see `Home.matching`."""
        if field in self._table.columns:
            return sql.SQL("{} = {}").format(sql.Identifier(field), value)
        column = sql.Identifier(self._table.names.payload)
        return sql.SQL("{} -> {} = to_jsonb({})").format(column, field, value)

    # -- whose it is ----------------------------------------------------------

    def marker(self, name: str) -> Marker | None:
        """Return who added the codes; see `Home.marker`."""
        with self._calling("read a marker"):
            column = self._named(name).columns.get(name)
        note = Note.of(column.comment) if column else None
        try:
            return Marker.model_validate(note.job) if note and note.job else None
        except ValidationError as error:
            raise StoreError(
                f"{self.url}: the marker of {name!r} cannot be read: {error}"
            ) from error

    def mark(self, marker: Marker) -> None:
        """Add the columns with a marker, or replace their marker; see `Home.mark`.

        Both at once: a column without a marker would be taken for somebody else's.
        """
        held = Held(marker.n_latents, marker.residual_bytes, marker.fingerprint)
        with self._calling(f"mark {marker.name!r}", atomic=True) as table:
            table.run(_PATIENCE)
            own = self._named(marker.name)
            _refuse_taken(own)
            schema.add_columns(own, held)
            schema.comment(own, schema.note_of(held, marker.model_dump()))

    def unmark(self, name: str) -> None:
        """Remove a marker; see `Home.unmark`."""
        with self._calling(f"unmark {name!r}", atomic=True):
            own = self._named(name)
            if name in own.columns:
                own.run("comment on column {table}.{code} is null")

    # -- for good -------------------------------------------------------------

    def snapshot(self) -> str | None:
        """Return None: backups are the server's owner's; see `Home.snapshot`."""
        return None

    def move_to_disk(self, vector: str) -> bool:
        """Return False: a table is on disk; see `Home.move_to_disk`."""
        return False

    def drop_dense(self, vector: str) -> None:
        """Drop a column of vectors, with its indexes; see `Home.drop_dense`."""
        self._source(vector)  # refuse one that is not there
        with self._calling(f"drop {vector!r}", atomic=True) as table:
            table.run(_PATIENCE)
            text = "alter table {table} drop column {vector}"
            table.run(table.composed(text, vector=sql.Identifier(vector)))

    def disk_bytes(self) -> int | None:
        """Return the bytes of the table and its indexes; see `Home.disk_bytes`."""
        with self._calling("measure it") as table:
            return int(table.run(_SIZE, table.quoted)[0][0])

    def close(self) -> None:
        """Close the connection if it was opened here; see `Home.close`."""
        if self._conninfo is not None:
            self._table.connection.close()


def _refuse_taken(table: Table) -> None:
    """Refuse a column of residuals without codes: it is somebody else's."""
    names, columns = table.names, table.columns
    if names.residual in columns and names.code not in columns:
        raise StoreError(
            f"table {names.table!r} has a column {names.residual!r} that is not csrkit's: choose "
            "another name= for the codes"
        )


def _score(distance: str, far: float) -> float:
    """Return a similarity where there is one, such as a cosine, and otherwise the distance."""
    return {"Cosine": 1 - far, "Dot": -far}.get(distance, far)


def open_home(url: str) -> PgHome:
    """Open ``pg://user@host:5432/database/table`` as a home of jobs.

    Args:
        url: The place; see `parsed`.

    Returns:
        The home, with a connection of its own.
    """
    return PgHome(*parsed(url))
