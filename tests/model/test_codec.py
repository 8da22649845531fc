"""`CSRModel` itself: it never changes, is valid or not there, and needs no torch."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrkit.errors import ShapeError
from csrkit.model import CSRModel, ModelConfig, Provenance, array_shapes

MakeModel = Callable[..., CSRModel]


def rows(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, 12)).astype(np.float32)


def raises(error: type[Exception], message: str) -> Any:
    """Expect exactly this message."""
    return pytest.raises(error, match=f"^{re.escape(message)}$")


# -- a model never changes -----------------------------------------------------------


def test_encoding_changes_nothing(make_model: MakeModel) -> None:
    model, x = make_model(), rows(20)
    before = {n: getattr(model, n).copy() for n in array_shapes(model.config)}, x.copy()
    fingerprint = model.fingerprint
    first = model.encode(x)
    model.encode(x * 2, k=50, device="cpu")
    model.decode(first)
    assert model.encode(x) == first
    for name, array in before[0].items():
        np.testing.assert_array_equal(getattr(model, name), array)
    np.testing.assert_array_equal(x, before[1])
    assert make_model().fingerprint == model.fingerprint == fingerprint


def test_weights_are_copied_and_read_only(make_model: MakeModel) -> None:
    model = make_model()
    arrays = {n: getattr(model, n).copy() for n in array_shapes(model.config)}
    twin = CSRModel(config=model.config, **arrays)
    for name, array in arrays.items():
        array[:] = 0
        with pytest.raises(ValueError, match="read-only"):
            getattr(twin, name)[0] = 0
    assert twin.fingerprint == model.fingerprint
    with pytest.raises(AttributeError, match="encoder"):
        twin.encoder = arrays["encoder"]  # type: ignore[misc]


def test_models_travel_to_other_processes(make_model: MakeModel) -> None:
    model = make_model()
    model.encode(rows(1))  # fills caches, which do not travel
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin.fingerprint == model.fingerprint
        assert twin.encode(rows(9)) == model.encode(rows(9))
        assert not twin.encoder.flags.writeable


def test_any_change_of_weights_or_config_changes_the_fingerprint(make_model: MakeModel) -> None:
    model = make_model()
    arrays = {n: getattr(model, n) for n in array_shapes(model.config)}
    found = {model.fingerprint}
    for name, array in arrays.items():
        changed = array.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(9))
        found.add(CSRModel(config=model.config, **{**arrays, name: changed}).fingerprint)
    other = model.config.model_copy(update={"ladder": (3, 5)})
    found.add(CSRModel(config=other, **arrays).fingerprint)
    assert len(found) == len(arrays) + 2
    assert all(re.fullmatch("[0-9a-f]{64}", one) for one in found)
    assert f"fingerprint='{model.fingerprint[:12]}'" in repr(model)


@pytest.mark.parametrize("name", ["encoder", "latent_bias", "pre_bias", "decoder", "scales"])
def test_wrong_arrays_are_refused(make_model: MakeModel, name: str) -> None:
    model = make_model()
    arrays = {n: getattr(model, n) for n in array_shapes(model.config)}
    shape = arrays[name].shape
    with raises(ShapeError, f"expected {name} of shape {shape}, got (1, 1, 1)"):
        CSRModel(config=model.config, **{**arrays, name: np.ones((1, 1, 1))})
    for value in (np.nan, np.inf, 1e39):  # the last is Inf as float32
        with raises(ShapeError, f"expected finite {name}, got NaN or Inf in it"):
            CSRModel(config=model.config, **{**arrays, name: np.full(shape, value)})


@pytest.mark.parametrize("ladder", [(), (0, 2), (4, 4), (5, 2), (2, 51)])
def test_a_ladder_rises_within_the_latents(ladder: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"expected rungs rising from 1 to 50, got {ladder!r}")
    ):
        ModelConfig(
            dim=2,
            n_latents=50,
            ladder=ladder,
            provenance=Provenance(csrkit="0", rows=1, steps=1),
        )


# -- a serving process needs no torch -------------------------------------------------

SERVE = """
import sys, numpy as np, csrkit.model
model = csrkit.model.load({folder!r})
model.decode(model.encode(np.ones((2, 12), dtype=np.float32)))
{extra}
heavy = {{"torch", "sklearn", "qdrant_client", "transformers"}} & sys.modules.keys()
sys.exit(f"loaded {{sorted(heavy)}}" if heavy else 0)
"""


@pytest.mark.parametrize(
    ("extra", "error"),
    [
        ("", ""),
        ("model.encode(np.ones((1, 12)), device='cpu')", ""),
        ("import torch", "'torch'"),  # the check sees it
    ],
)
def test_serving_loads_no_torch(
    make_model: MakeModel, tmp_path: Path, extra: str, error: str
) -> None:
    make_model().save(tmp_path)
    script = SERVE.format(folder=str(tmp_path), extra=extra)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode == 0) == (not error), done.stderr
    assert error in done.stderr
