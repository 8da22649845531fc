"""A stand-in of an OpenSearch server, over HTTP on the loopback.

It knows what the adapter sends and refuses the rest, as the REST API documents it; its scores
are those of `lucene_features`. It is no server: nothing here shows that one would agree.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from . import lucene_features

MOST_CLAUSES, MOST_HITS = 1024, 10_000
TYPES: dict[str, type] = {"keyword": str, "long": int, "boolean": bool}


class Refused(Exception):
    """What the server refuses: a status, a type and a reason."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.error = status, {"type": kind, "reason": reason}


def expect(condition: object, reason: str) -> None:
    if not condition:
        raise Refused(400, "parsing_exception", reason)


@dataclass
class Index:
    mappings: dict[str, Any]
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    features: dict[str, dict[str, np.float32]] = field(default_factory=dict)

    def put(self, key: str, document: dict[str, Any]) -> None:
        if not 0 < len(key.encode()) <= 512:
            raise Refused(400, "illegal_argument_exception", f"id is too long: {len(key)}")
        try:
            names, values = document["code"].keys(), list(document["code"].values())
            features = dict(zip(names, lucene_features.kept(values), strict=True)) if values else {}
        except ValueError as error:
            cause = {"type": "illegal_argument_exception", "reason": str(error)}
            refused = Refused(400, "mapper_parsing_exception", "failed to parse")
            refused.error["caused_by"] = cause  # type: ignore[assignment]  # nested, as it is sent
            raise refused from error
        for name, one in self.mappings["properties"]["payload"]["properties"].items():
            value = document["payload"].get(name)
            if value is not None and type(value) is not TYPES[one["type"]]:
                reason = f"failed to parse field [payload.{name}] of type [{one['type']}]"
                raise Refused(400, "mapper_parsing_exception", reason)
        self.documents[key], self.features[key] = document, features

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        expect(body.keys() <= {"query", "size", "_source", "track_total_hits"}, "Unknown key")
        if not 0 <= body["size"] <= MOST_HITS:
            raise Refused(400, "illegal_argument_exception", "Result window is too large")
        expect(body["query"].keys() == {"bool"}, "unknown query")
        boosts, filters = clauses(**body["query"]["bool"])
        found = []
        for key, document in self.documents.items():
            score = lucene_features.score(self.features[key], boosts)
            if score and all(matches(one, document) for one in filters):
                source = {name: document[name] for name in body["_source"]}
                found.append({"_id": key, "_score": score, "_source": source})
        found.sort(key=lambda one: -one["_score"])
        return {"hits": {"hits": found[: body["size"]]}, "status": 200}


