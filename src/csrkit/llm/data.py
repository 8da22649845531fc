"""What a retriever is trained on: `Triple`, and the files in which triples come.

Triples, one JSON object per line (``.jsonl``), in any of three shapes::

    {"question": ..., "pos_pid": ..., "neg_pids": [...], "pos_score": ..., "neg_scores": [...]}
    {"query": ..., "docids": [...], "scores": [...]}          the first document is the positive
    {"query": ..., "positive": ..., "negatives": [...]}       texts; with "positive_score" and
                                                              "negative_scores", or without

or one ``query<TAB>positive<TAB>negative...`` per line (``.tsv``). Scores may be left out of the
others too. The first two name documents of a corpus: ``.tsv`` lines ``id<TAB>text`` (MS MARCO) or
``id<TAB>title<TAB>text``, or ``.jsonl`` with ``_id``, ``title`` and ``text`` (BEIR).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csrkit.errors import ConfigError, FormatError

__all__ = ["Triple", "checked_texts", "is_unicode", "iter_corpus", "read_corpus", "read_triples"]

_SHAPES = {
    "pos_pid": ("pos_pid", "neg_pids", "pos_score", "neg_scores"),
    "docids": ("docids", "scores"),
    "positive": ("positive", "negatives", "positive_score", "negative_scores"),
}
MAX_LINE = 1 << 24  # characters: what is longer is no line of texts


@dataclass(frozen=True)
class Triple:
    """A query, a document that answers it, and documents that do not.

    Attributes:
        query: Text.
        positive: Text.
        negatives: Texts; there may be none.
        positive_score: What a teacher gives the positive, in any unit; higher is better.
        negative_scores: What it gives each negative. Both scores, or neither.

    Raises:
        ConfigError: If a text is blank or none, or the scores do not fit.
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    positive_score: float | None = None
    negative_scores: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "negatives", _several(self.negatives, "negatives"))
        texts = (self.query, self.positive, *self.negatives)
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise ConfigError(f"expected texts that are not blank, got {_short(texts)}")
        _check_unicode(*texts)
        if self.positive_score is not None:
            object.__setattr__(self, "positive_score", _score(self.positive_score))
        if self.negative_scores is not None:
            several = _several(self.negative_scores, "negative_scores")
            object.__setattr__(self, "negative_scores", tuple(map(_score, several)))
        if (self.positive_score is None) != (self.negative_scores is None):
            raise ConfigError("expected scores of the positive and of the negatives, or neither")
        if self.negative_scores is None or self.positive_score is None:
            return
        if len(self.negative_scores) != len(self.negatives):
            raise ConfigError(
                f"expected a score per negative, got {len(self.negatives)} negatives and "
                f"{len(self.negative_scores)} scores"
            )
        if not all(map(math.isfinite, (self.positive_score, *self.negative_scores))):
            raise ConfigError("expected finite scores, got NaN or Inf")

    @property
    def documents(self) -> tuple[str, ...]:
        """The positive, then the negatives."""
        return (self.positive, *self.negatives)

    @property
    def scores(self) -> tuple[float, ...] | None:
        """What a teacher gives each of `documents`, or None."""
        if self.positive_score is None or self.negative_scores is None:
            return None
        return (self.positive_score, *self.negative_scores)


def read_triples(
    path: str | Path, corpus: Mapping[str, str] | str | Path | None = None
) -> list[Triple]:
    """Read the triples of a file.

    Args:
        path: ``.jsonl`` or ``.tsv`` file; the module says in what shapes.
        corpus: Texts by id, or the file that `read_corpus` reads them from; needed where
            triples name documents.

    Returns:
        The triples, at least one. Documents of a corpus are not copied.

    Raises:
        FormatError: If the file is missing, a line is not a triple (the message names file
            and line), or a corpus comes with ``.tsv``, where ids would be taken for texts.
    """
    path = Path(path)
    if path.suffix == ".tsv" and corpus is not None:
        raise FormatError(
            f"expected texts in {path}, whose columns name no documents: leave corpus= (--corpus) "
            "out, or write ids as .jsonl"
        )
    texts = read_corpus(corpus) if isinstance(corpus, str | Path) else corpus
    found = []
    tabbed = path.suffix == ".tsv"
    for number, line in _lines(path, (".jsonl", ".tsv")):
        where = f"{path}, line {number}"
        try:
            found.append(_tabbed(line) if tabbed else _from_object(_object(line), texts))
        except ConfigError as error:
            raise FormatError(f"{where}: {error}") from error
    if not found:
        raise FormatError(f"expected triples in {path}, got an empty file")
    return found


def read_corpus(path: str | Path) -> dict[str, str]:
    """Read documents by id.

    Args:
        path: ``.tsv`` of id and text (with a title between, if there are three columns), or
            ``.jsonl`` with ``_id`` (or ``id``) and ``text``, and maybe ``title``.

    Returns:
        The text of each id, in the order of the file; a title goes before its text.

    Raises:
        FormatError: If the file is missing, a line is not a document, or an id comes twice:
            the message names file and line.
    """
    found: dict[str, str] = {}
    for key, text in iter_corpus(path):
        if key in found:
            raise FormatError(f"{path}: the id {key!r} comes twice")
        found[key] = text
    if not found:
        raise FormatError(f"expected documents in {path}, got an empty file")
    return found


def iter_corpus(path: str | Path) -> Iterator[tuple[str, str]]:
    """Read documents one by one, however many there are.

    Args:
        path: As for `read_corpus`.

    Yields:
        Id and text.

    Raises:
        FormatError: If the file is missing, or a line is not a document.
    """
    path = Path(path)
    for number, line in _lines(path, (".tsv", ".jsonl")):
        try:
            yield _document(line, tabbed=path.suffix == ".tsv")
        except ConfigError as error:
            raise FormatError(f"{path}, line {number}: {error}") from error


