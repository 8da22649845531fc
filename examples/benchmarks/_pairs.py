"""Real image-text pairs on disk, and the words of a local BERT, as `joint.py` reads them.

A folder holds, row by row, ``text_NAME`` and ``image_NAME`` (``.npy``, with ``.scale.npy`` where
int8), ``items.json`` with a caption each, ``is_test.npy``, and ``group.npy`` with one number per
caption. Rows of one caption are one text with several images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from csrkit.joint import frequent_tokens

Floats = NDArray[np.float32]


class Words(NamedTuple):
    """Word embeddings of an encoder, and captions in its tokens.

    Attributes:
        embeddings: float32 (v, width).
        tokens: v strings.
        captions: For each text the ids of its tokens.
        special: Ids that are no words.
        vocabulary: The ids kept as latents, the most frequent of the training captions.
    """

    embeddings: Floats
    tokens: list[str]
    captions: list[list[int]]
    special: list[int]
    vocabulary: NDArray[np.int64]


class Pairs(NamedTuple):
    """Vectors of two towers, and which belong together.

    Attributes:
        text: float32 (n, d_text).
        image: float32 (n, d_image).
        train: int64 (m, 2), rows of text and image.
        test: Likewise, of other captions.
    """

    text: Floats
    image: Floats
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def vectors(path: Path) -> Floats:
    rows = np.load(path.with_suffix(".npy")).astype(np.float32)
    scale = path.with_suffix(".scale.npy")
    return rows * np.load(scale)[:, None] if scale.exists() else rows


def load(folder: Path, text: str, image: str, limit: int | None = None) -> Pairs:
    """Load one pair of towers; the first text of each caption stands for all of its images."""
    group = np.load(folder / "group.npy")[:limit]
    _, first, which = np.unique(group, return_index=True, return_inverse=True)
    pairs = np.stack([first[which], np.arange(len(group))], axis=1)
    is_test = np.load(folder / "is_test.npy").astype(bool)[:limit]
    return Pairs(
        vectors(folder / f"text_{text}")[:limit],
        vectors(folder / f"image_{image}")[:limit],
        pairs[~is_test],
        pairs[is_test],
    )


def words(folder: Path, encoder: Path, n: int, limit: int | None = None) -> Words:
    """Read captions in the tokens of a local BERT folder, and its word embeddings."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    items = json.loads((folder / "items.json").read_text())["items"][:limit]
    encoded = tokenizer.encode_batch([item["caption"] for item in items], add_special_tokens=False)
    with safe_open(encoder / "model.safetensors", framework="np") as file:
        names = [name for name in file.keys() if name.endswith("word_embeddings.weight")]  # noqa: SIM118
        embeddings = file.get_tensor(names[0])
    tokens = [str(tokenizer.id_to_token(i)) for i in range(len(embeddings))]
    special = [i for i, token in enumerate(tokens) if token.startswith("[") and len(token) > 2]
    special += [i for i, token in enumerate(tokens) if len(token) == 1 and not token.isalnum()]
    captions = [one.ids for one in encoded]
    is_test = np.load(folder / "is_test.npy").astype(bool)[:limit]
    training = [ids for ids, test in zip(captions, is_test, strict=True) if not test]
    kept = frequent_tokens(training, n, leave_out=special)
    return Words(embeddings, tokens, captions, special, kept)
