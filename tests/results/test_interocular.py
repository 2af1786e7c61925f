"""Scores by the pixels between the eyes: the distances and ranges are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from written_runs import row, scores

from facepipe.core.errors import UsageError
from facepipe.core.schema import SCORES
from facepipe.metrics.faces import eye_distance_px
from facepipe.results.aggregate import aggregate
from facepipe.results.interocular import by_interocular


def test_distance_of_the_eyes_by_hand() -> None:
    landmarks = np.zeros((68, 3))
    landmarks[36:42] = [10, 20, 5]
    landmarks[42:48] = [40, 60, -7]  # 30 and 40 px apart in the picture: 50 px; depth does not count
    assert eye_distance_px(landmarks) == 50.0
    assert eye_distance_px(landmarks[:, :2]) == 50.0
    landmarks[37] = math.nan
    assert eye_distance_px(landmarks) is None


def test_rows_fall_into_the_nearest_range() -> None:
    table = scores(
        row("a", low_px=16, interocular_px=4.0, psnr_db=20.0),
        row("a", low_px=32, interocular_px=8.0, psnr_db=22.0),
        row("b", low_px=16, interocular_px=7.0, psnr_db=30.0),
        row("c", low_px=16, psnr_db=99.0),
        row("a", "reference", low_px=128, degradation="none", interocular_px=32.0, iou=0.9),
    )
    found = by_interocular(table)
    # 4 is nearer to 5 than to 3 on a scale of ratios: 5/4 < 4/3. The row without eyes is left out.
    assert found["low_px"].to_pylist() == [5, 8, 8, 128]
    assert found.schema == SCORES
    means = {
        s.condition.low_px: s.metrics["psnr_db"].mean for s in aggregate(found) if "psnr_db" in s.metrics
    }
    assert means == {5: 20.0, 8: 26.0}


def test_a_sample_with_two_sizes_in_a_range_counts_twice() -> None:
    table = scores(
        row("a", low_px=16, interocular_px=7.0, psnr_db=20.0),
        row("a", low_px=20, interocular_px=8.75, psnr_db=30.0),
    )
    (summary,) = aggregate(by_interocular(table))
    assert summary.n == 2 and summary.metrics["psnr_db"].mean == 25.0


def test_a_table_that_knows_no_eyes_is_refused() -> None:
    table = scores(row("a", psnr_db=20.0))
    for unknown in (table, table.drop_columns(["interocular_px"])):
        with pytest.raises(UsageError, match="between the eyes"):
            by_interocular(unknown)
