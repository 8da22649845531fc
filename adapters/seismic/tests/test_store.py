"""What the contract does not ask: effort, changes after the build, folders, faults."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from csrkit.errors import ConfigError, StoreError
from csrkit.stores import MemoryStore, open_store
from csrkit.stores.testing import assert_same_hits, random_codes
from csrkit.vectors import SparseVectors
from csrkit_seismic import Knobs, SeismicStore
from csrkit_seismic.scoring import Scorer


def clustered(seed: int, n: int) -> SparseVectors:
    """Codes of 16 latents out of the 60 of one of 20 topics."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(0).choice(1024, (20, 60))
    dense = np.zeros((n, 1024), np.float32)
    for row, topic in enumerate(rng.integers(20, size=n)):
        dense[row, rng.choice(topics[topic], 16)] = rng.random(16)
    return SparseVectors.from_dense(dense).normalized()


def filled(codes: SparseVectors, **settings: Any) -> tuple[SeismicStore, MemoryStore]:
    store, exact = SeismicStore(**settings), MemoryStore()
    for one in (store, exact):
        one.upsert(range(len(codes)), codes, [{"third": row % 3} for row in range(len(codes))])
    return store, exact


def recall(store: SeismicStore, exact: MemoryStore, queries: SparseVectors, **more: Any) -> float:
    found = zip(store.search(queries, **more), exact.search(queries, **more), strict=True)
    return float(np.mean([len({h.id for h in a} & {h.id for h in b}) / len(b) for a, b in found]))


# -- effort -----------------------------------------------------------------------------------


def test_more_effort_finds_more_and_scores_are_exact() -> None:
    docs, queries, found = clustered(1, 3000), clustered(2, 40), {}
    _, exact = filled(docs)
    truth = [{hit.id: hit.score for hit in hits} for hits in exact.search(queries, limit=3000)]
    for effort in (Knobs(1, 1.0), "fast", "balanced", "accurate", Knobs(10**6, 0.0)):
        setting: Any = effort
        store, _ = filled(docs, effort=setting)
        store.build()
        found[effort] = recall(store, exact, queries)
        for hits, right in zip(store.search(queries), truth, strict=True):
            assert [hit.score for hit in hits] == [right[hit.id] for hit in hits]
    assert list(found.values()) == sorted(found.values())
    assert found[Knobs(1, 1.0)] < 0.7
    assert found["fast"] > 0.9
    assert found[Knobs(10**6, 0.0)] == 1


@pytest.mark.parametrize("dim", [300, 70_000])  # weights spread out, and searched for
@pytest.mark.parametrize("is_even", [True, False])  # as many latents in each row, or not
def test_scores_of_some_rows_and_of_all(dim: int, is_even: bool) -> None:
    codes = random_codes(1, 81, dim=dim, k=200)
    query = random_codes(2, 1, dim=dim, k=200, signed=True)
    if not is_even:
        empty = SparseVectors.from_dense(np.zeros((1, dim)))
        codes = SparseVectors.concat([codes[:40], empty, codes[40:60].top(7), codes[60:]])
    exact = codes.to_scipy().astype(np.float64) @ query.to_dense()[0].astype(np.float64)
    assert np.count_nonzero(exact) > 0
    scorer, rows = Scorer(codes), [80, 3, 41, 0, 7]
    for first in (0, 39, 41, len(codes)):
        found = scorer.since(query, first)
        np.testing.assert_allclose(found, exact[first:], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(scorer.some(query, rows), exact[rows], rtol=1e-12, atol=1e-15)
    assert scorer.some(query, []).shape == (0,)


def test_short_lists_lose_documents() -> None:
    store, exact = filled(clustered(1, 3000), effort=Knobs(10**6, 0.0))
    store.build(n_postings=5)
    assert recall(store, exact, clustered(2, 30)) < 0.9


@pytest.mark.parametrize("bad", ["quick", None, 7, Knobs(0, 0.5), Knobs(8, 1.1), Knobs(8, -0.1)])
def test_an_effort_that_is_none_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match="expected effort to be one of fast, balanced, accurate"):
        SeismicStore(effort=bad)


def test_a_build_out_of_range_or_of_nothing_is_refused() -> None:
    store = SeismicStore()
    with pytest.raises(StoreError, match="nothing is stored"):
        store.build()
    store.upsert([1], random_codes(0, 1))
    with pytest.raises(ConfigError, match="expected n_postings=0 to be at least 1"):
        store.build(n_postings=0)


# -- changes after the build ------------------------------------------------------------------


