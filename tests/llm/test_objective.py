"""The losses of a step against loops over numbers, and batches that follow from the step."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch

from csrkit.errors import ConfigError
from csrkit.llm import LLMConfig, Triple
from csrkit.llm.batches import Batches
from csrkit.llm.config import Loss
from csrkit.llm.objective import Codes, Objective

QUERIES, LIST, WIDTH = 4, 3, 6


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())


def by_hand(
    loss: str, scores: np.ndarray, positives: np.ndarray, teacher: np.ndarray, tau: float
) -> float:
    contrast = margins = divergence = 0.0
    for query in range(QUERIES):
        share = softmax(scores[query])
        contrast -= math.log(sum(share[d] for d in range(len(share)) if positives[query, d]))
        own = scores[query, query * LIST : (query + 1) * LIST]
        for negative in range(1, LIST):
            gap = (own[0] - own[negative]) - (teacher[query, 0] - teacher[query, negative])
            margins += gap**2 / (LIST - 1)
        p, q = softmax(teacher[query] / tau), softmax(own / tau)
        divergence += sum(p[d] * math.log(p[d] / q[d]) for d in range(LIST))
    values = {
        "cl": contrast,
        "kd": margins,
        "kd_kl": divergence,
        "cl_kd": 0.5 * (contrast + divergence),
    }
    return values[loss] / QUERIES


@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize("step", [0, 5, 50])
def test_total_is_the_sum_written_out(loss: Loss, step: int) -> None:
    rng = np.random.default_rng(step)
    q, d = np.abs(rng.normal(size=(QUERIES, WIDTH))), np.abs(rng.normal(size=(12, WIDTH)))
    eq, ed = rng.normal(size=(QUERIES, 3)), rng.normal(size=(12, 3))
    teacher = rng.normal(size=(QUERIES, LIST))
    positives = np.zeros((QUERIES, 12), dtype=bool)
    positives[range(QUERIES), range(0, 12, LIST)] = True
    positives[0, 5] = True  # a copy of the first positive in another list
    config = LLMConfig(
        head="both",
        loss=loss,
        steps=100,
        sparse_temperature=2.0,
        dense_temperature=0.5,
        hot_start=16.0,
        temperature_warmup=0.1,
        teacher_scale=3.0,
        kl_temperature=1.5,
        query_flops=0.2,
        document_flops=0.1,
        flops_ramp=0.1,
    )
    heat = 16 ** (1 - step / 10) if step < 10 else 1.0
    expected = by_hand(loss, q @ d.T / (2 * heat), positives, 3 * teacher, 1.5)
    expected += by_hand(loss, eq @ ed.T / (0.5 * heat), positives, 3 * teacher, 1.5)
    ramp = min(1, step / 10) ** 2
    expected += ramp * 0.2 * float((q.mean(axis=0) ** 2).sum())
    expected += ramp * 0.1 * float((d.mean(axis=0) ** 2).sum())
    parts = Objective(config)(
        Codes(torch.tensor(q), torch.tensor(eq)),
        Codes(torch.tensor(d), torch.tensor(ed)),
        torch.tensor(positives),
        torch.tensor(teacher),
        step,
    )
    assert float(parts.total) == pytest.approx(expected, rel=1e-6)


def test_batches_follow_from_the_step(triples: list[Triple]) -> None:
    one, two = (Batches(triples, 8, 2, seed=3) for _ in range(2))
    batch, again = one(6), two(6)
    assert (batch.queries, batch.documents) == (again.queries, again.documents)
    assert batch.queries != one(7).queries
    other = Batches(triples, 8, 2, seed=4)(6)
    assert batch.queries != other.queries


def test_an_epoch_takes_every_triple_once(triples: list[Triple]) -> None:
    batches = Batches(triples, 10, 1, seed=0)
    epochs = [[q for step in range(e, e + 5) for q in batches(step).queries] for e in (0, 5)]
    assert [sorted(epoch) for epoch in epochs] == [sorted(t.query for t in triples)] * 2
    assert epochs[0] != epochs[1]


def test_lists_scores_and_copies_belong_together(triples: list[Triple]) -> None:
    by_query = {triple.query: triple for triple in triples}
    batch = Batches(triples, 16, 3, seed=0)(2)
    assert batch.teacher is not None
    assert batch.teacher.shape == (16, 4)
    for row, query in enumerate(batch.queries):
        triple = by_query[query]
        texts = batch.documents[4 * row : 4 * row + 4]
        scores = dict(zip(triple.documents, triple.scores or (), strict=True))
        assert texts[0] == triple.positive
        assert len(set(texts)) == 4
        assert batch.teacher[row].tolist() == [scores[text] for text in texts]
        copies = [column for column, text in enumerate(batch.documents) if text == triple.positive]
        assert batch.positives[row].nonzero()[:, 0].tolist() == copies


def test_other_answers_to_a_query_are_no_negatives() -> None:
    both = [Triple("q", "a", ("x",)), Triple("q", "b", ("a",)), Triple("p", "c", ("b",))]
    batch = Batches(both, 3, 1, seed=0)(0)
    found = {
        (query, text): bool(yes)
        for query, row in zip(batch.queries, batch.positives, strict=True)
        for text, yes in zip(batch.documents, row, strict=True)
    }
    yes = {("q", "a"), ("q", "b"), ("p", "c")}
    assert found == {(q, d): (q, d) in yes for q in "qp" for d in "abcx"}


def test_negatives_are_drawn_anew(triples: list[Triple]) -> None:
    batches = Batches(triples[:1], 1, 2, seed=0)
    assert len({tuple(batches(step).documents) for step in range(200)}) == 12  # ordered pairs of 4


def test_batches_are_bounded_by_the_triples(triples: list[Triple]) -> None:
    assert Batches(triples, 1000, None, seed=0).size == 50
    assert Batches(triples, 8, None, seed=0).negatives == 4
    many = Triple("q", "p", tuple(f"n{i}" for i in range(40)))
    assert Batches([many], 1, None, seed=0).negatives == 16
    sample = Batches(triples, 8, None, seed=0).documents(20)
    assert len(set(sample)) == len(sample) == 20
    with pytest.raises(ConfigError, match=r"negatives=5 in every triple, got 4 in triple 0"):
        Batches(triples, 8, 5, seed=0)
    with pytest.raises(ConfigError, match="expected triples to train on, got none"):
        Batches([], 8, None, seed=0)


def test_the_temperature_cools_down() -> None:
    objective = Objective(LLMConfig(loss="cl", steps=100, hot_start=8, temperature_warmup=0.5))
    heats = [objective.heat(step) for step in range(60)]
    assert heats[0] == 8
    assert heats[25] == pytest.approx(8**0.5)
    assert heats[50:] == [1.0] * 10
    assert all(a >= b for a, b in pairwise(heats))
    assert Objective(LLMConfig(loss="cl", hot_start=8, temperature_warmup=0)).heat(0) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"micro_batch": 64}, "expected micro_batch of at most batch_size=32, got 64"),
        ({"loss": "kd", "negatives": 0}, "expected negatives for loss='kd' to rank"),
        ({"stps": 3}, "stps"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LLMConfig.model_validate(settings)
    assert LLMConfig.model_validate_json(LLMConfig().model_dump_json()) == LLMConfig()
