"""The loop: schedule, annealing, what counts as dead, and Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import csrkit
from csrkit import FitConfig
from csrkit.errors import ConfigError
from csrkit.training import loop
from csrkit.training.autoencoder import Autoencoder
from csrkit.training.balance import LoadBalance
from csrkit.training.data import TrainingData
from csrkit.training.loop import Run, start
from csrkit.training.objective import Batch, Objective

LATENTS = 40


def make_run(**settings: Any) -> Run:
    config = FitConfig(**{"n_latents": LATENTS, "ladder": (2, 4), "steps": 100, **settings})
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(60, 8, generator=generator), dim=1)
    assert config.n_latents is not None
    model = Autoencoder(
        rows, rows.mean(dim=0), config.n_latents, tied=config.tied, generator=generator
    )
    return start(model, config, Objective(config, 1.0, generator))


def batch(n: int = 50, seed: int = 3) -> Batch:
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))
    return Batch(torch.nn.functional.normalize(x, dim=1))


# -- schedule and annealing --------------------------------------------------------------


def test_the_rate_rises_stays_and_falls() -> None:
    run = make_run(warmup=0.1, decay=0.3, learning_rate=1.0)
    factors = [run.schedule.factor(step) for step in range(100)]
    np.testing.assert_allclose(factors[:10], np.arange(1, 11) / 10)
    assert set(factors[9:70]) == {1.0}
    np.testing.assert_allclose(factors[70:98], np.arange(30, 2, -1) / 30)
    assert factors[-1] == pytest.approx(1 / 30)
    run.advance_(batch())
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_a_late_end_gives_the_decay_its_share() -> None:
    run = make_run(warmup=0, decay=0.3, steps=None)
    assert run.schedule.factor(10_000) == 1
    run.schedule.end_after(70)
    assert run.schedule.total == 100
    assert run.schedule.factor(70) == 1
    assert run.schedule.factor(85) == pytest.approx(0.5)


def test_prefixes_are_annealed_to_the_ladder_over_70_percent() -> None:
    run = make_run(n_latents=256, ladder=(4, 32), anneal_from=24, steps=100)
    seen = []
    for run.step in range(101):
        seen.append(run.ladder())
    assert seen[0] == (24, 32)  # 24 is the start, 32 is longer already
    assert seen[35] == (14, 32)
    assert set(seen[70:]) == {(4, 32)}
    shortest = [rungs[0] for rungs in seen]
    assert shortest == sorted(shortest, reverse=True)
    assert set(make_run(steps=10).ladder()) == {2, 4}


@pytest.mark.parametrize(("n_latents", "ladder"), [(3, (1, 2)), (128, (8, 64)), (40, (2, 4))])
def test_annealing_never_goes_below_the_ladder(n_latents: int, ladder: tuple[int, ...]) -> None:
    run = make_run(n_latents=n_latents, ladder=ladder, anneal_from=64)
    for run.step in range(100):
        rungs = run.ladder()
        assert rungs[0] >= ladder[0]
        assert max(ladder[-1], n_latents // 4) >= rungs[-1] >= ladder[-1]


def test_rungs_that_meet_while_annealing_are_one() -> None:
    run = make_run(n_latents=256, ladder=(2, 4), anneal_from=64)
    assert run.ladder() == (64,)
    run.advance_(batch())


def test_a_plateau_while_annealing_is_not_the_end(
    docs: np.ndarray, small: FitConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "EVERY", 2)
    monkeypatch.setattr(loop, "MARGIN", 1.0)  # nothing is ever a rise
    settings = {**small.model_dump(exclude_unset=True), "steps": None, "max_steps": 60}
    ladders: list[tuple[int, ...]] = []
    advance = Run.advance_

    def watched(run: Run, given: Batch) -> Any:
        ladders.append(run.ladder())
        return advance(run, given)

    monkeypatch.setattr(Run, "advance_", watched)
    csrkit.fit(docs, config=FitConfig(**settings, anneal_from=12), progress=False)
    assert ladders[0] == (12,)
    assert ladders[-1] == small.ladder
    assert len(ladders) > 42  # 70% of max_steps


# -- dead latents --------------------------------------------------------------------------


def test_dead_is_counted_in_rows_since_a_latent_fired() -> None:
    run = make_run(dead_after=100, load_cap=None)
    with torch.no_grad():
        run.model.latent_bias[:10] = -100  # these can never fire
    fired = torch.zeros(LATENTS, dtype=torch.bool)
    for step in range(1, 4):
        assert len(run.dead()) == 0
        result = run.advance_(batch(50, seed=step))
        k = run.config.ladder[-1]
        values, indices = (part[:, :k] for part in result.selection)
        now = torch.zeros(LATENTS, dtype=torch.bool)
        now[indices[values > 0]] = True
        fired |= now
        assert set(run.since_fired[now].tolist()) == {0}
        assert set(run.since_fired[:10].tolist()) == {50 * step}
    assert set(run.dead().tolist()) >= set(range(10))  # 150 rows > 100
    assert not set(run.dead().tolist()) & set(torch.nonzero(now)[:, 0].tolist())
    assert fired.sum() > 10


def test_a_firing_in_the_long_prefix_alone_keeps_nothing_alive() -> None:
    """Regression: the released code counts the 4k pass, so its dead latents look alive."""
    run = make_run(ladder=(1,), load_cap=None)
    x = batch().x
    with torch.no_grad():
        long, _ = run.model.select(x, run.balance.bias, 4)
    run.advance_(batch())
    first = set(long.indices[:, 0].tolist())
    assert set(torch.nonzero(run.since_fired == 0)[:, 0].tolist()) == first
    assert set(long.indices.flatten().tolist()) > first


def test_rows_of_both_sides_of_a_pair_count() -> None:
    run = make_run(load_cap=None)
    with torch.no_grad():
        run.model.latent_bias[0] = -100
    run.advance_(batch()._replace(positives=batch(seed=4).x))
    assert run.since_fired[0] == 100


def test_measuring_changes_no_counter_and_no_weight() -> None:
    """Regression: the released code counts firings while it evaluates."""
    run = make_run()
    run.advance_(batch())
    generator = run.objective.generator
    before = [run.since_fired.clone(), run.balance.bias.clone(), run.balance.loads.clone()]
    before += [p.detach().clone() for p in run.model.parameters()] + [generator.get_state()]
    taken = run.snapshot(lambda weights: float(weights.encoder.mul_(2).sum() * 0 + 0.25))
    assert taken is not None
    after = [run.since_fired, run.balance.bias, run.balance.loads, *run.model.parameters()]
    assert all(map(torch.equal, before, [*after, generator.get_state()]))
    assert (taken.recall, taken.step, run.step) == (0.25, 1, 1)


def test_a_snapshot_holds_the_balance_in_its_bias() -> None:
    run = make_run()
    run.balance.bias -= 0.5
    taken = run.snapshot(None)
    assert taken is not None
    torch.testing.assert_close(taken.weights.latent_bias, run.model.latent_bias.detach() - 0.5)


# -- load balance ----------------------------------------------------------------------------


def test_loads_are_the_shares_of_rows() -> None:
    balance = LoadBalance((1, 3), 5, None, "cpu")
    indices = torch.tensor([[0, 1, 2], [0, 2, 4], [3, 1, 0], [0, 4, 3]])
    fired = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]], dtype=torch.bool)
    for _ in range(3):  # the mean of equal batches is the batch
        balance.update_(indices, fired, 1.0)
    expected = torch.tensor([[3, 0, 0, 1, 0], [3, 1, 2, 2, 1]]) / 4
    torch.testing.assert_close(balance.loads, expected)
    assert torch.equal(balance.bias, torch.zeros(5))


def test_a_cap_lowers_the_bias_of_the_busy_and_frees_it_again() -> None:
    balance = LoadBalance((1,), 4, 2.0, "cpu")
    always = torch.zeros(8, 1, dtype=torch.int64), torch.ones(8, 1, dtype=torch.bool)
    balance.update_(*always, 1.0)
    assert balance.bias[0] < 0
    assert torch.equal(balance.bias[1:], torch.zeros(3))
    frozen = balance.bias.clone()
    balance.update_(*always, 0.0)  # the rate has decayed
    assert torch.equal(balance.bias, frozen)
    for _ in range(600):
        balance.update_(always[0] + 1, always[1], 1.0)
    assert balance.bias[0] == 0
    assert balance.bias[1] < frozen[0]


# -- Ctrl-C -----------------------------------------------------------------------------------


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let the data raise KeyboardInterrupt where Python would."""
    batches = TrainingData.batches

    def limited(self: TrainingData, *args: Any) -> Iterator[Batch]:
        for count, one in enumerate(batches(self, *args)):
            if count == steps:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(TrainingData, "batches", limited)


