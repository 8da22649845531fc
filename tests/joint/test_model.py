"""A joint model: numpy against the torch module and the formula, words, files, searches."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import csrkit
from csrkit import joint
from csrkit.errors import ConfigError, FormatError, ShapeError
from csrkit.joint.modules import LexicalHead, Projection, Residual, Standard
from csrkit.joint.start import Affine
from csrkit.search import SearchEncoder
from csrkit.stores import MemoryStore

from .conftest import Scenes, fitted


def by_formula(model: joint.JointModel, x: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Dense side and code of one row, written out in float64."""
    weight, bias = getattr(model, f"{side}_weight"), getattr(model, f"{side}_bias")
    h = weight.astype(float) @ x + bias
    h /= np.sqrt(sum(h * h))
    u = model.head_weight.astype(float) @ h + model.head_bias
    u = (u - u.mean()) / np.sqrt(u.var() + 1e-5) * model.norm_weight + model.norm_bias
    return h, np.log1p(np.maximum(model.embeddings.astype(float) @ u + model.latent_bias, 0))


@pytest.mark.parametrize("side", ["text", "image"])
def test_encode_is_the_formula(model: joint.JointModel, unseen: Scenes, side: str) -> None:
    rows = getattr(unseen, side)
    codes, dense = getattr(model, side).encode(rows), getattr(model, side).dense(rows)
    for row in range(0, len(rows), 37):
        h, z = by_formula(model, rows[row], side)
        np.testing.assert_allclose(dense[row], h, atol=1e-5)
        np.testing.assert_allclose(codes[row].to_dense()[0], z, atol=1e-4)
    assert codes.is_nonnegative
    np.testing.assert_allclose(np.linalg.norm(dense, axis=1), 1, rtol=1e-5)


