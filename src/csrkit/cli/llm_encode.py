"""``csrkit llm encode``: codes or vectors of texts, to a file or into a store."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from csrkit.cli.exits import Interrupted
from csrkit.cli.options import Json, Progress, check_device, check_writable
from csrkit.cli.output import bar_wanted, show
from csrkit.cli.stores import opened
from csrkit.errors import ConfigError, FormatError, StoreError

if TYPE_CHECKING:
    from csrkit.llm import LLMRetriever
    from csrkit.vectors import SparseVectors

__all__ = ["EncodedFacts", "encode"]

BLOCK = 1024  # texts that are read, encoded and written at a time
DIGITS = 19  # of a number that every store takes as an id, below 2**64


class Side(StrEnum):
    """The values of ``--side``."""

    QUERY = "query"
    DOCUMENT = "document"


@dataclass(frozen=True)
class EncodedFacts:
    """What `csrkit llm encode` reports.

    Attributes:
        target: File or URL of the store.
        rows: Texts encoded.
        side: "query" or "document".
        n_latents: Width of the codes; None for vectors.
        mean_latents: Active latents of the mean code; None for vectors.
        empty: Texts whose code is empty; None for vectors.
        dim: Width of the vectors; None for codes.
        fingerprint: SHA-256 of the retriever.
        seconds: Time of reading, encoding and writing.
    """

    target: str
    rows: int
    side: str
    n_latents: int | None
    mean_latents: float | None
    empty: int | None
    dim: int | None
    fingerprint: str
    seconds: float


def encode(
    retriever: Annotated[Path, typer.Argument(help="Folder that `csrkit llm train` wrote.")],
    texts: Annotated[
        Path, typer.Argument(help="Texts by id, .tsv (id, text) or .jsonl (_id, title, text).")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File: .safetensors for codes, .npy for vectors (or --store)."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="edge://FOLDER, qdrant://HOST:PORT/COLLECTION, or an adapter's (or --output)."
        ),
    ] = None,
    side: Annotated[Side, typer.Option(help="Which texts these are.")] = Side.DOCUMENT,
    k: Annotated[
        int | None, typer.Option(help="Most latents per code; by default as trained.")
    ] = None,
    device: Annotated[str, typer.Option(help="Torch device, such as cuda.")] = "cpu",
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Write the codes of texts, to a file or into a store, or their vectors to a file.

    In a store the ids are those of the texts, which become the payload field "text". Rows of
    a file are in the order of the texts.
    """  # the docstring is the help
    _check_target(output, store, k)
    check_device(device)
    from csrkit import llm as library

    started = time.perf_counter()
    model = library.load(retriever, device=device)
    totals = _Totals()
    blocks = _blocks(texts, bar_wanted(progress))
    as_vectors = output is not None and output.suffix == ".npy"
    if output is None:
        assert store is not None  # _check_target has seen to it
        _to_store(_coded(model, blocks, side, k, totals), store, model, totals)
    elif as_vectors:
        _to_vectors(model, blocks, output, side, totals)
    else:
        _to_file(_coded(model, blocks, side, k, totals), output, model)
    facts = EncodedFacts(
        target=str(store or output),
        rows=totals.rows,
        side=side.value,
        n_latents=None if as_vectors else model.n_latents,
        mean_latents=None if as_vectors else round(totals.latents / max(1, totals.rows), 2),
        empty=None if as_vectors else totals.empty,
        dim=model.dim if as_vectors else None,
        fingerprint=model.fingerprint,
        seconds=round(time.perf_counter() - started, 3),
    )
    show(facts, _lines(facts), as_json=as_json)


def _check_target(output: Path | None, store: str | None, k: int | None) -> None:
    if (output is None) == (store is None):
        raise ConfigError("expected one of --output FILE and --store URL to say where codes go")
    if output is None:
        return
    if output.suffix not in (".safetensors", ".npy"):
        raise ConfigError(
            f"expected an output that ends in .safetensors (codes) or .npy (vectors), got {output}"
        )
    if output.suffix == ".npy" and k is not None:
        raise ConfigError("--k is for codes: vectors have all their dimensions")
    check_writable(output.parent)