def _lines(path: Path, suffixes: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers from 1."""
    if path.suffix not in suffixes:
        raise FormatError(f"expected a file that ends in {' or '.join(suffixes)}, got {path}")
    try:
        with open(path, encoding="utf-8-sig") as file:  # Windows marks files at their start
            number = 0
            while line := file.readline(MAX_LINE):
                number += 1
                if len(line) >= MAX_LINE:
                    raise FormatError(f"{path}, line {number}: longer than {MAX_LINE} characters")
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from error


def _object(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"expected a JSON object, got {_short(line)}: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"expected a JSON object, got {_short(line)}")
    return found


def _document(line: str, *, tabbed: bool) -> tuple[str, str]:
    key: Any
    texts: list[Any]
    if tabbed:
        key, *texts = line.split("\t")
        if not 1 <= len(texts) <= 2:
            raise ConfigError(
                f"expected id<TAB>text or id<TAB>title<TAB>text, got {len(texts) + 1} columns"
            )
    else:
        item = _object(line)
        key = item.get("_id", item.get("id"))
        texts = [item.get("title") or "", item.get("text")]
        if not isinstance(key, str | int) or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f'expected "_id" and "text", got the keys {sorted(item)}')
    _check_unicode(str(key), *texts)
    return str(key), " ".join(text.strip() for text in texts if text.strip())


def _tabbed(line: str) -> Triple:
    query, *documents = line.split("\t")
    if not documents:
        raise ConfigError("expected query<TAB>positive and negatives, got one column")
    return Triple(query, documents[0], tuple(documents[1:]))


def _from_object(item: dict[str, Any], corpus: Mapping[str, str] | None) -> Triple:
    """Read any of the three shapes."""
    _refuse_lookalikes(item)
    query: Any = item.get("query", item.get("question"))
    if "pos_pid" in item:
        documents = _looked_up([item["pos_pid"], *_list(item, "neg_pids")], corpus)
        scores = [item.get("pos_score"), *_list(item, "neg_scores")]
    elif "docids" in item:
        documents = _looked_up(_list(item, "docids"), corpus)
        scores = _list(item, "scores") or [None]
    else:
        documents = [item["positive"], *_list(item, "negatives")]
        scores = [item.get("positive_score"), *_list(item, "negative_scores")]
    if not documents:
        raise ConfigError("expected one or more documents, got none")
    if not all(type(score) in (int, float) for score in scores) and scores != [None]:
        raise ConfigError(f"expected numbers as scores, got {_short(scores)}")
    if scores != [None] and len(scores) != len(documents):
        raise ConfigError(
            f"expected a score per document, got {len(documents)} documents and "
            f"{len(scores)} scores"
        )
    positive, others = (None, None) if scores == [None] else (scores[0], tuple(scores[1:]))
    return Triple(query, documents[0], tuple(documents[1:]), positive, others)


def _refuse_lookalikes(item: dict[str, Any]) -> None:
    """Refuse keys that would be passed over, and with them what they hold, such as "negative"."""
    shape = next((keys for name, keys in _SHAPES.items() if name in item), None)
    if shape is None:
        raise ConfigError(
            f'expected "pos_pid", "docids" or "positive" among the keys, got {sorted(item)}'
        )
    found = [key for key in item if key.startswith(("pos", "neg", "score")) and key not in shape]
    if found and not all(key in item for key in shape):
        raise ConfigError(f"expected keys among {sorted(shape)}, got {found[0]!r}")


def _several(values: Any, name: str) -> tuple[Any, ...]:
    """Return several texts or scores; a single text would be taken for its letters."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"expected a list as {name}, got {_short(values)}: put it into brackets")
    return tuple(values)


def _score(value: Any) -> float:
    try:
        return float(value + 0.0)  # a number in a text is none
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"expected numbers as scores, got {_short(value)}") from error


def checked_texts(texts: Any, name: str) -> list[str]:
    """Return texts as a list; a path, a single text or ids by mistake are none.

    Args:
        texts: What was passed.
        name: As what.

    Returns:
        The texts.

    Raises:
        ConfigError: If it is no sequence of texts.
    """
    hint = ": list(corpus.values()) are those of read_corpus" if isinstance(texts, Mapping) else ""
    if isinstance(texts, str | Mapping) or not isinstance(texts, Iterable):
        raise ConfigError(f"expected a list of texts as {name}, got {_short(texts)}{hint}")
    found = list(texts)
    for row, text in enumerate(found):
        if not isinstance(text, str) or not is_unicode(text):
            raise ConfigError(f"expected texts as {name}, got {_short(text)} at {row}")
    return found


def is_unicode(text: str) -> bool:
    """Tell text from what has half of a surrogate pair in it, as JSON can spell it."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _check_unicode(*texts: str) -> None:
    for text in texts:
        if not is_unicode(text):
            raise ConfigError(f"expected Unicode text, got {_short(text)}")


def _list(item: dict[str, Any], key: str) -> list[Any]:
    value = [] if item.get(key) is None else item[key]
    if not isinstance(value, list):
        raise ConfigError(f'expected a list at "{key}", got {_short(value)}')
    return value


def _looked_up(ids: Sequence[Any], corpus: Mapping[str, str] | None) -> list[str]:
    if corpus is None:
        raise ConfigError(
            f"documents are named by id, such as {ids[:1]!r}: give corpus= (--corpus), the file "
            "of their texts"
        )
    missing = [one for one in ids if str(one) not in corpus]
    if missing:
        raise ConfigError(f"the corpus has no document {missing[0]!r}")
    return [corpus[str(one)] for one in ids]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
