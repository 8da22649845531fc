"""What `csrkit.fit` refuses, in which words."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import csrkit
from csrkit import FitConfig
from csrkit.errors import ConfigError, CsrkitError, FormatError, MissingExtra, ShapeError

X = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
CONFIG = FitConfig(n_latents=16, ladder=(2, 4), steps=2)


def with_value(value: float) -> np.ndarray:
    x = X.copy()
    x[41, 2] = value
    return x


def with_zeros() -> np.ndarray:
    x = X.copy()
    x[41] = 0
    return x


Refusal = tuple[Callable[[], dict[str, Any]], type[CsrkitError], str]
REFUSED: dict[str, Refusal] = {
    "nan": (
        lambda: {"embeddings": with_value(np.nan)},
        ShapeError,
        "^expected finite, non-zero rows, got nan at column 2 in row 41 of embeddings$",
    ),
    "inf": (lambda: {"embeddings": with_value(np.inf)}, ShapeError, "got inf .* in row 41"),
    "zeros": (lambda: {"embeddings": with_zeros()}, ShapeError, "got a zero vector.* in row 41"),
    "nan in positives": (lambda: {"positives": with_value(np.nan)}, ShapeError, "got nan .* 41"),
    "nan in queries": (lambda: {"queries": with_value(np.nan)}, ShapeError, "got nan .* row 41"),
    "one vector": (lambda: {"embeddings": X[0]}, ShapeError, r"\(8,\)"),
    "three axes": (lambda: {"embeddings": X[None]}, ShapeError, r"\(1, 60, 8\)"),
    "empty": (lambda: {"embeddings": X[:0]}, ShapeError, r"\(0, 8\)"),
    "nothing": (lambda: {"embeddings": []}, ShapeError, r"\(n, dim\), got \(0,\)"),
    "no batches": (lambda: {"embeddings": iter([])}, ShapeError, "expected at least one row"),
    "text": (lambda: {"embeddings": [["a", "b"]] * 20}, ShapeError, "<U1"),
    "ragged": (lambda: {"embeddings": [[1.0, 2.0], [1.0]] * 10}, ShapeError, "rows of one width"),
    "complex": (lambda: {"embeddings": X * 1j}, ShapeError, "complex"),
    "no file": (lambda: {"embeddings": Path("no/such.npy")}, FormatError, "no/such.npy"),
    "few rows": (
        lambda: {"embeddings": X[:9]},
        ConfigError,
        "^expected at least 10 embeddings to fit on, got 9$",
    ),
    "width of positives": (lambda: {"positives": X[:, :7]}, ShapeError, r"^fit\(pos.*8.*\(60, 7\)"),
    "rows of positives": (
        lambda: {"positives": X[:59]},
        ShapeError,
        "^expected one positive per embedding, got 60 embeddings and 59 positives$",
    ),
    "width of queries": (lambda: {"queries": X[:, :7]}, ShapeError, r"8.*\(60, 7\)"),
    "both": (
        lambda: {"positives": X, "labels": np.zeros(60, dtype=int)},
        ConfigError,
        r"^expected positives or labels, got fit\(positives=\.\.\., labels=\.\.\.\)$",
    ),
    "count of labels": (
        lambda: {"labels": [1, 2]},
        ShapeError,
        r"^expected one label per embedding, \(60,\), got \(2,\)$",
    ),
    "shape of labels": (lambda: {"labels": np.zeros((60, 1), int)}, ShapeError, r"\(60, 1\)"),
    "ragged labels": (
        lambda: {"labels": [[1], [2, 3]]},
        ShapeError,
        "^expected labels with rows of one",
    ),
    "float labels": (
        lambda: {"labels": np.zeros(60)},
        ShapeError,
        "^expected labels as whole numbers, got dtype float64$",
    ),
    "named labels": (
        lambda: {"labels": ["a"] * 60},
        ShapeError,
        r"got dtype <U1: number them by np.unique\(labels, return_inverse=True\)\[1\]$",
    ),
    "labels under a mask": (
        lambda: {"labels": np.ma.masked_equal(np.arange(60), 3)},
        ShapeError,
        "labels without masked entries, got 1 of 60 masked",
    ),
    "text for queries": (
        lambda: {"queries": ["what"]},
        FormatError,
        r"^fit\(queries=\.\.\.\): expected a file .* texts are to be embedded first$",
    ),
    "dict config": (
        lambda: {"config": {"steps": 2}},
        ConfigError,
        r"^expected config=FitConfig\(\.\.\.\), got dict$",
    ),
    "device": (
        lambda: {"config": CONFIG.model_copy(update={"device": "toaster"})},
        ConfigError,
        r"^expected a device of this machine, got FitConfig\(device='toaster'\): ",
    ),
    "device of a module that is not there": (  # torch raises ModuleNotFoundError
        lambda: {"config": CONFIG.model_copy(update={"device": "hpu"})},
        ConfigError,
        r"^expected a device of this machine, got FitConfig\(device='hpu'\): ",
    ),
    "diverging": (
        lambda: {"config": CONFIG.model_copy(update={"learning_rate": 1e30})},
        ConfigError,
        r"^training diverged: .* lower FitConfig\(learning_rate=1e\+30\)$",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_inputs_are_refused(name: str) -> None:
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        csrkit.fit(**{"embeddings": X, "config": CONFIG, "progress": False, **make()})


def test_what_is_refused_differs_from_what_is_not() -> None:
    labels, given = np.zeros(60, dtype=np.uint8), {"config": CONFIG, "progress": False}
    assert csrkit.fit(X, labels=labels, **given).dim == 8
    assert csrkit.fit(X, positives=X, queries=X, **given).dim == 8


def test_fewer_rows_than_latents_shrink_the_default_with_a_warning() -> None:
    config = FitConfig(ladder=(2, 4), steps=2)
    message = (
        "20 embeddings are fewer than the 32 latents that 8 dimensions would get: "
        "using n_latents=20"
    )
    with pytest.warns(UserWarning, match=f"^{message}$") as caught:
        assert csrkit.fit(X[:20], config=config, progress=False).n_latents == 20
    assert caught[0].filename == __file__  # points at the caller
    assert csrkit.fit(X, config=config, progress=False).n_latents == 32


def test_a_ladder_longer_than_the_rows_still_has_its_latents() -> None:
    message = "the longest k of the ladder, 25, takes as many latents, more than the 20 embeddings"
    with pytest.warns(UserWarning, match=f"^{message}: many will never fire$"):
        model = csrkit.fit(X[:20], config=FitConfig(ladder=(25,), steps=2), progress=False)
    assert model.n_latents == 25


def test_latents_that_were_asked_for_are_kept_with_a_warning() -> None:
    message = (
        "fitting n_latents=16 on 12 embeddings: many latents will never fire; "
        "leave n_latents=None to let the number of rows choose"
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$") as caught:
        assert csrkit.fit(X[:12], config=CONFIG, progress=False).n_latents == 16
    assert caught[0].filename == __file__


def test_without_torch_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra) as caught:
        csrkit.fit(X)
    assert str(caught.value) == (
        'csrkit.fit needs torch, which is not installed: pip install "csrkit[train]"'
    )


# -- FitConfig ---------------------------------------------------------------------------

BAD_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"n_latent": 8}, "Extra inputs are not permitted"),
    ({"recipe": "csrv3"}, "Input should be 'csr', 'csrkit' or 'csrv2'"),
    ({"ladder": ()}, "expected a rising ladder of k, such as (8, 16, 32), got ()"),
    ({"ladder": (8, 8)}, "expected a rising ladder of k, such as (8, 16, 32), got (8, 8)"),
    ({"ladder": (0, 8)}, "expected a rising ladder of k, such as (8, 16, 32), got (0, 8)"),
    ({"n_latents": 60}, "expected n_latents of at least the longest rung 64, got 60"),
    ({"anneal_from": 4}, "expected anneal_from of at least the shortest rung 8, got 4"),
    ({"seed": -1}, "greater than or equal to 0"),
    ({"seed": 2**63}, "less than 9223372036854775808"),
    ({"batch_size": 1}, "greater than or equal to 2"),
    ({"steps": 0}, "greater than or equal to 1"),
    ({"learning_rate": 0}, "greater than 0"),
    ({"warmup": 1.1}, "less than or equal to 1"),
    ({"distillation_temperature": 0}, "greater than 0"),
    ({"load_cap": 0.5}, "greater than or equal to 1"),
]


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        FitConfig(**settings)


@pytest.mark.parametrize("recipe", ["csr", "csrkit", "csrv2"])
def test_settings_go_through_json_and_hands_win_over_recipes(recipe: Any) -> None:
    config = FitConfig(recipe=recipe, aux_weight=0.5, n_latents=100)
    assert FitConfig.model_validate_json(config.model_dump_json()) == config
    assert config.aux_weight == 0.5
    with pytest.raises(ValidationError, match="frozen"):
        config.steps = 3  # type: ignore[misc]


def test_the_published_recipes_have_the_published_weights() -> None:
    csr, csrv2 = FitConfig(recipe="csr"), FitConfig(recipe="csrv2")
    assert (csr.aux_weight, csr.contrast_weight, csr.contrast_temperature) == (1 / 32, 0.1, 0.2)
    assert (csrv2.aux_weight, csrv2.contrast_weight, csrv2.anneal_from) == (0.1, 0.1, 64)
    for config in (csr, csrv2):
        assert (config.tied, config.long_prefix_weight) == (True, 1 / 8)
        assert (config.distillation_weight, config.load_cap) == (0, None)
