"""A store over SQLite, as somebody else's adapter would be written: public names alone.

One table of documents and one of postings; a search is a join. It is small, not fast.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from csrkit.errors import StoreError
from csrkit.stores import Hit
from csrkit.stores.adapter import (
    Held,
    Upsert,
    all_found,
    checked_dim,
    checked_ids,
    checked_limit,
    checked_upsert,
    stacked,
    uuid_of,
)
from csrkit.vectors import SparseVectors

_TABLES = """
create table if not exists width (dim integer);
create table if not exists docs (key text primary key, id text, payload text);
create table if not exists postings (
    latent integer, key text, weight real, primary key (latent, key)
) without rowid;
create index if not exists by_key on postings (key);
create temp table query (latent integer, weight real);
"""
_SEARCH = """
select docs.id, sum(postings.weight * query.weight) as score, docs.payload
from query join postings using (latent) join docs using (key)
where {filter} group by key having score != 0 order by score desc limit ?
"""


class SqliteStore:
    """Codes in a file of SQLite; a filter is a condition of SQL over ``payload``."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_TABLES)

    @property
    def _held(self) -> Held | None:
        found = self._db.execute("select dim from width").fetchone()
        return found and Held(*found)

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        self._db.execute("begin")
        try:
            yield
        except sqlite3.Error as error:
            self._db.execute("rollback")
            raise StoreError(f"cannot {doing}: {error}") from error
        self._db.execute("commit")

    def upsert(self, ids: Any, codes: SparseVectors, payloads: Any = None) -> None:
        held = self._held
        checked = checked_upsert(ids, codes, payloads, held)
        if held is None and checked.ids:
            self._db.execute("insert into width values (?)", [codes.dim])
        for batch, doing in checked.batches(1000):
            with self._transaction(doing):
                self._write(batch)

    def _write(self, batch: Upsert) -> None:
        keys = [uuid_of(one) for one in batch.ids]
        texts = [
            json.dumps(load) if load else None for load in batch.payloads or [None] * len(keys)
        ]
        change = "nothing" if batch.payloads is None else "update set payload = excluded.payload"
        rows = zip(keys, map(json.dumps, batch.ids), texts, strict=True)
        upsert = f"insert into docs values (?, ?, ?) on conflict (key) do {change}"
        self._db.executemany(upsert, rows)
        self._db.executemany("delete from postings where key = ?", [(key,) for key in keys])
        spans = zip(keys, pairwise(batch.codes.indptr.tolist()), strict=True)
        of_entry = [key for key, (start, stop) in spans for _ in range(start, stop)]
        entries = zip(
            batch.codes.indices.tolist(), of_entry, batch.codes.values.tolist(), strict=True
        )
        self._db.executemany("insert into postings values (?, ?, ?)", entries)

    def search(
        self, codes: SparseVectors, *, limit: int = 10, filter: str | None = None
    ) -> list[list[Hit]]:
        checked_limit(limit)
        checked_dim(codes, self._held and self._held.dim)
        return [self._hits(code, limit, filter or "true") for code in codes]

    def _hits(self, code: SparseVectors, limit: int, keep: str) -> list[Hit]:
        entries = list(zip(code.indices.tolist(), code.values.tolist(), strict=True))
        with self._transaction("search"):
            self._db.execute("delete from query")
            self._db.executemany("insert into query values (?, ?)", entries)
            found = self._db.execute(_SEARCH.format(filter=keep), [limit]).fetchall()
        return [
            Hit(json.loads(one), score, load and json.loads(load)) for one, score, load in found
        ]

    def fetch(self, ids: Any) -> SparseVectors:
        plain = checked_ids(ids)
        if self._held is None:
            raise StoreError(f"cannot fetch {plain}: nothing was stored yet")
        found = {one: self._row(one) for one in plain}
        rows = all_found(plain, {one: row for one, row in found.items() if row is not None})
        return stacked([row[0] for row in rows], [row[1] for row in rows], self._held.dim)

    def _row(self, one: int | str) -> tuple[Sequence[int], Sequence[float]] | None:
        key = [uuid_of(one)]
        if self._db.execute("select 1 from docs where key = ?", key).fetchone() is None:
            return None
        row = "select latent, weight from postings where key = ? order by weight"
        entries = self._db.execute(row, key).fetchall()
        return [latent for latent, _ in entries], [weight for _, weight in entries]

    def delete(self, ids: Any) -> None:
        keys = [(uuid_of(one),) for one in checked_ids(ids)]
        with self._transaction("delete"):
            for table in ("docs", "postings"):
                self._db.executemany(f"delete from {table} where key = ?", keys)

    def count(self) -> int:
        return int(self._db.execute("select count(*) from docs").fetchone()[0])

    def close(self) -> None:
        self._db.close()
