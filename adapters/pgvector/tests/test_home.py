"""`PgHome`: the laws of every home on keys of each type; jobs on it, and what may disturb them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from psycopg import sql
from tests.collection.models import random_model

from csrkit.collection import Job, compress
from csrkit.collection.home import Busy, id_order
from csrkit.collection.testing import CODES, DIM, MARKER, HomeLaws, N, embeddings, random_page
from csrkit.errors import ConfigError, JobError, StoreError
from csrkit_pgvector import Names, PgHome, PgVectorStore

Connection = psycopg.Connection[Any]
ARTICLES = """
create table {} (nr {} primary key, dense vector(24), cat int, "ü" text);
create index on {} (cat);
"""


def make_table(connection: Connection, name: str, kind: str, ids: list[Any], n: int = N) -> None:
    table = sql.Identifier(name)
    connection.execute(sql.SQL(ARTICLES).format(table, sql.SQL(kind), table))  # type: ignore[arg-type]  # mypy has no LiteralString
    insert = sql.SQL("insert into {} values (%s, %s, %s, 'ß')").format(table)
    rows = zip(ids, embeddings(n).tolist(), range(n), strict=True)
    with connection.cursor() as cursor:
        cursor.executemany(insert, [(one, str(row), at % 7) for one, row, at in rows])


class Articles(HomeLaws):
    kind = "bigint"
    is_normalized = False

    @pytest.fixture
    def home(self, connection: Connection, request: pytest.FixtureRequest) -> PgHome:
        self.connection = connection
        self.table = f"{self.kind} {request.node.name[-40:]}"
        make_table(connection, self.table, self.kind, self.ids())
        return PgHome(connection, self.table)

    def run(self, text: str, *values: Any) -> Any:
        return self.connection.execute(
            sql.SQL(text).format(sql.Identifier(self.table)),  # type: ignore[arg-type]  # mypy has no LiteralString
            values or None,
        )

    def delete(self, home: Any, ids: list[Any]) -> None:
        self.run(f"delete from {{}} where nr = any(%s::{self.kind}[])", ids)

    def contents(self, home: Any) -> Any:
        cursor = self.run("select * from {} order by nr")
        return [column.name for column in cursor.description], cursor.fetchall()


class TestNumbers(Articles):
    def ids(self) -> list[Any]:
        rng = np.random.default_rng(5)
        return [-(2**62), *np.sort(rng.choice(10 * N, N - 2, replace=False)).tolist(), 2**63 - 1]


class TestUuids(Articles):
    kind = "uuid"
    absent = str(UUID(int=7))

    def ids(self) -> list[Any]:
        rng = np.random.default_rng(5)
        return sorted(str(UUID(bytes=rng.bytes(16))) for _ in range(N))


class TestTexts(Articles):
    kind = "text"
    absent = "nobody"

    def ids(self) -> list[Any]:
        rng = np.random.default_rng(5)
        alphabet = list("aAzZ0_ é'\"%\\☃𝄞")
        return sorted({"".join(rng.choice(alphabet, 12)) for _ in range(N)})


# -- jobs -------------------------------------------------------------------------------------

FAULT = """
create sequence {seq};
create function {fault}() returns trigger language plpgsql as $$ begin
  case nextval('{seq}')
    when 70 then perform pg_terminate_backend(pg_backend_pid());
    when 150 then raise exception 'deadlock detected' using errcode = '40P01';
    when 200 then raise exception 'no space left on device' using errcode = '53100';
    else null;
  end case; return new; end $$;
