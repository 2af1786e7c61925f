"""A regressor that costs nothing, for rehearsals: `--regressors benchmarks.stand_in:ball`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry


class Ball:
    """The same small ball for every image: a plug-in as docs/plugins.md describes them."""

    licence = "MIT"
    colour_order = "rgb"
    deterministic = True
    output = "volume"
    geometry = VolumeGeometry(size=32, depth=32, spacing=(1.0, 1.0, 1.0), z_zero=16.0)

    def build(self, device: str) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:  # noqa: ARG002
        """Return a function from images (N, 128, 128, 3) to volumes (N, 32, 32, 32)."""
        axes = np.ogrid[:32, :32, :32]
        volume = np.where(sum((axis - 15.5) ** 2 for axis in axes) < 100, 255, 0).astype(np.uint8)
        return lambda images: np.broadcast_to(volume, (len(images), *volume.shape))


ball = Ball()
