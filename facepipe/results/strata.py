"""Split a scores table into groups of samples: by subset, yaw or skin tone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facepipe.core.names import unknown
from facepipe.results.columns import floats

_YAW_EDGES_DEG = (30.0, 60.0)
_TONE_EDGES = (1 / 3, 2 / 3)


def strata(scores: pa.Table, by: str) -> dict[str, pa.Table]:
    """Split a table into parts that are aggregated on their own.

    Args:
        scores: rows as `facepipe.core.schema.SCORES`.
        by: ``subset``; ``yaw`` (|yaw| below 30, 30 to 60, above 60 degrees, the bins of Large Pose
            evaluations on AFLW2000-3D); or ``skin_tone`` (thirds from lightest to darkest).

    Returns:
        Part name -> rows, in the order of the bins; rows whose value is unknown are in no part.

    Raises:
        UsageError: nothing is split by this name.
    """
    if by == "subset":
        names = scores["subset"].to_pylist()
        labels = sorted({name for name in names if name})
        part = np.array([labels.index(name) if name else -1 for name in names], int)
    elif by == "yaw":
        labels = ["|yaw| < 30", "|yaw| 30 to 60", "|yaw| > 60"]
        part = _bins(np.abs(floats(scores, "yaw_deg")), _YAW_EDGES_DEG)
    elif by == "skin_tone":
        labels = ["light", "medium", "dark"]
        part = _bins(floats(scores, "skin_tone"), _TONE_EDGES)
    else:
        raise unknown("stratum", by, ("subset", "yaw", "skin_tone"))
    parts = {label: scores.filter(pa.array(part == i)) for i, label in enumerate(labels)}
    return {label: table for label, table in parts.items() if table.num_rows}


def _bins(values: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.intp]:
    return np.where(np.isnan(values), -1, np.digitize(values, edges))
