"""`csrkit.fit` as a whole: it learns, repeats itself, and every input has its effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import csrkit
from csrkit import CSRModel, FitConfig
from csrkit.errors import ConfigError
from csrkit.metrics import exact_top, recall_at

LIMIT = 10


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def fit(x: Any, config: FitConfig, **inputs: Any) -> CSRModel:
    return csrkit.fit(x, config=config, progress=False, **inputs)


def short(config: FitConfig, **changes: Any) -> FitConfig:
    """Return settings for a few steps, checked again."""
    return FitConfig(**{**config.model_dump(exclude_unset=True), "steps": 5, **changes})


@pytest.fixture(scope="module")
def model(docs: np.ndarray, small: FitConfig) -> CSRModel:
    return fit(docs, small)


# -- it learns --------------------------------------------------------------------


def fvu(model: CSRModel, x: np.ndarray, k: int) -> float:
    x = unit(x)
    error = np.square(model.decode(model.encode(x, k=k)) - x).sum()
    return float(error / np.square(x - x.mean(axis=0)).sum())


def recall(model: CSRModel, queries: np.ndarray, docs: np.ndarray, k: int) -> float:
    scores = model.encode(queries, k=k).dot(model.encode(docs, k=k))
    found = np.argsort(-scores, axis=1, kind="stable")[:, :LIMIT]
    truth = exact_top(unit(queries), unit(docs), LIMIT)
    return float(recall_at(found, truth, LIMIT).mean())


def pca_recall(queries: np.ndarray, docs: np.ndarray, dims: int) -> float:
    mean = unit(docs).mean(axis=0)
    axes = np.linalg.svd(unit(docs) - mean, full_matrices=False)[2][:dims]
    narrow = [unit((unit(x) - mean) @ axes.T) for x in (queries, docs)]
    truth = exact_top(unit(queries), unit(docs), LIMIT)
    return float(recall_at(exact_top(*narrow, LIMIT), truth, LIMIT).mean())


def test_it_learns_the_data(model: CSRModel, queries: np.ndarray, docs: np.ndarray) -> None:
    # queries were never seen; a model of one rung per k is not needed
    unexplained = [fvu(model, queries, k) for k in model.ladder]
    assert unexplained == sorted(unexplained, reverse=True)
    assert unexplained[-1] < 0.3
    for k in model.ladder:  # a k-latent code against k whole numbers
        assert recall(model, queries, docs, k) > pca_recall(queries, docs, k) + 0.03


def test_training_is_what_learns(
    model: CSRModel, small: FitConfig, queries: np.ndarray, docs: np.ndarray
) -> None:
    start = fit(docs, short(small, steps=1))
    for k in model.ladder:
        assert fvu(model, queries, k) < 0.85 * fvu(start, queries, k)
    assert recall(model, queries, docs, 8) > recall(start, queries, docs, 8) + 0.03


@pytest.mark.parametrize("recipe", ["csr", "csrv2"])
def test_the_published_recipes_learn_it_too(
    recipe: Any, small: FitConfig, queries: np.ndarray, docs: np.ndarray
) -> None:
    settings = {**small.model_dump(exclude_unset=True), "recipe": recipe}
    if recipe == "csrv2":
        settings["anneal_from"] = 16
    found = fit(docs, FitConfig(**settings))
    assert fvu(found, queries, 8) < 0.4
    np.testing.assert_array_equal(found.encoder, found.decoder)  # tied


def test_what_is_measured_on_the_way_is_what_comes_out(
    model: CSRModel, queries: np.ndarray, docs: np.ndarray
) -> None:
    # queries are of the same kind as the rows held out, so they are as easy
    found = [recall(model, queries, docs, k) for k in model.ladder]
    assert model.config.provenance.recall == pytest.approx(np.mean(found), abs=0.08)


def test_the_model_knows_its_loads_and_scales(model: CSRModel, docs: np.ndarray) -> None:
    for rung, k in enumerate(model.ladder):
        counts = np.bincount(model.encode(docs, k=k).indices, minlength=model.n_latents)
        np.testing.assert_allclose(model.loads[rung], counts / len(docs), atol=0.02)
    x = unit(docs)
    for k in model.ladder:  # least squares: no other constant explains more
        directions = model.encode(x, k=k).to_dense() @ model.decoder
        s = model.scales[k]
        errors = [np.square(model.pre_bias + f * s * directions - x).sum() for f in (0.97, 1, 1.03)]
        assert errors[1] == min(errors)


def test_decoder_rows_have_norm_1_unless_tied(
    model: CSRModel, docs: np.ndarray, small: FitConfig
) -> None:
    np.testing.assert_array_equal(model.encoder, model.decoder)
    untied = fit(docs, short(small, tied=False))
    assert not np.array_equal(untied.encoder, untied.decoder)
    np.testing.assert_allclose(np.linalg.norm(untied.decoder, axis=1), 1, rtol=1e-5)


def test_provenance_says_what_was_run(model: CSRModel, small: FitConfig) -> None:
    found = model.config.provenance
    assert (found.csrkit, found.rows, found.steps) == (csrkit.__version__, 1000, 150)
    resolved = FitConfig.model_validate(found.fit)
    assert resolved.n_latents == 96
    assert resolved.aux_latents == 12
    assert resolved.distillation_weight == 0.15
    for name in small.model_fields_set:
        assert getattr(resolved, name) == getattr(small, name)


# -- it repeats itself ------------------------------------------------------------------


def test_one_seed_gives_one_model(docs: np.ndarray, small: FitConfig) -> None:
    config = short(small, steps=20, dead_after=1000)
    first = fit(docs, config)
    assert fit(docs, config).fingerprint == first.fingerprint
    other = fit(docs, short(config, steps=20, seed=1))
    assert not np.array_equal(other.encoder, first.encoder)


@pytest.mark.parametrize("kind", ["path", "iterator", "list", "memmap", "tensor", "float64"])
def test_every_kind_of_input_trains_the_same_model(
    docs: np.ndarray, small: FitConfig, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "docs.npy"
    np.save(path, docs)
    config = short(small)
    given: Any = {
        "path": lambda: path,
        "iterator": lambda: (docs[i : i + 100] for i in range(0, 1000, 100)),
        "list": lambda: docs.tolist(),
        "memmap": lambda: np.load(path, mmap_mode="r"),
        "tensor": lambda: _tensor(docs),
        "float64": lambda: docs.astype(np.float64),
    }[kind]()
    assert fit(given, config).fingerprint == fit(docs, config).fingerprint


def _tensor(x: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(x.copy())


# -- inputs and settings matter ------------------------------------------------------------


def margin(model: CSRModel, x: np.ndarray, y: np.ndarray, same: np.ndarray) -> float:
    """Return how much higher codes score that belong together."""
    scores = model.encode(x, k=8).dot(model.encode(y, k=8))
    apart = ~same & ~np.eye(*same.shape, dtype=bool)
    return float(scores[same].mean() - scores[apart].mean())


def test_positives_are_drawn_together(docs: np.ndarray, small: FitConfig) -> None:
    # the pair of a row lies elsewhere: nothing but the pairs can tell
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(24, 24)))[0].astype(np.float32)
    pairs = docs @ turn
    strong = FitConfig(**{**small.model_dump(exclude_unset=True), "contrast_weight": 1.0})
    told = fit(docs, strong, positives=pairs)
    untold = fit(np.concatenate([docs, pairs]), small)
    same = np.eye(300, dtype=bool)
    before = margin(untold, docs[:300], pairs[:300], same)
    assert margin(told, docs[:300], pairs[:300], same) > before + 0.2


def test_labels_are_drawn_together(docs: np.ndarray, small: FitConfig) -> None:
    labels = (docs[:, 0] > 0).astype(np.int64)  # half the space: cosine hardly sees it
    free = {"contrast_weight": 1.0, "tied": False}  # classes that reconstruction does not want
    strong = FitConfig(**{**small.model_dump(exclude_unset=True), **free})
    same = (labels[:300, None] == labels[:300]) & ~np.eye(300, dtype=bool)
    told = margin(fit(docs, strong, labels=labels), docs[:300], docs[:300], same)
    untold = margin(fit(docs, small), docs[:300], docs[:300], same)
    assert told > untold + 0.1


def test_queries_shape_the_codes_and_measure_them(
    docs: np.ndarray, queries: np.ndarray, small: FitConfig
) -> None:
    config = short(small, holdout=20)
    told = fit(docs, config, queries=queries)
    assert not np.array_equal(told.encoder, fit(docs, config).encoder)
    assert told.config.provenance.recall is not None
    few = fit(docs, config, queries=queries[:9])  # too few to hold any out
    assert few.config.provenance.recall is None
    none = fit(docs, short(small, holdout=0))
    assert none.config.provenance.recall is None


def test_supervision_sets_the_weights_that_were_left_open(
    docs: np.ndarray, small: FitConfig
) -> None:
    labels = np.arange(1000) % 5
    found = [
        fit(docs, short(small), **given).config.provenance.fit
        for given in ({}, {"labels": labels}, {"positives": docs})
    ]
    assert [bool(one["distillation_weight"]) for one in found] == [True, False, False]
    kept = short(small, contrast_weight=0.3, distillation_weight=0.2)
    chosen = fit(docs, kept, labels=labels).config.provenance.fit
    assert (chosen["contrast_weight"], chosen["distillation_weight"]) == (0.3, 0.2)
    for given in ({"labels": labels}, {"positives": docs}):
        with pytest.raises(ConfigError, match="contrast_weight above 0"):
            fit(docs, short(small, contrast_weight=0.0), **given)


def test_a_load_cap_lowers_the_busiest_latent(docs: np.ndarray, small: FitConfig) -> None:
    # without the contrast, which spreads the load by itself
    settings = {**small.model_dump(exclude_unset=True), "contrast_weight": 0.0}
    free = fit(docs, FitConfig(**{**settings, "load_cap": None}))
    capped = fit(docs, FitConfig(**{**settings, "load_cap": 1.0}))
    assert capped.loads[-1].max() < 0.85 * free.loads[-1].max()


def test_steps_left_open_end_when_recall_stops_rising(
    docs: np.ndarray, small: FitConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csrkit.training.loop.EVERY", 5)
    monkeypatch.setattr("csrkit.training.loop.MARGIN", 1.0)  # nothing is ever a rise
    found = fit(docs, short(small, steps=None, max_steps=500, holdout=50))
    # the first of 4 measurements rises from nothing; then 30% more for the decay
    assert found.config.provenance.steps <= round(20 / 0.7)


def test_the_input_is_left_alone(docs: np.ndarray, small: FitConfig) -> None:
    x = docs.copy()
    fit(x, short(small), labels=np.arange(1000) % 3)
    np.testing.assert_array_equal(x, docs)


def test_progress_is_shown_and_can_be_silenced(
    docs: np.ndarray, small: FitConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(docs, short(small, steps=20))
    assert capsys.readouterr() == ("", "")
    csrkit.fit(docs, config=short(small, steps=20))
    shown = capsys.readouterr().err
    for word in ("fvu 0.", "dead 0.0%", "busiest ", "vec/s"):
        assert word in shown


def test_constant_rows_do_no_harm_and_are_told(small: FitConfig) -> None:
    with pytest.warns(UserWarning, match="^180 of 180 embeddings get an empty code") as told:
        found = fit(np.ones((200, 6)), short(small))
    np.testing.assert_allclose(found.decode(found.encode(np.ones((1, 6)))), 6**-0.5, atol=0.05)
    assert [warning.filename for warning in told] == [__file__]
