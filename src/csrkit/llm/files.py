"""A retriever on disk: a folder that transformers could read, and what it does not know.

::

    config.json         RetrieverConfig: settings, provenance, fingerprint, format number
    head.safetensors    the shift of the logits
    backbone/           the language model and its tokenizer, as transformers writes them
    README.md           model card, for people; not read back

Weights are safetensors only, no code of the folder is run, and the fingerprint in config.json
has to be that of what was read: a file that was exchanged or cut is found.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError

from csrkit.errors import ConfigError, FormatError
from csrkit.llm.backbone import load_backbone
from csrkit.llm.config import LLMConfig
from csrkit.llm.heads import SparseHead
from csrkit.llm.retriever import LLMRetriever, Provenance
from csrkit.model.folder import Kind, read_arrays, read_json, replace_files, weights_bytes
from csrkit.tensors import check_device

__all__ = ["load", "save"]

CONFIG, HEAD, BACKBONE, README = "config.json", "head.safetensors", "backbone", "README.md"
FORMAT = 1
_KIND = Kind("config", 3000, 1 << 20, FORMAT)


class RetrieverConfig(BaseModel):
    """What of a retriever is not weights; written to ``config.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(ge=1, description="of this folder")
    dim: int = Field(ge=1, le=2**20, description="width of the hidden states")
    n_latents: int = Field(ge=1, le=2**24, description="width of the codes")
    fingerprint: str = Field(description="of the retriever")
    config: LLMConfig = Field(description="settings of the training")
    provenance: Provenance


def save(retriever: LLMRetriever, folder: Path) -> None:
    """Write the files beside the folder, then put them in its place.

    Args:
        retriever: The retriever.
        folder: Where to. A retriever in it is replaced, and what else there is stays.

    Raises:
        FormatError: If the path is a file, a folder that holds something else, or cannot be
            written to.
    """
    if folder.exists() and not folder.is_dir():
        raise FormatError(f"expected a folder to save the retriever to, got the file {folder}")
    if folder.exists() and any(folder.iterdir()) and not (folder / HEAD).is_file():
        raise FormatError(
            f"{folder} is not empty and holds no retriever: name a new folder, it would be lost"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".saving-") as aside:
            draft, old = Path(aside, "new"), Path(aside, "old")
            _write(retriever, draft)
            folder.mkdir(exist_ok=True)
            old.mkdir()
            parts = (CONFIG, HEAD, BACKBONE, README)  # all else is the user's, and is not touched
            for name in parts:
                if (folder / name).exists():
                    os.replace(folder / name, old / name)
            for name in reversed(parts):  # the config last: a half is no retriever
                os.replace(draft / name, folder / name)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"cannot write the retriever to {folder}: {error}") from error


def _write(retriever: LLMRetriever, folder: Path) -> None:
    about = RetrieverConfig(
        format=FORMAT,
        dim=retriever.dim,
        n_latents=retriever.n_latents,
        fingerprint=retriever.fingerprint,
        config=retriever.config,
        provenance=retriever.provenance,
    )
    config = (about.model_dump_json(indent=2) + "\n").encode()
    shift = retriever.head.shift.detach().float().cpu().numpy()
    files: dict[str, bytes | None] = {
        HEAD: weights_bytes({"shift": shift}, config),
        README: _readme(retriever).encode(),
        CONFIG: config,
    }
    replace_files(folder, files)
    retriever.backbone.save(folder / BACKBONE)


def load(path: str | Path, *, device: str = "cpu") -> LLMRetriever:
    """Read a retriever that `LLMRetriever.save` wrote.

    Args:
        path: The folder.
        device: Torch device to put it on.

    Returns:
        The retriever.

    Raises:
        ConfigError: If this machine has no such device.
        FormatError: If anything about the folder is not as it was saved.
    """  # noqa: DOC502  # one of them is raised by helpers
    check_device(device, f"device={device!r}", "csrkit.llm.load")
    folder = Path(path)
    if not (folder / CONFIG).is_file() or not (folder / HEAD).is_file():
        raise FormatError(
            f"expected a retriever's {CONFIG} and {HEAD}, found none at {folder}: csrkit.load "
            "reads codecs, and csrkit.llm.fit makes a retriever of a language model"
        )
    try:
        about, content = read_json(folder / CONFIG, RetrieverConfig, _KIND)
        shapes = {"shift": (about.n_latents,)}
        arrays = read_arrays(folder / HEAD, shapes, content, CONFIG)
        if not (folder / BACKBONE / "config.json").is_file():
            raise FormatError(f"{folder} holds no language model in {BACKBONE}/")
        # as the training left them: weights of LoRA in bfloat16 stay so
        dtype = about.config.dtype if about.config.lora_rank else "float32"
        backbone = load_backbone(folder / BACKBONE, device=device, dtype=dtype)
    except (SafetensorError, OSError, ConfigError) as error:
        raise FormatError(f"{folder} is not a readable retriever: {error}") from error
    if (backbone.dim, backbone.vocabulary) != (about.dim, about.n_latents):
        raise FormatError(
            f"{folder}: expected a model of dim {about.dim} over {about.n_latents} tokens, got "
            f"{backbone.dim} and {backbone.vocabulary}"
        )
    head = SparseHead(about.n_latents, about.dim)
    with torch.no_grad():
        head.shift.copy_(torch.from_numpy(arrays["shift"]))
    backbone.model.requires_grad_(False).eval()
    head.to(backbone.device).requires_grad_(False)
    retriever = LLMRetriever(backbone, head, about.config, about.provenance)
    if retriever.fingerprint != about.fingerprint:
        raise FormatError(
            f"{folder} does not hold the retriever that its {CONFIG} describes: weights or "
            "tokenizer were changed, save it again"
        )
    return retriever


def _readme(retriever: LLMRetriever) -> str:
    config = retriever.config
    return f"""---
library_name: csrkit
tags: [csrkit, learned-sparse-retrieval]
---
# Retriever from a language model of width {retriever.dim}

| | |
|---|---|
| heads | {config.head} |
| vocabulary | {retriever.n_latents} |
| loss | {config.loss}, {config.steps} steps on {retriever.provenance.triples} triples |
| fingerprint | {retriever.fingerprint} |
| made by | csrkit {retriever.provenance.csrkit} |

```python
from csrkit import llm

retriever = llm.load("this folder")
```
"""
