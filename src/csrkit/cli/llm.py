"""``csrkit llm train | encode``: retrievers from language models, from files of texts."""

from __future__ import annotations

import typer

from csrkit.cli.llm_encode import encode
from csrkit.cli.llm_train import train

__all__ = ["llm"]

llm = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train retrievers from language models, and encode with them.",
)
for verb in (train, encode):
    llm.command()(verb)
