"""sentence-transformers' CSR as a baseline, where that library is installed."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np
import pytest

from csrkit.errors import MissingExtra
from csrkit.evaluation import evaluate
from csrkit.evaluation.published import published
from csrkit.evaluation.trial import Known, trial
from csrkit.model import CSRModel

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="sentence-transformers is not installed (extra bench)",
)


@needs_library
@pytest.mark.usefixtures("unweighed")
def test_its_codes_are_those_of_its_module(model: CSRModel, data: Any) -> None:
    """Latents by torch.topk over its own pre-activations; scores are cosines of its codes."""
    import torch

    measured = trial(data.docs, data.queries, 24, Known(), 40, 0)
    with published(model, measured, 4, seed=0) as built:
        (way,) = built.ways
        index: Any = way.index
        module = index.encoder.module
        with torch.no_grad():
            pre = module.encode_pre_act(torch.from_numpy(measured.docs)).numpy()
        codes = index.encoder.encode(measured.docs)
        for row, code in enumerate(codes):
            best = np.sort(np.argsort(-pre[row])[:4])
            np.testing.assert_array_equal(code.indices, best[pre[row][best] > 0])
        asked = index.encoder.encode(measured.queries)
        scores = asked.to_dense() @ codes.to_dense().T
        found = index.search(measured.queries, 10)
        for query, row in enumerate(found.tolist()):
            there = [doc for doc in row if doc >= 0]
            want = np.sort(scores[query][scores[query] > 0])[::-1][:10]
            np.testing.assert_allclose(scores[query][there], want, atol=1e-5)
        (subset,) = measured.subsets
        assert set(index.search(measured.queries, 10, among=subset).ravel()) <= {-1, *subset.rows}
        assert way.index.footprint.code == codes.nnz / len(codes) * 8
        assert (way.k, way.setting) == (4, "k=4, 1 steps")


@needs_library
@pytest.mark.usefixtures("unweighed")
def test_it_is_trained_for_as_many_steps_as_the_model(model: CSRModel, data: Any) -> None:
    import torch

    config = model.config.model_copy(
        update={"provenance": model.config.provenance.model_copy(update={"steps": 200})}
    )
    longer = CSRModel(config=config, **{n: getattr(model, n) for n in _ARRAYS})
    measured = trial(data.docs, data.queries, 24, Known(), 40, 0)
    rows, errors = torch.from_numpy(measured.docs), []
    for one in (model, longer):
        with published(one, measured, 16, seed=0) as built, torch.no_grad():
            index: Any = built.ways[0].index
            decoded = index.encoder.module({"sentence_embedding": rows})["decoded_embedding_k"]
            errors.append(float(((rows - decoded) ** 2).sum(dim=1).mean()))
    assert errors[1] < 0.5 * errors[0]


_ARRAYS = ("encoder", "decoder", "latent_bias", "pre_bias", "scales", "loads")


@needs_library
@pytest.mark.usefixtures("unweighed")
def test_it_has_a_row_per_rung(model: CSRModel, data: Any) -> None:
    report = evaluate(
        model, data.docs, data.queries, baselines=["sentence-transformers"], progress=False
    )
    rows = [row for row in report.rows if row.name == "sentence-transformers"]
    assert [row.k for row in rows] == [4, 16]
    assert all(row.family == "csr" for row in rows)
    assert "sentence-transformers" in dict(report.machine.packages)


def test_without_the_library_the_error_names_the_extra(
    model: CSRModel, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra, match=r'sentence-transformers.*pip install "csrkit\[bench\]"'):
        evaluate(model, data.docs, baselines=["sentence-transformers"], progress=False)
