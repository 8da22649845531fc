"""Names, ids, payloads, filters and URLs that mean harm, or would if anything were pasted."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from csrkit.errors import ConfigError, StoreError
from csrkit.stores import open_store
from csrkit.stores.testing import HostileStoreContract, random_codes
from csrkit_pgvector import Names, PgHome, PgVectorStore
from csrkit_pgvector.urls import open_url, parsed, url_of

from .test_contract import Made

Connection = psycopg.Connection[Any]
SECRET = "hunter2!"
EVIL = [
    'docs"; drop table victim; --',
    "docs'; drop table victim; --",
    "docs\\'; drop table victim; --",
    "%s %(name)s %% {} {table} {0}",
    "a.b",
    "SELECT",
    "ünïcode ☃ 表",
    " ",
    "\n\t\r",
    "x" * 50,
]


@pytest.fixture
def victim(connection: Connection) -> Any:
    connection.execute("create table if not exists victim (x int)")
    yield
    assert connection.execute("select count(*) from victim").fetchone() == (0,)


@pytest.mark.parametrize("name", EVIL)
def test_names_are_names_and_nothing_else(connection: Connection, victim: None, name: str) -> None:
    names = Names(f"{name} t", id=name, payload=f"{name} p", code=f"{name} c")
    store = PgVectorStore(connection, names, codec=f"{name}\0")
    codes = random_codes(0, 2)
    store.upsert([name, 2], codes, [{name: name}, None], residuals=codes.to_dense().astype("uint8"))
    store.upsert([name], codes[0], residuals=codes.to_dense()[:1].astype("uint8"))
    store.build_index()
    keep = sql.SQL("{} ->> {} = {}").format(sql.Identifier(names.payload), name, name)
    assert [hit.id for hit in store.search(codes[0], filter=keep)[0]] == [name]
    assert store.fetch([2, name]) == codes[::-1]
    assert PgVectorStore(connection, names, create=False).codec == f"{name}\0"
    store.delete([name])
    assert store.count() == 1
    connection.execute(sql.SQL("drop table {}").format(sql.Identifier(names.table)))


@pytest.mark.parametrize("bad", ["", "x" * 64, "ü" * 32, "a\0b", "\ud800", 7, None])
def test_names_that_the_server_would_change_are_refused(connection: Connection, bad: Any) -> None:
    for names in (Names(bad), Names("docs", id=bad), Names("docs", code=bad)):
        with pytest.raises(ConfigError, match="expected names of 1 to 63 bytes, got"):
            PgVectorStore(connection, names)
    with pytest.raises(ConfigError, match="got '" + "x" * 60 + "_residual'"):
        PgVectorStore(connection, Names("docs", code="x" * 60))


def test_ids_filters_and_payloads_stay_values(connection: Connection, victim: None) -> None:
    store = PgVectorStore(connection, "values")
    ids = [*EVIL, "1 or true", "{1,2}", "null", "\\N", "\\.", '"', "'", "\\", "[1]", "1"]
    codes = random_codes(0, len(ids))
    for _ in range(2):
        store.upsert(ids, codes, [{"text": one, one: 1} for one in ids])
    assert store.fetch(ids) == codes
    for one in ids:
        keep = sql.SQL("payload->>'text' = {} and payload ? {}").format(one, one)
        found = store.search(random_codes(1, 1, k=64), filter=keep, limit=50)[0]
        assert [(hit.id, hit.payload) for hit in found] == [(one, {"text": one, one: 1})]
    store.delete(ids[:3])
    assert store.count() == len(ids) - 3


def test_a_filter_of_text_is_refused(connection: Connection) -> None:
    store = PgVectorStore(connection, "filters")
    store.upsert([1], random_codes(0, 1))
    for bad in ("true", b"true", {"x": 1}, 7):
        keep: Any = bad
        with pytest.raises(ConfigError, match=r"psycopg.sql.SQL.*got " + type(bad).__name__):
            store.search(random_codes(0, 1), filter=keep)
    for words in ("nonsense(", "x = 1", "true) or (true; drop table victim", "%s = 1"):
        with pytest.raises(StoreError, match="cannot search"):
            store.search(random_codes(0, 1), filter=sql.SQL(words))  # type: ignore[arg-type]  # a test may
    percent = sql.SQL("'100%' like {}").format("%0\\%")
    assert len(store.search(random_codes(0, 1), filter=percent)[0]) == 1


# -- a thousand of each -----------------------------------------------------------------------


class TestHostile(Made, HostileStoreContract):
    """NUL aside, which no text of PostgreSQL holds."""

    n_hostile = 1000
    holds_nul = False


def test_a_nul_is_named(connection: Connection) -> None:
    store = PgVectorStore(connection, "nul")
    for one, load in (("a\0b", {}), ("a", {"text": "\0"})):
        with pytest.raises(StoreError, match=r"upsert \['a.*was stored: .*u0000 cannot be"):
            store.upsert([one], random_codes(0, 1), [load])


# -- where a URL leads ------------------------------------------------------------------------


def test_a_url_says_where(server: str, connection: Connection) -> None:
    host = conninfo_to_dict(server)["host"]
    url = f"pg:///postgres/url%20docs?host={host}&user=postgres"
    with pytest.raises(StoreError, match="no table 'url docs'"):
        open_store(url)
    store = open_store(url, create=True)
    store.upsert([1], random_codes(0, 1))
    assert PgVectorStore(connection, "url docs").count() == 1
    store.close()  # type: ignore[attr-defined]  # a PgVectorStore
    with pytest.raises(StoreError, match="the connection is closed"):
        store.count()
    connection.execute("create schema if not exists s")
    again = open_url(url.replace("/url%20docs", "/s/docs"), create=True)
    assert connection.execute("select count(*) from s.docs").fetchone() == (0,)
    again.close()


def test_the_url_of_a_table_leads_back(connection: Connection) -> None:
    names = Names("t/ü %", schema="S")
    conninfo, again = parsed(url_of(connection, names))
    found = conninfo_to_dict(conninfo)
    info = connection.info
    assert (found["host"], found["port"]) == (info.host, str(info.port))
    assert (found["user"], found["dbname"], again) == (info.user, info.dbname, names)


def test_the_parts_of_a_url() -> None:
    conninfo, names = parsed("pg://me%40x@db.example:5433/my%20app/docs?sslmode=require")
    want = {"user": "me@x", "host": "db.example", "port": "5433", "dbname": "my app"}
    assert conninfo_to_dict(conninfo) == want | {"sslmode": "require"}
    assert names == Names("docs")
    socket = conninfo_to_dict(parsed("pg://me@%2Frun%2FPg:5433/db/docs")[0])
    assert (socket["host"], socket["port"], socket["user"]) == ("/run/Pg", "5433", "me")
    assert conninfo_to_dict(parsed("pg://[::1]/db/docs")[0])["host"] == "::1"
    assert parsed("pg://h/db/s/t%2Fu")[1] == Names("t/u", schema="s")


@pytest.mark.parametrize(
    "url",
    [
        f"pg://me:{SECRET}@host/db/docs",
        f"pg://me:{SECRET}@host:port/db/docs",
        f"pg://host/db/docs?password={SECRET}",
        f"pg://host/db/docs?user=me&{SECRET}",
        f"pg://host/db?password={SECRET}",
        f"pg://me:{SECRET}@[host/db/docs",
        f"pg://me:{SECRET}@host/docs",
        f"postgres://me:{SECRET}@host/db/docs",
    ],
)
def test_a_password_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="expected pg://user@host") as caught:
        parsed(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None or SECRET not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    "url", ["pg:", "pg://", "pg://h/db", "pg://h//t", "pg://h/a/b/c/d", "pg://h/d/t#x"]
)
def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected pg://user@host"):
        parsed(url)


@pytest.mark.parametrize(
    "bad",
    [SECRET, f"host=x {SECRET}", f"postgresql://me:{SECRET}@[h/db", f"postgresql://h/?{SECRET}=1"],
)
def test_a_connection_string_is_not_shown(bad: str) -> None:
    with pytest.raises(ConfigError, match="one that libpq cannot read") as caught:
        PgVectorStore(bad, "docs")
    assert SECRET not in repr(caught.value)
    assert caught.value.__suppress_context__


def test_a_server_that_is_not_there(tmp_path: Any) -> None:
    with pytest.raises(StoreError, match="cannot connect to PostgreSQL: ") as caught:
        PgVectorStore(f"host={tmp_path} user=me password={SECRET}", "docs")
    assert SECRET not in str(caught.value)
    for bad in (None, 7, psycopg.AsyncConnection):
        with pytest.raises(ConfigError, match=r"expected a psycopg.Connection"):
            PgVectorStore(bad, "docs")  # type: ignore[arg-type]  # refused


def test_what_is_refused_leaves_no_connection_open(server: str, connection: Connection) -> None:
    """psycopg warns of one that is forgotten."""
    connection.execute("create table no_jsonb (id text primary key, payload text)")
    PgVectorStore(connection, "of_codec", codec="a").upsert([1], random_codes(0, 1))
    calls: list[Any] = [
        lambda: PgVectorStore(server, "no_jsonb"),
        lambda: PgVectorStore(server, "of_codec", codec="b"),
        lambda: PgVectorStore(server, "of_codec", ef_search=0),
        lambda: PgVectorStore(server, "missing", create=False),
        lambda: PgHome(server, "of_codec"),
    ]
    for call in calls:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with pytest.raises((ConfigError, StoreError)):
                call()
            gc.collect()
        assert [str(one.message) for one in seen] == []


def test_a_database_without_pgvector_is_refused(server: str, connection: Connection) -> None:
    connection.execute("create database bare")
    with pytest.raises(StoreError, match=r"pgvector 0.7 or later, got one without it.*create ext"):
        PgVectorStore(f"{server.replace('dbname=postgres', '')} dbname=bare", "docs")
    connection.execute("drop database bare")
