"""Files of triples and corpora: three shapes read as one, and every bad line named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from csrkit.errors import ConfigError, FormatError
from csrkit.llm import Triple, read_corpus, read_triples

CORPUS = {"p1": "an ant", "p2": "a bear", "p3": "a cat"}


def write(path: Path, *items: Any) -> Path:
    path.write_text("".join(f"{json.dumps(item)}\n" for item in items))
    return path


def test_the_three_shapes_give_the_same_triple(tmp_path: Path) -> None:
    expected = Triple("which one", "an ant", ("a bear", "a cat"), 5.0, (2.0, 1.0))
    texts = {"query": "which one", "positive": "an ant", "negatives": ["a bear", "a cat"]}
    path = write(
        tmp_path / "triples.jsonl",
        {
            "question": "which one",
            "pos_pid": "p1",
            "neg_pids": ["p2", "p3"],
            "pos_score": 5,
            "neg_scores": [2, 1],
        },
        {"query": "which one", "docids": ["p1", "p2", "p3"], "scores": [5, 2, 1]},
        texts | {"positive_score": 5.0, "negative_scores": [2.0, 1.0]},
    )
    assert read_triples(path, CORPUS) == [expected] * 3
    assert expected.documents == ("an ant", "a bear", "a cat")
    assert expected.scores == (5.0, 2.0, 1.0)
    (plain,) = read_triples(write(tmp_path / "plain.jsonl", texts))
    assert plain == Triple("which one", "an ant", ("a bear", "a cat"))
    assert plain.scores is None


def test_what_is_null_is_not_there(tmp_path: Path) -> None:
    """As pandas writes it."""
    item = {"question": "q", "pos_pid": "p1", "neg_pids": None, "pos_score": None}
    path = write(tmp_path / "t.jsonl", item | {"neg_scores": None, "neg_sources": []})
    assert read_triples(path, CORPUS) == [Triple("q", "an ant")]
    assert read_triples(write(tmp_path / "q.jsonl", {"query": "q", "pos_pid": "p1"}), CORPUS)
    corpus = write(tmp_path / "c.jsonl", {"_id": "1", "title": None, "text": "a cat"})
    assert read_corpus(corpus) == {"1": "a cat"}


def test_ids_may_be_numbers_and_lines_blank(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"question": "q", "pos_pid": 7, "neg_pids": [8]})
    path.write_text(f"\n{path.read_text()}\n\n")
    assert read_triples(path, {"7": "seven", "8": "eight"}) == [Triple("q", "seven", ("eight",))]


def test_tabbed_triples(tmp_path: Path) -> None:
    path = tmp_path / "triples.tsv"
    path.write_text("which one\tan ant\ta bear\nwhat\ta cat\r\n")
    assert read_triples(path) == [
        Triple("which one", "an ant", ("a bear",)),
        Triple("what", "a cat"),
    ]


def test_corpora_of_ms_marco_and_beir(tmp_path: Path) -> None:
    tabbed = tmp_path / "collection.tsv"
    tabbed.write_text("0\tan ant\n1\tBears\ta bear\n")
    assert read_corpus(tabbed) == {"0": "an ant", "1": "Bears a bear"}
    lines = write(
        tmp_path / "corpus.jsonl",
        {"_id": "d1", "title": "Ants", "text": "an ant", "metadata": {}},
        {"_id": "d2", "title": "", "text": "a bear"},
        {"id": 3, "text": "a cat"},
    )
    assert read_corpus(lines) == {"d1": "Ants an ant", "d2": "a bear", "3": "a cat"}


BAD_TRIPLES = {
    "[1]": r"expected a JSON object, got '\[1\]'",
    "{": "expected a JSON object",
    '{"question": "q"}': r"expected \"pos_pid\", \"docids\" or \"positive\" among the keys",
    '{"question": "q", "pos_pid": "p9"}': "the corpus has no document 'p9'",
    '{"question": "q", "pos_pid": "p1", "neg_pids": "p2"}': 'expected a list at "neg_pids"',
    '{"question": "", "pos_pid": "p1"}': "expected texts that are not blank",
    '{"pos_pid": "p1"}': "expected texts that are not blank",
    '{"query": "q", "docids": []}': "expected one or more documents, got none",
    '{"query": "q", "docids": ["p1", "p2"], "scores": [1]}': "2 documents and 1 scores",
    '{"query": "q", "positive": "a", "positive_score": 1, "negatives": ["b"]}': "2 documents and 1",
    r'{"query": "\ud800", "positive": "a"}': "expected Unicode text, got '.ud800'",
    '{"query": "q", "docids": ["p1", "p2"], "scores": [1, "2"]}': "expected numbers as scores",
    '{"query": "q", "docids": ["p1", "p2"], "scores": [1, NaN]}': "expected finite scores",
    '{"query": "q", "positive": "a", "negative": "b"}': "keys among .*'negatives'.* 'negative'",
    '{"query": "q", "positive": "a", "scores": [1]}': "keys among .*, got 'scores'",
    '{"query": "q", "positive": "a", "positive_score": 1' + "0" * 400 + "}": "numbers as scores",
    '{"query": "q", "positive": 3}': "expected texts that are not blank",
}


@pytest.mark.parametrize(("line", "message"), BAD_TRIPLES.items(), ids=range(len(BAD_TRIPLES)))
def test_a_bad_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"query": "q", "positive": "a"}}\n{line}\n')
    with pytest.raises(FormatError, match=rf"t\.jsonl, line 2: (.|\n)*{message}"):
        read_triples(path, CORPUS)


def test_ids_without_a_corpus_say_so(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"question": "q", "pos_pid": "p1", "neg_pids": []})
    with pytest.raises(FormatError, match=r"named by id, such as \['p1'\]: give corpus="):
        read_triples(path)


def test_ids_in_columns_are_not_taken_for_texts(tmp_path: Path) -> None:
    (tmp_path / "qidpidtriples.tsv").write_text("7\tp1\tp2\n")
    with pytest.raises(FormatError, match=r"expected texts in .*leave corpus= \(--corpus\) out"):
        read_triples(tmp_path / "qidpidtriples.tsv", CORPUS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.tsv", "1\ta\n1\tb\n", r"c\.tsv: the id '1' comes twice"),
        ("c.tsv", "1 a\n", "line 1: expected id<TAB>text"),
        ("c.jsonl", '{"id": 1}\n', r"line 1: expected \"_id\" and \"text\""),
        ("c.tsv", "\n", "expected documents in .*, got an empty file"),
        ("c.jsonl", r'{"id": 1, "text": "\ud800"}', "line 1: expected Unicode text"),
        ("c.csv", "1,a\n", r"expected a file that ends in \.tsv or \.jsonl"),
    ],
)
def test_a_bad_corpus_is_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(FormatError, match=message):
        read_corpus(tmp_path / name)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot read"):
        read_triples(tmp_path / "none.jsonl")
    (tmp_path / "b.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="not UTF-8"):
        read_corpus(tmp_path / "b.tsv")


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ((1.0, None), "or neither"),
        ((None, (1.0,)), "or neither"),
        ((1.0, (1.0, 2.0)), "1 negatives and 2 scores"),
        ((1.0, (float("inf"),)), "finite"),
        (("1", (1.0,)), "expected numbers as scores, got '1'"),
        ((1.0, ("x",)), "expected numbers as scores, got 'x'"),
        ((1.0, 2.0), "expected a list as negative_scores, got 2.0"),
    ],
)
def test_scores_have_to_fit(scores: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Triple("q", "a", ("b",), *scores)


@pytest.mark.parametrize("one", ["a dog", None])
def test_one_negative_is_a_list_of_one(one: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected a list as negatives, got .*into brackets"):
        Triple("q", "a", one)  # a text would be taken for its letters


def test_a_mark_at_the_start_of_a_file_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("1\ta cat\n", encoding="utf-8-sig")
    assert read_corpus(tmp_path / "c.tsv") == {"1": "a cat"}
