"""Quantise model bases: 16 bits for the leading columns, which carry most of the variance, 8 for the rest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

FINE_COLUMNS = 16


def quantise(name: str, basis: NDArray[np.float32]) -> dict[str, NDArray]:
    """Store a basis (R, K) as integer columns with one scale each, under keys that begin with `name`."""
    peak = np.maximum(np.abs(basis).max(0), 1e-12)
    fine, coarse = slice(0, FINE_COLUMNS), slice(FINE_COLUMNS, None)
    return {
        f"{name}_scale": peak.astype(np.float32),
        f"{name}_fine": np.rint(basis[:, fine] / peak[fine] * 32767).astype(np.int16).T.copy(),
        f"{name}_coarse": np.rint(basis[:, coarse] / peak[coarse] * 127).astype(np.int8).T.copy(),
    }


def dequantise(name: str, arrays: Mapping[str, NDArray]) -> NDArray[np.float32]:
    """The basis (R, K) that `quantise` stored, C-ordered float32."""
    scale = arrays[f"{name}_scale"]
    fine = arrays[f"{name}_fine"].astype(np.float32) * (scale[:FINE_COLUMNS, None] / 32767)
    coarse = arrays[f"{name}_coarse"].astype(np.float32) * (scale[FINE_COLUMNS:, None] / 127)
    return np.ascontiguousarray(np.concatenate([fine, coarse]).T)
