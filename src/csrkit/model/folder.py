"""A folder of JSON and safetensors that is one model: written whole, read with suspicion.

What `csrkit.model.files` and the other trained models share. Nothing is unpickled, sizes are
bounded and checked before anything is allocated, and weights must belong to the JSON beside them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from csrkit.errors import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import BaseModel

__all__ = ["Kind", "digest", "read_arrays", "read_json", "replace_files", "weights_bytes"]

_Json = TypeVar("_Json", bound="BaseModel")
_PAIRED = "config_sha256"  # in the weights' metadata: which config they were saved with


class Kind(NamedTuple):
    """What a JSON file is.

    Attributes:
        what: Its name in messages, such as "config".
        usual: Bytes it usually has.
        most: Most bytes that are read.
        newest: Highest format number that is understood.
    """

    what: str
    usual: int
    most: int
    newest: int


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def weights_bytes(arrays: Mapping[str, NDArray[Any]], config: bytes) -> bytes:
    """Return a safetensors file whose metadata names the config it belongs to.

    Args:
        arrays: float32 arrays by name.
        config: Content of the JSON file beside it.

    Returns:
        The file's content.
    """
    from safetensors.numpy import save as to_bytes

    # one key of metadata: safetensors writes several in random order
    return to_bytes(dict(arrays), {_PAIRED: digest(config)})


def replace_files(folder: Path, contents: Mapping[str, bytes | None]) -> None:
    """Write all files aside, then move them in: a full disk leaves the old ones alone.

    Args:
        folder: Where to; made if needed.
        contents: By file name, in the order in which they are moved in. None takes away a
            file of a model that was saved there before.

    Raises:
        FormatError: If the path is an existing file, or no folder can be made there.
    """
    if os.path.exists(folder) and not folder.is_dir():
        raise FormatError(f"expected a folder to save the model to, got the file {folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise FormatError(f"cannot make the folder {folder} to save the model to: {why}") from error
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


def read_json(path: Path, model: type[_Json], kind: Kind) -> tuple[_Json, bytes]:
    """Read and check a JSON file.

    Args:
        path: The file.
        model: What it holds.
        kind: Its name and bounds.

    Returns:
        The object, and the bytes of the file.

    Raises:
        FormatError: If the file is too large, is not JSON, is newer than is understood, or
            holds anything but the object.
    """
    import json

    from pydantic import ValidationError

    if path.stat().st_size > kind.most:
        raise FormatError(
            f"{path} has {path.stat().st_size} bytes, a {kind.what} has about {kind.usual}"
        )
    content = path.read_bytes()
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: {error}") from error
    found = parsed.get("format") if isinstance(parsed, dict) else None
    if isinstance(found, int) and found > kind.newest:
        raise FormatError(
            f"{path} has format {found}, this csrkit reads up to {kind.newest}: upgrade csrkit"
        )
    try:
        return model.model_validate_json(content, strict=True), content
    except ValidationError as error:
        raise FormatError(f"{path} is not a model {kind.what}: {error}") from error


def read_arrays(
    path: Path, shapes: Mapping[str, tuple[int, ...]], config: bytes, name: str
) -> dict[str, NDArray[Any]]:
    """Read the arrays of a file of weights.

    Args:
        path: The safetensors file.
        shapes: What it must hold, all of it float32, and nothing else.
        config: Content of the JSON file that it must belong to.
        name: Name of that file.

    Returns:
        float32 arrays by name.

    Raises:
        FormatError: If it holds anything else, or was saved with another config.
    """
    from safetensors import safe_open

    with safe_open(str(path), framework="np") as file:
        found = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  # not a dict
        if set(found) != set(shapes):
            raise FormatError(f"{path} holds {sorted(found)}, expected {sorted(shapes)}")
        for key, shape in shapes.items():
            entry = found[key]
            if tuple(entry.get_shape()) != shape or entry.get_dtype() != "F32":
                raise FormatError(
                    f"{path}: expected {key} to be F32 of shape {shape}, "
                    f"got {entry.get_dtype()} of shape {tuple(entry.get_shape())}"
                )
        if (file.metadata() or {}).get(_PAIRED) != digest(config):
            raise FormatError(
                f"{path} was not saved with the {name} beside it: "
                "a save was cut short or one of them was changed, save the model again"
            )
        return {key: file.get_tensor(key) for key in shapes}
