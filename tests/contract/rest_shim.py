"""Qdrant's REST API on the loopback, as far as `QdrantStore` uses it, before the real engine.

There is no Qdrant server to run in these tests. This stands between the real
client and the real engine (qdrant-edge-py): each request body is validated with
the client's own pydantic models, which refuse unknown fields, and each answer
comes from the engine (rest_routes). Faults are queued with `RestShim.fail`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from csrkit.stores.qdrant import Retry

from .rest_copies import COPY_ROUTES
from .rest_routes import Collection, Refused, dumped

QUICK = Retry(attempts=4, base_s=0.001)  # for stores that meet faults
VERSION = version("qdrant-client")  # the client warns of a server of another


class Fault(NamedTuple):
    status: int | None  # None: take the request, close the connection, answer nothing
    headers: dict[str, str]
    applied: bool  # do the work before failing, as when the answer is lost
    only: str  # part of the path that the fault waits for
    verb: str  # and its method; any if empty


class RestShim:
    """The server: collections by name, faults to come, requests seen."""

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.http.daemon_threads = True

    def reset(self, folder: Path) -> None:
        """Start anew, in another folder: a client takes 0.2 s to make, so tests share one."""
        for collection in self.collections.values():
            collection.shard.close()
        self.folder = folder
        self.collections = {}
        self.faults: list[Fault] = []
        self.refused: bytes | None = None  # requests that hold this are refused
        self.meanwhile: dict[str, Callable[[], None]] = {}  # once, before a path is served
        self.seen: list[str] = []
        self.version = VERSION
        self.aliases: dict[str, str] = {}
        self.snapshots: list[str] = []
        self.api_keys: set[str | None] = set()

    @property
    def port(self) -> int:
        return int(self.http.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(
        self,
        status: int | None,
        times: int = 1,
        *,
        applied: bool = False,
        only: str = "/points",
        verb: str = "",
        **headers: str,
    ) -> None:
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults += [Fault(status, spelled, applied, only, verb)] * times

    def fault_for(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.only in path and method.startswith(fault.verb):
                self.faults.remove(fault)
                return fault
        return None

    def answer(self, method: str, path: str, body: bytes) -> Any:
        if path == "/":
            return {"title": "qdrant", "version": self.version}
        self.meanwhile.pop(path, lambda: None)()
        if self.refused and self.refused in body:
            raise Refused(400, "the server's own words")
        for verb, pattern, call in COPY_ROUTES:
            match = re.fullmatch(pattern, path)
            if match and verb == method:
                return dumped(call(self, *match.groups(), body))
        raise Refused(404, f"no route {method} {path}")

    def __getitem__(self, name: str) -> Collection:
        name = self.aliases.get(name, name)
        if name not in self.collections:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        return self.collections[name]


@contextmanager
def running(folder: Path) -> Iterator[RestShim]:
    shim = RestShim()
    shim.reset(folder)
    thread = threading.Thread(target=shim.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield shim
    finally:
        shim.http.shutdown()
        shim.http.server_close()
        thread.join()
        shim.reset(folder)


def _handler(shim: RestShim) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            with shim.lock:
                shim.seen.append(f"{self.command} {self.path}")
                shim.api_keys.add(self.headers.get("api-key"))
                fault = shim.fault_for(self.command, path)
                status, reply = (200, {}) if fault else self.work(path, body)
                if fault and fault.applied:
                    self.work(path, body)
            if fault and fault.status is None:
                self.close_connection = True
                return
            if fault:
                status, reply = fault.status or 500, {"status": {"error": "a fault"}, "time": 0}
            self.send(status, reply, fault.headers if fault else {})

        def work(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
            try:
                result = shim.answer(self.command, path, body)
            except Refused as error:
                return error.status, {"status": {"error": str(error)}, "time": 0}
            except Exception as error:
                return 400, {"status": {"error": f"Wrong input: {error}"}, "time": 0}
            whole = {"result": result, "status": "ok", "time": 0.001}
            return 200, result if path == "/" else whole

        def send(self, status: int, reply: dict[str, Any], headers: dict[str, str]) -> None:
            data = re.sub(r"\bNaN\b", "null", json.dumps(reply)).encode()  # as the server does
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
