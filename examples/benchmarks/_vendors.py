"""What `adapters.py` compares: each adapter, and the fastest that its vendor's own calls do.

Rows in the vendor's types, of ids 0, 1, 2 and a payload, are made by `Rival.spell`, in the time
of a load or before it.
"""

from __future__ import annotations

import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from csrkit import SparseVectors
from csrkit.stores import Store

LIMIT = 10


class Rival(ABC):
    """An adapter and its vendor, with the same codes and payloads.

    Attributes:
        name: Of the adapter.
        how: The vendor's calls.
        rounds: How often each query is asked.
        is_loaded: Whether its load is timed; another rival's is the same where not.
    """

    name: str
    how: str
    rounds: int = 5
    is_loaded: bool = True

    def __init__(
        self, codes: SparseVectors, payloads: list[dict[str, Any]], queries: SparseVectors
    ) -> None:
        self.codes, self.payloads, self.queries = codes, payloads, list(queries)
        self.rows = self.spell()

    @abstractmethod
    def spell(self) -> Any:
        """Make the vendor's rows out of the codes and payloads."""

    @abstractmethod
    def theirs(self, folder: Path, rows: Any) -> Any:
        """Load rows by the vendor's calls, and return what `ask` takes."""

    @abstractmethod
    def ask(self, loaded: Any, row: int) -> list[tuple[int, float]]:
        """Return id and score of the best `LIMIT` for a query, payloads fetched."""

    @abstractmethod
    def empty(self, folder: Path) -> Any:
        """Open an empty store."""

    def ours(self, folder: Path) -> Store:
        """Load by the adapter."""
        store: Any = self.empty(folder)
        store.upsert(range(len(self.codes)), self.codes, self.payloads)
        self.settle(store)
        return store  # type: ignore[no-any-return]  # a store

    def settle(self, store: Any) -> None:  # noqa: B027  # most have nothing to build
        """Build what is searched."""

    def leave(self, loaded: Any) -> None:
        """Close what was loaded."""
        loaded.close()


def dicts(codes: SparseVectors) -> list[dict[int, float]]:
    """Spell each row as latent to value, in the quickest way that was found."""
    latents, values = codes.indices.tolist(), codes.values.tolist()
    spans = [slice(*span) for span in pairwise(codes.indptr.tolist())]
    return [dict(zip(latents[span], values[span], strict=True)) for span in spans]


@contextmanager
def silent() -> Iterator[None]:
    """Drop what a library prints past Python."""
    sys.stdout.flush()
    kept, nowhere = (os.dup(1), os.dup(2)), os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, file in enumerate(kept, 1):
            os.dup2(file, number)
            os.close(file)
        os.close(nowhere)


class Zvec(Rival):
    """zvec, flat; its field of payloads is fetched and parsed, as the adapter's is."""

    name, how = "`ZvecStore`", "`insert` of `Doc`, `query`"

    def spell(self) -> Any:
        import zvec

        self.asked = [zvec.Query("code", vector=dicts(query)[0]) for query in self.queries]
        rows = enumerate(zip(dicts(self.codes), self.payloads, strict=True))
        return [
            zvec.Doc(str(one), vectors={"code": code}, fields={"payload": json.dumps(load)})
            for one, (code, load) in rows
        ]

    def theirs(self, folder: Path, rows: Any) -> Any:
        import zvec

        index = zvec.FlatIndexParam(metric_type=zvec.MetricType.IP)
        code = zvec.VectorSchema("code", zvec.DataType.SPARSE_VECTOR_FP32, index_param=index)
        payload = zvec.FieldSchema("payload", zvec.DataType.STRING)
        schema = zvec.CollectionSchema("docs", fields=[payload], vectors=[code])
        found = zvec.create_and_open(str(folder / "zvec"), schema)
        for start in range(0, len(rows), 1024):  # zvec takes no more
            found.insert(rows[start : start + 1024])
        return found

    def ask(self, loaded: Any, row: int) -> list[tuple[int, float]]:
        found = loaded.query(self.asked[row], topk=LIMIT)
        return [(int(doc.id), doc.score) for doc in found if json.loads(doc.fields["payload"])]

    def empty(self, folder: Path) -> Any:
        from csrkit_zvec import ZvecStore

        return ZvecStore(folder / "store")


