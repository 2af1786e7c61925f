"""Scores by the distance of the eyes in the low-resolution image, the axis of studies of low resolution."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from facepipe.core.errors import UsageError
from facepipe.results.columns import floats

COLUMN = "interocular_px"

CENTRES_PX = (3, 5, 8, 12, 18, 27, 40)
"""Middles of the ranges into which distances fall; neighbours are one and a half times as large."""


def by_interocular(scores: pa.Table) -> pa.Table:
    """The same rows with the size of the image said as the distance of the eyes in it.

    `low_px` becomes the nearest of `CENTRES_PX` on a scale of ratios. A sample that has rows of two sizes in
    one range counts twice there. References stay as they are; rows without a known distance are left out.

    Args:
        scores: rows as `facepipe.core.schema.SCORES`.

    Raises:
        UsageError: no row has a known distance.
    """
    distance = floats(scores, COLUMN) if COLUMN in scores.schema.names else np.full(scores.num_rows, np.nan)
    low_px = scores["low_px"].to_numpy()
    is_reference = np.array(scores["method"].to_pylist(), object) == "reference"
    kept = is_reference | (np.isfinite(distance) & (distance > 0))
    if not (kept & ~is_reference).any():
        raise UsageError(
            "no row says how many pixels are between the eyes: the data set has no landmarks, or an older "
            "version wrote the table"
        )
    centres = np.array(CENTRES_PX)
    ratio = np.abs(np.log(np.where(kept & ~is_reference, distance, 1.0)[:, None] / centres))
    size = np.where(is_reference, low_px, centres[ratio.argmin(axis=1)])
    names = [f"{name}@{px}" for name, px in zip(scores["sample_id"].to_pylist(), low_px, strict=True)]
    plain = np.where(is_reference, np.array(scores["sample_id"].to_pylist(), object), np.array(names, object))
    at = {name: i for i, name in enumerate(scores.schema.names)}
    table = scores.set_column(at["low_px"], "low_px", pa.array(size, pa.int32()))
    table = table.set_column(at["sample_id"], "sample_id", pa.array(plain, pa.string()))
    return table.filter(pa.array(kept))
