"""The question of a run and its answer, computed from the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from facepipe.metrics.catalogue import METRICS, Metric
from facepipe.results import ConditionSummary, Difference, Estimate, differences

DECIDING = ("iou", "ref_iou", "psnr_db")
"""What decides which method is best: against the truth where there is one, else against what the same
regressor makes of the full resolution, else on the images alone."""

SURVIVAL = "ref_iou"
"""What says how much survives: overlap with the volume of the reference image."""


@dataclass(frozen=True)
class Verdict:
    """The best method at one degradation and size.

    Attributes:
        degradation, low_px, regressor: where.
        best: the summary with the best mean.
        estimate: its deciding metric.
        ties: methods whose paired difference to the best has an interval that includes zero.
        unsure: whether there are too few samples to tell methods apart at all.
        survival: its overlap with the volume of the reference image, where there is one.
    """

    degradation: str
    low_px: int
    regressor: str
    best: ConditionSummary
    estimate: Estimate
    ties: tuple[str, ...]
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
                any(math.isnan(gap.low) for gap in gaps.values()),
                best.metrics.get(SURVIVAL),
            )
        )
    return found


def headline(found: Sequence[Verdict], metric: Metric) -> str:
    """The answer in a sentence: how much survives, and which method brings most of it back."""
    if len({(v.degradation, v.regressor) for v in found}) > 1:
        first = (found[0].degradation, found[0].regressor)
        found = [v for v in found if (v.degradation, v.regressor) == first]
    parts = []
    for verdict in found:
        name = verdict.best.condition.method
        if verdict.unsure:
            parts.append(f"{name} at {verdict.low_px} px")
        elif verdict.ties:
            parts.append(f"{name} at {verdict.low_px} px, not told apart from {_listed(verdict.ties)}")
        else:
            parts.append(f"{name} at {verdict.low_px} px, ahead of every other")
    sentence = f"By {metric.title} the best mean has {'; '.join(parts)}."
    survivals = [v for v in found if v.survival is not None]
    if survivals:
        kept = ", ".join(f"{100 * v.survival.mean:.0f} % at {v.low_px} px" for v in survivals if v.survival)
        sentence = f"Of the volume seen at full resolution, the best method's overlaps {kept}. {sentence}"
    if any(v.unsure for v in found):
        sentence += " With a single sample, nothing is said of others."
    return sentence


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
