"""A joint model on disk: a folder of JSON and safetensors, read with suspicion.

::

    joint.json          JointSpec: sizes, temperature, provenance, format number
    tokens.json         Vocabulary: the word and the original id of each latent
    model.safetensors   the arrays, float32

Nothing is unpickled, and what is not understood is refused (`csrkit.model.folder`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from csrkit.errors import ConfigError, FormatError, ShapeError
from csrkit.joint.model import JointModel
from csrkit.joint.spec import FORMAT, JointSpec, Vocabulary, array_shapes
from csrkit.model.folder import Kind, read_arrays, read_json, replace_files, weights_bytes

__all__ = ["load", "save"]

SPEC = "joint.json"
TOKENS = "tokens.json"
WEIGHTS = "model.safetensors"
_SPEC_KIND = Kind("spec", 3000, 1 << 20, FORMAT)
_TOKENS_KIND = Kind("vocabulary", 500_000, 1 << 26, FORMAT)


def save(model: JointModel, folder: Path) -> None:
    """Write the files; a save that fails leaves what was there.

    Args:
        model: The model.
        folder: Where to; made if needed.

    Raises:
        FormatError: If the path is an existing file, or holds a model of another kind.
    """
    if (folder / "config.json").exists():
        raise FormatError(
            f"expected a folder of its own for a joint model, got {folder} with a config.json: "
            "it holds a model of another kind"
        )
    vocabulary = Vocabulary(tokens=model.tokens, token_ids=tuple(model.token_ids.tolist()))
    spec = (model.spec.model_dump_json(indent=2) + "\n").encode()
    tokens = (vocabulary.model_dump_json() + "\n").encode()
    arrays = {name: getattr(model, name) for name in array_shapes(model.spec)}
    weights = weights_bytes(arrays, spec + tokens)
    # the spec last: until it is there, the weights do not pair with the one beside them
    replace_files(folder, {WEIGHTS: weights, TOKENS: tokens, SPEC: spec})


def load(folder: Path) -> JointModel:
    """Read a folder written by `save`; see `csrkit.joint.load`.

    Args:
        folder: The folder.

    Returns:
        The model.

    Raises:
        FormatError: If anything about the folder is not as `save` left it.
    """
    from safetensors import SafetensorError

    for name in (SPEC, TOKENS, WEIGHTS):
        if not (folder / name).is_file():
            raise FormatError(f"expected the folder of a joint model, found no {name} in {folder}")
    try:
        spec, spec_bytes = read_json(folder / SPEC, JointSpec, _SPEC_KIND)
        words, word_bytes = read_json(folder / TOKENS, Vocabulary, _TOKENS_KIND)
        paired = f"{SPEC} and {TOKENS}"
        arrays = read_arrays(folder / WEIGHTS, array_shapes(spec), spec_bytes + word_bytes, paired)
        ids = np.array(words.token_ids, dtype=np.int64)
        return JointModel(spec=spec, tokens=words.tokens, token_ids=ids, **arrays)
    except (SafetensorError, OSError, OverflowError, ShapeError, ConfigError) as error:
        raise FormatError(f"{folder} is not a readable joint model: {error}") from error
