"""The protocol of regressors."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.models.vrn.backends import Backend


class VolumeRegressor(Protocol):
    """A loaded network."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Regress uint8 RGB (N, 128, 128, 3) to uint8 occupancy (N, D, H, W).

        Deterministic, and each image's result is independent of the others in the batch.
        """


class Regressor(Protocol):
    """A named regressor. Importing and asking needs no torch."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    @property
    def geometry(self) -> VolumeGeometry:
        """Where its voxels lie."""

    def fingerprint(self) -> str:
        """A digest of everything that determines its output (weights' identity included)."""

    def build(self, device: str = "cpu", backend: Backend = "torch") -> VolumeRegressor:
        """Load the weights and return the callable network."""
