"""Columns of a table as arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def floats(table: pa.Table, column: str) -> NDArray[np.float64]:
    """A column of numbers, NaN where it is null."""
    values = table[column].cast(pa.float64())
    return np.asarray(values.fill_null(np.nan).to_numpy(), np.float64)
