"""A canary key on a whole journey: it reaches the server, and is found nowhere else."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from qdrant_client import QdrantClient
from typer.testing import CliRunner

from csrkit.cli.verbs import app
from csrkit.collection import Job, compress
from csrkit.collection.homes.qdrant import QdrantHome
from csrkit.collection.jobs.pace import Pace
from csrkit.errors import CsrkitError

from ..collection.models import random_model
from ..collection.servers import fill
from ..contract.rest_shim import QUICK
from .faulty_shim import failing

CANARY = "canary-key-9d1f"
JOURNEY = (
    (["compress", "URL", "--job", "JOB", "--model", "MODEL", "--k", "8"], 0),
    (["status", "JOB", "--json"], 0),
    (["sweep", "JOB"], 0),
    (["verify", "JOB", "--min-recall", "0", "--sample", "50", "--report", "REPORT"], 0),
    (["cutover", "JOB", "--no-verify"], 0),
    (["finalize", "JOB", "--dense", "drop"], 2),
    (["finalize", "JOB"], 0),
    (["rollback", "JOB"], 0),
    (["sweep", "JOB"], 4),
    (["compress", "qdrant://CANARY@127.0.0.1/docs", "--job", "OTHER"], 2),
    (["compress", "qdrant://127.0.0.1/docs?api_key=CANARY", "--job", "OTHER"], 2),
    (["compress", "qdrant://example.invalid/docs", "--job", "OTHER"], 2),
)


def test_a_journey_from_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", CANARY)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    random_model().save(tmp_path / "codec")
    said = []
    with failing(tmp_path / "server") as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        fill(server, client, 60)
        client.close()
        words = {
            "URL": f"qdrant://127.0.0.1:{server.port}/docs",
            "JOB": "job",
            "OTHER": "other",
            "MODEL": "codec",
            "REPORT": "report.html",
        }
        for command, code in JOURNEY:
            arguments = [words.get(one, one).replace("CANARY", CANARY) for one in command]
            done = CliRunner().invoke(app, arguments)
            said.append(done.output)
            assert ("does not tell" in done.output) == (command == ["finalize", "JOB"])
            assert done.exit_code == code, (command, done.output)
        assert CANARY in server.api_keys  # it did travel
        assert CANARY not in str(server["docs"].metadata)
    _found_nowhere(tmp_path, [*said, caplog.text], {"manifest.json", "ledger.db", "report.html"})


@pytest.mark.parametrize("fault", [401, 500, None])
def test_errors_of_a_server_with_their_causes(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: int | None,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setitem(Pace.__init__.__kwdefaults__, "sleep", lambda seconds: None)
    with failing(tmp_path / "server") as server:
        with pytest.warns(UserWarning, match="insecure connection"):
            client = QdrantClient(url=server.url, api_key=CANARY, check_compatibility=False)
        fill(server, client, 60)
        home = QdrantHome(client, "docs", retry=QUICK)
        server.fail(fault, 99, only="/points/vectors")
        with pytest.raises(CsrkitError) as caught:
            compress(home, model=random_model(), k=8, job=tmp_path / "job", progress=True)
        said = ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
        job = Job.open(tmp_path / "job", target=client, progress=False)
        said += [repr(job), repr(job.status()), repr(job.manifest), repr(home), home.url]
        said += [repr(home.describe())]
        job.close()
        client.close()
    _found_nowhere(tmp_path, [*said, caplog.text], {"manifest.json", "ledger.db"})


def _found_nowhere(folder: Path, said: list[str], names: set[str]) -> None:
    assert not [text for text in said if CANARY in text]
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 10**7]
    assert names <= {path.name for path in files}
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
