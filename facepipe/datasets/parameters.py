"""Read pose, model parameters and landmarks from .mat files, and check them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError
from facepipe.geometry.morphable import Pose

N_LANDMARKS = 68

MATLAB_OFFSET_PX = 0.5
"""MATLAB's 1-based pixel x is the continuous coordinate x - 0.5."""

MISSING = -1.0
"""Stands for a coordinate of a landmark that nobody could see."""

MAX_OUTSIDE_SHARE = 0.25
"""Largest share of the landmarks that may lie outside the image; faces cut off at the border have some."""

Arrays = Mapping[str, NDArray]


@dataclass(frozen=True)
class FaceParameters:
    """A fitted face.

    Attributes:
        pose: where the head is.
        shape: float64 (S,), 199 for the Basel model.
        expression: float64 (E,), 29 for the Basel model's expression basis.
    """

    pose: Pose
    shape: NDArray[np.float64]
    expression: NDArray[np.float64]


def read_pose(arrays: Arrays, name: str) -> Pose:
    """The pose in `Pose_Para`.

    Raises:
        SampleError: mat-missing-key, mat-wrong-shape or mat-not-finite.
    """
    values = _vector(arrays, "Pose_Para", name)
    if values.shape != (7,):
        raise _wrong_shape(name, "Pose_Para", arrays["Pose_Para"].shape, "1 x 7")
    if values[6] <= 0:
        raise SampleError("bad-pose", f"{name}: Pose_Para has the scale {values[6]:g}; expected more than 0")
    return Pose.from_parameters(values)


def read_parameters(arrays: Arrays, name: str) -> FaceParameters:
    """Pose, shape and expression in `Pose_Para`, `Shape_Para` and `Exp_Para`.

    Raises:
        SampleError: mat-missing-key, mat-wrong-shape or mat-not-finite.
    """
    return FaceParameters(
        pose=read_pose(arrays, name),
        shape=_vector(arrays, "Shape_Para", name),
        expression=_vector(arrays, "Exp_Para", name),
    )


def read_points(arrays: Arrays, key: str, dims: int, name: str) -> NDArray[np.float32]:
    """68 points stored as (dims, 68) or (68, dims) in MATLAB pixels.

    Returns:
        float32 (68, dims) in continuous coordinates; z as it is stored.

    Raises:
        SampleError: mat-missing-key, mat-wrong-shape or mat-not-finite.
    """
    values = _array(arrays, key, name)
    if values.shape == (dims, N_LANDMARKS):
        values = values.T
    if values.shape != (N_LANDMARKS, dims):
        raise _wrong_shape(name, key, arrays[key].shape, f"{dims} x {N_LANDMARKS}")
    points = np.array(values, np.float32)
    points[:, :2] -= MATLAB_OFFSET_PX
    return points


def has_missing(points: NDArray[np.float32]) -> bool:
    """Whether landmarks of `read_points` are marked as missing, as data sets do it: by -1 for x and y."""
    return bool((points[:, :2] == MISSING - MATLAB_OFFSET_PX).all(axis=1).any())


def check_landmarks(landmarks: NDArray[np.float32], width_px: int, height_px: int, name: str) -> None:
    """Check that landmarks (68, 2 or 3) belong to an image of this size.

    Raises:
        SampleError: landmarks-outside.
    """
    size = np.array([width_px, height_px])
    xy = landmarks[:, :2]
    outside = float(np.mean(((xy < 0) | (xy > size)).any(axis=1)))
    far = bool(((xy < -size) | (xy > 2 * size)).any())
    if far or outside > MAX_OUTSIDE_SHARE:
        raise SampleError(
            "landmarks-outside",
            f"{name}: {outside:.0%} of the landmarks lie outside the image of {width_px} x {height_px} px "
            f"(x {xy[:, 0].min():.0f}..{xy[:, 0].max():.0f}, y {xy[:, 1].min():.0f}..{xy[:, 1].max():.0f}); "
            "the image or the .mat is another sample's",
        )


def _vector(arrays: Arrays, key: str, name: str) -> NDArray[np.float64]:
    values = _array(arrays, key, name)
    if values.size != max(values.shape):
        raise _wrong_shape(name, key, values.shape, "a single row or column")
    return values.ravel()


def _array(arrays: Arrays, key: str, name: str) -> NDArray[np.float64]:
    if key not in arrays:
        there = ", ".join(sorted(arrays)) or "nothing of use"
        raise SampleError("mat-missing-key", f"{name}: no variable {key!r} in it; it has {there}")
    values = np.asarray(arrays[key], np.float64)
    if not np.isfinite(values).all():
        raise SampleError("mat-not-finite", f"{name}: {key!r} has values that are NaN or infinite")
    return values


def _wrong_shape(name: str, key: str, shape: tuple[int, ...], expected: str) -> SampleError:
    found = " x ".join(map(str, shape))
    return SampleError("mat-wrong-shape", f"{name}: {key!r} is {found}; expected {expected}")
