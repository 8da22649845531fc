"""Which thresholds a monitor's figures cross, each in a sentence that names the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from csrkit.collection.monitors.health import Finding

if TYPE_CHECKING:
    from csrkit.collection.monitors.health import Health, Latents, MonitorConfig, Quality

__all__ = ["LEAST", "judged"]

LEAST = 100  # codes or points, below which chance decides
_SIGMAS = 3  # by which the busiest of many latents has to exceed its limit

_ANEW = "fit a model that has seen such points, by `csrkit compress` with another --name and --job"


def judged(health: Health, config: MonitorConfig, folder: str) -> Health:
    """Return the figures with the thresholds that they cross.

    Args:
        health: The figures.
        config: The thresholds.
        folder: The job folder, for the remedies.

    Returns:
        The same with findings.
    """
    found = [*_codes(health, config, folder)]
    if health.seen is not None:
        found += _drift(health.seen, health, config)
    if health.latents is not None and health.fitted is not None:
        found += _balance(health.latents, health.fitted, config)
    return replace(health, findings=tuple(found))


def _codes(health: Health, config: MonitorConfig, folder: str) -> Iterator[Finding]:
    share = health.missing / max(1, health.points)
    if share > config.max_missing:
        remedy = (
            "run `csrkit compress` again to finish the backfill"
            if health.phase in ("planned", "fitted", "added")
            else f"run `csrkit sweep {folder} --missing-only`, and write new points by DualWriter"
        )
        yield Finding(
            "missing",
            share,
            config.max_missing,
            f"{health.missing:,} of {health.points:,} points have no code, so no search by codes "
            f"finds them: {remedy}.",
        )
    share = health.torn / max(1, health.points)
    if share > config.max_missing:
        yield Finding(
            "torn",
            share,
            config.max_missing,
            f"{health.torn:,} of {health.points:,} points have a code without its residual, so "
            f"they cannot be rescored: run `csrkit sweep {folder}`.",
        )
    share = health.stale / max(1, health.looked)
    if share > config.max_stale:
        yield Finding(
            "stale",
            share,
            config.max_stale,
            f"{health.stale:,} of {health.looked:,} codes looked at are not those of their dense "
            f"vectors, so they are found by what they were: run `csrkit sweep {folder}`, and "
            "write changed vectors by DualWriter.",
        )


def _drift(seen: Quality, health: Health, config: MonitorConfig) -> Iterator[Finding]:
    reference = health.reference
    if reference is not None:
        ratio = seen.fvu.value / max(reference.fvu.value, 1e-12)
        # the lower end, so that a few points do not raise the alarm by chance
        if seen.fvu.low > config.max_fvu_ratio * reference.fvu.value:
            yield Finding(
                "fvu",
                ratio,
                config.max_fvu_ratio,
                f"Codes leave {seen.fvu.value:.1%} of the variance of these points unexplained, "
                f"{ratio:.2f} times the {reference.fvu.value:.1%} of {health.against}: they are "
                f"unlike what the model was fitted on. If searches for them suffer, {_ANEW}.",
            )
    recall = seen.recall
    if recall is None:
        return
    before = None if reference is None or reference.setting != seen.setting else reference.recall
    words = f"{recall.value:.3f} [{recall.low:.3f}, {recall.high:.3f}] ({seen.setting})"
    if before is not None and recall.high < before.value - config.max_recall_drop:
        yield Finding(
            "recall",
            before.value - recall.value,
            config.max_recall_drop,
            f"The recall@10 of these points is {words}, {before.value:.3f} of {health.against}: "
            f"search with more effort, or {_ANEW}.",
        )
    if config.min_recall is not None and recall.value < config.min_recall:
        yield Finding(
            "recall",
            recall.value,
            config.min_recall,
            f"The recall@10 of these points is {words}, expected {config.min_recall:g}: search "
            f"with more effort, or {_ANEW}.",
        )


def _balance(now: Latents, fitted: Latents, config: MonitorConfig) -> Iterator[Finding]:
    if now.codes < LEAST:
        return
    limit = min(1.0, config.max_load_ratio * fitted.load)
    if now.load > limit + _SIGMAS * (limit * (1 - limit) / now.codes) ** 0.5:
        yield Finding(
            "busiest",
            now.load / fitted.load,
            config.max_load_ratio,
            f"Latent {now.busiest} fires in {now.load:.1%} of the codes, the busiest did in "
            f"{fitted.load:.1%} of what the fit saw: searches with it read that many postings. "
            f"If they are too slow, {_ANEW}.",
        )
    if now.posting_cost > config.max_load_ratio * fitted.posting_cost:
        yield Finding(
            "posting cost",
            now.posting_cost / fitted.posting_cost,
            config.max_load_ratio,
            f"A search visits {now.posting_cost:.3f} postings per document, "
            f"{fitted.posting_cost:.3f} with what the fit saw: points have grown more alike. If "
            f"searches are too slow, {_ANEW}.",
        )
    if now.dead > fitted.dead + config.max_dead:
        yield Finding(
            "dead",
            now.dead - fitted.dead,
            config.max_dead,
            f"{now.dead:.1%} of the latents fire in no code looked at, expected {fitted.dead:.1%}: "
            f"the collection has lost kinds of points that the fit saw, or gained others. If "
            f"recall suffers, {_ANEW}.",
        )