def test_an_interrupt_returns_the_best_model_so_far(
    docs: np.ndarray, small: FitConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "EVERY", 4)
    interrupt_after(monkeypatch, 11)
    with pytest.warns(UserWarning, match="fit was interrupted") as caught:
        model = csrkit.fit(docs, config=small, progress=False)
    found = model.config.provenance
    assert found.steps in (4, 8)
    assert str(caught[0].message) == (
        f"fit was interrupted: returning the weights of step {found.steps}, "
        f"the best measured so far (recall@10 {found.recall})"
    )
    assert caught[0].filename == __file__
    assert model.encode(docs).nnz > 0


def test_an_interrupt_before_any_measurement_is_raised(
    docs: np.ndarray, small: FitConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(monkeypatch, 11)
    with pytest.raises(KeyboardInterrupt):
        csrkit.fit(docs, config=small, progress=False)


SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts without it
import numpy as np, csrkit
from csrkit.training import loop
loop.EVERY = 5
x = np.random.default_rng(0).normal(size=(300, 8))
config = csrkit.FitConfig(n_latents=32, ladder=(2, 4), batch_size=64, steps=10**7)
model = csrkit.fit(x, config=config)
print(model.config.provenance.steps, model.encode(x).nnz > 0)
"""


def test_a_real_ctrl_c_in_a_real_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = b""
        while b", recall 0." not in seen:  # the bar shows that something was measured
            chunk = process.stderr.read1(4096)
            assert chunk, seen.decode()
            seen += chunk
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    steps, encodes = out.split()
    assert int(steps) % 5 == 0
    assert int(steps) >= 5
    assert encodes == b"True"
    assert b"UserWarning: fit was interrupted: returning the weights of step" in err


# -- divergence -------------------------------------------------------------------------------


def poison_after(monkeypatch: pytest.MonkeyPatch, steps: int, value: float) -> None:
    """Let a later batch hold what no checked input can, so that the real steps diverge."""
    batches = TrainingData.batches

    def poisoned(self: TrainingData, *args: Any) -> Iterator[Batch]:
        for count, one in enumerate(batches(self, *args)):
            yield one if count < steps else one._replace(x=one.x * value)

    monkeypatch.setattr(TrainingData, "batches", poisoned)


@pytest.mark.parametrize("holdout", [50, 0])
def test_a_late_divergence_keeps_what_was_measured_before(
    holdout: int, docs: np.ndarray, small: FitConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the NaN of a late step threw the good weights of earlier ones away."""
    config = FitConfig(**{**small.model_dump(exclude_unset=True), "steps": 40, "holdout": holdout})
    monkeypatch.setattr(loop, "EVERY", 4)
    interrupt_after(monkeypatch, 9)
    with pytest.warns(UserWarning, match="fit was interrupted"):
        expected = csrkit.fit(docs, config=config, progress=False)
    monkeypatch.undo()
    monkeypatch.setattr(loop, "EVERY", 4)
    poison_after(monkeypatch, 9, np.nan)
    with pytest.warns(UserWarning, match="training diverged") as caught:
        model = csrkit.fit(docs, config=config, progress=False)
    assert model.fingerprint == expected.fingerprint
    found = model.config.provenance
    kept = (
        f"returning the weights of step {found.steps}, the best measured so far "
        f"(recall@10 {found.recall})"
        if holdout
        else "returning the last measured weights, of step 8 (recall not measured)"
    )
    assert [str(one.message) for one in caught] == [
        "training diverged by step 12, whose weights hold NaN or are too large to encode with: "
        f"{kept}; lower FitConfig(learning_rate=0.005)"
    ]
    assert caught[0].filename == __file__


def test_an_early_divergence_is_raised_with_the_rate_that_was_used(
    docs: np.ndarray, small: FitConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**small.model_dump(exclude_unset=True), "learning_rate": None, "steps": 6}
    poison_after(monkeypatch, 2, np.nan)
    with pytest.raises(ConfigError) as caught:
        csrkit.fit(docs, config=FitConfig(**settings), progress=False)
    rate = 8e-4 / (96 / 16384) ** 0.5
    assert str(caught.value) == (
        "training diverged: the weights of step 6 hold NaN or are too large to encode with, "
        f"lower FitConfig(learning_rate={rate:.4g})"
    )


@pytest.mark.parametrize("name", loop.Weights._fields)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_weights_that_cannot_encode_are_no_snapshot(name: str, value: float) -> None:
    run = make_run(tied=False)
    assert run.snapshot(None) is not None
    with torch.no_grad():
        getattr(run.model, name)[0] = value
    # a decoder row or a bias of 1e30 is useless, which recall shows, but it is no overflow
    usable = value == 1e30 and name in ("decoder", "latent_bias")
    assert (run.snapshot(None) is not None) == usable
