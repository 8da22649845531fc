"""``csrkit llm train``: a retriever from a language model and a file of triples."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from csrkit.cli.exits import Interrupted
from csrkit.cli.fit import checked_settings
from csrkit.cli.options import Json, Progress, check_device, check_writable
from csrkit.cli.output import bar_wanted, show
from csrkit.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from csrkit.llm import LLMConfig, LLMRetriever, Triple

__all__ = ["TrainFacts", "train"]


class Loss(StrEnum):
    """The values of ``--loss``."""

    CL = "cl"
    KD = "kd"
    KD_KL = "kd_kl"
    CL_KD = "cl_kd"


class Head(StrEnum):
    """The values of ``--head``."""

    SPARSE = "sparse"
    DENSE = "dense"
    BOTH = "both"


@dataclass(frozen=True)
class TrainFacts:
    """What `csrkit llm train` reports.

    Attributes:
        retriever: Folder that holds it.
        fingerprint: SHA-256 of the retriever.
        head: "sparse", "dense" or "both".
        ranking: The ranking loss: "cl", "kd", "kd_kl" or "cl_kd".
        dim: Width of the vectors.
        n_latents: Width of the codes, the vocabulary.
        triples: Trained on.
        steps: Optimiser steps, those of the adaptation apart.
        loss: Mean of the last steps; None if there were none.
        seconds: Time of everything.
    """

    retriever: str
    fingerprint: str
    head: str
    ranking: str
    dim: int
    n_latents: int
    triples: int
    steps: int
    loss: float | None
    seconds: float


def train(
    model: Annotated[
        str, typer.Argument(help="Folder, .gguf file or hub name of a causal language model.")
    ],
    triples: Annotated[Path, typer.Argument(help="Triples, .jsonl or .tsv.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write the retriever to.")
    ],
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Documents by id, .tsv or .jsonl, if the triples name them by id; --mntp-steps "
            "adapts to all of them."
        ),
    ] = None,
    head: Annotated[Head | None, typer.Option(help="What to train; by default sparse.")] = None,
    loss: Annotated[
        Loss | None, typer.Option(help="By default cl_kd with teacher scores, else cl.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Queries per step.")] = None,
    micro_batch: Annotated[
        int | None, typer.Option(help="Queries whose activations are in memory at once.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate of AdamW.")] = None,
    mntp_steps: Annotated[
        int | None, typer.Option(help="Steps of masked next-token prediction before.")
    ] = None,
    lora_rank: Annotated[
        int | None, typer.Option(help="Train LoRA adapters of this rank; by default all weights.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="One seed gives one retriever on CPU.")] = None,
    device: Annotated[str | None, typer.Option(help="Torch device, such as cuda.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="JSON object with any setting of LLMConfig; options win over it."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder that keeps the run; the same command goes on.")
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between two checkpoints.")] = 100,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Train a retriever from a decoder-only language model.

    Lines of triples are {"question", "pos_pid", "neg_pids"}, with "pos_score" and "neg_scores"
    of a teacher, {"query", "docids", "scores"}, or texts: {"query", "positive", "negatives"}.
    Works under torchrun.
    """  # the docstring is the help
    from csrkit.llm.config import LLMConfig
    from csrkit.llm.data import read_corpus, read_triples

    kept = _Kept(checkpoint, checkpoint_every)
    _check_output(output, kept)
    given = {
        "head": head and head.value,
        "loss": loss and loss.value,
        "steps": steps,
        "batch_size": batch_size,
        "micro_batch": micro_batch,
        "learning_rate": learning_rate,
        "mntp_steps": mntp_steps,
        "lora_rank": lora_rank,
        "seed": seed,
        "device": device,
    }
    settings = checked_settings(LLMConfig, config, given)
    check_device(settings.device)
    started = time.perf_counter()
    with kept.told():
        texts = None if corpus is None or triples.suffix == ".tsv" else read_corpus(corpus)
        read = read_triples(triples, corpus if texts is None else texts)
        passages = list(texts.values()) if texts and settings.mntp_steps else None
        retriever = _fit(model, read, passages, settings, kept, bar_wanted(progress))
        if retriever is None:
            return
        retriever.save(output)
    facts = _facts(retriever, output, time.perf_counter() - started)
    show(facts, _lines(facts), as_json=as_json)


class _Kept(NamedTuple):
    """Where a run is kept, and after how many steps each time."""

    folder: Path | None
    every: int

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say after Ctrl-C what was kept.

        Raises:
            Interrupted: In the place of a KeyboardInterrupt.
        """
        try:
            yield
        except KeyboardInterrupt as error:
            raise Interrupted(f"interrupted: {self.ending}") from error

    @property
    def ending(self) -> str:
        """What an interrupt leaves."""
        if self.folder is None:
            return "nothing was kept; --checkpoint FOLDER keeps a run"
        if not list(self.folder.glob("*.safetensors")):
            return f"nothing was kept yet; {self.folder} would hold it every {self.every} steps"
        return f"{self.folder} holds the last checkpoint; run the same command again to go on"


def _check_output(folder: Path, kept: _Kept) -> None:
    """Refuse, before hours of training, a folder that cannot be written to or is not ours."""
    if kept.folder is not None and kept.folder.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"expected --checkpoint outside of --output, which is written whole at the end, got "
            f"{kept.folder} in {folder}"
        )
    if folder.exists() and not folder.is_dir():
        raise FormatError(f"expected a folder to write the retriever to, got the file {folder}")
    if folder.exists() and any(folder.iterdir()) and not (folder / "head.safetensors").is_file():
        raise FormatError(f"{folder} is not empty and holds no retriever: name a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"cannot make the folder {folder.parent}: {error.strerror}") from error
    check_writable(folder.parent)


def _fit(
    model: str,
    triples: list[Triple],
    passages: list[str] | None,
    settings: LLMConfig,
    kept: _Kept,
    progress: bool,
) -> LLMRetriever | None:
    """Train; None in every process of torchrun but the first."""
    from csrkit.llm import fit  # says so if transformers is missing
    from csrkit.llm.twopass import join

    place = join(settings.device)
    retriever = fit(
        model,
        triples,
        settings,
        corpus=passages,
        checkpoint=kept.folder,
        checkpoint_every=kept.every,
        progress=progress,
    )
    return retriever if place.rank == 0 else None


def _facts(retriever: LLMRetriever, output: Path, seconds: float) -> TrainFacts:
    return TrainFacts(
        retriever=str(output),
        fingerprint=retriever.fingerprint,
        head=retriever.config.head,
        ranking=str(retriever.config.loss),
        dim=retriever.dim,
        n_latents=retriever.n_latents,
        triples=retriever.provenance.triples,
        steps=retriever.config.steps,
        loss=retriever.provenance.loss,
        seconds=round(seconds, 3),
    )


def _lines(facts: TrainFacts) -> Iterator[str]:
    yield (
        f"{facts.retriever}: {facts.head}, {facts.dim} dimensions, {facts.n_latents} latents, "
        f"loss {facts.ranking}"
    )
    reached = "" if facts.loss is None else f", to a loss of {facts.loss:.3f}"
    yield f"{facts.triples} triples, {facts.steps} steps in {facts.seconds:.1f} s{reached}"
    yield f"fingerprint {facts.fingerprint[:16]}"
