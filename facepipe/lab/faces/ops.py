"""The few array functions that shading needs, for NumPy; `ops_torch` has the same for torch.

Shading is written once, on these: arrays are (N,) or (3, N) over the fragments of a picture (or of a batch
of pictures), and a look's values are scalars and (3, 1), or (N,) and (3, N).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from facepipe.lab.faces.noise import noise


class NumpyOps:
    """Array functions on float32 NumPy arrays."""

    exp = staticmethod(np.exp)
    sqrt = staticmethod(np.sqrt)
    cos = staticmethod(np.cos)
    sin = staticmethod(np.sin)
    absolute = staticmethod(np.abs)
    arctan2 = staticmethod(np.arctan2)
    where = staticmethod(np.where)
    clip = staticmethod(np.clip)
    noise = staticmethod(noise)

    @staticmethod
    def stack(columns: list[Any]) -> Any:
        """(3, N) from three (N,)."""
        return np.stack(columns)

    @staticmethod
    def row(values: tuple[float, float, float]) -> Any:
        """A constant vector, (3, 1)."""
        return np.array(values, np.float32)[:, None]

    @staticmethod
    def power(base: Any, exponent: Any) -> Any:
        """base ** exponent for bases in 0..1."""
        return np.exp(np.log(np.maximum(base, np.float32(1e-6))) * exponent)

    @staticmethod
    def zeros_like(values: Any) -> Any:
        """Zeros of the same shape."""
        return np.zeros_like(values)


def sigmoid(ops: Any, x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + ops.exp(-ops.clip(x, -30.0, 30.0)))


def smoothstep(ops: Any, x: Any, low: Any, high: Any) -> Any:
    """0 below low, 1 above high, a cubic between."""
    t = ops.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(ops: Any, x: Any, centre: Any, width: float) -> Any:
    """A Gaussian hill of height one."""
    return ops.exp(-(((x - centre) / width) ** 2))


def unit(ops: Any, vectors: Any) -> Any:
    """Vectors (3, N) of length one."""
    return vectors / (ops.sqrt(dot(vectors, vectors)) + 1e-9)


def dot(a: Any, b: Any) -> Any:
    """Scalar products (N,) of (3, N) with (3, N) or (3, 1)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def mix(a: Any, b: Any, share: Any) -> Any:
    """Colours a (3, N) and b (3, N) or (3, 1) blended by share (N,)."""
    return a + (b - a) * share
