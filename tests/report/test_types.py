"""A report survives its JSON, and a file that is none is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from csrkit.errors import FormatError
from csrkit.report import Report


def test_json_is_plain_and_comes_back_equal(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()
    facts = json.loads(text)
    assert facts["rows"][1]["recall10"] == {"low": 0.6, "value": 0.62, "high": 0.64}
    assert facts["rows"][0]["filtered"][1] == {"share": 0.01, "recall": 1.0, "ms_p50": 0.05}
    assert facts["machine"]["packages"] == [["csrkit", "0.1.0"], ["numpy", "2.1"]]
    assert facts["rows"][1]["ndcg10"] is None
    assert Report.from_json(text) == report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: "no json", "JSONDecodeError"),
        (lambda facts: json.dumps([facts]), "Report.save"),
        (lambda facts: json.dumps({**facts, "format": 2}), "expected a report of format 1"),
        (lambda facts: json.dumps({**facts, "speed": 1}), "no unknown keys"),
        (lambda facts: json.dumps({**facts, "rows": [1]}), "instance of Row"),
        (lambda facts: json.dumps({**facts, "n_docs": "many"}), "n_docs"),
        (lambda facts: json.dumps({k: v for k, v in facts.items() if k != "seed"}), "seed"),
        (lambda facts: json.dumps({k: v for k, v in facts.items() if k != "format"}), "format"),
    ],
)
def test_other_files_are_refused(report: Report, change: object, message: str) -> None:
    assert callable(change)
    with pytest.raises(FormatError, match=message):
        Report.from_json(change(json.loads(report.to_json())))