def clauses(
    should: list[dict[str, Any]],
    minimum_should_match: int,
    filter: list[dict[str, Any]] | None = None,
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    expect(minimum_should_match == 1, "or a filter alone would match")
    if len(should) > MOST_CLAUSES:
        raise Refused(400, "too_many_clauses", f"maxClauseCount is set to {MOST_CLAUSES}")
    boosts = {}
    for one in should:
        expect(one.keys() == {"rank_feature"}, "unknown query")
        feature = one["rank_feature"]
        expect(feature.keys() == {"field", "linear", "boost"} and feature["linear"] == {}, "keys")
        expect(feature["boost"] >= 0, "negative [boost] are not allowed")
        name, _, latent = feature["field"].partition(".")
        expect(name == "code" and latent not in boosts, "field")
        boosts[latent] = feature["boost"]
    return boosts, filter or []


def matches(query: dict[str, Any], document: dict[str, Any]) -> bool:
    ((kind, body),) = query.items()
    if kind == "bool":
        return not any(matches(one, document) for one in body["must_not"])
    expect(kind == "term", f"unknown query [{kind}]")
    ((name, value),) = body.items()
    expect(name.startswith("payload."), f"unmapped field {name}")
    return bool(document["payload"].get(name.removeprefix("payload.")) == value)


class Server(ThreadingHTTPServer):
    """Indices by name, and the requests that came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.indices: dict[str, Index] = {}
        self.seen: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def index(self, name: str) -> Index:
        if name not in self.indices:
            raise Refused(404, "index_not_found_exception", f"no such index [{name}]")
        return self.indices[name]

    def answer(self, verb: str, parts: list[str], options: dict[str, Any], text: str) -> Any:
        name, action = parts[0], parts[1] if len(parts) > 1 else ""
        if (verb, action) == ("PUT", ""):
            return self.make(name, json.loads(text))
        index = self.index(name)
        if (verb, action) == ("GET", "_mapping"):
            return {name: {"mappings": index.mappings}}
        if (verb, action) == ("POST", "_count") or (verb, action) == ("GET", "_count"):
            return {"count": len(index.documents)}
        expect(verb == "POST" and options.keys() <= {"refresh", "_source_includes"}, "options")
        if action == "_bulk":
            expect(text.endswith("\n"), "The bulk request must be terminated by a newline")
            items = list(bulk(index, parsed(text)))
            is_bad = any("error" in one for item in items for one in item.values())
            return {"errors": is_bad, "items": items}
        if action == "_mget":
            names = options["_source_includes"].split(",")
            docs = [(one, index.documents.get(one)) for one in json.loads(text)["ids"]]
            return {"docs": [found(one, document, names) for one, document in docs]}
        expect(action == "_msearch" and text.endswith("\n"), f"no handler for {verb} {parts}")
        lines = parsed(text)
        expect(len(lines) % 2 == 0 and not any(lines[::2]), "a header and a body for each search")
        return {"responses": [tried(index, body) for body in lines[1::2]]}

    def make(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if name in self.indices:
            reason = f"index [{name}] already exists"
            raise Refused(400, "resource_already_exists_exception", reason)
        mappings = body["mappings"]
        expect(mappings.keys() == {"dynamic", "_meta", "properties"}, "unknown keys of a mapping")
        expect(mappings["properties"]["code"] == {"type": "rank_features"}, "the field code")
        fields = mappings["properties"]["payload"]["properties"]
        for one in fields.values():
            if one["type"] not in TYPES:
                reason = f"No handler for type [{one['type']}]"
                raise Refused(400, "mapper_parsing_exception", reason)
        self.indices[name] = Index(json.loads(json.dumps(mappings)))
        return {"acknowledged": True, "index": name}


def parsed(text: str) -> list[Any]:
    """Return the lines of a body; what else Unicode calls a line break is text."""
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


def bulk(index: Index, lines: list[Any]) -> Iterator[dict[str, Any]]:
    rest = iter(lines)
    for line in rest:
        ((kind, target),) = line.items()
        key, done = target["_id"], {"_id": target["_id"], "status": 200}
        if kind == "delete":
            done["status"] = 200 if index.documents.pop(key, None) else 404
            index.features.pop(key, None)
        else:
            expect(kind == "index", f"unknown action {kind}")
            try:
                index.put(key, next(rest))
            except Refused as refused:
                done |= {"status": refused.status, "error": refused.error}
        yield {kind: done}


def found(key: str, document: dict[str, Any] | None, names: list[str]) -> dict[str, Any]:
    if document is None:
        return {"_id": key, "found": False}
    source = {name: document[name] for name in names if name in document}
    return {"_id": key, "found": True, "_source": source}


def tried(index: Index, body: dict[str, Any]) -> dict[str, Any]:
    try:
        return index.search(body)
    except Refused as refused:
        return {"error": refused.error, "status": refused.status}


class Handler(BaseHTTPRequestHandler):
    """HTTP around `Server.answer`."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm, wbufsize = True, -1  # an answer is one packet, and at once

    def handle_any(self) -> None:
        text = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        target = urlsplit(self.path)
        self.server.seen.append((self.command, self.path, self.headers.get("authorization")))
        options = {key: one[-1] for key, one in parse_qs(target.query).items()}
        status = 200
        try:
            parts = target.path.strip("/").split("/")
            answer = self.server.answer(self.command, parts, options, text)
        except Refused as refused:
            status, answer = refused.status, {"error": refused.error, "status": refused.status}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=UTF-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = handle_any  # noqa: N815  # names of the standard library

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def running() -> Iterator[Server]:
    """Run a stand-in until the block ends."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
