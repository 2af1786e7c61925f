"""Finding all faces of an image."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.names import unknown
from facepipe.detect.centerface import Candidates, CenterFace, find_file, joined
from facepipe.detect.detection import Detection
from facepipe.detect.framing import DOWN_SHARE, FACE_PER_BOX, POINTS_SHARE
from facepipe.detect.views import Look, look_at

DEFAULT_DETECTOR = "centerface"

REVISION = 1
"""Of what this module does with the network's answer: raised whenever detections may change."""

MIN_SCORE = 0.35
"""What is less likely is no face."""

MAX_IOU = 0.3
"""Boxes that overlap so far are one face."""

FINE_PX, COARSE_PX = 2048, 640
"""Pictures are seen reduced to each of these sides: small faces need the first, faces that fill a large
picture the second."""

FINE_MAX_FACE_PX = 320.0
"""Of faces much larger than this the network takes parts for faces of their own. The coarse look sees them
a third as large."""

TURNS_DEG = (0.0, 45.0, -45.0, 90.0, -90.0)
"""How pictures are turned for faces that are not upright: the network finds those that lean by 30 degrees."""


class Detector(Protocol):
    """Finds faces. Instances are small and pickle cleanly; calls are deterministic."""

    @property
    def name(self) -> str:
        """What `open_detector` calls it."""

    @property
    def fingerprint(self) -> str:
        """A digest of everything that detections and their squares depend on beside the image."""

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Find every face of an image, uint8 RGB (H, W, 3), best score first.

        Raises:
            UsageError: something that it needs is not installed.
            WeightsError: its network is damaged.
        """


@dataclass(frozen=True)
class CenterFaceDetector:
    """CenterFace, looking at a picture in one or several ways.

    Attributes:
        name: what it is called.
        network: the network.
        looks: how the picture is looked at. Those that only differ in how far they reduce it are left out
            for pictures that none of them reduces further.
    """

    name: str
    network: CenterFace
    looks: tuple[Look, ...]

    @property
    def fingerprint(self) -> str:
        """A digest of the network's file, of how it is used and of how `face_crop` frames what it finds."""
        looks = [astuple(look) for look in self.looks]
        framing = [FACE_PER_BOX, POINTS_SHARE, DOWN_SHARE]
        settings = [REVISION, self.network.sha256, looks, MIN_SCORE, MAX_IOU, framing]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Find every face of an image, uint8 RGB (H, W, 3), best score first."""
        found = joined([self._look(image, look) for look in self._different_looks(*image.shape[:2])])
        return [
            Detection(_box(found.boxes[index]), float(found.scores[index]), found.points[index])
            for index in best_of_overlapping(found.boxes, found.scores, MAX_IOU)
        ]

    def _different_looks(self, height: int, width: int) -> list[Look]:
        """The looks that show a picture of this size differently: one at most at native size for a turn."""
        shown = {(look.turn_deg, min(look.max_side_px, max(height, width))): look for look in self.looks}
        return list(shown.values())

    def _look(self, image: NDArray[np.uint8], look: Look) -> Candidates:
        view = look_at(image, look)
        found = self.network(view.image, MIN_SCORE)
        return view.back(found.only(found.sides_px <= look.max_face_px))


def best_of_overlapping(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], max_iou: float
) -> NDArray[np.intp]:
    """Indices of the boxes to keep (non-maximum suppression), best score first; equal ones keep their order.

    Args:
        boxes: (N, 4) x0, y0, x1, y1.
        scores: (N,), above 0.
        max_iou: boxes whose intersection over union with a better one exceeds this are dropped.
    """
    corners_and_sides = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.float64)
    return np.asarray(
        cv2.dnn.NMSBoxes(corners_and_sides.tolist(), scores.tolist(), 0.0, max_iou), np.intp
    ).ravel()


def _box(row: NDArray[np.float32]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(value) for value in row)
    return x0, y0, x1, y1


def _looks(turns_deg: tuple[float, ...]) -> tuple[Look, ...]:
    return tuple(
        look for turn in turns_deg for look in (Look(FINE_PX, turn, FINE_MAX_FACE_PX), Look(COARSE_PX, turn))
    )


DETECTORS: dict[str, tuple[Look, ...]] = {
    "centerface": _looks((0.0,)),
    "centerface-rotated": _looks(TURNS_DEG),
}
"""Name -> how it looks at a picture. The second also finds faces that lie on their side."""


@lru_cache
def open_detector(name: str = DEFAULT_DETECTOR) -> Detector:
    """Open a detector; a process opens each once.

    Raises:
        UsageError: there is none of this name, or its weights are not installed; it says how to.
    """
    if name not in DETECTORS:
        raise unknown("detector", name, DETECTORS)
    return CenterFaceDetector(name, CenterFace(find_file()), DETECTORS[name])
