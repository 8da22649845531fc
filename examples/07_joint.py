"""Texts find images by words: a joint sparse-dense model over the vectors of two towers.

    python examples/07_joint.py

A few seconds. The towers here are made up: an image vector is a sum of directions of the things
that it shows, a text vector one of those that it names, each side turned its own way. Bring the
vectors of your own encoders instead, or take them out of a BLIP, CLIP or SigLIP checkpoint with
`csrkit.joint.encoders.TwoTower`.
"""

import os
import tempfile

import numpy as np

import csrkit
from csrkit import joint
from csrkit.stores import EdgeStore

TOY = os.environ.get("CSRKIT_TOY") == "1"  # few images, few steps: only shows that it runs
WORDS = """apple bird boat bridge candle car castle cat chair clock cloud cow cup dog door duck
    fence fish flag flower forest fox glass grass guitar hat horse house kite lake lamp lion moon
    mountain mouse owl pear piano pig plane rain river road rose sheep ship shoe snow spoon star
    sun table tiger tower train tree truck violin wheel wolf""".split()  # noqa: SIM905  # readable
N, WIDTH = (400, 48) if TOY else (4000, 48)

rng = np.random.default_rng(0)
E = rng.normal(size=(len(WORDS), WIDTH)) / WIDTH**0.5  # word embeddings: the encoder's own
shown = np.array([rng.choice(len(WORDS), 4, replace=False) for _ in range(N)])
named = np.concatenate([shown[:, :2], shown[:, 2:]])  # two captions per image, of two words
turn, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
images = E[shown].sum(axis=1) + 0.1 * rng.normal(size=(N, WIDTH))
texts = E[named].sum(axis=1) @ turn + 0.1 * rng.normal(size=(2 * N, WIDTH))
pairs = np.stack([np.arange(2 * N), np.tile(np.arange(N), 2)], axis=1)  # text row, image row

# Train on all images but the last tenth. Captions tie latents to their words: by the start of the
# head, and by expansion control, which at first holds a text's code to the words of its caption.
train, test = pairs[pairs[:, 1] < 0.9 * N], pairs[pairs[:, 1] >= 0.9 * N]
config = joint.JointConfig(
    adapter="projection", dim=40, expansion="batch", head_rate=5e-3, epochs=2 if TOY else 8
)
model = joint.fit(
    texts,
    images,
    train,
    embeddings=E,
    tokens=WORDS,
    captions=named.tolist(),
    config=config,
    progress=not TOY,
)
print(joint.measure(model, texts, images, test, captions=named.tolist()))

with tempfile.TemporaryDirectory() as folder, EdgeStore(f"{folder}/index") as store:
    model.save(f"{folder}/model")
    model = joint.load(f"{folder}/model")

    ids = np.unique(test[:, 1])
    store.upsert(ids.tolist(), model.encode_image(images[ids], k=32))
    caption, image = test[0]
    for k in (4, 16):  # words of the query, chosen now
        (hits,) = store.search(model.encode_text(texts[caption][None], k=k), limit=3)
        print(f"\nk={k}: {' and '.join(WORDS[word] for word in named[caption])}")
        for hit in hits:
            things = ", ".join(WORDS[word] for word in shown[hit.id])
            print(f"  {hit.score:6.2f}  image {hit.id} of {things}")

    because = model.explain(texts[caption], images[image])
    print("\nimage", image, "by", ", ".join(f"{w.token} {w.contribution:.2f}" for w in because[:4]))

    # The dense side is a vector like any other: compress it as well.
    dense = model.dense_image(images)
    codec = csrkit.fit(dense, config=csrkit.FitConfig(n_latents=128, steps=20), progress=False)
    print(f"dense side: {dense.shape[1]} floats, or a code of {codec.encode(dense, k=8)[0].nnz}")
