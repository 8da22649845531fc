"""A model on disk: a folder of JSON and safetensors, read with suspicion.

::

    config.json         ModelConfig: sizes, ladder, provenance, format number
    model.safetensors   the arrays, float32
    README.md           model card, for people; not read back

Nothing is unpickled, sizes are bounded and checked before anything is
allocated, and what is not understood is refused rather than skipped.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csrkit.errors import FormatError, MissingExtra, ShapeError

if TYPE_CHECKING:
    from csrkit.model.codec import CSRModel, ModelConfig

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
MAX_CONFIG_BYTES = 1 << 20  # a real config has about 2 kB


def save(model: CSRModel, folder: Path) -> None:
    """Write the three files, each complete or not at all; the config comes last.

    Args:
        model: The model.
        folder: Where to; made if needed.

    Raises:
        FormatError: If the path is an existing file.
    """
    from safetensors.numpy import save as to_bytes

    from csrkit.model.codec import array_shapes

    if folder.exists() and not folder.is_dir():
        raise FormatError(f"expected a folder to save the model to, got the file {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(model, name) for name in array_shapes(model.config)}
    _replace(folder / WEIGHTS, to_bytes(arrays, {"csrkit": "CSRModel"}))
    _replace(folder / CARD, _card(model).encode())
    _replace(folder / CONFIG, (model.config.model_dump_json(indent=2) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


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
    config = _read_config(folder / CONFIG)
    try:
        arrays = _read_arrays(folder / WEIGHTS, config)
        return CSRModel(config=config, **arrays)
    except (SafetensorError, OSError, ShapeError) as error:
        raise FormatError(f"{folder / WEIGHTS} is not this model's weights: {error}") from error


def _read_config(path: Path) -> ModelConfig:
    import json

    from pydantic import ValidationError

    from csrkit.model.codec import FORMAT, ModelConfig

    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise FormatError(f"{path} has {path.stat().st_size} bytes, a config has about 2000")
    try:
        content = json.loads(path.read_bytes())
        found = content.get("format") if isinstance(content, dict) else None
        if isinstance(found, int) and found > FORMAT:
            raise FormatError(
                f"{path} has format {found}, this csrkit reads up to {FORMAT}: upgrade csrkit"
            )
        return ModelConfig.model_validate_json(path.read_bytes(), strict=True)
    except (ValidationError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FormatError(f"{path} is not a model config: {error}") from error


def _read_arrays(path: Path, config: ModelConfig) -> dict[str, Any]:
    from safetensors import safe_open

    from csrkit.model.codec import array_shapes

    expected = array_shapes(config)
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
        return {name: file.get_tensor(name) for name in expected}


def _card(model: CSRModel) -> str:
    """Return the model card: what it is, what it was fitted on, how to use it."""
    provenance = model.config.provenance
    recall = "not measured" if provenance.recall is None else f"{provenance.recall:.3f}"
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
    patterns = [CONFIG, WEIGHTS]
    return load(
        Path(snapshot_download(repo_id, revision=revision, allow_patterns=patterns, **options))
    )
