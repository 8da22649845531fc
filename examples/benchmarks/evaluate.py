"""`csrkit.evaluate` with all baselines: how long it takes, and what it reports.

    python examples/benchmarks/evaluate.py                           50,000 x 384, made up
    python examples/benchmarks/evaluate.py --data FOLDER --out X     real data: see _datasets.py

The aim is 2 minutes on two cores for 50,000 documents of 384 dimensions and 1,000 queries, at most
5. Fitting the model is not in it; ``--codec`` takes one that is there. Made-up rows tell times and
bytes: their clusters have no directions in common, so nothing can compress them well.

With ``--out`` the report is written to OUT.json, OUT.md, OUT.html and OUT.png.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from _common import heading, provenance, unit_rows
from _datasets import load

import csrkit
from csrkit.baselines import DEFAULT
from csrkit.report.table import table as report_table


def made_up(options: argparse.Namespace) -> dict[str, object]:
    rows = unit_rows(options.rows + options.queries, options.dim)
    return {"docs": rows[options.queries :], "queries": rows[: options.queries], "title": "made up"}


def real(options: argparse.Namespace) -> dict[str, object]:
    data = load(options.data, options.queries)
    facts = {"docs": data.docs, "queries": data.queries, "title": data.name}
    if data.relevant is not None:
        facts["qrels"] = data.relevant
    if data.labels is not None and data.labels.queries is not None:
        facts |= {"labels": data.labels.docs, "query_labels": data.labels.queries}
    return facts


def fitted(docs: object, options: argparse.Namespace) -> csrkit.CSRModel:
    if options.codec:
        return csrkit.load(options.codec)
    config = csrkit.FitConfig(
        steps=options.steps, n_latents=options.latents, ladder=tuple(options.ladder)
    )
    return csrkit.fit(docs, config=config, progress=not options.toy)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--toy", action="store_true", help="tiny sizes: does it run at all")
    add("--data", type=Path, help="folder or array; made-up rows if not given")
    add("--rows", type=int, default=50_000, help="made-up documents")
    add("--dim", type=int, default=384, help="their width")
    add("--queries", type=int, default=1000)
    add("--codec", type=Path, help="folder of a model; one is fitted if not given")
    add("--steps", type=int, default=50, help="training steps; for real data take 1000")
    add("--latents", type=int, help="4 times the width if not given")
    add("--ladder", nargs="+", type=int, default=[8, 16, 32, 64])
    add("--k-doc", type=int, help="latents per stored code; those of the query if not given")
    add("--baselines", nargs="*", default=list(DEFAULT))
    add("--seed", type=int, default=0)
    add("--out", type=Path, help="write OUT.json, OUT.md, OUT.html and OUT.png")
    options = parser.parse_args()
    if options.toy:
        vars(options).update(rows=300, dim=24, queries=20, steps=3, ladder=[4], latents=96)
    return options


def main() -> None:
    options = parse()
    settings = " ".join(f"{k}={v}" for k, v in vars(options).items() if k not in ("out", "codec"))
    heading("evaluate with all baselines", settings, toy=options.toy)
    facts = made_up(options) if options.data is None else real(options)
    model = fitted(facts["docs"], options)
    started = time.perf_counter()
    report = csrkit.evaluate(
        model,
        **facts,
        baselines=options.baselines,
        k_doc=options.k_doc,
        n_queries=options.queries,
        seed=options.seed,
        progress=not options.toy,
    )
    seconds = time.perf_counter() - started
    print(report.table())
    builds = {row.build_seconds for row in report.rows}  # several rows share one
    print(f"\nevaluate took {seconds:.1f} s, of which builds {sum(builds):.1f} s")
    if options.out:
        write(report, options.out)


def write(report: csrkit.Report, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    report.save(out.with_suffix(".json"))
    report.to_html(out.with_suffix(".html"))
    report.plot(out.with_suffix(".png"))
    parts = [provenance(), *report.verdict(), report_table(report, "markdown")]
    out.with_suffix(".md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
