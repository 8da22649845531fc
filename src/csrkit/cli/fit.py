"""``csrkit fit``: train a codec and write it to a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from csrkit.cli.exits import Interrupted, note, watched_interrupts
from csrkit.cli.options import (
    Embeddings,
    Json,
    Progress,
    check_device,
    check_writable,
    whole_numbers,
)
from csrkit.cli.output import bar_wanted, show
from csrkit.errors import ConfigError, FormatError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from csrkit.model import CSRModel
    from csrkit.training.config import FitConfig

__all__ = ["FitFacts", "checked_settings", "fit", "settings"]

_Config = TypeVar("_Config", bound="BaseModel")


@dataclass(frozen=True)
class FitFacts:
    """What `csrkit fit` reports.

    Attributes:
        codec: Folder that holds the model.
        fingerprint: SHA-256 of the model.
        dim: Width of the embeddings.
        n_latents: Width of the codes.
        ladder: The k it serves.
        rows: Embeddings fitted on.
        steps: Training steps of the kept weights.
        recall: Held-out recall@10, mean over the ladder; None if not measured.
        seconds: Time of the training, set-up included.
        interrupted: Whether Ctrl-C ended it early.
    """

    codec: str
    fingerprint: str
    dim: int
    n_latents: int
    ladder: list[int]
    rows: int
    steps: int
    recall: float | None
    seconds: float
    interrupted: bool


def fit(
    embeddings: Embeddings,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write the codec to.")],
    recipe: Annotated[
        str | None, typer.Option(help="csrkit (default), csr or csrv2: where defaults come from.")
    ] = None,
    n_latents: Annotated[
        int | None, typer.Option(help="Width of the codes; by default 4 times the embeddings'.")
    ] = None,
    ladder: Annotated[
        str | None, typer.Option(help="The k that the codec serves, such as 8,16,32,64.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Training steps; by default until recall stops rising.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows per step.")] = None,
    seed: Annotated[int | None, typer.Option(help="One seed gives one codec on CPU.")] = None,
    device: Annotated[str | None, typer.Option(help="Torch device, such as cuda.")] = None,
    queries: Annotated[
        list[str] | None,
        typer.Option(help="File or folder with embeddings of real queries, unaligned."),
    ] = None,
    positives: Annotated[
        list[str] | None,
        typer.Option(help="File or folder with the positive of each embedding, aligned."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A .npy with one whole number per embedding.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="JSON object with any setting of csrkit.FitConfig; options win over it."),
    ] = None,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Train a codec for embeddings of any frozen model.

    Ctrl-C keeps the best weights measured so far and ends with code 4. A folder
    that holds a codec is replaced; any other folder that is not empty is refused.
    """  # noqa: DOC501  # the docstring is the help
    _check_output(output)
    given = {
        "recipe": recipe,
        "n_latents": n_latents,
        "ladder": None if ladder is None else whole_numbers(ladder, "--ladder"),
        "steps": steps,
        "batch_size": batch_size,
        "seed": seed,
        "device": device,
    }
    chosen = settings(config, given)
    check_device(chosen.device)
    classes = None if labels is None else _read_labels(labels)
    started = time.perf_counter()
    model, interrupted = _train(
        embeddings, positives, queries, classes, chosen, bar_wanted(progress)
    )
    facts = _facts(model, output, time.perf_counter() - started, interrupted)
    model.save(output)
    show(facts, _lines(facts), as_json=as_json)
    if interrupted:
        raise Interrupted(
            f"interrupted: {output} holds the best weights so far, of step {facts.steps}; "
            "fit again for better ones"
        )


def _train(
    embeddings: list[str],
    positives: list[str] | None,
    queries: list[str] | None,
    labels: NDArray[np.int64] | None,
    settings: FitConfig,
    progress: bool,
) -> tuple[CSRModel, bool]:
    from csrkit.fitting import fit as fit_model

    with watched_interrupts() as interrupts:
        model = fit_model(
            embeddings,
            positives=positives or None,
            labels=labels,
            queries=queries or None,
            config=settings,
            progress=progress,
        )
    return model, bool(interrupts)


def _check_output(folder: Path) -> None:
    """Refuse, before hours of training, a folder that cannot be written to or is not ours."""
    if folder.exists() and not folder.is_dir():
        raise FormatError(f"expected a folder to write the codec to, got the file {folder}")
    existing = list(folder.iterdir()) if folder.exists() else []
    if existing and not {"config.json", "model.safetensors"} <= {path.name for path in existing}:
        raise FormatError(
            f"{folder} is not empty and holds no codec: name a new folder, it would be mixed up"
        )
    if existing:
        note(f"{folder} holds a codec, which will be replaced: its codes do not mix with new ones")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"cannot make the folder {folder}: {error.strerror}") from error
    check_writable(folder)


def settings(path: Path | None, given: dict[str, Any]) -> FitConfig:
    """Make the configuration of a fit.

    Args:
        path: JSON file of settings, or None.
        given: Settings by name that win over the file's; None is not given.

    Returns:
        The configuration.

    Raises:
        ConfigError: If a setting is unknown or out of its range.
        FormatError: If the file is missing or holds no JSON object.
    """
    from csrkit.training.config import FitConfig

    return checked_settings(FitConfig, path, given)


def checked_settings(kind: type[_Config], path: Path | None, given: dict[str, Any]) -> _Config:
    """Make any configuration from a file and options.

    Args:
        kind: Which.
        path: JSON file of settings, or None.
        given: Settings by name that win over the file's; None is not given.

    Returns:
        The configuration.

    Raises:
        ConfigError: If a setting is unknown or out of its range.
        FormatError: If the file is missing or holds no JSON object.
    """
    from pydantic import ValidationError

    from_file = {} if path is None else _read_object(path)
    merged = from_file | {name: value for name, value in given.items() if value is not None}
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        where = f"{name}={first['input']!r}: " if name else ""
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"bad setting {where}{message}{more}") from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise FormatError(f"no file of settings at {path}") from error
    except OSError as error:
        raise FormatError(f"cannot read settings from {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise FormatError(f"expected {path} to hold a JSON object, got {type(content).__name__}")
    return content


def _read_labels(path: Path) -> NDArray[np.int64]:
    import numpy as np

    try:
        labels = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise FormatError(f"no file of labels at {path}") from error
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(f"{path} is not a readable .npy file of labels: {error}") from error
    if not isinstance(labels, np.ndarray):
        labels.close()
        raise FormatError(f"{path} is an archive of arrays, not a .npy file of labels")
    return labels


def _facts(model: CSRModel, output: Path, seconds: float, interrupted: bool) -> FitFacts:
    provenance = model.config.provenance
    return FitFacts(
        codec=str(output),
        fingerprint=model.fingerprint,
        dim=model.dim,
        n_latents=model.n_latents,
        ladder=list(model.ladder),
        rows=provenance.rows,
        steps=provenance.steps,
        recall=provenance.recall,
        seconds=round(seconds, 3),
        interrupted=interrupted,
    )


def _lines(facts: FitFacts) -> Iterator[str]:
    recall = "not measured" if facts.recall is None else f"{facts.recall:.3f} (mean over k)"
    yield (
        f"{facts.codec}: {facts.dim} dimensions to {facts.n_latents} latents, "
        f"k = {', '.join(map(str, facts.ladder))}"
    )
    yield (
        f"{facts.rows} embeddings, {facts.steps} steps in {facts.seconds:.1f} s, held-out "
        f"recall@10 {recall}"
    )
    yield f"fingerprint {facts.fingerprint[:16]}"
