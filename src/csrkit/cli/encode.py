"""``csrkit encode``: embeddings to codes, in a file or straight into a store.

Rows are read, encoded and written in blocks, so a file or a store of any size takes
constant memory (but for the ids, if a file of them is given). Everything that can be
checked is checked before the store is opened. A store gets what `csrkit.Searcher` would
write: codes with residual bits, refitted codes, or plain ones (`csrkit.search.writing`).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from csrkit.cli.exits import Interrupted
from csrkit.cli.options import (
    RESCORE,
    Codec,
    Embeddings,
    Json,
    Progress,
    Rescoring,
    check_device,
    check_writable,
)
from csrkit.cli.output import bar_wanted, show
from csrkit.cli.stores import opened
from csrkit.errors import ConfigError, FormatError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from csrkit.cli.rows import Rows
    from csrkit.model import CSRModel
    from csrkit.model.card import Rescore
    from csrkit.search.writing import Writer
    from csrkit.stores import Store
    from csrkit.vectors import SparseVectors

__all__ = ["EncodeFacts", "encode"]

BLOCK_ROWS = 4096  # 12 MB of float32 at 768 dimensions


@dataclass(frozen=True)
class EncodeFacts:
    """What `csrkit encode` reports.

    Attributes:
        target: File or URL of the store.
        rows: Codes written.
        k: Most latents per code.
        n_latents: Width of the codes.
        mean_latents: Latents of the mean code.
        empty: Codes without any latent: no search finds them.
        residual_bytes: Bytes of residual bits stored with each code; 0 for none.
        refitted: Whether the codes' values were refitted, to be rescored without bits.
        fingerprint: SHA-256 of the codec.
        seconds: Time of reading, encoding and writing.
    """

    target: str
    rows: int
    k: int
    n_latents: int
    mean_latents: float
    empty: int
    residual_bytes: int
    refitted: bool
    fingerprint: str
    seconds: float


class _Block(NamedTuple):
    """Consecutive rows, and the number of the first."""

    start: int
    rows: NDArray[Any]


@dataclass
class _Totals:
    """Counts of the codes written so far."""

    rows: int = 0
    latents: int = 0
    empty: int = 0
    residual_bytes: int = 0
    refitted: bool = False

    def add_(self, codes: SparseVectors) -> None:
        """Count one block."""
        self.rows += len(codes)
        self.latents += codes.nnz
        self.empty += int((codes.counts == 0).sum())


def encode(
    codec: Codec,
    embeddings: Embeddings,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for the codes, .safetensors (or use --store)."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="edge://FOLDER, qdrant://HOST:PORT/COLLECTION, or what an adapter brings (or use "
            "--output)."
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(help="Latents per code; by default as tuned, else the codec's longest k."),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(help="One id per row: .txt lines, .json list or .npy; default row numbers."),
    ] = None,
    payloads: Annotated[
        Path | None, typer.Option(help="One JSON object per row: .jsonl, kept with the code.")
    ] = None,
    residuals: Annotated[
        bool | None,
        typer.Option(
            help="Store residual bits, or refitted codes without; by default as tuned and as the "
            "store holds them, else bits if it can."
        ),
    ] = None,
    rescore: Annotated[
        Rescoring,
        typer.Option(
            help="What searches will rank candidates by: for `codes`, residual bits or refitted "
            "codes are stored, else plain codes."
        ),
    ] = Rescoring.CODES,
    start: Annotated[int, typer.Option(help="First row, to resume into a store.")] = 0,
    device: Annotated[str | None, typer.Option(help="Torch device, such as cuda.")] = None,
    as_json: Json = False,
    progress: Progress = None,
) -> None:
    """Write the codes of embeddings, in a file or a store.

    Storing can be repeated: a row that is there already is replaced by the same code.
    """
    from csrkit.cli.rows import open_rows
    from csrkit.model import load

    is_odd = rescore is not Rescoring.CODES
    target = _target(output, store, bool(ids or payloads or start or residuals or is_odd))
    check_device(device)
    started = time.perf_counter()
    model = load(codec)
    k = _checked_k(model, k)
    rows = open_rows(embeddings, model.dim, ids=ids, payloads=payloads, start=start)
    totals = _Totals()
    with closing(_read(rows, bar_wanted(progress))) as blocks:  # its bar ends before a message
        if store is None:
            assert output is not None  # _target has seen to it
            codes = (model.encode(block.rows, k=k, device=device) for block in blocks)
            _to_file(codes, output, model.n_latents, totals)
        else:
            writer = partial(_writer, model, k, RESCORE[rescore], residuals)
            _to_store(blocks, rows, opened(store), writer, device, totals)
    facts = EncodeFacts(
        target=target,
        rows=totals.rows,
        k=k,
        n_latents=model.n_latents,
        mean_latents=round(totals.latents / totals.rows, 2),
        empty=totals.empty,
        residual_bytes=totals.residual_bytes,
        refitted=totals.refitted,
        fingerprint=model.fingerprint,
        seconds=round(time.perf_counter() - started, 3),
    )
    show(facts, _lines(facts), as_json=as_json)


def _target(output: Path | None, store: str | None, for_store: bool) -> str:
    """Check that the options name one target and fit it."""
    if (output is None) == (store is None):
        raise ConfigError("expected one of --output FILE and --store URL to say where codes go")
    if store is not None:
        return store
    if for_store:
        raise ConfigError(
            "--ids, --payloads, --residuals, --rescore and --start are for --store: a file holds "
            "codes alone"
        )
    assert output is not None  # or store is
    if not output.name.endswith(".safetensors"):
        raise ConfigError(f"expected an output that ends in .safetensors, got {output}")
    check_writable(output.parent)
    return str(output)


def _checked_k(model: CSRModel, k: int | None) -> int:
    """Choose the k, and let the codec itself refuse it before anything is read or opened."""
    import numpy as np

    if k is None:
        k = model.ladder[-1] if model.card is None else model.card.k_doc
    model.encode(np.empty((0, model.dim), dtype=np.float32), k=k)
    return k


def _read(rows: Rows, bar: bool) -> Generator[_Block]:
    """Yield the rows block by block; a block counts once it was used."""
    from tqdm.auto import tqdm

    total, first = rows.source.n, rows.start
    with tqdm(total=total, initial=first, unit="vec", desc="encode", disable=not bar) as shown:
        for start in range(first, total, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, total)
            yield _Block(start, rows.source.rows(start, stop))
            shown.update(stop - start)


def _to_file(blocks: Iterator[SparseVectors], output: Path, dim: int, totals: _Totals) -> None:
    """Write block by block; the file appears complete or not at all."""
    from csrkit.vectors import save_blocks

    def counted() -> Iterator[SparseVectors]:
        for codes in blocks:
            totals.add_(codes)
            yield codes

    there = output.exists()
    try:
        save_blocks(counted(), output, dim)
    except KeyboardInterrupt as error:
        state = f"{output} is as it was" if there else f"there is no {output}"
        raise Interrupted(f"interrupted: nothing was written, {state}") from error
    except OSError as error:  # a full disk names no file
        raise FormatError(f"cannot write {output}: {error}") from error


def _to_store(
    blocks: Iterator[_Block],
    rows: Rows,
    target: AbstractContextManager[Store],
    writer: Callable[[Store], Writer],
    device: str | None,
    totals: _Totals,
) -> None:
    """Upsert block by block; whatever stops it, say from where to go on."""
    stopped: BaseException | None = None
    try:
        with target as store:
            work = writer(store)
            try:
                for start, embeddings in blocks:
                    ids, payloads = rows.details(start, start + len(embeddings))
                    totals.add_(work.upsert(ids, embeddings, payloads, device=device))
                    totals.residual_bytes, totals.refitted = work.residual_bytes, work.refits
            except BaseException as error:
                stopped = error
                raise
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted: {_resume(rows, totals)}") from error
    except StoreError as error:
        if not totals.rows:
            raise
        # another error came from closing, which is when some stores write what they hold
        again = "how much is stored is not known: run the same command again, as it stands"
        ending = _resume(rows, totals) if error is stopped else again
        raise StoreError(f"{error}; {ending}") from error


def _writer(
    model: CSRModel, k: int, rescore: Rescore | None, wanted: bool | None, store: Store
) -> Writer:
    """Return what writes as a Searcher does, and refuse what the store cannot be any more."""
    from csrkit.search.writing import Writer

    writer = Writer(model, store, k_doc=k, rescore=rescore, residuals=wanted)
    if wanted is not None and wanted != writer.gives_bits:
        option, there = ("--residuals", "without") if wanted else ("--no-residuals", "with")
        raise ConfigError(
            f"{option}: the store was filled {there} residual bits: leave the option out to go on "
            "so, or encode all rows into a new store"
        )
    return writer


def _resume(rows: Rows, totals: _Totals) -> str:
    reached = rows.start + totals.rows
    return (
        f"rows up to {reached} of {rows.source.n} are stored; run the same command again, "
        f"with --start {reached} to skip them (storing a row twice is harmless)"
    )


def _lines(facts: EncodeFacts) -> Iterator[str]:
    kept = facts.residual_bytes
    bits = f", each with {kept} bytes of residual bits," if kept else ""
    bits = ", refitted," if facts.refitted else bits
    yield (
        f"{facts.target}: {facts.rows} codes of {facts.mean_latents:.1f} latents on average "
        f"(k = {facts.k} of {facts.n_latents}){bits} in {facts.seconds:.1f} s"
    )
    if facts.empty:
        yield f"{facts.empty} of them are empty: no latent fires there, and no search finds them"
