"""Finding all faces of an image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.detect.centerface import Candidates, CenterFace, find_file
from facepipe.detect.detection import Detection
from facepipe.detect.suppress import suppress
from facepipe.registry import unknown

DEFAULT_DETECTOR = "centerface"

REVISION = 1
"""Of what this module does with the network's answer: raised whenever detections may change."""

MIN_SCORE = 0.35
MAX_IOU = 0.3


class Detector(Protocol):
    """Finds faces. Instances are small and pickle cleanly; calls are deterministic."""

    @property
    def name(self) -> str:
        """What `open_detector` calls it."""

    @property
    def fingerprint(self) -> str:
        """A digest of everything that detections depend on beside the image."""

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Find every face of an image, uint8 RGB (H, W, 3), best score first.

        Raises:
            UsageError: something that it needs is not installed.
            WeightsError: its network is damaged.
        """


@dataclass(frozen=True)
class CenterFaceDetector:
    """CenterFace over an image at native size; large ones are reduced.

    Attributes:
        name: what it is called.
        network: the network.
        max_side_px: images are reduced to this side.
    """

    name: str
    network: CenterFace
    max_side_px: int = 2048

    @property
    def fingerprint(self) -> str:
        """A digest of the network's file and of how it is used."""
        settings = [REVISION, self.network.sha256, self.max_side_px, MIN_SCORE, MAX_IOU]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Find every face of an image, uint8 RGB (H, W, 3), best score first."""
        scale = min(1.0, self.max_side_px / max(image.shape[:2]))
        found = self._at_scale(image, scale)
        kept = suppress(found.boxes, found.scores, MAX_IOU)
        return [
            Detection(_box(found.boxes[index]), float(found.scores[index]), found.points[index])
            for index in kept
        ]

    def _at_scale(self, image: NDArray[np.uint8], scale: float) -> Candidates:
        """Candidates of an image that is resized first, in the image's own pixels."""
        height, width = image.shape[:2]
        if scale == 1.0:
            return self.network(image, MIN_SCORE)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        seen = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
        found = self.network(seen, MIN_SCORE)
        back = np.array([width / size[0], height / size[1]], np.float32)
        return Candidates(found.boxes * np.tile(back, 2), found.scores, found.points * back)


def _box(row: NDArray[np.float32]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(value) for value in row)
    return x0, y0, x1, y1


DETECTORS: dict[str, Callable[[], Detector]] = {
    "centerface": lambda: CenterFaceDetector("centerface", CenterFace(find_file())),
}
"""Name -> how to open it."""


@lru_cache
def open_detector(name: str = DEFAULT_DETECTOR) -> Detector:
    """Open a detector; a process opens each once.

    Raises:
        UsageError: there is none of this name, or its weights are not installed; it says how to.
    """
    if name not in DETECTORS:
        raise unknown("detector", name, DETECTORS)
    return DETECTORS[name]()