create trigger fault before update on {table} for each row execute function {fault}();
"""


@pytest.fixture
def table(request: pytest.FixtureRequest, connection: Connection) -> str:
    name = f"t {request.node.name[-50:]}"
    make_table(connection, name, "bigint", list(range(N)))
    return name


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csrkit.collection.jobs.backfill.RANGE_POINTS", 64)
    monkeypatch.setattr("csrkit.collection.jobs.pace.time.sleep", lambda seconds: None)


def contents(connection: Connection, table: str) -> Any:
    cursor = connection.execute(
        sql.SQL("select * from {} order by nr").format(sql.Identifier(table))
    )
    assert cursor.description is not None
    return [column.name for column in cursor.description], cursor.fetchall()


@pytest.mark.usefixtures("_quick")
def test_a_job_under_faults_and_its_rollback(
    server: str, connection: Connection, table: str, tmp_path: Path
) -> None:
    before = contents(connection, table)
    parts = {"seq": sql.SQL("a_seq"), "fault": sql.SQL("a_fault"), "table": sql.Identifier(table)}
    connection.execute(sql.SQL(FAULT).format(**parts))
    model, home = random_model(), PgHome(server, table)
    job = compress(home, model=model, k=8, job=tmp_path / "job", progress=False)
    assert (job.status().written, job.status().retries) == (N, 3)
    connection.execute(sql.SQL("drop trigger fault on {}").format(sql.Identifier(table)))
    page = PgHome(connection, table).read(range(N), vector="dense", codes=job.manifest.codes)
    assert page.vectors is not None
    assert page.codes is not None
    want = model.encode(page.vectors, k=8)
    np.testing.assert_allclose(page.codes.to_dense(), want.to_dense(), atol=1e-6)
    np.testing.assert_array_equal(page.residuals, model.encode_residuals(page.vectors, want))
    store = PgVectorStore(connection, table, create=False, codec=model.fingerprint)
    assert store.codec == model.fingerprint
    assert store.residual_bytes == model.residual_bytes
    assert store.search(want[7], limit=1)[0][0].score == pytest.approx(1.0, abs=1e-4)
    assert [hit.id for hit in store.search(want[7], limit=1)[0]] == [7]
    job.close()
    again = Job.open(tmp_path / "job", progress=False)  # by its URL
    again.rollback()
    again.close()
    assert contents(connection, table) == before


@pytest.mark.usefixtures("_quick")
def test_rows_that_come_change_and_go_meanwhile(
    connection: Connection, table: str, tmp_path: Path
) -> None:
    model, rows = random_model(), embeddings(10, seed=3)
    job = compress(
        PgHome(connection, table), model=model, k=8, job=tmp_path / "job", progress=False
    )
    name = sql.Identifier(table)
    new = sql.SQL("insert into {} values (%s, %s)").format(name)
    connection.execute(new, [1000, str(rows[0].tolist())])
    connection.execute(new, [1001, None])
    changed = sql.SQL("update {} set dense = %s where nr = 5").format(name)
    connection.execute(changed, [str(rows[1].tolist())])
    connection.execute(sql.SQL("delete from {} where nr = 9").format(name))
    assert job.sweep().written == 2  # the new row and the changed one
    assert job.cutover(verify=False).using == "csr"
    store = PgVectorStore(connection, table, create=False)
    assert store.count() == N
    assert [hit.id for hit in store.search(model.encode(rows[:1], k=8), limit=1)[0]] == [1000]
    assert job.status().rejects == 1  # the row without a vector


def test_a_passed_connection_that_is_lost_ends_a_job_that_goes_on(
    server: str, connection: Connection, table: str, tmp_path: Path
) -> None:
    model = random_model()
    with psycopg.connect(server, autocommit=True) as mine:
        home = PgHome(mine, table)
        connection.execute("select pg_terminate_backend(%s)", [mine.info.backend_pid])
        with pytest.raises(StoreError, match="cannot read its columns") as caught:
            compress(home, model=model, k=8, job=tmp_path / "job", progress=False)
        assert not isinstance(caught.value, Busy)
    job = compress(PgHome(server, table), model=model, k=8, job=tmp_path / "job", progress=False)
    assert job.status().written == N
    job.close()


def test_every_reading_call_goes_on_after_a_lost_connection(
    server: str, connection: Connection, table: str
) -> None:
    def calls(home: PgHome) -> list[Any]:
        return [
            lambda: home.describe().count,
            lambda: len(next(home.ids(size=5))),
            lambda: len(list(home.missing("ü"))),
            lambda: len(home.sample(7, "dense").ids),
            lambda: len(home.read([1], payload=True).payloads or ()),
            lambda: len(home.exact(embeddings(1), "dense", limit=3)[0]),
            lambda: home.marker("csr"),
            lambda: (home.disk_bytes() or 0) > 0,
        ]

    mine, home = psycopg.connect(server, autocommit=True), PgHome(server, table)
    lost = PgHome(mine, table)
    mine.close()
    for ours, theirs in zip(calls(home), calls(lost), strict=True):
        with pytest.raises(StoreError, match="the connection is closed") as caught:
            theirs()
        assert not isinstance(caught.value, Busy)
        want = ours()
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
        with pytest.raises(Busy):
            ours()
        assert ours() == want
    home.close()


def test_columns_of_somebody_else_are_never_taken(
    connection: Connection, table: str, tmp_path: Path
) -> None:
    name, model = sql.Identifier(table), random_model()
    connection.execute(sql.SQL("alter table {} add column csr_residual bytea").format(name))
    with pytest.raises(StoreError, match="'csr_residual' that is not csrkit's"):
        compress(PgHome(connection, table), model=model, k=8, job=tmp_path / "1", progress=False)
    connection.execute(sql.SQL("alter table {} add column csr sparsevec(96)").format(name))
    with pytest.raises(JobError, match="never taken over"):
        compress(PgHome(connection, table), model=model, k=8, job=tmp_path / "2", progress=False)
    assert contents(connection, table)[0][-2:] == ["csr_residual", "csr"]


def test_a_table_that_is_locked_is_not_waited_for(
    server: str, connection: Connection, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csrkit_pgvector.home.session._PATIENCE", "set local lock_timeout = '50ms'")
    home = PgHome(server, table)
    with connection.transaction():
        connection.execute(sql.SQL("select from {} limit 1").format(sql.Identifier(table)))
        with pytest.raises(Busy, match="lock timeout"):
            home.mark(MARKER)
        with pytest.raises(Busy, match="lock timeout"):
            home.add(CODES)
    home.add(CODES)
    assert home.write(CODES, random_page([1, 2, 2**40])) == [2**40]
    home.close()


# -- vectors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "index", "distance", "datatype"),
    [
        ("vector(3)", "vector_cosine_ops", "Cosine", "float32"),
        ("vector(3)", "vector_ip_ops", "Dot", "float32"),
        ("vector(3)", "vector_l2_ops", "Euclid", "float32"),
        ("vector(3)", "vector_l1_ops", "Manhattan", "float32"),
        ("halfvec(3)", "halfvec_l2_ops", "Euclid", "float16"),
        ("halfvec(3)", None, "Cosine", "float16"),
        ("vector", None, "Cosine", "float32"),
    ],
)
def test_every_kind_of_dense_vector(
    connection: Connection, column: str, index: str | None, distance: str, datatype: str
) -> None:
    connection.execute(f"drop table if exists v; create table v (id int primary key, v {column})")
    rows = np.array([[1, 0, 0.5], [0, 2, 0], [0.25, 0, 3], [0, 0, 0]], np.float32)
    for one, row in enumerate(rows.tolist()):
        connection.execute("insert into v values (%s, %s)", [one, str(row)])
    if index:
        connection.execute(f"create index on v using hnsw (v {index})")
    home = PgHome(connection, "v")
    found = home.describe().source("v")
    assert (found.dim, found.distance, found.datatype) == (3, distance, datatype)
    np.testing.assert_array_equal(home.read(range(4), vector="v").vectors, rows)
    assert sorted(home.sample(9, "v").ids) == [0, 1, 2]  # zeros cannot be encoded
    best = home.exact(np.array([[0, 0, 1]], np.float32), "v", limit=1)[0][0]
    near = {"Cosine": 3 / np.hypot(0.25, 3), "Dot": 3.0}
    assert best.id == (3 if distance in ("Euclid", "Manhattan") else 2)
    assert best.score == pytest.approx(near.get(distance, 1.0), abs=1e-6)


def test_rows_without_a_vector_or_of_another_width_are_rows_of_nan(connection: Connection) -> None:
    connection.execute("create table widths (id int primary key, v vector, other text)")
    assert PgHome(connection, "widths").describe().dense == ()  # nothing tells the width
    connection.execute("insert into widths values (1, '[1,2]'), (2, '[1,2,3]'), (3, null)")
    home = PgHome(connection, "widths")
    vectors = home.read([1, 2, 3], vector="v").vectors
    assert vectors is not None
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, True]
    assert home.sample(9, "v").ids == [1]
    assert home.disk_bytes()


def test_keys_without_an_order_are_refused(connection: Connection) -> None:
    connection.execute("create table keyed (id jsonb primary key, nr int unique, v vector(2))")
    with pytest.raises(ConfigError, match=r"keyed by a whole number.*got jsonb: name another"):
        PgHome(connection, "keyed")
    connection.execute("insert into keyed values ('1', 7, '[1,2]')")
    assert list(PgHome(connection, Names("keyed", id="nr")).ids()) == [[7]]
    with pytest.raises(StoreError, match="no table 'nothing'"):
        PgHome(connection, "nothing")


def test_ids_rise_as_csrkit_sorts_them() -> None:
    assert TestTexts().ids() == sorted(TestTexts().ids(), key=id_order)
    assert DIM == 24  # as the table declares it
