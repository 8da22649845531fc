"""Every code block of README.md and docs/ runs, and prints what the page says it prints.

A page is one session, from top to bottom, in an empty folder that holds only `examples`:

    python   runs; a block that starts with >>> is a doctest
    text     what the python block before it printed (``...`` matches anything, and a number is
             compared to the digits shown); printing without showing it is an error
    console  ``$ csrkit ...`` runs; the lines up to the next ``$`` are what it prints
    bash     set-up, for the reader to run: its extras and make targets must exist

A block of another language, or of none, is not code to run: only those in QUIET are allowed.
"""

import doctest
import io
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from sybil import Document, Example
from sybil.evaluators.doctest import NUMBER, OutputChecker
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parent.parent
PAGES = sorted(path for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")] if path.exists())
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | NUMBER
QUIET = {"json", "toml", "yaml", "mermaid"}
PRINTED = "__printed__"  # key of a page's namespace: output not shown yet


def _differs(expected: str, printed: str) -> str | None:
    if OutputChecker().check_output(expected, printed, FLAGS):
        return None
    return f"the page shows\n{expected}\nbut the code printed\n{printed}"


def _unshown(document: Document) -> str | None:
    printed = document.namespace.pop(PRINTED, "")
    return f"printed, but the page does not show it:\n{printed}" if printed else None


def _run_python(example: Example) -> str | None:
    problem = _unshown(example.document)
    if problem is None:
        with redirect_stdout(io.StringIO()) as output:
            PythonEvaluator()(example)
        example.namespace[PRINTED] = output.getvalue()
    return problem


def _compare(example: Example) -> str | None:
    printed = example.namespace.pop(PRINTED, "")
    if not printed:
        return "a text block shows output, but nothing was printed before it"
    return _differs(example.parsed, printed)


def _run_console(example: Example) -> str | None:
    for command, expected in re.findall(
        r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", example.parsed, re.MULTILINE
    ):
        program, *arguments = shlex.split(command)
        if program != "csrkit":
            return f"only csrkit runs in a console block, got {command!r}: set-up goes into bash"
        binary = Path(sys.executable).with_name(program)
        done = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{command!r} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        if problem := _differs(expected, done.stdout):
            return problem
    return None


def _check_setup(example: Example) -> str | None:
    named = ",".join(re.findall(r"csrkit\[([a-z,]+)\]", example.parsed)).split(",")
    missing = [f"extra {name}" for name in named if name and name not in EXTRAS]
    targets = re.findall(r"^make ([a-z]+)", example.parsed, re.MULTILINE)
    missing += [f"make {name}" for name in targets if name not in TARGETS]
    return f"there is no {', no '.join(missing)}" if missing else None


class _PrintingPython(PythonCodeBlockParser):
    """sybil's parser of python blocks, doctests included, that keeps what a block prints."""

    def __init__(self) -> None:
        super().__init__(doctest_optionflags=FLAGS)
        self.codeblock_parser = CodeBlockParser("python", _run_python)


def run_page(page: Path) -> int:
    """Run a page and return how many blocks it had; raises at the first that does not hold."""
    parsers = [
        _PrintingPython(),
        CodeBlockParser("text", _compare),
        CodeBlockParser("console", _run_console),
        CodeBlockParser("bash", _check_setup),
    ]
    document = Document.parse(str(page), *parsers)
    languages = set(re.findall(r"^[ >]*(?:```|~~~)(\w+)", document.text, re.MULTILINE))
    unknown = languages - QUIET - {"python", "text", "console", "bash"}
    assert not unknown, f"{page}: code blocks of {sorted(unknown)} would not run"
    examples = list(document)
    for example in examples:
        example.evaluate()
    problem = _unshown(document)
    assert problem is None, f"{page}: {problem}"
    return len(examples)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_runs_and_prints_what_it_says(page: Path) -> None:
    run_page(page)


GOOD = """
    ```bash
    pip install "csrkit[train,edge]"
    make demo
    ```
    ```python
    from csrkit import SparseVectors
    codes = SparseVectors([0, 2], [1, 4], [0.6, 0.8], dim=5)
    print("nnz", codes.nnz)
    print(1 / 3)
    ```
    It prints:
    ```text
    nnz 2
    0.33
    ```
    ```python
    >>> len(codes)
    1
    ```
    ```json
    {"never": "run"}
    ```
"""

BAD = {
    "```python\nprint(1)\n```\n```text\n2\n```": "the page shows\n2\n\nbut the code printed\n1",
    "```python\nprint(1)\n```": "the page does not show it",
    "```python\nprint(1)\n```\n```python\nx = 2\n```\n```text\n1\n```": "the page does not show it",
    "```python\nx = 1\n```\n```text\n1\n```": "nothing was printed before it",
    "```python\n>>> 1 + 1\n3\n```": "Expected:\n    3\nGot:\n    2",
    "```python\nraise LookupError('lost')\n```": "lost",
    "```py\nx = 1\n```": r"blocks of \['py'\] would not run",
    '```bash\npip install "csrkit[trane]"\n```': "no extra trane",
    "```bash\nmake demmo\n```": "no make demmo",
    "```console\n$ rm -rf codec\n```": "only csrkit runs in a console block",
    "```console\n$ csrkit no-such-verb\n```": "'csrkit no-such-verb' ended with 2",
}


def test_a_page_that_holds_passes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(textwrap.dedent(GOOD))
    assert run_page(page) == 4


@pytest.mark.parametrize(("text", "message"), BAD.items(), ids=range(len(BAD)))
def test_a_page_that_does_not_hold_fails(text: str, message: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text + "\n")
    with pytest.raises((AssertionError, LookupError), match=message):
        run_page(page)
