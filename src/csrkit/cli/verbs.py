"""The `csrkit` command with its verbs; imports nothing heavy, so that ``--help`` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from csrkit import __version__
from csrkit.cli.collection import compress, finalize, rollback, status, sweep
from csrkit.cli.cutover import cutover
from csrkit.cli.demo import demo
from csrkit.cli.doctor import doctor
from csrkit.cli.encode import encode
from csrkit.cli.evaluate import evaluate
from csrkit.cli.exits import VerbGroup
from csrkit.cli.fit import fit
from csrkit.cli.inspect import inspect
from csrkit.cli.llm import llm
from csrkit.cli.monitor import monitor
from csrkit.cli.plan import plan
from csrkit.cli.search import search
from csrkit.cli.tune import tune
from csrkit.cli.verify import verify

__all__ = ["app"]

app = typer.Typer(
    cls=VerbGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a bug's traceback in Python's own form, fit for a report
    rich_markup_mode=None,  # plain help: quicker, and the same in a pipe
)
for verb in (demo, fit, tune, encode, search, evaluate, inspect, doctor):
    app.command()(verb)
for step in (plan, compress, status, sweep, verify, cutover, rollback, finalize, monitor):
    app.command()(step)
app.add_typer(llm, name="llm")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"csrkit {__version__}")
        raise typer.Exit


@app.callback()
def _csrkit(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Compress embeddings to sparse codes and search them, k chosen per query.

    Start with `csrkit demo`. Every verb takes --json and has its own --help.

    \b
    Exit codes:
      0  done
      1  a check that was asked for failed
      2  bad arguments, input or settings, or something is not installed
      3  the vector store refused, broke, or cannot be reached
      4  interrupted; the message says what was kept and how to go on
      70 a bug in csrkit
    """  # noqa: D301  # \b keeps the list as it is
