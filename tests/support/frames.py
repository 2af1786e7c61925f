"""Frames with the shipped faces at known places, for tests of the detector."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.dataset import Sample

EYES_PER_BOX = 0.44
"""Distance between the eyes of unturned faces over the side of their landmark box."""


@lru_cache
def shipped(count: int) -> tuple[Sample, ...]:
    """Shipped faces that look at the camera, more or less."""
    dataset = open_dataset("sample", "auto")
    samples = [dataset.load(ref, dense=False) for ref in dataset.refs()]
    return tuple(sorted(samples, key=lambda sample: abs(sample.yaw_deg or 0.0))[:count])


def landmark_side(landmarks: NDArray[np.floating]) -> float:
    """Square root of the area of the landmarks' box."""
    return math.sqrt(float(np.prod(np.ptp(landmarks[:, :2], axis=0))))


def put(
    frame: NDArray[np.uint8], sample: Sample, size_px: float, centre: tuple[float, float]
) -> NDArray[np.float64]:
    """Put a face, `size_px` from eye to eye, into a frame; returns its landmarks (68, 2) there."""
    landmarks = sample.truth.landmarks[:, :2].astype(np.float64)
    side = round(sample.image.shape[0] * size_px / (EYES_PER_BOX * landmark_side(landmarks)))
    scale = side / sample.image.shape[0]
    small = cv2.resize(sample.image, (side, side), interpolation=cv2.INTER_AREA)
    x, y = (round(at - off * scale) for at, off in zip(centre, landmarks.mean(axis=0), strict=True))
    top, left = max(y, 0), max(x, 0)
    part = frame[top : y + side, left : x + side]
    part[...] = small[top - y : top - y + part.shape[0], left - x : left - x + part.shape[1]]
    return landmarks * scale + (x, y)


def grey(width: int, height: int) -> NDArray[np.uint8]:
    """An empty frame."""
    return np.full((height, width, 3), 110, np.uint8)
