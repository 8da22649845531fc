"""A synthetic set of images with several captions each, whose meaning is known words.

    1,000 words with a Zipf prior and a random direction each
    an image is 6 words with weights; a caption names 3 of them and one that is not there
    image and text vectors: the sums of the words' directions, each side rotated and shifted by
    a map of its own, plus noise

The two "towers" come with projections into a shared space, by canonical correlation on 1,500
pairs of their own: a pretrained, imperfect dense model. E is the words' directions plus noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from csrkit.joint.start import Affine, cca

Floats = NDArray[np.float32]

WIDTH = 96  # of the words' directions, and of both towers
WORDS_PER_IMAGE, WORDS_PER_CAPTION, CAPTIONS = 6, 3, 5


class Captioned(NamedTuple):
    """One synthetic set.

    Attributes:
        text: float32 (5 * images, 96), vectors of the captions; caption i is of image i // 5.
        image: float32 (images, 96).
        words: int64 (5 * images, 4), the words of each caption.
        embeddings: float32 (words, 96), E.
        text_projection: The pretrained way into the shared space of 64 dimensions.
        image_projection: Likewise.
        train: Images to train on; the others are the test.
    """

    text: Floats
    image: Floats
    words: NDArray[np.int64]
    embeddings: Floats
    text_projection: Affine
    image_projection: Affine
    train: int

    def pairs(self, *, test: bool) -> NDArray[np.int64]:
        """Return pairs of rows of text and image, int64 (m, 2), of training or test images."""
        texts = np.arange(len(self.text))
        rows = texts[(texts // CAPTIONS >= self.train) == test]
        return np.stack([rows, rows // CAPTIONS], axis=1)


def make(seed: int, *, train: int = 6000, test: int = 1000, words: int = 1000) -> Captioned:
    """Make one set; every seed is another world.

    Args:
        seed: Of everything.
        train: Images to train on.
        test: Images to test on.
        words: In the vocabulary.
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(words, WIDTH)) / WIDTH**0.5
    pretraining = max(100, train // 4)
    images, texts, captions = _scenes(rng, directions, pretraining + train + test)
    image = _tower(rng, images, noise=IMAGE_NOISE)
    text = _tower(rng, texts, noise=TEXT_NOISE)
    one_each = slice(0, pretraining * CAPTIONS, CAPTIONS)
    maps = cca(text[one_each], image[:pretraining], min(64, pretraining))
    return Captioned(
        text=text[pretraining * CAPTIONS :],
        image=image[pretraining:],
        words=captions[pretraining * CAPTIONS :],
        embeddings=(directions + E_NOISE * rng.normal(size=directions.shape) / WIDTH**0.5).astype(
            np.float32
        ),
        text_projection=maps[0],
        image_projection=maps[1],
        train=train,
    )


IMAGE_NOISE, TEXT_NOISE, E_NOISE = 0.9, 0.65, 0.5


def _scenes(
    rng: np.random.Generator, directions: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Draw images as sums of words, and captions that name some of them."""
    prior = 1 / np.arange(10, len(directions) + 10)  # Zipf, without a word in every image
    prior /= prior.sum()
    keys = rng.gumbel(size=(n, len(directions))) + np.log(prior)
    inside = np.argsort(-keys, axis=1)[:, :WORDS_PER_IMAGE]  # drawn without replacement
    weights = rng.uniform(0.5, 1.5, size=inside.shape)
    images = np.einsum("nw,nwd->nd", weights, directions[inside])
    image_of = np.repeat(np.arange(n), CAPTIONS)
    # the heavier words are named more often
    order = np.argsort(-(np.log(weights[image_of]) + rng.gumbel(size=(len(image_of), 6))), axis=1)
    named = np.take_along_axis(inside[image_of], order[:, :WORDS_PER_CAPTION], axis=1)
    absent = rng.choice(len(directions), size=(len(image_of), 1), p=prior)
    texts = directions[named].sum(axis=1) + 0.5 * directions[absent[:, 0]]
    return images, texts, np.concatenate([named, absent], axis=1)


def _tower(rng: np.random.Generator, rows: NDArray[np.float64], noise: float) -> Floats:
    """See rows as a tower does: rotated, shifted, and not quite."""
    rotation, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
    spread = noise * rows.std()
    moved = rows @ rotation + 0.2 * rng.normal(size=WIDTH)
    return (moved + spread * rng.normal(size=rows.shape)).astype(np.float32)
