"""A stand-in server that fails as servers and networks do, each request with some chance."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.rest_routes import Refused
from ..contract.rest_shim import Fault, RestShim

# what comes instead of an answer; "lost" closes the connection
STATUSES = ("429", "408", "500", "502", "503", "504", "lost")
# what happens to the work, and to the bytes of the answer
WORKS = ("partial", "twice", "late", "short", "ended")
BYTES = ("reset", "cut", "garbled", "html", "echo")
KINDS = (*STATUSES, *WORKS, *BYTES)


class FaultyShim(RestShim):
    """Faults are drawn by a seed once `begin` was called, until `end`."""

    rng: np.random.Generator | None = None
    share = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.met: Counter[str] = Counter()
        self.twist = ""
        self.late: list[tuple[str, str, bytes]] = []
        self.somebody: Callable[[], None] = lambda: None  # who writes between requests
        self.http.RequestHandlerClass = _spoiling(self, self.http.RequestHandlerClass)
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # its own doing

    def begin(self, seed: int, share: float = 1 / 8, kinds: tuple[str, ...] = KINDS) -> None:
        self.rng, self.share, self.kinds = np.random.default_rng(seed), share, kinds

    def end(self) -> None:
        self.rng, self.somebody = None, lambda: None
        for one in self.late:
            self._apply(one)
        self.late = []

    def fault_for(self, method: str, path: str) -> Fault | None:
        self.twist = ""
        if self.rng is None or self.rng.random() >= self.share:
            return super().fault_for(method, path)
        kind = self.kinds[self.rng.integers(len(self.kinds))]
        self.met[kind] += 1
        if kind not in STATUSES:
            self.twist = kind
            return None
        asked = ("0", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "")[self.rng.integers(4)]
        headers = {"Retry-After": asked} if kind == "429" else {}
        applied = kind != "429" and bool(self.rng.integers(2))
        return Fault(None if kind == "lost" else int(kind), headers, applied, "", "")

    def answer(self, method: str, path: str, body: bytes) -> Any:
        self.somebody()
        due, self.late = self.late, []
        is_write = path.endswith("/points/vectors") or (
            method == "PUT" and path.endswith("/points")
        )
        if self.twist == "late" and is_write:  # it is applied once the client has gone on
            self.late = [(method, path, body)]
            raise Refused(504, "took too long")
        if self.twist == "partial" and is_write:
            super().answer(method, path, _half(body))
            raise Refused(500, "half of it")
        if self.twist == "twice":
            super().answer(method, path, body)
        if self.twist == "short" and path.endswith("/scroll"):
            wanted = json.loads(body)
            body = json.dumps({**wanted, "limit": max(1, wanted["limit"] // 3)}).encode()
        answer = super().answer(method, path, body)
        if self.twist == "ended" and path.endswith("/scroll"):
            points = answer["points"]
            answer = {"points": points[: len(points) // 2], "next_page_offset": None}
        for one in due:
            self._apply(one)
        return answer

    def _apply(self, one: tuple[str, str, bytes]) -> None:
        with suppress(Exception):  # it came too late: a point or the vector is gone
            super().answer(*one)


@contextmanager
def failing(folder: Path) -> Iterator[FaultyShim]:
    """Run such a server; without faults until it is told to begin."""
    shim = FaultyShim()
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


def _half(body: bytes) -> bytes:
    wanted = json.loads(body)
    wanted["points"] = wanted["points"][: len(wanted["points"]) // 2]
    return json.dumps(wanted).encode()


def _spoiling(shim: FaultyShim, handler: Any) -> Any:
    class Spoiling(handler):  # type: ignore[misc]  # a class made for one server
        def send(self, status: int, reply: dict[str, Any], headers: dict[str, str]) -> None:
            data = json.dumps(reply).encode()
            match shim.twist:
                case "reset":
                    self.connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    os.close(self.connection.detach())  # at once, whoever else holds it
                case "cut":
                    self.raw(200, data[: len(data) // 2], len(data))
                    self.close_connection = True
                case "garbled":
                    self.raw(200, data[: len(data) // 2])
                case "html":
                    self.raw(200, b"<html>Please log in to the network</html>")
                case "echo":
                    super().send(status, reply, headers)
                    super().send(status, reply, headers)
                case _:
                    super().send(status, reply, headers)

        def raw(self, status: int, data: bytes, length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length or len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

    return Spoiling