def test_what_changed_after_the_build_is_searched_as_it_is() -> None:
    store, exact = filled(clustered(1, 600), effort=Knobs(10**6, 0.0))
    store.build()
    more = clustered(3, 200)
    for one in (store, exact):
        one.delete(range(100, 200))
        one.upsert([*range(50), *range(600, 750)], more, [{"third": 1}] * 200)
        one.upsert(range(300, 310), more[:10])
    queries = clustered(2, 20)
    truth = exact.search(queries, limit=1000)
    assert_same_hits(store.search(queries, limit=1000), truth, 1000, 1e-6)
    assert_same_hits(store.search(queries), truth, 10, 1e-6)
    store.build()  # again, over what is left
    assert_same_hits(store.search(queries), truth, 10, 1e-6)
    assert store.count() == exact.count()


def test_a_filter_that_few_pass_finds_all_that_do() -> None:
    store, exact = filled(clustered(1, 1000), effort=Knobs(10**6, 0.0))
    store.build()
    queries = clustered(2, 10)
    assert recall(store, exact, queries, filter=lambda load: load["third"] == 1) == 1
    rare: Any = {"filter": lambda load: load.get("rare")}
    for one in (store, exact):
        one.upsert([7], queries[0], [{"rare": True}])
    store.build()
    assert [hit.id for hit in store.search(queries[0], **rare)[0]] == [7]
    with pytest.raises(ConfigError, match="callable from a payload to bool, got 'x'"):
        store.search(queries, filter="x")  # type: ignore[arg-type]  # refused


@pytest.mark.parametrize("dim", [64, 70_000])
def test_latents_that_no_code_has(dim: int) -> None:
    """Seismic panics at a component beyond its last."""
    codes = SparseVectors([0, 2, 2, 3], [1, 5, 5], [0.5, 1, 1], dim)  # type: ignore[arg-type]  # the constructor converts
    store, exact = filled(codes)
    store.build()
    queries = SparseVectors([0, 1, 3, 5], [9, 5, dim - 1, 0, 6], [1, 1, 1, 1, 1], dim)  # type: ignore[arg-type]  # the constructor converts
    assert [len(hits) for hits in store.search(queries)] == [0, 2, 0]
    assert_same_hits(store.search(queries), exact.search(queries), 10, 1e-6)
    store, _ = filled(SparseVectors([0, 0], [], [], dim))  # type: ignore[arg-type]  # the constructor converts
    store.build()
    assert store.search(queries) == [[], [], []]


def test_a_place_for_the_build_that_is_gone_is_told_and_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, exact = filled(clustered(1, 60))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(StoreError, match=r"Seismic cannot build the index: .*gone"):
        store.build()
    queries = clustered(2, 20)
    assert_same_hits(store.search(queries), exact.search(queries), 10, 1e-6)


def test_a_long_load_is_built_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csrkit_seismic.index._PART", 7)
    store, exact = filled(clustered(1, 60), effort=Knobs(10**6, 0.0))
    store.build()
    queries = clustered(2, 20)
    assert_same_hits(store.search(queries), exact.search(queries), 10, 1e-6)


def test_wide_codes_along_the_index() -> None:
    """Seismic has a list for each latent below 65,536; beyond, for each that occurs."""
    codes = SparseVectors(
        [0, 2, 3, 5], [0, 2**31 - 2, 70_000, 5, 70_000], [0.5, 0.25, 1, 1, 0.5], 2**31 - 1
    )  # type: ignore[arg-type]  # the constructor converts
    store, exact = filled(codes)
    store.build()
    assert_same_hits(store.search(codes), exact.search(codes), 10, 1e-6)
    other = SparseVectors([0, 1], [6], [1.0], 2**31 - 1)  # type: ignore[arg-type]  # the constructor converts
    assert store.search(other) == [[]]


# -- folders ----------------------------------------------------------------------------------


def test_a_save_with_dead_rows_and_an_index_comes_back(tmp_path: Path) -> None:
    codes = clustered(1, 300)
    store, exact = filled(codes, path=tmp_path / "i", effort=Knobs(10**6, 0.0))
    store.build()
    for one in (store, exact):
        one.delete([3, 4])
        one.upsert([5, "new"], codes[:2], [None, {"x": 1}])
    for _ in range(2):  # the second one replaces the first
        store.save()
        store.upsert([6], codes[6])
        store.save()
        store = SeismicStore(tmp_path / "i", effort=Knobs(10**6, 0.0))
    truth = exact.search(codes[:20], limit=300)
    assert_same_hits(store.search(codes[:20]), truth, 10, 1e-6)
    assert sorted(path.name.split(".", 1)[1] for path in (tmp_path / "i").iterdir()) == [
        *("codes.safetensors", "index.seismic", "json", "residuals.npy", "rows.jsonl")
    ]


