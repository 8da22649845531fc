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

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from csrkit.errors import ConfigError, FormatError, MissingExtra, ShapeError
from csrkit.model.card import CARD_FORMAT, Card
from csrkit.model.config import FORMAT, ModelConfig, array_shapes

if TYPE_CHECKING:
    from pydantic import BaseModel

    from csrkit.model.codec import CSRModel

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "card.json"
README = "README.md"
_KINDS = {  # what each is called, the bytes it usually has, and the most that are read
    CONFIG: ("config", 2000, 1 << 20),
    CARD: ("card", 20_000, 1 << 24),
}
_Json = TypeVar("_Json", bound="BaseModel")
_PAIRED = "config_sha256"  # in the weights' metadata: which config they were saved with


def save(model: CSRModel, folder: Path) -> None:
    """Write the files; a save that fails leaves what was there.

    Args:
        model: The model.
        folder: Where to; made if needed.

    Raises:
        FormatError: If the path is an existing file.
    """
    from safetensors.numpy import save as to_bytes

    if folder.exists() and not folder.is_dir():
        raise FormatError(f"expected a folder to save the model to, got the file {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(model, name) for name in _stored_shapes(model.config)}
    config = (model.config.model_dump_json(indent=2) + "\n").encode()
    # one key of metadata: safetensors writes several in random order
    weights = to_bytes(arrays, {_PAIRED: _digest(config)})
    card = None if model.card is None else (model.card.model_dump_json(indent=1) + "\n").encode()
    # the config last: until it is there, the weights do not pair with the one beside them
    _replace(
        folder, {WEIGHTS: weights, CARD: card, README: _readme(model).encode(), CONFIG: config}
    )


def _stored_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays in a file of this format."""
    shapes = array_shapes(config)
    return {name: shapes[name] for name in shapes if config.format == 1 or name != "decoder"}


def _digest(config: bytes) -> str:
    return hashlib.sha256(config).hexdigest()


def _replace(folder: Path, contents: dict[str, bytes | None]) -> None:
    """Write all files aside, then move them in: a full disk leaves the old ones alone.

    None takes away a file of a model that was saved there before.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as aside:
        for name, content in contents.items():
            if content is None:
                continue
            with open(Path(aside, name), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name, content in contents.items():
            if content is None:
                (folder / name).unlink(missing_ok=True)
            else:
                os.replace(Path(aside, name), folder / name)


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

    if not (folder / CONFIG).is_file():
        raise FormatError(f"expected a model folder with a {CONFIG}, found none at {folder}")
    try:
        config, content = _read_json(folder / CONFIG, ModelConfig, FORMAT)
        arrays = _read_arrays(folder / WEIGHTS, config, _digest(content))
        has_card = (folder / CARD).exists()
        card = _read_json(folder / CARD, Card, CARD_FORMAT)[0] if has_card else None
        return CSRModel(config=config, **arrays, card=card)
    except (SafetensorError, OSError, ShapeError, ConfigError) as error:
        raise FormatError(f"{folder} is not a readable model: {error}") from error


def _read_json(path: Path, kind: type[_Json], newest: int) -> tuple[_Json, bytes]:
    """Return the object that a file holds, and its bytes."""
    import json

    from pydantic import ValidationError

    what, usual, most = _KINDS[path.name]
    if path.stat().st_size > most:
        raise FormatError(f"{path} has {path.stat().st_size} bytes, a {what} has about {usual}")
    content = path.read_bytes()
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: {error}") from error
    found = parsed.get("format") if isinstance(parsed, dict) else None
    if isinstance(found, int) and found > newest:
        raise FormatError(
            f"{path} has format {found}, this csrkit reads up to {newest}: upgrade csrkit"
        )
    try:
        return kind.model_validate_json(content, strict=True), content
    except ValidationError as error:
        raise FormatError(f"{path} is not a model {what}: {error}") from error


def _read_arrays(path: Path, config: ModelConfig, digest: str) -> dict[str, Any]:
    from safetensors import safe_open

    expected = _stored_shapes(config)
    with safe_open(str(path), framework="np") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        if set(found) != set(expected):
            raise FormatError(f"{path} holds {sorted(found)}, expected {sorted(expected)}")
        for name, shape in expected.items():
            entry = found[name]
            if tuple(entry.get_shape()) != shape or entry.get_dtype() != "F32":
                raise FormatError(
                    f"{path}: expected {name} to be F32 of shape {shape}, "
                    f"got {entry.get_dtype()} of shape {tuple(entry.get_shape())}"
                )
        if (file.metadata() or {}).get(_PAIRED) != digest:
            raise FormatError(
                f"{path} was not saved with the {CONFIG} beside it: "
                "a save was cut short or one of them was changed, save the model again"
            )
        arrays = {name: file.get_tensor(name) for name in expected}
    return {"decoder": arrays["encoder"]} | arrays


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
