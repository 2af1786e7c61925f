"""The protocol of super-resolution methods."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class SuperResolver(Protocol):
    """Restores low-resolution images of one size."""

    def __call__(self, lowres: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Restore uint8 RGB (N, h, h, 3) to uint8 RGB (N, 128, 128, 3).

        Deterministic, and each image's result is independent of the others in the batch.
        """


class Method(Protocol):
    """A named way to restore; knows which sizes it fits. Importing and asking needs no torch."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    def fits(self, low_px: int) -> bool:
        """Whether it can bring images of this side to network size."""

    def fingerprint(self, low_px: int) -> str:
        """A digest of everything that determines its output at this size (weights' identity included)."""

    def build(self, low_px: int, device: str = "cpu") -> SuperResolver:
        """Load what is needed and return the resolver for images of this side."""
