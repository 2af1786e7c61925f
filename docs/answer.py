"""Prints README's answer from its run: `python docs/answer.py runs/answer`.

Means of `iou` with half their 95 % intervals as a Markdown table, then paired differences: what restoring
gains in front of each regressor, and what knowing low resolution gains over the best restoration.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from facepipe.metrics.intervals import Estimate, mean_of

SHARP, LOW = "vrn-compact", "vrn-compact-lowres"
NOTHING = "bilinear"
Key = tuple[str, int, str, str]


def main(run: Path) -> None:
    """Print the table and the differences of a run."""
    scores = _scores(run / "scores.parquet")
    sizes = sorted({px for degradation, px, _, _ in scores if degradation != "none"})
    degradations = sorted({degradation for degradation, *_ in scores} - {"none"})
    print("| | " + " | ".join(f"{px} px" for px in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for degradation in degradations:
        best = f"compact-{degradation}"
        for regressor in (SHARP, LOW):
            for method in (NOTHING, best):
                cells = [_text(mean_of(scores[degradation, px, method, regressor])) for px in sizes]
                print(f"| `{degradation}`, `{method}`, `{regressor}` | " + " | ".join(cells) + " |")
    for regressor in (SHARP, LOW):
        print(f"references, {regressor}: {_text(mean_of(scores['none', 128, 'reference', regressor]))}")
    for degradation in degradations:
        best = f"compact-{degradation}"
        for px in sizes:
            cell = {(m, r): scores[degradation, px, m, r] for m in (NOTHING, best) for r in (SHARP, LOW)}
            for what, difference in (
                ("restoring for the sharp one", cell[best, SHARP] - cell[NOTHING, SHARP]),
                ("restoring for the one that knows", cell[best, LOW] - cell[NOTHING, LOW]),
                ("knowing instead of restoring", cell[NOTHING, LOW] - cell[best, SHARP]),
            ):
                print(f"{degradation} {px} px, {what}: {_signed(mean_of(difference))}")
    lost = scores["none", 128, "reference", LOW] - scores["none", 128, "reference", SHARP]
    print(f"references, knowing low resolution: {_signed(mean_of(lost))}")


def _scores(path: Path) -> dict[Key, np.ndarray]:
    """`iou` of the samples in one order, by condition."""
    columns = ["degradation", "low_px", "method", "regressor", "sample_id", "iou"]
    table = pq.read_table(path, columns=columns).sort_by("sample_id").to_pydict()
    found: dict[Key, list[float]] = {}
    for degradation, px, method, regressor, _, iou in zip(*(table[c] for c in columns), strict=True):
        found.setdefault((degradation, px, method, regressor), []).append(iou)
    return {key: np.array(values, float) for key, values in found.items()}


def _text(mean: Estimate) -> str:
    return f"{mean.mean:.3f} ± {(mean.high - mean.low) / 2:.3f}"


def _signed(mean: Estimate) -> str:
    return f"{mean.mean:+.4f} ({mean.low:+.4f} to {mean.high:+.4f})"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
