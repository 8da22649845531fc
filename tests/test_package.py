"""What a user sees before the first call: names, versions, extras, and a light import."""

import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

import csrkit

ROOT = Path(__file__).parent.parent
HEAVY = ("qdrant_client", "sklearn", "torch", "transformers")
ADAPTER_LINES = 150  # of a module
IMPORT_BUDGET = 0.250  # seconds on top of a bare interpreter
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ADAPTERS = sorted(path.parent for path in ROOT.glob("adapters/*/pyproject.toml"))


def _python(code: str, first_on_path: Path | None = None) -> str:
    env = os.environ | ({"PYTHONPATH": str(first_on_path)} if first_on_path else {})
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return done.stdout


def _heavy_modules(first_on_path: Path | None = None) -> set[str]:
    """Which of HEAVY a fresh interpreter has loaded after ``import csrkit``."""
    loaded = _python("import csrkit, sys; print(*sys.modules)", first_on_path).split()
    return set(HEAVY) & set(loaded)


def _seconds(code: str) -> float:
    started = time.perf_counter()
    _python(code)
    return time.perf_counter() - started


def _distribution(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return match[0]


def _direct_dependencies() -> list[str]:
    projects = [PROJECT, *map(_project, ADAPTERS)]
    lists = [one["dependencies"] for one in projects]
    lists += [lines for one in projects for lines in one["optional-dependencies"].values()]
    return sorted({_distribution(line) for lines in lists for line in lines} - {"csrkit"})


def _project(folder: Path) -> Any:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def test_import_loads_nothing_heavy() -> None:
    assert _heavy_modules() == set()


@pytest.mark.parametrize("name", HEAVY)
def test_the_light_import_test_can_fail(name: str, tmp_path: Path) -> None:
    """A copy of csrkit that imports a heavy module (a stand-in of that name) is caught."""
    shutil.copytree(Path(csrkit.__file__).parent, tmp_path / "csrkit")
    (tmp_path / f"{name}.py").touch()
    init = tmp_path / "csrkit" / "__init__.py"
    init.write_text(f"{init.read_text()}\nimport {name}\n")
    assert _heavy_modules(first_on_path=tmp_path) == {name}


def test_import_is_fast() -> None:
    bare = min(_seconds("pass") for _ in range(5))
    whole = min(_seconds("import csrkit") for _ in range(5))
    assert whole - bare < IMPORT_BUDGET, f"import csrkit took {whole - bare:.3f} s"


def test_public_names_are_these_and_sorted() -> None:
    expected = (
        "CSRModel CsrkitError FitConfig Hit Report Searcher SparseVectors Store compress evaluate "
        "fit load plan tune"
    )
    assert csrkit.__all__ == expected.split()
    assert csrkit.__all__ == sorted(csrkit.__all__)
    assert set(csrkit.__all__) <= set(dir(csrkit))


def test_modules_of_the_api_are_there_without_an_import_of_their_own() -> None:
    documented = set(
        re.findall(r"^::: csrkit\.([a-z]+)\b", (ROOT / "docs/api.md").read_text(), re.M)
    )
    for name in sorted(documented - {*csrkit.__all__}):
        assert _python(f"import csrkit; print(csrkit.{name}.__name__)") == f"csrkit.{name}\n"
    with pytest.raises(AttributeError, match="module 'csrkit' has no attribute 'shop'"):
        csrkit.shop  # noqa: B018  # the access is what fails


@pytest.mark.parametrize("name", csrkit.__all__)
def test_every_public_name_resolves_to_a_csrkit_object(name: str) -> None:
    value = getattr(csrkit, name)
    assert value.__name__ == name
    assert value.__module__.startswith("csrkit.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'csrkit' has no attribute 'ftt'"):
        csrkit.ftt  # noqa: B018


def test_version_is_the_newest_in_the_changelog() -> None:
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == csrkit.__version__


def test_what_is_installed_is_this_tree() -> None:
    """Fails after an edit without a new install: `make test` installs, then tests."""
    assert importlib.metadata.version("csrkit") == csrkit.__version__
    installed, source = Path(csrkit.__file__).parent, ROOT / "src" / "csrkit"
    for file in source.rglob("*.py"):
        copy = installed / file.relative_to(source)
        assert copy.read_bytes() == file.read_bytes(), copy
    demo = sorted(path.name for path in (installed / "_demo").iterdir())
    assert demo == sorted(path.name for path in (ROOT / "examples" / "data").iterdir())


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda folder: folder.name)
def test_an_adapter_is_as_contributing_says(folder: Path) -> None:
    name = f"csrkit_{folder.name}"
    assert _project(folder)["name"] == f"csrkit-{folder.name}"
    assert len((folder / "pyproject.toml").read_text().splitlines()) <= 30
    for part in ("README.md", "tests"):
        assert (folder / part).exists(), part
    module = importlib.import_module(name)
    installed, source = Path(str(module.__file__)).parent, folder / "src" / name
    for file in source.rglob("*.py"):
        assert (installed / file.relative_to(source)).read_bytes() == file.read_bytes(), file
        assert len(file.read_text().splitlines()) <= ADAPTER_LINES, f"{file} is too long"
        imports = re.findall(r"^ *(?:from|import) (csrkit(?:\.\w+)*)", file.read_text(), re.M)
        assert not [one for one in imports if "._" in one], f"{file} uses private names"
    stores = importlib.metadata.entry_points(group="csrkit.stores")
    assert [one for one in stores if one.module.startswith(name) and callable(one.load())]


def test_stores_and_command_are_registered_and_load() -> None:
    stores = importlib.metadata.entry_points(group="csrkit.stores")
    own = {entry.name: entry for entry in stores if entry.module.startswith("csrkit.")}
    assert own.keys() == {"edge", "memory", "qdrant"}
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="csrkit")
    for entry in [*own.values(), command]:
        assert callable(entry.load()), entry


def test_the_index_page_is_the_readme() -> None:
    assert ("readme" in PROJECT) == (ROOT / "README.md").exists(), 'add readme = "README.md"'


def test_base_install_is_small() -> None:
    base = {_distribution(line) for line in PROJECT["dependencies"]}
    assert base == {
        *("numpy", "scipy", "safetensors", "pydantic", "qdrant-client", "tqdm", "typer")
    }


@pytest.mark.parametrize("name", _direct_dependencies())
def test_every_dependency_has_its_reason_in_contributing(name: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert re.search(rf"^\| {re.escape(name)} \| \S.{{15,}} \|$", text, re.MULTILINE)


def test_contributing_explains_no_dependency_that_is_gone() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    explained = re.findall(r"^\| ([a-z0-9-]+) \|", text, re.MULTILINE)
    assert sorted(explained) == _direct_dependencies()


def test_every_dependency_is_pinned() -> None:
    pinned = re.findall(r"^(\S+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert set(_direct_dependencies()) <= {name.lower().replace("_", "-") for name in pinned}
