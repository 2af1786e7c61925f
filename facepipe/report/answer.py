"""Answer the question of a run from its table: the best method for each size, and its ties."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from facepipe.metrics.catalogue import METRICS, Metric
from facepipe.metrics.intervals import Estimate
from facepipe.results.aggregate import ConditionSummary, Difference, differences

DECIDING = ("iou", "ref_iou", "psnr_db")
"""What decides which method is best: against the truth where there is one, else against what the same
regressor makes of the full resolution, else on the images alone."""

SURVIVAL = "ref_iou"
"""What says how much survives: overlap with the volume of the reference image."""

FEW_SAMPLES = 10
"""Below that the percentile bootstrap is known to claim too much, and the page says so."""


@dataclass(frozen=True)
class Verdict:
    """The best method at one degradation and size.

    Attributes:
        degradation, low_px, regressor: where.
        best: the summary with the best mean.
        estimate: its deciding metric.
        ties: methods whose paired difference to the best has an interval that includes zero.
        n_methods: how many methods there are to choose from.
        unsure: whether there are too few samples to tell methods apart at all.
        survival: its overlap with the volume of the reference image, where there is one.
    """

    degradation: str
    low_px: int
    regressor: str
    best: ConditionSummary
    estimate: Estimate
    ties: tuple[str, ...]
    n_methods: int
    unsure: bool
    survival: Estimate | None


def deciding_metric(summaries: Sequence[ConditionSummary]) -> Metric | None:
    """The first of `DECIDING` that a restored image has a value of, or None."""
    restored = [summary for summary in summaries if not summary.condition.is_reference]
    for name in DECIDING:
        if any(name in summary.metrics for summary in restored):
            return METRICS[name]
    return None


def verdicts(scores: pa.Table, summaries: Sequence[ConditionSummary], metric: Metric) -> list[Verdict]:
    """The best method of every regressor, degradation and size, in the order of the table."""
    places = dict.fromkeys(
        (s.condition.regressor, s.condition.degradation, s.condition.low_px)
        for s in summaries
        if not s.condition.is_reference and metric.name in s.metrics
    )
    paired: dict[str, list[Difference]] = {}
    found = []
    for place in places:
        regressor, degradation, low_px = place
        rivals = [
            s
            for s in summaries
            if (s.condition.regressor, s.condition.degradation, s.condition.low_px) == place
            and metric.name in s.metrics
        ]
        sign = 1 if metric.higher_is_better else -1
        best = max(rivals, key=lambda s: sign * s.metrics[metric.name].mean)
        name = best.condition.method
        if name not in paired:
            paired[name] = differences(scores, name, [metric.name])
        gaps = {
            d.condition.method: d.metrics[metric.name]
            for d in paired[name]
            if (d.condition.regressor, d.condition.degradation, d.condition.low_px) == place
            and metric.name in d.metrics
        }
        found.append(
            Verdict(
                degradation,
                low_px,
                regressor,
                best,
                best.metrics[metric.name],
                tuple(method for method, gap in gaps.items() if gap.low <= 0 <= gap.high),
                len(rivals),
                any(math.isnan(gap.low) for gap in gaps.values()),
                best.metrics.get(SURVIVAL),
            )
        )
    return found


def headline(found: Sequence[Verdict], metric: Metric) -> str:
    """The answer in a few sentences: how much survives, and which method brings most of it back.

    Of several regressors or degradations it speaks of the first, and says so.
    """
    places = list(dict.fromkeys((v.degradation, v.regressor) for v in found))
    found = [v for v in found if (v.degradation, v.regressor) == places[0]]
    sentences = []
    if len(places) > 1:
        sentences.append(f"With degradation {places[0][0]} and regressor {places[0][1]}:")
    kept = [(v.low_px, v.survival.mean) for v in found if v.survival is not None]
    rivals = any(v.n_methods > 1 for v in found)
    if kept:
        sizes = _listed([str(low_px) for low_px, _ in kept])
        shares = _listed([f"{100 * mean:.0f}" for _, mean in kept])
        sentences.append(
            f"From faces restored from {sizes} px the regressor finds a volume that overlaps {shares} % "
            f"with the one it finds at full resolution (IoU{', best method' if rivals else ''})."
        )
    if len(found) > 1 and all(_none_ahead(v) for v in found):
        sentences.append(f"By {metric.title} no method is told apart from the others at any of these sizes.")
    else:
        sentences.append(f"By {metric.title} {'; '.join(_clause(v) for v in found)}.")
    n = min(v.estimate.n for v in found)
    if n == 1:
        sentences.append("This rests on a single sample and says nothing of others.")
    elif n < FEW_SAMPLES:
        sentences.append(f"This rests on {n} samples, and intervals from so few are too narrow.")
    return " ".join(sentences)


def _none_ahead(verdict: Verdict) -> bool:
    return not verdict.unsure and 0 < len(verdict.ties) == verdict.n_methods - 1


def _clause(verdict: Verdict) -> str:
    name = verdict.best.condition.method
    where = f"at {verdict.low_px} px"
    if verdict.n_methods == 1:
        return f"{where} {name} is the only method"
    if verdict.unsure:
        return f"{where} {name} has the best value"
    if _none_ahead(verdict):
        return f"{where} no method is told apart from the others"
    if verdict.ties:
        return f"{where} {name} leads, not told apart from {_listed(verdict.ties)}"
    return f"{where} {name} is ahead of every other method"


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
