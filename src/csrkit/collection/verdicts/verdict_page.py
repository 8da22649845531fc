"""A verdict as one page: what failed first, then every check, then every search.

One file that needs nothing else, in the style of the reports of `csrkit.evaluate`. Names of
filters and values come from somebody's payloads: everything is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from csrkit.collection.verdicts.verdict import Check, Searched, Verdict

if TYPE_CHECKING:
    from csrkit.metrics import Interval

__all__ = ["page"]

_STAGES = {"sparse": "codes alone", "codes": "rescored by codes", "dense": "rescored by vectors"}
_WIDE = 160  # units of a bar for a recall from 0 to 1


def page(verdict: Verdict) -> str:
    """Lay a verdict out as HTML.

    Args:
        verdict: Any.

    Returns:
        The page.
    """
    own = files("csrkit.collection.verdicts").joinpath("verdict.html").read_text(encoding="utf-8")
    subject = f"{verdict.url}: {verdict.name!r} beside {verdict.vector!r}"
    headline = _headline(verdict)
    return Template(own).substitute(
        version=escape(verdict.csrkit),
        title=escape(f"{headline}, {subject}"),
        style=_style(),
        subject=escape(subject),
        headline=escape(headline),
        opening="\n".join(f"<p>{escape(one)}</p>" for one in _opening(verdict)),
        conditions=escape(_conditions(verdict)),
        checks=_checks(verdict.checks),
        searches=_searches(verdict.searches),
        notes=_notes(verdict.notes),
    )


def _style() -> str:
    """Return the style of a report's page, so that both look alike."""
    text = files("csrkit.report").joinpath("page.html").read_text(encoding="utf-8")
    return text[text.index("<style>") : text.index("</style>") + len("</style>")]


def _headline(verdict: Verdict) -> str:
    many, bad = len(verdict.checks), len(verdict.failed)
    return f"{bad} of {many} checks failed" if bad else f"Passed: all {many} checks"


def _opening(verdict: Verdict) -> list[str]:
    if verdict.failed:
        return [check.sentence for check in verdict.failed]
    accepted = [check.sentence for check in verdict.checks if check.accepted]
    recall = [check.sentence for check in verdict.checks if check.name == "recall"]
    return [*recall, *(f"Accepted: {sentence}" for sentence in accepted)]


def _conditions(verdict: Verdict) -> str:
    return (
        f"{verdict.engine}, csrkit {verdict.csrkit}; {verdict.points:,} points, "
        f"{verdict.compared:,} codes recomputed, k = {verdict.k}; model "
        f"{verdict.fingerprint[:12]}, job {verdict.job}; {verdict.seconds:.0f} s."
    )


def _checks(checks: Iterable[Check]) -> str:
    body = "\n".join(
        f'<tr><th scope="row" class="words">{escape(one.name)}</th><td>{_pill(one)}</td>'
        f'<td class="words">{escape(one.found)}</td><td class="words">{escape(one.expected)}</td>'
        f'<td class="words sentence">{escape(one.sentence)}</td></tr>'
        for one in sorted(checks, key=lambda check: check.passed)
    )
    return _table("checks", ("check", "", "found", "expected", "in words"), body)


def _pill(one: Check) -> str:
    if one.passed:
        return '<span class="stands wins">passed</span>'
    kind, word = ("ties", "accepted") if one.accepted else ("loses", "failed")
    return f'<span class="stands {kind}">{word}</span>'


def _table(kind: str, titles: Iterable[str], body: str) -> str:
    head = "".join(f'<th scope="col" class="words">{title}</th>' for title in titles)
    return (
        f'<div class="scroll"><table class="{kind}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _searches(searches: tuple[Searched, ...]) -> str:
    if not searches:
        return ""
    judged = any(one.ndcg for one in searches)
    titles = ["searched", "stage", "queries", "recall@10", "", "worst 5%", "short"]
    titles += ["nDCG@10", "exact nDCG@10", "MRR@10", "exact MRR@10"] if judged else []
    body = "\n".join(_search(one, judged) for one in searches)
    return (
        '<section aria-labelledby="recall">\n<h2 id="recall">Recall</h2>\n'
        '<p class="faint">Recall@10 against the engine\'s own exact search, with 95% intervals. '
        "The upright line of a bar is the gate. Short are queries with fewer hits than the exact "
        f"search has.</p>\n{_table('searches', titles, body)}\n</section>"
    )


def _search(one: Searched, judged: bool) -> str:
    cells = [
        f'<td class="words">{_STAGES[one.stage]} <span class="setting">{escape(one.setting)}'
        "</span></td>",
        f'<td class="words">{one.queries:,}</td>',
        f'<td class="words">{_spelled(one.recall)}</td>',
        f'<td class="words">{_bar(one)}</td>',
        f'<td class="words">{one.floor:.3f}</td>',
        f'<td class="words">{one.short:,}</td>',
    ]
    if judged:
        found = (one.ndcg, one.exact_ndcg, one.mrr, one.exact_mrr)
        cells += [f'<td class="words">{_spelled(value) if value else ""}</td>' for value in found]
    name = escape(one.name)
    return f'<tr><th scope="row" class="words">{name}</th>{"".join(cells)}</tr>'


def _spelled(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _bar(one: Searched) -> str:
    low, value, high = (_WIDE * part for part in one.recall)
    gate = ""
    if one.gate is not None:
        at = f"{_WIDE * one.gate:.1f}"
        gate = f'<line class="gate" x1="{at}" x2="{at}" y1="1" y2="17"/>'
    return (
        f'<svg class="bar" viewBox="-4 0 {_WIDE + 8} 18" aria-hidden="true">'
        f'<line class="track" x1="0" x2="{_WIDE}" y1="9" y2="9"/>'
        f'<rect class="range" x="{low:.1f}" y="6" width="{max(0.5, high - low):.1f}" height="6"/>'
        f'{gate}<circle class="mean" cx="{value:.1f}" cy="9" r="3.5"/></svg>'
    )


def _notes(notes: tuple[str, ...]) -> str:
    if not notes:
        return ""
    items = "\n".join(f"<li>{escape(note)}</li>" for note in notes)
    head = '<section aria-labelledby="notes">\n<h2 id="notes">Notes</h2>'
    return f"{head}\n<ul>\n{items}\n</ul>\n</section>"
