"""The inputs of a metric: what it may read for one row of the scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.truth import Topology, Truth


@dataclass(frozen=True, eq=False)
class MetricInputs:
    """One sample under one condition; what there is none of is None.

    Attributes:
        reference, restored: uint8 RGB (128, 128, 3), the image without loss and the one to be judged.
        volume: uint8 (D, H, W), what a regressor made of the restored image.
        reference_volume: uint8 (D, H, W), what it made of the reference.
        geometry: of all volumes here.
        truth: in reference coordinates.
        topology: of the dense truth.
        truth_volume: uint8 (D, H, W), the filled truth.
    """

    reference: NDArray[np.uint8]
    restored: NDArray[np.uint8]
    volume: NDArray[np.uint8] | None = None
    reference_volume: NDArray[np.uint8] | None = None
    geometry: VolumeGeometry | None = None
    truth: Truth | None = None
    topology: Topology | None = None
    truth_volume: NDArray[np.uint8] | None = None

    def has(self, needs: str) -> bool:
        """Whether there is what a metric says that it needs: one of `facepipe.metrics.catalogue.Needs`."""
        if needs == "reference image":
            return True
        if needs == "reference volume":
            return self.volume is not None and self.reference_volume is not None
        if self.volume is None or self.truth is None:
            return False
        if needs == "dense":
            return self.truth.vertices is not None
        landmarks = self.truth.landmarks
        return landmarks is not None and landmarks.shape[1] == 3