def test_nothing_is_written_without_a_folder_or_a_change(tmp_path: Path) -> None:
    store = SeismicStore()
    store.upsert([1], random_codes(0, 1))
    store.close()
    with pytest.raises(StoreError, match="made without a folder"):
        store.save()
    SeismicStore(tmp_path / "i").close()
    assert not (tmp_path / "i").exists()


def test_a_save_replaces_no_other_one(tmp_path: Path) -> None:
    first, second = SeismicStore(tmp_path / "i"), SeismicStore(tmp_path / "i")
    first.upsert([1], random_codes(0, 1))
    second.upsert([2], random_codes(1, 1))
    first.save()
    with pytest.raises(StoreError, match="saved by another store since this one was opened"):
        second.close()
    first.upsert([3], random_codes(2, 1))
    first.close()  # its own save before is none of another's
    assert SeismicStore(tmp_path / "i").fetch([1, 3]) == SparseVectors.concat(
        [random_codes(0, 1), random_codes(2, 1)]
    )


def test_of_saves_at_the_same_moment_one_wins(tmp_path: Path) -> None:
    for turn in range(20):
        folder, gate = tmp_path / f"{turn}", Barrier(4)
        stores = [SeismicStore(folder) for _ in range(4)]
        for one, store in enumerate(stores):
            store.upsert([one], random_codes(one, 1))

        def refusal(store: SeismicStore, gate: Barrier = gate) -> str:
            gate.wait()
            try:
                store.save()
            except StoreError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(4) as pool:
            refusals = list(pool.map(refusal, stores))
        assert sum("saved by another store" in one for one in refusals) == 3
        winner = refusals.index("")
        assert SeismicStore(folder).fetch([winner]) == random_codes(winner, 1)


@pytest.mark.parametrize("is_built", [True, False])
def test_what_was_replaced_is_not_saved_for_ever(tmp_path: Path, is_built: bool) -> None:
    codes, sizes = clustered(1, 200), []
    store, exact = filled(codes, path=tmp_path / "i", effort=Knobs(10**6, 0.0))
    store.build() if is_built else None
    for _ in range(4):
        for one in (store, exact):
            one.delete([3, 4])
            one.upsert(range(5, 200), codes[5:])
        store.close()
        sizes.append(sum(path.stat().st_size for path in (tmp_path / "i").iterdir()))
        store = SeismicStore(tmp_path / "i", effort=Knobs(10**6, 0.0))
        assert_same_hits(store.search(codes[:20]), exact.search(codes[:20], limit=300), 10, 1e-6)
    assert max(sizes) < min(sizes) + 100  # numbers of saves have digits
    store.delete(range(200))
    store.close()
    assert SeismicStore(tmp_path / "i").count() == 0


def test_a_place_in_a_file_is_refused_before_a_load(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    store = SeismicStore(tmp_path / "new" / "i")
    (tmp_path / "new").write_text("mine")
    with pytest.raises(StoreError, match=r"cannot write to the store's folder .*new"):
        store.upsert([1], random_codes(0, 1))
    assert store.dim is None


def test_other_folders_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="is not empty and no store of csrkit"):
        SeismicStore(tmp_path / "mine")
    for text in ("", "[]", '{"csrkit": "MemoryStore"}', '{"csrkit": "SeismicStore", "format": 3}'):
        (tmp_path / "mine" / "store.json").write_text(text)
        with pytest.raises(StoreError, match="holds no store that this csrkit reads"):
            SeismicStore(tmp_path / "mine")
    store, _ = filled(random_codes(0, 20), path=tmp_path / "i")
    store.build()
    store.save()
    for file in (tmp_path / "i").glob("1.*"):
        whole = file.read_bytes()
        for damaged in (b"", whole[: len(whole) // 2]):
            file.write_bytes(damaged)
            with pytest.raises(StoreError, match=r"does not hold a whole store"):
                SeismicStore(tmp_path / "i")
        file.write_bytes(whole)
    assert SeismicStore(tmp_path / "i").count() == 20


def test_what_seismic_prints_is_no_result(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store, _ = filled(random_codes(0, 20), path=tmp_path / "i")
    store.build()
    store.save()
    print("mine")
    out, err = capfd.readouterr()
    assert out == "mine\n"
    assert "Building the index" in err


def test_a_url_says_where(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store at .*check the path"):
        open_store(f"seismic://{tmp_path}/none")
    store: Any = open_store(f"seismic://{tmp_path}/a b%20ü", create=True)
    store.upsert([1], random_codes(0, 1))
    store.close()
    assert open_store(f"seismic://{tmp_path}/a b%20ü").fetch([1]) == random_codes(0, 1)
    for bad in ("seismic:", "seismic:x", "seismic://"):
        with pytest.raises(ConfigError, match="expected 'seismic://' and a folder"):
            open_store(bad, create=True)
