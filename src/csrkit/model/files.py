"""A model on disk: a folder of JSON and safetensors, read with suspicion.

::

    config.json         ModelConfig: sizes, ladder, provenance, format number
    model.safetensors   the arrays, float32; without the decoder where it is the encoder
    card.json           Card: what `csrkit.tune` measured; only where it was run
    README.md           model card, for people; not read back

Nothing is unpickled, sizes are bounded and checked before anything is
allocated, and what is not understood is refused rather than skipped.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrkit.errors import ConfigError, FormatError, MissingExtra, ShapeError
from csrkit.model.card import CARD_FORMAT, Card
from csrkit.model.config import FORMAT, ModelConfig, array_shapes
from csrkit.model.folder import Kind, read_arrays, read_json, replace_files, weights_bytes

if TYPE_CHECKING:
    from csrkit.model.codec import CSRModel

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "card.json"
README = "README.md"
_CONFIG_KIND = Kind("config", 2000, 1 << 20, FORMAT)
_CARD_KIND = Kind("card", 20_000, 1 << 24, CARD_FORMAT)


def save(model: CSRModel, folder: Path) -> None:
    """Write the files; a save that fails leaves what was there.

    Args:
        model: The model.
        folder: Where to; made if needed.

    Raises:
        FormatError: If the path is an existing file.
    """  # noqa: DOC502  # raised by `replace_files`
    arrays = {name: getattr(model, name) for name in _stored_shapes(model.config)}
    config = (model.config.model_dump_json(indent=2) + "\n").encode()
    weights = weights_bytes(arrays, config)
    card = None if model.card is None else (model.card.model_dump_json(indent=1) + "\n").encode()
    # the config last: until it is there, the weights do not pair with the one beside them
    replace_files(
        folder, {WEIGHTS: weights, CARD: card, README: _readme(model).encode(), CONFIG: config}
    )


def _stored_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays in a file of this format."""
    shapes = array_shapes(config)
    return {name: shapes[name] for name in shapes if config.format == 1 or name != "decoder"}


def load(folder: Path) -> CSRModel:
    """Read a folder written by `save`; see `csrkit.load`.

    Args:
        folder: The folder.

    Returns:
        The model.

    Raises:
        FormatError: If anything about the folder is not as `save` left it.
    """
    from safetensors import SafetensorError

    from csrkit.model.codec import CSRModel

    if not os.path.isfile(folder / CONFIG):  # of a path that cannot be one it says no
        raise FormatError(f"expected a model folder with a {CONFIG}, found none at {folder}")
    if (folder / "head.safetensors").is_file():
        raise FormatError(
            f"expected a codec, got the retriever of texts {folder}: csrkit.llm.load reads it, "
            "and `csrkit llm encode` encodes with it"
        )
    try:
        config, content = read_json(folder / CONFIG, ModelConfig, _CONFIG_KIND)
        stored = read_arrays(folder / WEIGHTS, _stored_shapes(config), content, CONFIG)
        arrays = {"decoder": stored["encoder"]} | stored
        has_card = (folder / CARD).exists()
        card = read_json(folder / CARD, Card, _CARD_KIND)[0] if has_card else None
        return CSRModel(config=config, **arrays, card=card)
    except (SafetensorError, OSError, ShapeError, ConfigError) as error:
        raise FormatError(f"{folder} is not a readable model: {error}") from error


def _readme(model: CSRModel) -> str:
    """Return the model card for people: what it is, what it was fitted on, how to use it."""
    provenance = model.config.provenance
    recall = "not measured" if provenance.recall is None else f"{provenance.recall:.3f}"
    tuned = "not measured" if model.card is None else model.card.summary()
    return f"""---
library_name: csrkit
tags: [csrkit, sparse-autoencoder, embedding-compression]
---
# CSR codec for {model.dim}-dimensional embeddings

| | |
|---|---|
| latents | {model.n_latents} |
| k | {", ".join(map(str, model.ladder))} |
| fitted on | {provenance.rows} embeddings, {provenance.steps} steps |
| held-out recall@10 | {recall} |
| settings | {tuned} |
| fingerprint | {model.fingerprint} |
| made by | csrkit {provenance.csrkit} |

```python
import csrkit

model = csrkit.load("this folder")
codes = model.encode(embeddings, k={model.ladder[-1]})
```

Codes and decoder together give back estimates of the embeddings: treat them as
you treat the embeddings.
"""


def push_to_hub(model: CSRModel, repo_id: str, *, api: Any, private: bool) -> str:
    """Upload the files of a model; see `CSRModel.push_to_hub`.

    Args:
        model: The model.
        repo_id: "organisation/name".
        api: An ``HfApi`` or None.
        private: Whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        MissingExtra: If huggingface_hub is not installed.
    """
    if api is None:
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise MissingExtra("huggingface_hub", "hub", "push_to_hub") from error
        api = HfApi()
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder))
        api.create_repo(repo_id, private=private, exist_ok=True)
        return str(
            api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=f"csrkit model {model.fingerprint[:12]}",
            )
        )


def from_hub(repo_id: str, *, revision: str | None, **options: Any) -> CSRModel:
    """Download and load a model; see `CSRModel.from_hub`.

    Args:
        repo_id: "organisation/name".
        revision: Branch, tag or commit.
        **options: Passed to ``snapshot_download``.

    Returns:
        The model.

    Raises:
        MissingExtra: If huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtra("huggingface_hub", "hub", "from_hub") from error
    patterns = [CONFIG, WEIGHTS, CARD]
    return load(
        Path(snapshot_download(repo_id, revision=revision, allow_patterns=patterns, **options))
    )
