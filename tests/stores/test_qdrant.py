"""What needs no server; the rest is in tests/contract."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from csrkit.collection.homes._server import Server
from csrkit.errors import ConfigError, StoreError
from csrkit.stores import QdrantStore
from csrkit.stores._address import Address
from csrkit.stores._failures import wait_s
from csrkit.stores._retry import Retry
from csrkit.stores.qdrant import open_url
from csrkit.stores.testing import random_codes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "name=''"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"datatype": "int4"}, "float32, float16 or uint8, got 'int4'"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QdrantStore(QdrantClient(":memory:"), "docs", **settings)


def test_the_asynchronous_client_is_refused() -> None:
    with pytest.raises(ConfigError, match="asynchronous"):
        QdrantStore(AsyncQdrantClient(":memory:"), "docs")  # type: ignore[arg-type]


def test_a_vector_is_added_to_a_collection_of_an_unnamed_one() -> None:
    client = QdrantClient(":memory:")
    dense = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection("docs", vectors_config=dense)
    client.upsert("docs", [models.PointStruct(id=1, vector=[1, 2], payload={"t": "x"})])
    store = QdrantStore(client, "docs")
    store.upsert([1, 2], random_codes(0, 2))
    point = client.retrieve("docs", [1], with_vectors=[""])[0]
    assert (point.vector, point.payload) == ([1, 2], {"t": "x"})
    assert store.count() == 2


def test_an_update_that_did_not_finish_is_an_error() -> None:
    client = QdrantClient(":memory:")
    store = QdrantStore(client, "docs")
    late = models.UpdateResult(operation_id=1, status=models.UpdateStatus.WAIT_TIMEOUT)
    with pytest.raises(StoreError, match=r"took the order to upsert .* did not finish in time"):
        store._home.write("upsert [1]", lambda: [late])


class Rpc(Exception):
    """As grpc spells a failure."""

    def __init__(self, name: str) -> None:
        self.name = name

    def code(self) -> Any:
        return type("Code", (), {"name": self.name})()


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (Rpc("UNAVAILABLE"), 0.0),
        (Rpc("RESOURCE_EXHAUSTED"), 0.0),
        (Rpc("INVALID_ARGUMENT"), None),
        (json.JSONDecodeError("a proxy's page", "<html>", 0), 0.0),
        (ValueError("wrong"), None),
        (httpx.UnsupportedProtocol("ftp"), None),
    ],
)
def test_which_failures_may_pass(error: Exception, wait: float | None) -> None:
    assert wait_s(error) == wait


class TestUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "qdrant://host:6333",
            "qdrant://host/",
            "qdrant:///docs",
            "qdrant://host/a/b",
            "qdrant://user:s3cret@host/docs",
            "qdrant://host/docs?api_key=s3cret",
            "qdrant+ftp://host/docs",
            "qdrant://[::1/s3cret",
        ],
    )
    def test_what_is_no_address_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError, match="expected qdrant://host:6333/collection") as caught:
            open_url(url)
        assert "s3cret" not in str(caught.value)

    def test_a_key_in_a_url_is_told_where_it_belongs(self) -> None:
        """Regression: what was repeated without the key looked just like what was expected."""
        for url in ("qdrant://user:s3cret@host/docs", "qdrant://host/docs?api_key=s3cret"):
            with pytest.raises(ConfigError, match=r"got one with a user, .*set QDRANT_API_KEY"):
                open_url(url)

    def test_a_number_of_ipv6_is_a_host(self) -> None:
        """Regression: its colons were taken for a port."""
        client = Address.of("qdrant://[::1]:1/docs").client()
        assert Server(client, "docs", Retry()).address == "qdrant://[::1]:1"
        with pytest.raises(StoreError, match="ConnectError"):
            QdrantStore(client, "docs", retry=Retry(attempts=1))
        client.close()

    @pytest.mark.parametrize("port", ["70000", "x", "-1", "0", "s3cret@host"])
    def test_a_port_that_cannot_be_is_refused(self, port: str) -> None:
        with pytest.raises(ConfigError, match=r"expected (a port|qdrant://host)") as caught:
            open_url(f"qdrant://host:{port}/docs")
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "localhost.example.com"])
    def test_the_key_does_not_leave_the_machine_in_the_clear(
        self, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("QDRANT_API_KEY", "s3cret")
        with pytest.raises(ConfigError, match=f"to {host} unencrypted: use qdrant.https") as caught:
            open_url(f"qdrant://{host}/docs")
        assert "s3cret" not in str(caught.value)


class TestRetry:
    def run(self, retry: Retry, failures: int, wait: float | None = 0.0) -> list[int]:
        calls: list[int] = []

        def call() -> list[int]:
            calls.append(len(calls))
            if len(calls) <= failures:
                raise OSError(len(calls))
            return calls

        return retry.run(call, lambda error: wait)

    def test_it_stops_at_the_first_success(self) -> None:
        assert self.run(Retry(attempts=5, base_s=0), 3) == [0, 1, 2, 3]

    def test_it_gives_up_after_the_attempts_with_the_last_error(self) -> None:
        with pytest.raises(OSError, match=r"^3$"):
            self.run(Retry(attempts=3, base_s=0), 9)

    @pytest.mark.parametrize("wait", [None, 31.0])
    def test_it_gives_up_at_once_where_waiting_is_no_use(self, wait: float | None) -> None:
        with pytest.raises(OSError, match=r"^1$"):
            self.run(Retry(attempts=3, base_s=0), 9, wait)

    def test_waits_double_up_to_the_cap_with_jitter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[float] = []
        monkeypatch.setattr("csrkit.stores._retry.time.sleep", waits.append)
        self.run(Retry(attempts=7, base_s=1, cap_s=8), 6)
        for wait, whole in zip(waits, [1, 2, 4, 8, 8, 8], strict=True):
            assert whole / 2 <= wait <= whole
        assert len(set(waits)) == 6

    def test_settings_out_of_range_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="at least 1 attempt"):
            Retry(attempts=0)
