"""Joint sparse-dense retrieval of texts and images (arXiv 2508.16707), from precomputed vectors.

Two frozen towers give vectors; light adapters bring them into one dense space, and one lexical
head turns that into codes over a vocabulary of words. Both sides are trained together by
contrast and by **self-distillation** from their weighted sum::

    model = joint.fit(text, image, pairs, embeddings=E, tokens=words)
    store.upsert(ids, model.encode_image(images))
    hits = store.search(model.encode_text(texts, k=16), limit=10)

It trains no tower (but for the last layer, with `csrkit.joint.encoders`) and reads no pictures.
"""

from csrkit.joint.captions import frequent_tokens
from csrkit.joint.config import JointConfig
from csrkit.joint.fitting import fit
from csrkit.joint.measures import Found, Quality, Ways, caption_share, measure
from csrkit.joint.model import JointModel, SharedWord, Word, load
from csrkit.joint.sides import Side
from csrkit.joint.spec import JointSpec

__all__ = [
    "Found",
    "JointConfig",
    "JointModel",
    "JointSpec",
    "Quality",
    "SharedWord",
    "Side",
    "Ways",
    "Word",
    "caption_share",
    "fit",
    "frequent_tokens",
    "load",
    "measure",
]