class Milvus(Rival):
    """Milvus Lite; the field of payloads, of the type JSON, is asked for."""

    name, how, rounds = "`MilvusStore`", "`insert` of dicts, `search`", 1  # of a quarter second

    def spell(self) -> Any:
        self.asked = [dicts(query) for query in self.queries]
        rows = enumerate(zip(dicts(self.codes), self.payloads, strict=True))
        return [{"id": one, "payload": load, "code": code} for one, (code, load) in rows]

    def theirs(self, folder: Path, rows: Any) -> Any:
        from pymilvus import DataType, MilvusClient

        client = MilvusClient(str(folder / "milvus.db"))
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("payload", DataType.JSON)
        schema.add_field("code", DataType.SPARSE_FLOAT_VECTOR)
        index = client.prepare_index_params()
        index.add_index("code", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        client.create_collection("docs", schema=schema, index_params=index)
        for start in range(0, len(rows), 1000):
            client.insert("docs", rows[start : start + 1000])
        return client

    def ask(self, loaded: Any, row: int) -> list[tuple[int, float]]:
        (found,) = loaded.search(
            "docs", self.asked[row], anns_field="code", limit=LIMIT, output_fields=["payload"]
        )
        return [(one["id"], one["distance"]) for one in found if one["entity"]["payload"]]

    def empty(self, folder: Path) -> Any:
        from csrkit_milvus import MilvusStore

        return MilvusStore(str(folder / "store.db"), "docs")


class Seismic(Rival):
    """Seismic, whose load ends with its index.

    Less than the adapter does: scores are its own, of values in 16 bits, where the adapter's are
    exact; and payloads, which Seismic does not keep, are looked up and not copied.
    """

    name, how = "`SeismicStore`", "`add_documents_by_id`, `build_from_dataset`, `search`"

    def spell(self) -> Any:
        import seismic

        word = seismic.get_seismic_string()
        self.asked = [(one.indices.astype(word), one.values) for one in self.queries]
        return list(map(str, range(len(self.codes)))), self.codes.indices.astype(np.int64)

    def theirs(self, folder: Path, rows: Any) -> Any:
        import seismic

        data = seismic.SeismicDataset(dim=self.codes.dim)
        data.add_documents_by_id(*rows, self.codes.values, self.codes.indptr)
        with silent():
            return seismic.SeismicIndex.build_from_dataset(data)

    def ask(self, loaded: Any, row: int) -> list[tuple[int, float]]:
        found = loaded.search("", *self.asked[row], LIMIT, 16, 0.8)
        return [(int(one), score) for _, score, one in found if self.payloads[int(one)]]

    def empty(self, folder: Path) -> Any:
        from csrkit_seismic import SeismicStore

        return SeismicStore()

    def settle(self, store: Any) -> None:
        with silent():
            store.build()

    def leave(self, loaded: Any) -> None:
        pass


class SeismicRaw(Seismic):
    """Seismic's index of bare numbers, which reads a file, and which the adapter is built on."""

    name = "`SeismicStore`, raw"
    how = "`SeismicIndexRaw.build`, `search`"

    def spell(self) -> Any:
        parts = [np.array([len(self.codes)], "<u4").tobytes()]
        for one in self.codes:
            parts += [np.array([one.nnz], "<u4").tobytes(), one.indices.tobytes()]
            parts += [one.values.tobytes()]
        self.asked = [(one.indices, one.values) for one in self.queries]
        return b"".join(parts)

    def theirs(self, folder: Path, rows: Any) -> Any:
        import seismic

        path = folder / "codes.bin"
        path.write_bytes(rows)
        with silent():
            return seismic.SeismicIndexRaw.build(str(path))

    def ask(self, loaded: Any, row: int) -> list[tuple[int, float]]:
        found = loaded.search(*self.asked[row], LIMIT, 16, 0.8, 0, True)
        return [(one, score) for score, one in found if self.payloads[one]]


class SeismicExact(Seismic):
    """Seismic, whose hits are then scored exactly, by scipy, and ranked: the adapter's answer."""

    name, is_loaded = "`SeismicStore`, the vendor's hits scored by scipy", False

    def spell(self) -> Any:
        self.matrix, self.dense = self.codes.to_scipy(), [one.to_dense()[0] for one in self.queries]
        return super().spell()

    def ask(self, loaded: Any, row: int) -> list[tuple[int, float]]:
        rows = [one for one, _ in super().ask(loaded, row)]
        scores = (self.matrix[rows] @ self.dense[row]).tolist()
        return sorted(zip(rows, scores, strict=True), key=lambda one: -one[1])


RIVALS: Sequence[type[Rival]] = (Zvec, Milvus, Seismic, SeismicRaw, SeismicExact)
NAMES: Mapping[str, type[Rival]] = {rival.__name__.lower(): rival for rival in RIVALS}