@dataclass
class _Totals:
    """Counts of what was encoded so far."""

    rows: int = 0
    latents: int = 0
    empty: int = 0


class _Block(NamedTuple):
    """Texts that follow each other in a file."""

    ids: list[int | str]
    texts: list[str]


class _Coded(NamedTuple):
    """A block with its codes."""

    block: _Block
    codes: SparseVectors


def _blocks(path: Path, progress: bool) -> Iterator[_Block]:
    """Yield ids and texts, a block at a time; a block counts once it was used."""
    from tqdm.auto import tqdm

    from csrkit.llm.data import iter_corpus

    documents = iter_corpus(path)
    with tqdm(unit="text", desc="encode", disable=not progress) as bar:
        while block := list(islice(documents, BLOCK)):
            yield _Block([_id(key) for key, _ in block], [text for _, text in block])
            bar.update(len(block))


def _id(key: str) -> int | str:
    """Return a whole number as one: stores keep numbers and UUIDs in less room than names."""
    is_number = key.isascii() and key.isdecimal() and len(key) <= DIGITS
    return int(key) if is_number and str(int(key)) == key else key


def _coded(
    model: LLMRetriever, blocks: Iterator[_Block], side: Side, k: int | None, totals: _Totals
) -> Iterator[_Coded]:
    """Yield codes block by block; a block counts once it was used."""
    for block in blocks:
        codes = model.encode(block.texts, k=k, side=side.value)
        yield _Coded(block, codes)
        totals.rows += len(codes)
        totals.latents += codes.nnz
        totals.empty += int((codes.counts == 0).sum())
    if not totals.rows:
        raise FormatError("expected texts to encode, got an empty file")


def _to_file(coded: Iterator[_Coded], output: Path, model: LLMRetriever) -> None:
    """Write block by block; the file appears complete or not at all."""
    from csrkit.vectors import save_blocks

    try:
        save_blocks((one.codes for one in coded), output, model.n_latents)
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted: nothing was written") from error
    except OSError as error:  # a full disk names no file
        raise FormatError(f"cannot write {output}: {error}") from error


def _to_store(coded: Iterator[_Coded], url: str, model: LLMRetriever, totals: _Totals) -> None:
    """Upsert block by block; whatever stops it, the same command again completes it."""
    try:
        with opened(url, codec=model.fingerprint) as store:
            for block, codes in coded:
                store.upsert(block.ids, codes, [{"text": text} for text in block.texts])
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"interrupted: the first {totals.rows} texts are stored; run the same command again"
        ) from error
    except StoreError as error:
        if not totals.rows:
            raise
        # how much is stored is not known: a store may write what it holds when it is closed
        raise StoreError(f"{error}; then run the same command again, for all texts") from error


def _to_vectors(
    model: LLMRetriever, blocks: Iterator[_Block], output: Path, side: Side, totals: _Totals
) -> None:
    """Write all vectors at once; the file appears whole or not at all."""
    import numpy as np

    found = []
    for block in blocks:
        for key, text in zip(block.ids, block.texts, strict=True):
            if not text.strip():
                raise FormatError(f"expected texts that are not blank for vectors, got id {key!r}")
        found.append(model.encode_dense(block.texts, side=side.value))
    if not found:
        raise FormatError("expected texts to encode, got an empty file")
    vectors = np.concatenate(found)
    totals.rows = len(vectors)
    try:
        with TemporaryDirectory(dir=output.parent, prefix=".saving-") as aside:
            np.save(Path(aside, output.name), vectors)
            os.replace(Path(aside, output.name), output)
    except OSError as error:
        raise FormatError(f"cannot write {output}: {error}") from error


def _lines(facts: EncodedFacts) -> Iterator[str]:
    what = (
        f"vectors of {facts.dim} dimensions"
        if facts.dim is not None
        else f"codes of {facts.mean_latents:.1f} latents on average (of {facts.n_latents})"
    )
    yield f"{facts.target}: {facts.rows} {what} in {facts.seconds:.1f} s"
    if facts.empty:
        yield f"{facts.empty} of them are empty: no search finds them"
