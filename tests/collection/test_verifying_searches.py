"""What a verification measures of searches, against other ways to compute the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe

from csrkit import Searcher
from csrkit.collection import Job, VerifyConfig, compress
from csrkit.collection.home import Busy
from csrkit.collection.homes.edge import EdgeHome
from csrkit.errors import ConfigError, ShapeError
from csrkit.metrics import exact_top, mrr_at, ndcg_at, recall_at
from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes
from csrkit.stores import MemoryStore

from .models import random_model
from .shards import DIM, embeddings, make_shard, point_ids

N = 300
IDS = point_ids(N)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    make_shard(tmp_path / "shard", N).close()
    home = EdgeHome(tmp_path / "shard")
    yield compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    home.close()


def dense_of(job: Job) -> Any:
    return job.home.read(IDS, vector="dense").vectors


def others(found: Any, own: Any) -> list[list[Any]]:
    pairs = zip(found, own, strict=True)
    return [[one for one in ids if one != mine][:10] for ids, mine in pairs]


@pytest.mark.parametrize("k", [4, 8])
def test_recall_is_that_of_numpy_and_of_a_searcher(job: Job, k: int) -> None:
    rows = dense_of(job)
    verdict = job.verify(VerifyConfig(min_recall=0, n_queries=N, k=k))
    sparse, rescored = verdict.searches
    truth = others(exact_top(rows, rows, 11).tolist(), range(N))
    codes = job.model.encode(rows, k=8)
    scores = job.model.encode_query(rows, k=k).dot(codes)
    order = [np.argsort(-row, kind="stable")[:11].tolist() for row in scores]
    assert sparse.recall.value == pytest.approx(
        recall_at(others(order, range(N)), truth, 10).mean()
    )
    store = MemoryStore()
    store.upsert(range(N), codes, residuals=job.model.encode_residuals(rows, codes))
    hits = Searcher(job.model, store, k_doc=8).search(rows, limit=11, k=k)
    found = others([[hit.id for hit in row] for row in hits], range(N))
    recalls = recall_at(found, truth, 10)
    assert rescored.recall.value == pytest.approx(recalls.mean())
    assert rescored.floor == pytest.approx(np.sort(recalls)[:15].mean())
    assert (rescored.stage, rescored.queries) == ("codes", N)
    assert (verdict.queries, rescored.setting) == ("documents", f"k={k}, 100 candidates")
    assert sparse.recall.value < rescored.recall.value


def test_given_queries_and_judgements(job: Job) -> None:
    rows, queries = dense_of(job), embeddings(40, seed=8)
    unit = queries / np.linalg.norm(queries, axis=1)[:, None]
    best = exact_top(unit, rows, 12)
    qrels: list[dict[Any, float]] = [{IDS[a]: 2.0, IDS[b]: 1.0} for a, b in best[:, [0, 11]]]
    qrels[3] = {}  # one without judgements is left out
    verdict = job.verify(VerifyConfig(min_recall=0, queries=queries, qrels=qrels))
    judged = [row for row in range(40) if row != 3]
    exact = [[IDS[i] for i in row[:10]] for row in best[judged]]
    relevant = [qrels[row] for row in judged]
    assert verdict.queries == "given"
    assert {one.queries for one in verdict.searches} == {40}
    for one in verdict.searches:
        assert one.exact_ndcg is not None
        assert one.exact_mrr is not None
        assert one.ndcg is not None
        assert one.exact_ndcg.value == pytest.approx(ndcg_at(exact, relevant, 10).mean())
        assert one.exact_mrr.value == pytest.approx(mrr_at(exact, relevant, 10).mean())
        assert 0 < one.ndcg.value < one.exact_ndcg.value


def test_rescoring_by_the_dense_vectors_loses_only_what_no_candidate_has(job: Job) -> None:
    by_codes = job.verify(VerifyConfig(min_recall=0, n_queries=50)).searches[-1]
    by_dense = job.verify(VerifyConfig(min_recall=0, n_queries=50, rescore="dense")).searches[-1]
    alone = job.verify(VerifyConfig(min_recall=0, n_queries=50, rescore="none")).searches
    assert by_codes.recall.value < by_dense.recall.value
    assert by_dense.recall.value > 0.95
    assert [one.stage for one in alone] == ["sparse"]


def test_equals_of_the_tenth_are_as_good(tmp_path: Path) -> None:
    shard = make_shard(tmp_path / "shard", 9)
    same = [qe.Point(10**8 + i, {"dense": [1.0] * DIM}, {}) for i in range(40)]
    shard.update(qe.UpdateOperation.upsert_points(same))
    shard.close()
    home = EdgeHome(tmp_path / "shard")
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    verdict = job.verify(VerifyConfig(min_recall=0.99, queries=[[1.0] * DIM] * 3))
    assert verdict.passed
    home.close()


class Slow(EdgeHome):
    """A home that answers no more than three exact searches in time."""

    refused = 0

    def exact(self, queries: Any, *args: Any, **options: Any) -> Any:
        if len(queries) > 3:
            self.refused += 1
            raise Busy("timed out")
        return super().exact(queries, *args, **options)


def test_exact_searches_that_take_too_long_are_asked_in_fewer(tmp_path: Path) -> None:
    make_shard(tmp_path / "shard", 60).close()
    home = Slow(tmp_path / "shard")
    job = compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=False)
    verdict = job.verify(VerifyConfig(min_recall=0, n_queries=20))
    assert (home.refused, verdict.searches[0].queries) == (3, 20)  # 16, 8, 4
    home.close()


# -- one bad tenant -----------------------------------------------------------------


def axes_model() -> CSRModel:
    """Latents are the axes in both directions: right for what lies along a few of them."""
    config = ModelConfig(
        dim=DIM,
        n_latents=2 * DIM,
        ladder=(4, 8),
        provenance=Provenance(csrkit="0.0.0", rows=1, steps=1),
    )
    arrays = {name: np.zeros(shape) for name, shape in array_shapes(config).items()}
    axes = np.concatenate([np.eye(DIM), -np.eye(DIM)])
    arrays |= {"encoder": axes, "decoder": axes, "scales": np.ones(len(arrays["scales"]))}
    return CSRModel(config=config, **arrays)


@pytest.fixture
def tenants(tmp_path: Path) -> Iterator[EdgeHome]:
    """Twenty tenants of forty documents along four axes each; those of one lie along none."""
    rng = np.random.default_rng(0)
    shard = make_shard(tmp_path / "shard", 9)
    shard.update(qe.UpdateOperation.delete_points(point_ids(9)))
    points = []
    for i in range(800):
        row = np.zeros(DIM)
        row[rng.permutation(6)[:4] + i % 20 % 19] = rng.exponential(size=4) + 0.1
        row = rng.normal(size=DIM) if i % 20 == 7 else row
        load = {"tenant": f"t{i % 20}", "meta": {"tags": ["a", i % 2]}, "price": 1.5}
        points.append(qe.Point(i, {"dense": row.tolist()}, load))
    shard.update(qe.UpdateOperation.upsert_points(points))
    yield EdgeHome(tmp_path / "shard", shard=shard)
    shard.close()


def test_one_bad_tenant_is_not_hidden_in_a_good_mean(tenants: EdgeHome, tmp_path: Path) -> None:
    job = compress(tenants, model=axes_model(), k=4, job=tmp_path / "job", residuals=False,
                   progress=False)  # fmt: skip
    settings: dict[str, Any] = {"min_recall": 0.8, "k": 4, "rescore": "codes"}
    assert job.verify(VerifyConfig(**settings)).passed
    verdict = job.verify(VerifyConfig(**settings, by="tenant"))
    (failed,) = verdict.failed
    assert failed.name == "recall of tenant=t7"
    assert "Within tenant=t7 the recall@10 is" in failed.sentence
    assert "over 40 queries, expected a mean of 0.75: what lies there is unlike" in failed.sentence
    overall = verdict.searches[1].recall
    assert overall.low > 0.8
    assert len(verdict.searches) == 2 * 21
    values = [one.recall.value for one in verdict.searches[3::2]]
    assert values == sorted(values)  # the worst tenant is told first
    one = tenants.matching("tenant", "t7")
    verdict = job.verify(VerifyConfig(**settings, filters={"the seventh": one}))
    assert [check.name for check in verdict.failed] == ["recall of the seventh"]
    typo = {"tenant=t77": tenants.matching("tenant", "t77")}
    for queries in (None, [[1.0] * DIM]):
        verdict = job.verify(VerifyConfig(**settings, filters=typo, queries=queries))
        assert "No point matches tenant=t77" in verdict.failed[-1].sentence


def test_values_in_nested_fields_and_lists_are_judged(tenants: EdgeHome, tmp_path: Path) -> None:
    job = compress(tenants, model=axes_model(), k=4, job=tmp_path / "job", progress=False)
    config = VerifyConfig(min_recall=0, n_queries=5, group_queries=5, by="meta.tags")
    names = {one.name for one in job.verify(config).searches}
    assert names == {"all", "meta.tags=a", "meta.tags=0", "meta.tags=1"}
    few = VerifyConfig(min_recall=0, n_queries=5, group_queries=5, by="tenant", most_groups=3)
    verdict = job.verify(few)
    assert len({one.name for one in verdict.searches}) == 4
    assert "'tenant' has at least 20 values; the 3 most frequent were judged" in verdict.notes[0]
    with pytest.raises(ConfigError, match=r"expected by= to name a payload field .*'price'"):
        job.verify(VerifyConfig(by="price"))


def test_queries_that_do_not_fit_are_refused(job: Job) -> None:
    with pytest.raises(ShapeError, match=r"expected embeddings of shape \(n, 24\)"):
        job.verify(VerifyConfig(queries=np.ones((2, 7))))
    with pytest.raises(ShapeError, match="all zeros"):
        job.verify(VerifyConfig(queries=np.zeros((2, DIM))))
    with pytest.raises(ConfigError, match="one entry of qrels per query, got 1 for 2"):
        job.verify(VerifyConfig(queries=np.ones((2, DIM)), qrels=[{1: 1.0}]))


# -- how it is shown ----------------------------------------------------------------


class Tags(HTMLParser):
    """Collects what a page is made of, and sees that it is nested well."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        assert not {"src", "href", "onload"} & {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_needs_nothing_else_and_trusts_nothing(job: Job, tmp_path: Path) -> None:
    evil = "</td><script>alert(1)</script>&$title"
    assert isinstance(job.home, EdgeHome)
    job.home.shard.update(qe.UpdateOperation.set_payload(IDS[:50], {"tenant": evil}))
    job.home.shard.update(qe.UpdateOperation.delete_field_index("cat"))
    verdict = job.verify(VerifyConfig(min_recall=0.5, by="tenant", n_queries=30))
    verdict.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in tags.seen
    assert {"table", "svg", "style"} <= tags.seen
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;$title" in page
    assert "<h1>1 of 12 checks failed</h1>" in page
    assert "url(" not in page
    assert "@import" not in page


def test_json_has_all_of_it(job: Job) -> None:
    verdict = job.verify(VerifyConfig(min_recall=0.5, n_queries=30))
    found = json.loads(verdict.to_json())
    assert found["passed"] is True
    assert [one["name"] for one in found["checks"]] == [one.name for one in verdict.checks]
    assert found["searches"][1]["recall"] == verdict.searches[1].recall._asdict()
    assert found["fingerprint"] == job.model.fingerprint
