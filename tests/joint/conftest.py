"""Small pairs that a joint model suits: images of three words, captions that name two of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from csrkit import joint

WORDS, WIDTH = 30, 16


class Scenes(NamedTuple):
    text: np.ndarray
    image: np.ndarray
    pairs: np.ndarray
    embeddings: np.ndarray
    captions: list[list[int]]


def scenes(n: int, seed: int) -> Scenes:
    """Two captions per image, whose towers rotate and blur the same directions."""
    words = np.random.default_rng(7).normal(size=(WORDS, WIDTH)) / WIDTH**0.5
    turn, _ = np.linalg.qr(np.random.default_rng(8).normal(size=(WIDTH, WIDTH)))
    rng = np.random.default_rng(seed)
    inside = np.array([rng.choice(WORDS, 3, replace=False) for _ in range(n)])
    named = np.stack([inside[:, :2], inside[:, 1:]], axis=1).reshape(-1, 2)
    image = words[inside].sum(axis=1) + 0.1 * rng.normal(size=(n, WIDTH))
    text = words[named].sum(axis=1) @ turn + 0.1 * rng.normal(size=(2 * n, WIDTH))
    pairs = np.stack([np.arange(2 * n), np.arange(2 * n) // 2], axis=1)
    return Scenes(text.astype(np.float32), image.astype(np.float32), pairs, words, named.tolist())


@pytest.fixture(scope="session")
def data() -> Scenes:
    made = scenes(300, 0)
    for array in made[:4]:
        array.flags.writeable = False  # fit must not change it
    return made


@pytest.fixture(scope="session")
def unseen() -> Scenes:
    return scenes(100, 1)


def quick(**settings: object) -> joint.JointConfig:
    """Settings under which an epoch takes a tenth of a second."""
    values = {"adapter": "projection", "dim": 12, "batch_size": 64, "epochs": 3} | settings
    return joint.JointConfig(**values)


def fitted(data: Scenes, **settings: object) -> joint.JointModel:
    return joint.fit(
        data.text,
        data.image,
        data.pairs,
        embeddings=data.embeddings,
        tokens=[f"word{i}" for i in range(WORDS)],
        captions=data.captions,
        config=quick(**settings),
        progress=False,
    )


@pytest.fixture(scope="session")
def model(data: Scenes) -> joint.JointModel:
    return fitted(data, epochs=12, head_rate=1e-2, embeddings_rate=3e-3)
