"""Checkpoints of tiny random configurations: the towers, both freezes, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from csrkit import joint
from csrkit.errors import ConfigError, FormatError, ShapeError

transformers = pytest.importorskip("transformers")

from csrkit.joint.encoders import TwoTower  # noqa: E402
from csrkit.joint.towers import Tail, hidden_before_last  # noqa: E402

VOCABULARY, LENGTH, N = 60, 9, 40
TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
    "initializer_range": 0.02,
}


def checkpoint(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "blip":
        text = {**TEXT, "encoder_hidden_size": 24, "sep_token_id": 2}
        config = transformers.BlipConfig(
            text_config=text, vision_config=VISION, image_text_hidden_size=8
        )
        return transformers.BlipForImageTextRetrieval(config)
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=8)
        return transformers.CLIPModel(config)
    text = {**TEXT, "projection_size": 24}
    return transformers.SiglipModel(
        transformers.SiglipConfig(text_config=text, vision_config=VISION)
    )


@pytest.fixture(scope="module")
def inputs() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Texts of several lengths that end with the end token, and noise for pictures."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (N, LENGTH), generator=generator)
    lengths = torch.randint(3, LENGTH + 1, (N,), generator=generator)
    place = torch.arange(LENGTH)
    ids[place[None] == lengths[:, None] - 1] = 2
    mask = (place[None] < lengths[:, None]).long()
    pixels = torch.randn(N, 3, 16, 16, generator=generator)
    return {"input_ids": ids * mask, "attention_mask": mask}, pixels


def tokens_of(text: dict[str, torch.Tensor]) -> list[list[int]]:
    """The ids of each text, without padding: its caption."""
    rows = zip(text["input_ids"], text["attention_mask"].bool(), strict=True)
    return [ids[real].tolist() for ids, real in rows]


KINDS = ["blip", "clip", "siglip"]
QUICK = joint.JointConfig(epochs=3, batch_size=10, adapter_rate=1e-2)


def own_dense(model: Any, text: dict[str, torch.Tensor], pixels: torch.Tensor) -> list[np.ndarray]:
    """Unit vectors of the shared space, as transformers' own forward passes make them."""
    with torch.no_grad():
        if isinstance(model, transformers.BlipForImageTextRetrieval):
            ones = model.text_encoder(**text).last_hidden_state[:, 0]
            others = model.vision_model(pixels).last_hidden_state[:, 0]
            made = [model.text_proj(ones), model.vision_proj(others)]
        else:
            made = [
                model.get_text_features(**text).pooler_output,
                model.get_image_features(pixel_values=pixels).pooler_output,
            ]
    return [torch.nn.functional.normalize(x, dim=1).numpy() for x in made]


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_and_projections_are_the_checkpoints(
    kind: str, inputs: tuple[dict[str, torch.Tensor], torch.Tensor]
) -> None:
    model = checkpoint(kind)
    towers = TwoTower(model)
    vectors = towers.text_vectors(inputs[0], batch_size=7), towers.image_vectors(inputs[1])
    maps = towers.text_projection, towers.image_projection
    for x, into, expected in zip(vectors, maps, own_dense(model, *inputs), strict=True):
        h = x @ into.weight.T + into.bias
        np.testing.assert_allclose(
            h / np.linalg.norm(h, axis=1, keepdims=True), expected, atol=1e-5
        )
    words = (
        model.get_input_embeddings() if kind == "blip" else model.text_model.get_input_embeddings()
    )
    np.testing.assert_array_equal(towers.word_embeddings, words.weight.detach().numpy())


def test_proj_is_the_precomputed_path(
    inputs: tuple[dict[str, torch.Tensor], torch.Tensor],
) -> None:
    towers = TwoTower(checkpoint("blip"))
    through = towers.fit(*inputs, config=QUICK, progress=False)
    apart = joint.fit(
        towers.text_vectors(inputs[0]),
        towers.image_vectors(inputs[1]),
        embeddings=towers.word_embeddings,
        captions=tokens_of(inputs[0]),
        text_projection=towers.text_projection,
        image_projection=towers.image_projection,
        config=QUICK,
        progress=False,
    )
    for name in ("text_weight", "image_bias", "embeddings", "head_weight"):
        np.testing.assert_allclose(getattr(through, name), getattr(apart, name), atol=1e-5)
    moved = np.abs(through.text_weight - towers.text_projection.weight).max()
    assert moved > 1e-2


