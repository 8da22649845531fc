from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge
from qdrant_client import models

from csrkit.errors import ConfigError, MissingExtra, StoreError
from csrkit.stores import EdgeStore
from csrkit.stores.edge import open_url
from csrkit.stores.testing import random_codes, random_residuals
from csrkit.vectors import SparseVectors

from ..memory_disk import small_disk


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EdgeStore]:
    with EdgeStore(tmp_path / "index") as store:
        yield store


def bad_operation() -> Any:
    """More indices than values, on which the engine panics."""
    vector = qdrant_edge.SparseVector([1, 2, 3], [1.0])
    return qdrant_edge.UpdateOperation.upsert_points([qdrant_edge.Point(9, {"csr": vector})])


class TestFolder:
    def test_the_marker_says_what_the_folder_holds(self, tmp_path: Path) -> None:
        with EdgeStore(tmp_path / "a" / "b", name="codes", datatype="uint8") as store:
            store.upsert([1], random_codes(0, 1))
        assert json.loads((tmp_path / "a" / "b" / "csrkit.json").read_text()) == {
            "csrkit": "EdgeStore",
            "format": 1,
            "name": "codes",
            "datatype": "uint8",
            "on_disk": False,
            "dim": 64,
            "residual_bytes": 0,
            "codec": None,
        }

    def test_the_engine_gets_the_settings(self, tmp_path: Path) -> None:
        EdgeStore(tmp_path, name="codes", datatype="float16", on_disk=True).close()
        config = json.loads((tmp_path / "engine" / "edge_config.json").read_text())
        assert config["sparse_vectors"] == {"codes": {"memory": "cold", "datatype": "float16"}}

    def test_settings_left_out_are_those_of_the_folder(self, tmp_path: Path) -> None:
        EdgeStore(tmp_path, datatype="float16", on_disk=True).close()
        EdgeStore(tmp_path).close()
        EdgeStore(tmp_path, datatype="float16", on_disk=True).close()

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ({"name": "lsr"}, "name='csr', got 'lsr'"),
            ({"datatype": "uint8"}, "datatype='float32', got 'uint8'"),
            ({"on_disk": True}, "on_disk=False, got True"),
        ],
    )
    def test_other_settings_are_refused(
        self, tmp_path: Path, other: dict[str, Any], message: str
    ) -> None:
        EdgeStore(tmp_path).close()
        with pytest.raises(StoreError, match=message):
            EdgeStore(tmp_path, **other)

    def test_codes_of_another_codec_are_refused(self, tmp_path: Path) -> None:
        with EdgeStore(tmp_path, codec="one") as store:
            store.upsert([1], random_codes(0, 1))
        assert json.loads((tmp_path / "csrkit.json").read_text())["codec"] == "one"
        with pytest.raises(StoreError, match="of the codec one, got the codec two"):
            EdgeStore(tmp_path, codec="two")
        EdgeStore(tmp_path, codec="one").close()  # and the refused one has let the folder go

    def test_somebody_elses_folder_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(
            StoreError, match=r"not empty and no csrkit store: it has no csrkit\.json"
        ):
            EdgeStore(tmp_path)
        assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]

    def test_what_a_kill_left_of_the_first_marker_is_no_obstacle(self, tmp_path: Path) -> None:
        """Regression: the folder was somebody else's from then on."""
        (tmp_path / "csrkit.json.new").write_text('{"csrk')
        with EdgeStore(tmp_path) as store:
            store.upsert([1], random_codes(0, 1))
        with EdgeStore(tmp_path) as store:
            assert store.count() == 1

    def test_a_bare_shard_of_the_engine_is_refused(self, tmp_path: Path) -> None:
        params = {"csr": qdrant_edge.EdgeSparseVectorParams()}
        config = qdrant_edge.EdgeConfig(sparse_vectors=params)
        qdrant_edge.EdgeShard.create(str(tmp_path), config).close()
        with pytest.raises(StoreError, match="no csrkit store"):
            EdgeStore(tmp_path)

    @pytest.mark.parametrize(
        "text",
        ["{", "{}", '{"csrkit": "EdgeStore", "format": 2, "name": "csr"}', '{"csrkit": "Other"}'],
    )
    def test_a_marker_that_cannot_be_read_is_refused(self, tmp_path: Path, text: str) -> None:
        EdgeStore(tmp_path).close()
        (tmp_path / "csrkit.json").write_text(text)
        with pytest.raises(StoreError, match="no store that this csrkit reads"):
            EdgeStore(tmp_path)

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="file"):
            EdgeStore(tmp_path / "file")

    def test_a_folder_whose_engine_was_never_made_is_completed(self, tmp_path: Path) -> None:
        with EdgeStore(tmp_path / "whole") as whole:
            marker = (whole._folder / "csrkit.json").read_text()
        (tmp_path / "killed").mkdir()
        (tmp_path / "killed" / "csrkit.json").write_text(marker)
        with EdgeStore(tmp_path / "killed") as store:
            assert store.count() == 0

    def test_nothing_is_made_where_nothing_may_be(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for folder in ("gone", "gone/deeper", "empty"):
            with pytest.raises(StoreError, match=f"no store at .*{folder}: check the path"):
                EdgeStore(tmp_path / folder, create=False)
        assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
        EdgeStore(tmp_path / "index").close()
        EdgeStore(tmp_path / "index", create=False).close()

    @pytest.mark.parametrize("path", ["edge://index", "edge:///srv/x", None, 3, b"index"])
    def test_only_a_path_is_a_folder(
        self, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match=r"path of a folder, got .*for open_store\(url\)"):
            EdgeStore(path)
        assert list(tmp_path.iterdir()) == []

    def test_it_says_where_it_is(self, tmp_path: Path, store: EdgeStore) -> None:
        folder = str(tmp_path / "index")
        assert repr(store) == f"EdgeStore({folder!r}, name='csr', dim=None)"

    @pytest.mark.parametrize("other", [models.Filter(must=[]), {"a": 1}, lambda payload: True])
    def test_a_filter_of_another_kind_is_named(self, store: EdgeStore, other: Any) -> None:
        codes, kind = random_codes(0, 2), type(other).__qualname__
        store.upsert([1, 2], codes)
        for search in (store.search, partial(store.candidates, limit=3)):
            with pytest.raises(StoreError, match=rf"qdrant_edge.Filter\(...\), got .*{kind}$"):
                search(codes, filter=other)

    def test_a_folder_is_open_once(self, tmp_path: Path, store: EdgeStore) -> None:
        with pytest.raises(StoreError, match="cannot open the store"):
            EdgeStore(tmp_path / "index")

    def test_a_closed_store_says_so(self, tmp_path: Path) -> None:
        store = EdgeStore(tmp_path)
        store.upsert([1], random_codes(0, 1))
        store.close()
        store.close()
        with pytest.raises(StoreError, match="cannot count"):
            store.count()
        with pytest.raises(StoreError, match="cannot search"):
            store.search(random_codes(0, 1))

    @pytest.mark.parametrize("settings", [{"name": ""}, {"datatype": "int4"}])
    def test_settings_out_of_range_are_refused(
        self, tmp_path: Path, settings: dict[str, Any]
    ) -> None:
        with pytest.raises(ConfigError, match="float32, float16 or uint8"):
            EdgeStore(tmp_path, **settings)


class TestResiduals:
    def test_the_engine_keeps_bytes_and_builds_no_graph(self, tmp_path: Path) -> None:
        codes, residuals = random_codes(0, 500), random_residuals(0, 500)
        with EdgeStore(tmp_path) as store:
            store.upsert(range(500), codes, residuals=residuals)
        home = tmp_path / "engine"
        config = json.loads((home / "edge_config.json").read_text())
        assert config["vectors"] == {
            "csr_residual": {"size": 13, "distance": "Dot", "datatype": "uint8"}
        }
        config["optimizers"] = {"indexing_threshold": 1}  # kB; by default 10 MB
        (home / "edge_config.json").write_text(json.dumps(config))
        with EdgeStore(tmp_path) as store:
            assert store.optimize()
            rows = [499, 0, 7]
            fetched, both = store.fetch_both(rows)
            assert fetched == codes[rows]
            np.testing.assert_array_equal(both, residuals[rows])
        built = [json.loads(file.read_text()) for file in home.glob("segments/*/segment.json")]
        kinds = [one["config"]["vector_data"]["csr_residual"]["index"] for one in built]
        graphs = [kind["options"]["m"] for kind in kinds if kind["type"] == "hnsw"]
        assert graphs == [0]

    def test_a_folder_whose_vector_was_never_made_is_completed(self, tmp_path: Path) -> None:
        with EdgeStore(tmp_path) as store:  # killed between the note and the vector
            store._marker.model_copy(update={"dim": 64, "residual_bytes": 13}).write(tmp_path)
        with EdgeStore(tmp_path) as store:
            assert store.residual_bytes == 13
            assert store.fetch_residuals([]).shape == (0, 13)
            store.upsert([1], random_codes(0, 1), residuals=random_residuals(0, 1))
            np.testing.assert_array_equal(store.fetch_residuals([1]), random_residuals(0, 1))

    def test_somebody_elses_vector_of_the_name_is_refused(self, store: EdgeStore) -> None:
        dense = qdrant_edge.UpdateOperation.create_dense_vector(
            "csr_residual", 13, qdrant_edge.Distance.Dot
        )
        store.shard.update(dense)
        with pytest.raises(StoreError, match="cannot add the vector 'csr_residual' of 13 bytes"):
            store.upsert([1], random_codes(0, 1), residuals=random_residuals(0, 1))


class TestEngine:
    def test_a_panic_becomes_a_store_error(self, store: EdgeStore) -> None:
        store.upsert([1], random_codes(0, 1))
        with pytest.raises(StoreError, match="panicked and could not do harm") as caught:
            store._engine.update(bad_operation(), "do harm")
        assert type(caught.value.__cause__).__name__ == "PanicException"
        assert store.fetch([1]) == random_codes(0, 1)

    def test_after_a_panic_nothing_is_written(self, store: EdgeStore) -> None:
        # the engine's own next write would panic too, and lose its points
        with pytest.raises(StoreError):
            store._engine.update(bad_operation(), "do harm")
        with pytest.raises(StoreError, match="the engine panicked before"):
            store.upsert([2], random_codes(0, 1), [None])
        with pytest.raises(StoreError, match="the engine panicked before"):
            store.delete([2])

    @pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_is_no_panic(self, store: EdgeStore, signal: type[BaseException]) -> None:
        with pytest.raises(signal), store._engine.reported("wait"):
            raise signal

    def test_the_vendors_words_are_kept(self, store: EdgeStore) -> None:
        store.upsert([1], random_codes(0, 1))
        with pytest.raises(StoreError, match="int too big to convert") as caught:
            store.search(random_codes(0, 1), limit=10**30)
        assert isinstance(caught.value.__cause__, OverflowError)

    def test_a_batch_that_fails_is_named(
        self, store: EdgeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(EdgeStore, "_batch_size", 2)
        store.upsert([10, 11], random_codes(0, 2), [None] * 2)
        store._engine._failed = "the disk is full"
        with pytest.raises(
            StoreError, match=r"upsert \[1, 2\], after 0 of 3 were stored: the disk"
        ):
            store.upsert([1, 2, 3], random_codes(0, 3), [None] * 3)

    def test_values_beyond_float16_are_refused(self, tmp_path: Path) -> None:
        codes = SparseVectors.from_dense([[0, 1, 0], [0, 65504, 0], [2, -65520, 0]])
        with EdgeStore(tmp_path / "half", datatype="float16") as store:
            store.upsert(["x", "y"], codes[:2])
            with pytest.raises(StoreError, match=r"up to 65504 .* got -65520\.0 for id 'z'"):
                store.upsert(["x", "y", "z"], codes)
            assert store.count() == 2
        with EdgeStore(tmp_path / "full") as store:
            store.upsert(["x", "y", "z"], codes)

    def test_a_string_id_is_a_stable_uuid_to_the_engine(self, store: EdgeStore) -> None:
        # golden: another UUID would orphan what was stored before
        store.upsert(["doc/1"], random_codes(0, 1), [{"x": 1}])
        records, _ = store.shard.scroll(qdrant_edge.ScrollRequest(limit=9, with_payload=True))
        assert [(str(record.id), record.payload) for record in records] == [
            ("4ba83004-b942-511d-bb1f-d4d24000ffff", {"x": 1, "csrkit_id": "doc/1"})
        ]

    def test_the_reserved_key_is_refused(self, store: EdgeStore) -> None:
        with pytest.raises(StoreError, match="payload of id 7 uses the key 'csrkit_id'"):
            store.upsert([7], random_codes(0, 1), [{"csrkit_id": "x"}])

    def test_optimize_says_whether_there_was_something_to_do(self, store: EdgeStore) -> None:
        store.upsert([1], random_codes(0, 1))
        assert store.optimize() is False  # below the engine's threshold of 10 MB

    def test_the_deepest_payload_allowed_survives_the_engine(self, tmp_path: Path) -> None:
        deep: dict[str, Any] = {}
        for _ in range(62):
            deep = {"a": deep}
        code = random_codes(0, 1)
        with EdgeStore(tmp_path) as store:
            store.upsert([1], code, [{"a": deep}])
            with pytest.raises(StoreError, match="deeper than 64"):
                store.upsert([2], code, [{"a": {"a": deep}}])
        with EdgeStore(tmp_path) as store:
            assert store.search(code)[0][0].payload == {"a": deep}


_KILLED = """
import os, signal, sys
from csrkit.stores import EdgeStore
from csrkit.stores.testing import random_codes, random_residuals
store = EdgeStore(sys.argv[1])
payloads = [{"row": row} for row in range(1500)]
store.upsert(range(1500), random_codes(0, 1500), payloads, residuals=random_residuals(0, 1500))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_upsert_survives_the_death_of_the_process(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", _KILLED, tmp_path / "index"], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    with EdgeStore(tmp_path / "index") as store:
        assert store.count() == 1500
        codes, residuals = store.fetch_both(range(1500))
        assert codes == random_codes(0, 1500)
        np.testing.assert_array_equal(residuals, random_residuals(0, 1500))
        found = store.search(random_codes(0, 1500)[1499], limit=100)[0]
        assert [hit.payload for hit in found] == [{"row": hit.id} for hit in found]


def test_a_full_disk_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    codes = random_codes(0, 1000)
    with small_disk(tmp_path / "disk") as disk, EdgeStore(disk.folder / "index") as store:
        store.upsert(range(1000), codes)
        disk.leave(20)
        full = (
            r"cannot upsert \[1000, .*, after 0 of 1000 were stored: expected 67\.1 MB free on its "
            r"disk, got 20\.0: .* Make room and repeat the call"
        )
        with pytest.raises(StoreError, match=full):
            store.upsert(range(1000, 2000), codes)
        assert store.count() == 1000
        assert store.fetch(range(1000)) == codes
        disk.leave(1)
        with pytest.raises(StoreError, match=r"cannot optimize: expected \d+\.\d MB free"):
            store.optimize()
        disk.leave(100)
        store.upsert(range(1000, 2000), codes)
        assert store.count() == 2000


def test_a_folder_on_a_full_disk_in_memory_is_not_opened(tmp_path: Path) -> None:
    """Regression: reading took what room was left, and the system ended the process."""
    with small_disk(tmp_path / "disk") as disk:
        with EdgeStore(disk.folder / "index") as store:
            store.upsert([1], random_codes(0, 1))
        disk.leave(30)
        with pytest.raises(StoreError, match=r"cannot open it: expected 41\.9 MB free"):
            EdgeStore(disk.folder / "index")
        disk.leave(50)
        with EdgeStore(disk.folder / "index") as store:
            assert store.count() == 1


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path / "index")
    store.upsert([1], random_codes(0, 1))
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(StoreError, match=r"cannot upsert .*: No such file"):
        store.upsert([1], random_codes(0, 1))


def test_without_the_engine_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "qdrant_edge", None)
    with pytest.raises(MissingExtra, match=r'qdrant-edge-py.*pip install "csrkit\[edge\]"'):
        EdgeStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_url_names_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_url("edge://in here/index", create=True).close()
    open_url(f"edge://{tmp_path}/absolute", create=True).close()
    open_url("edge://in here/index").close()  # it is there now
    assert (tmp_path / "in here" / "index" / "csrkit.json").exists()
    assert (tmp_path / "absolute" / "csrkit.json").exists()
    for url in ("edge://", "edge:index"):
        with pytest.raises(ConfigError, match="expected 'edge://' and a folder"):
            open_url(url)