def test_numpy_serves_what_torch_trains() -> None:
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(40, 6, generator=generator)
    head = LexicalHead(5, words, biased=True, generator=generator)
    with torch.no_grad():
        head.norm.weight.uniform_(0.5, 2, generator=generator)
        head.norm.bias.normal_(generator=generator)
        head.latent_bias.normal_(generator=generator)
    rng = np.random.default_rng(0)
    start = Affine(rng.normal(size=(5, 8)).astype("f4"), rng.normal(size=5).astype("f4"))
    x = torch.randn(20, 8, generator=generator)
    standard = Standard(x.mean(dim=0), 3.0)
    projection = Projection(start, standard)
    before = x @ torch.from_numpy(start.weight).T + torch.from_numpy(start.bias)
    torch.testing.assert_close(projection(x), before, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        projection.weight.add_(0.1)
        projection.bias.sub_(0.2)
        after = projection(x)
    moved = projection.affine()
    np.testing.assert_allclose(x.numpy() @ moved.weight.T + moved.bias, after.numpy(), atol=1e-4)


def test_a_residual_starts_as_no_change_and_folds_into_one_matrix() -> None:
    adapter = Residual(6, 2, torch.Generator().manual_seed(0))
    x = torch.randn(10, 6)
    torch.testing.assert_close(adapter(x), x)
    with torch.no_grad():
        adapter.up.normal_()
        expected = adapter(x)
    folded = adapter.affine()
    np.testing.assert_allclose(x.numpy() @ folded.weight.T, expected.numpy(), atol=1e-5)


def test_k_keeps_the_heaviest_words(model: joint.JointModel, unseen: Scenes) -> None:
    whole = model.encode_text(unseen.text)
    assert whole.counts.max() > 4
    assert model.encode_text(unseen.text, k=4) == whole.top(4)
    assert model.text.encode_query(unseen.text, k=4) == whole.top(4)
    for k in (0, 31, 2.0, True):
        with pytest.raises(ConfigError, match=r"expected k from 1 to n_latents=30, or None"):
            model.encode_text(unseen.text, k=k)  # type: ignore[arg-type]


def test_both_towers_share_the_head(model: joint.JointModel, unseen: Scenes) -> None:
    again = model.head.encode(model.dense_image(unseen.image))
    expected = model.encode_image(unseen.image)
    np.testing.assert_allclose(again.to_dense(), expected.to_dense(), atol=1e-4)


def test_hybrid_scores_have_the_temperature(model: joint.JointModel, unseen: Scenes) -> None:
    text, image = unseen.text[:9], unseen.image[:7]
    cosines = model.dense_text(text) @ model.dense_image(image).T
    sparse = model.encode_text(text).to_dense() @ model.encode_image(image).to_dense().T
    expected = 0.1 * cosines / model.temperature + 0.2 * sparse
    np.testing.assert_allclose(model.hybrid_scores(text, image), expected, rtol=1e-4)
    assert model.temperature != pytest.approx(0.07)  # learned


def test_explanations_add_up_to_the_score(model: joint.JointModel, unseen: Scenes) -> None:
    shared = model.explain(unseen.text[0], unseen.image[0])
    score = model.encode_text(unseen.text[:1]).dot(model.encode_image(unseen.image[:1]))[0, 0]
    assert sum(one.contribution for one in shared) == pytest.approx(score, rel=1e-5)
    falling = [one.contribution for one in shared]
    assert falling == sorted(falling, reverse=True)
    first = shared[0]
    assert first.token == f"word{first.latent}"
    assert first.contribution == pytest.approx(first.text * first.image)


def test_words_read_codes(model: joint.JointModel, unseen: Scenes) -> None:
    (words,) = model.words(model.encode_image(unseen.image[:1]), n=3)
    code = model.encode_image(unseen.image[:1]).to_dense()[0]
    best = np.argsort(-code)[:3]
    assert [word.token for word in words] == [f"word{i}" for i in best]
    assert [word.weight for word in words] == pytest.approx(code[best].tolist())
    with pytest.raises(ShapeError, match="expected codes of width 30, got 4"):
        model.words(csrkit.SparseVectors([0, 1], [1], [1.0], dim=4))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((2, 5)), r"expected embeddings of shape \(n, 16\), got \(2, 5\)"),
        (np.full((3, 16), np.nan), "got row 0 with NaN or Inf"),
        (np.array([["a"] * 16]), "expected embeddings to be real numbers"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    model: joint.JointModel, rows: np.ndarray, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        model.encode_text(rows)
    with pytest.raises(ShapeError, match=message):
        model.dense_image(rows)


def test_nothing_to_encode(model: joint.JointModel) -> None:
    none = np.empty((0, 16))
    assert (len(model.encode_text(none)), model.encode_text(none).dim) == (0, 30)
    assert model.dense_image(none).shape == (0, 12)


# -- stores and searches -------------------------------------------------------------------


def test_a_text_finds_images_through_a_searcher(model: joint.JointModel, unseen: Scenes) -> None:
    store = MemoryStore()
    csrkit.Searcher(model.image, store, rescore=None).upsert(range(100), unseen.image)
    searcher = csrkit.Searcher(model.text, store, rescore=None)
    found = searcher.search(unseen.text, limit=1, k=30, explain=True)
    scores = model.encode_text(unseen.text).dot(model.encode_image(unseen.image, k=searcher.k_doc))
    assert [hits[0].id for hits in found] == scores.argmax(axis=1).tolist()
    assert found.explanations is not None
    words = [model.tokens[one.latent] for one in found.explanations[0][0].shared]
    expected = model.explain(unseen.text[0], unseen.image[found[0][0].id])
    assert words == [one.token for one in expected]


def test_the_head_rescores_by_the_shared_dense_space(
    model: joint.JointModel, unseen: Scenes
) -> None:
    images, texts = model.dense_image(unseen.image), model.dense_text(unseen.text)
    searcher = csrkit.Searcher(model.head, MemoryStore(), rescore="dense", dense=images)
    searcher.upsert(range(100), images)
    found = searcher.search(texts, limit=1, k=30, candidates=100)
    assert [hits[0].id for hits in found] == (texts @ images.T).argmax(axis=1).tolist()


def test_codes_that_do_not_decode_are_not_rescored_by(model: joint.JointModel) -> None:
    with pytest.raises(ConfigError, match=r"codes of a CSRModel for rescore='codes', got a Side"):
        csrkit.Searcher(model.text, MemoryStore())
    with pytest.raises(ConfigError, match=r"expected a CSRModel, got a Side.*csrkit\.evaluate"):
        csrkit.tune(model.head, np.eye(12))
    with pytest.raises(ConfigError, match=r"codes decode, for residuals=True, got a Side"):
        csrkit.Searcher(model.text, MemoryStore(), rescore=None, residuals=True)
    store = MemoryStore()  # as a CSRModel of the same width would fill it
    store.upsert([0], model.encode_text(np.ones((1, 16))), residuals=np.ones((1, 4), np.uint8))
    with pytest.raises(ConfigError, match=r"for a store that holds residual bits, got a Side"):
        csrkit.Searcher(model.text, store, rescore=None)


def test_all_that_a_searcher_takes_is_a_protocol(model: joint.JointModel) -> None:
    class Own:  # no more than the protocol names
        dim, n_latents, ladder = model.text.dim, model.text.n_latents, (4, 30)
        card, fingerprint = None, "own"
        encode = encode_query = staticmethod(model.text.encode)

    own: SearchEncoder = Own()
    searcher = csrkit.Searcher(own, MemoryStore(), rescore=None)
    searcher.upsert(range(16), np.eye(16))
    found = searcher.search(np.eye(16), effort="accurate", limit=1, explain=True, fill=True)
    assert searcher.k_doc == 30
    expected = model.encode_text(np.eye(16)).dot(model.encode_text(np.eye(16)))
    assert [hits[0].id for hits in found] == expected.argmax(axis=1).tolist()


def test_evaluate_takes_the_head(model: joint.JointModel, unseen: Scenes) -> None:
    images, texts = model.dense_image(unseen.image), model.dense_text(unseen.text)
    report = csrkit.evaluate(
        model.head, images, texts, qrels=unseen.pairs[:, 1].tolist(), baselines=[], progress=False
    )
    rows = {(row.name, row.k): row for row in report.rows}
    assert set(rows) == {(name, k) for name in ("lexical", "lexical + dense") for k in (8, 30)}
    # all ten of a hundred candidates are there: rescoring by the same vectors is exact
    assert rows["lexical + dense", 30].recall10.value == pytest.approx(1)
    codes = model.head.encode(texts), model.head.encode(images)
    expected = csrkit.metrics.posting_cost(*codes).mean()
    assert rows["lexical", 30].posting_cost == pytest.approx(expected)
    assert any("decode to nothing" in note for note in report.notes)
    assert model.head.nbytes == 4 * (16 * 12 + 3 * 16 + 30 * 16 + 30)


# -- files ----------------------------------------------------------------------------------


@pytest.fixture
def saved(model: joint.JointModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "joint")
    return tmp_path / "joint"


def test_a_saved_model_is_the_same_model(
    model: joint.JointModel, saved: Path, unseen: Scenes
) -> None:
    again = joint.load(saved)
    assert again.fingerprint == model.fingerprint
    assert again.encode_text(unseen.text) == model.encode_text(unseen.text)
    assert (again.tokens, again.spec) == (model.tokens, model.spec)
    assert pickle.loads(pickle.dumps(model)).fingerprint == model.fingerprint
    assert sorted(path.name for path in saved.iterdir()) == [
        "joint.json",
        "model.safetensors",
        "tokens.json",
    ]


def test_the_fingerprint_sees_words_and_weights(data: Scenes, model: joint.JointModel) -> None:
    fields = {name: getattr(model, name) for name in model.__dataclass_fields__}
    renamed = joint.JointModel(**{**fields, "tokens": ("other", *model.tokens[1:])})
    moved = joint.JointModel(**{**fields, "latent_bias": model.latent_bias + 1e-3})
    assert len({model.fingerprint, renamed.fingerprint, moved.fingerprint}) == 3


def edited(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda p: edited(p / "joint.json", format=2), "has format 2, this csrkit reads up to 1"),
        (lambda p: edited(p / "joint.json", colour="red"), "is not a model spec"),
        (lambda p: edited(p / "joint.json", n_latents=31), "holds|shape|not saved with"),
        (lambda p: edited(p / "tokens.json", tokens=["a"] * 30), "was not saved with"),
        (lambda p: (p / "tokens.json").unlink(), "found no tokens.json"),
        (lambda p: (p / "tokens.json").write_text("{"), "is not JSON"),
        (lambda p: (p / "model.safetensors").write_bytes(b"\x80\x04junk"), "not a readable joint"),
        (lambda p: (p / "model.safetensors").write_bytes(b""), "not a readable joint model"),
    ],
)
def test_a_folder_that_was_tampered_with_is_refused(
    harm: object, message: str, saved: Path
) -> None:
    harm(saved)  # type: ignore[operator]
    with pytest.raises(FormatError, match=message):
        joint.load(saved)


def test_models_of_two_kinds_share_no_folder(model: joint.JointModel, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FormatError, match="holds a model of another kind"):
        model.save(tmp_path)
    with pytest.raises(FormatError, match=r"found no joint\.json"):
        joint.load(tmp_path)


def test_the_ladder_of_a_side_is_within_its_width(model: joint.JointModel) -> None:
    assert model.text.ladder == (8, 30)


def test_arrays_that_do_not_fit_the_spec_are_refused(data: Scenes) -> None:
    model = fitted(data, epochs=1)
    fields = {name: getattr(model, name) for name in model.__dataclass_fields__}
    with pytest.raises(ShapeError, match=r"expected head_bias of shape \(16,\), got \(3,\)"):
        joint.JointModel(**{**fields, "head_bias": np.zeros(3)})
    with pytest.raises(ShapeError, match="expected 30 tokens and as many ids"):
        joint.JointModel(**{**fields, "tokens": ("one",)})
    with pytest.raises(ShapeError, match="expected finite latent_bias, got NaN or Inf"):
        joint.JointModel(**{**fields, "latent_bias": np.full(30, 1e39)})  # beyond float32