class _Live(torch.nn.Module):
    """The whole frozen tower, run anew at each step: what precomputing saves."""

    def __init__(self, tower: Any, inputs: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.run = lambda rows: tower.vectors({name: x[rows] for name, x in inputs.items()})

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.run(rows)


def test_proj_equals_training_through_the_whole_encoder(
    inputs: tuple[dict[str, torch.Tensor], torch.Tensor],
) -> None:
    from csrkit.joint.fitting import checked_inputs, resolved
    from csrkit.joint.run import run

    towers = TwoTower(checkpoint("blip"))
    vectors = towers.text_vectors(inputs[0]), towers.image_vectors(inputs[1])
    given, config = checked_inputs(
        *vectors,
        None,
        embeddings=towers.word_embeddings,
        tokens=None,
        vocabulary=None,
        captions=tokens_of(inputs[0]),
        special=(),
        text_projection=towers.text_projection,
        image_projection=towers.image_projection,
        config=QUICK,
    )
    live = _Live(towers._text, inputs[0]), _Live(towers._image, {"pixel_values": inputs[1]})
    through = run(given, resolved(config, given), progress=False, towers=live)
    apart = towers.fit(*inputs, config=QUICK, progress=False)
    dense = [one.dense_text(vectors[0]) for one in (through, apart)]
    np.testing.assert_allclose(dense[0], dense[1], atol=1e-5)
    codes = [one.encode_image(vectors[1]).to_dense() for one in (through, apart)]
    np.testing.assert_allclose(codes[0], codes[1], atol=1e-5)


def test_a_checkpoint_adopts_what_was_learned(
    inputs: tuple[dict[str, torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    model = checkpoint("blip")
    towers = TwoTower(model)
    learned = towers.fit(*inputs, config=QUICK, progress=False)
    towers.adopt_(learned)
    model.save_pretrained(tmp_path / "adapted")
    again = TwoTower.from_pretrained(str(tmp_path / "adapted"))
    texts, images = inputs[0], inputs[1]
    with torch.no_grad():  # BLIP's own image-text score
        scores = again.model(**texts, pixel_values=images, use_itm_head=False).itm_score
    expected = learned.dense_image(towers.image_vectors(images)) @ (
        learned.dense_text(towers.text_vectors(texts)).T
    )
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tail_gives_what_the_whole_tower_gives(
    kind: str, inputs: tuple[dict[str, torch.Tensor], torch.Tensor]
) -> None:
    towers = TwoTower(checkpoint(kind))
    given = inputs[0], {"pixel_values": inputs[1]}
    rows = torch.tensor([5, 0, 17, 5])
    for tower, batch in zip((towers._text, towers._image), given, strict=True):
        tail = Tail(tower, batch)
        expected = tower.vectors({name: x[rows] for name, x in batch.items()})
        torch.testing.assert_close(tail(rows), expected, atol=1e-5, rtol=1e-5)
        assert hidden_before_last(tower, batch).shape[0] == N


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_layer_learns_and_nothing_below_it(
    kind: str, inputs: tuple[dict[str, torch.Tensor], torch.Tensor]
) -> None:
    model = checkpoint(kind)
    towers = TwoTower(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    longer = QUICK.model_copy(update={"epochs": 30, "head_rate": 1e-2})
    learned = towers.fit(*inputs, freeze="last_layer", config=longer, progress=False)
    moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert any(".1." in name and name.startswith("text") for name in moved)
    assert any(".1." in name and name.startswith("vision") for name in moved)
    allowed = ("post_layernorm", "final_layer_norm", "vision_model.head")
    assert all(".1." in name or any(part in name for part in allowed) for name in moved)
    assert all(parameter.requires_grad for parameter in model.parameters())
    # the model is that of the vectors the changed checkpoint gives
    after = towers.text_vectors(inputs[0]), towers.image_vectors(inputs[1])
    hits = learned.hybrid_scores(*after).argmax(axis=1) == np.arange(N)
    assert hits.mean() > 20 / N


def test_expansion_control_knows_the_captions(
    inputs: tuple[dict[str, torch.Tensor], torch.Tensor],
) -> None:
    towers = TwoTower(checkpoint("clip"))
    config = QUICK.model_copy(update={"expansion": "sample"})
    words = [f"word{i}" for i in range(VOCABULARY)]
    learned = towers.fit(*inputs, config=config, tokens=words, special=[0, 1, 2], progress=False)
    assert learned.tokens[7] == "word7"


def test_what_has_no_place_in_a_checkpoint_is_refused(
    inputs: tuple[dict[str, torch.Tensor], torch.Tensor],
) -> None:
    towers = TwoTower(checkpoint("clip"))
    with pytest.raises(ConfigError, match=r"the text tower of this CLIPModel has no place"):
        towers.adopt_(towers.fit(*inputs, config=QUICK, progress=False))
    with pytest.raises(ConfigError, match=r"freeze to be 'proj' or 'last_layer', got 'all'"):
        towers.fit(*inputs, freeze="all")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda ids: {"input_ids": ids[0]},
            r"input_ids of shape \(n, length\) .*, got .* of \(9,\)",
        ),
        (lambda ids: {"input_ids": ids.float()}, r"whole numbers, got torch.float32 of"),
        (lambda ids: ["a dog"], r"the tensors of a tokenizer, .* got list"),
        (
            lambda ids: {"input_ids": ids + 10**6},
            r"token ids below 60, got 1000000 to .* tokenizer",
        ),
        (lambda ids: {"input_ids": ids.repeat(1, 9)}, r"at most 16 tokens, got 81: .*truncate"),
        (
            lambda ids: {"input_ids": ids, "attention_mask": ids[:3]},
            r"shape \(40, 9\), got \(3, 9\)",
        ),
        (lambda ids: {"input_ids": ids, "attention_mask": [1]}, r"shape \(40, 9\), got list"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_a_checkpoint_has_no_place_for(
    kind: str, wrong: Any, message: str, inputs: tuple[dict[str, torch.Tensor], torch.Tensor]
) -> None:
    with pytest.raises(ShapeError, match=message):
        TwoTower(checkpoint(kind)).text_vectors(wrong(inputs[0]["input_ids"]))


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_another_size(
    kind: str, inputs: tuple[dict[str, torch.Tensor], torch.Tensor]
) -> None:
    towers, pixels = TwoTower(checkpoint(kind)), inputs[1]
    for wrong in (pixels[0], pixels[:, :1], pixels.repeat(1, 1, 3, 3), pixels.numpy(), pixels[:0]):
        with pytest.raises(ShapeError, match=r"tensor of shape \(n, 3, 16, 16\), got "):
            towers.image_vectors(wrong)
    for size in (0, -1, 2.5, True):
        with pytest.raises(ConfigError, match=r"expected a batch_size from 1, got"):
            towers.image_vectors(pixels, batch_size=size)  # type: ignore[arg-type]


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    for name in (str(tmp_path / "nowhere"), str(tmp_path)):
        with pytest.raises(
            FormatError, match=rf"folder or hub name of a checkpoint, got '{name}': "
        ):
            TwoTower.from_pretrained(name)


def test_other_architectures_are_to_bring_arrays(tmp_path: Path) -> None:
    bert = transformers.BertModel(transformers.BertConfig(**TEXT))
    with pytest.raises(ConfigError, match="got a BertModel: bring its vectors as arrays"):
        TwoTower(bert)
    bert.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"of type 'bert': bring its vectors"):
        TwoTower.from_pretrained(str(tmp_path))
