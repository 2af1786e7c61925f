"""Choose the square of an image that the networks see (`--crop`)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError
from facepipe.core.names import unknown
from facepipe.datasets.dataset import Sample
from facepipe.detect import face_crop, main_face, open_detector
from facepipe.imaging.crop import FACE_PX, VRN_CROP_PX, Crop, full_crop

CROP_MODES = ("full", "face", "landmarks")

MIN_FACE_PX = 4.0
"""Smallest extent of the landmarks, source pixels, that a crop is made around."""


def crop_for(sample: Sample, mode: str) -> Crop:
    """The crop of a sample, in source coordinates.

    'full' is the whole image, centred in a square. 'landmarks' is VRN's normalisation: the 68 true
    landmarks' box of w x h source pixels is scaled by 90 / sqrt(w h), and 192 x 192 px around the mean of
    the landmarks are cut out; that is a square of 192 sqrt(w h) / 90 source pixels, of which `Crop` makes
    the network's size. Source: Jackson's published MATLAB script for VRN. 'face' is the same square
    estimated for the most prominent face that a detector finds.

    Raises:
        SampleError: no-landmarks or landmarks-degenerate; no-face-detected.
        UsageError: an unknown mode, or the detector is not installed.
    """
    if mode == "full":
        height, width = sample.image.shape[:2]
        return full_crop(width, height)
    if mode == "face":
        return _detected(sample.image)
    if mode != "landmarks":
        raise unknown("crop", mode, CROP_MODES)
    if sample.truth.landmarks is None:
        raise SampleError("no-landmarks", "--crop landmarks needs true landmarks and this sample has none")
    xy = sample.truth.landmarks[:, :2].astype(np.float64)
    width_px, height_px = np.ptp(xy, axis=0)
    if not min(width_px, height_px) >= MIN_FACE_PX:
        raise SampleError(
            "landmarks-degenerate",
            f"the landmarks span {width_px:.1f} x {height_px:.1f} px; a face of {MIN_FACE_PX:g} px is needed",
        )
    size = VRN_CROP_PX / FACE_PX * math.sqrt(width_px * height_px)
    centre_x, centre_y = xy.mean(axis=0)
    return Crop(float(centre_x - size / 2), float(centre_y - size / 2), float(size))


def _detected(image: NDArray[np.uint8]) -> Crop:
    face = main_face(open_detector()(image))
    height, width = image.shape[:2]
    if face is None:
        raise SampleError("no-face-detected", f"--crop face: no face found in {width} x {height} px")
    return face_crop(face, width, height)
