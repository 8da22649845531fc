"""docs/cli.md has every verb, an example that runs for each, and the exit codes as they are."""

from __future__ import annotations

import re
from pathlib import Path

from csrkit.cli.codes import ExitCode
from csrkit.cli.verbs import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_every_verb_is_listed_and_has_an_example_or_is_a_step_of_a_job() -> None:
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    listed = re.findall(r"^\| (?:\[`(\w+)`\]\(#\1\)|`(\w+)`) \|", PAGE, re.MULTILINE)
    assert [own or step for own, step in listed] == names
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:-1]
    own = [name for name, _ in listed if name]
    assert len(own) >= 8
    for name, text in zip(own, sections, strict=True):
        assert text.startswith(f"{name}\n")
        assert f"```console\n$ csrkit {name} " in text


def test_the_exit_codes_are_those_of_the_program() -> None:
    table = PAGE.partition("## Exit codes")[2]
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == [str(int(one)) for one in ExitCode]
