"""From a photograph to a picture of 450 px with the head that was fitted to its face."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError
from facepipe.detect import Detector, main_face, open_detector
from facepipe.geometry.head import load_head
from facepipe.geometry.head_fit import FittedHead
from facepipe.geometry.morphable import SOURCE_PX
from facepipe.imaging.crop import Crop
from facepipe.lab.photos.face_mesh import FaceMesh, find_mesh
from facepipe.lab.photos.mesh_fit import MeshFit, fit_mesh

PICTURE_PER_FACE = 3.0
"""Largest side of a picture over the size of its face: the root of the area of the mesh's box."""

SMALLEST_FACE_PX = 40.0
"""Size of a face below which its mesh says too little."""

LEAST_SCORE = 0.95
"""How sure the mesh must be that there is a face."""

LARGEST_RESIDUAL, LARGEST_DEPTH_RESIDUAL, MOST_OUTLIERS = 0.016, 0.02, 0.04
"""Above these a fit is bad: mean distances in sizes of the face, and the share of points far off."""

LARGEST_UNLIKELIHOOD = 1.0
"""Root mean square of the coefficients, in standard deviations of people, above which no person looks so."""

LARGEST_YAW_DEG = 50.0
"""Beyond it the mesh slides toward the camera: profiles are taken for half profiles."""

MOST_CUT_OFF = 0.1
"""Share of the mesh's points that may lie outside the photograph."""

GREY_SPREAD = 8.0
"""Mean difference of the highest and the lowest channel below which a picture is grey."""

_LIGHTEST_ITA_DEG, _DARKEST_ITA_DEG = 55.0, -40.0
_CHEEKS = (50, 101, 118, 205, 280, 330, 347, 425)


@dataclass(frozen=True, eq=False)
class Annotated:
    """A face of a photograph.

    Attributes:
        image: uint8 RGB (450, 450, 3), the photograph around the face.
        head: what was fitted, posed in the image.
        fit: how well.
        mesh_score: how sure the mesh was.
        grey: whether the picture has no colours.
        skin_tone: 0 (lightest) to 1 (darkest), None for grey pictures.
        crop: the part of the photograph that the image shows; of less than 450 px it was enlarged.
    """

    image: NDArray[np.uint8]
    head: FittedHead
    fit: MeshFit
    mesh_score: float
    grey: bool
    skin_tone: float | None
    crop: Crop


def annotate(photo: NDArray[np.uint8]) -> Annotated:
    """Find the main face of a photograph and fit the head to it.

    Args:
        photo: uint8 RGB (H, W, 3), upright.

    Raises:
        SampleError: no-face-detected, mesh-unsure, face-too-small, face-cut-off, face-turned-away, fit-failed
            or fit-bad; the message says what was measured.
    """
    face = main_face(_detector()(photo))
    if face is None:
        raise SampleError("no-face-detected", f"no face found in {photo.shape[1]} x {photo.shape[0]} px")
    mesh = find_mesh(photo, face)
    _check_mesh(mesh, photo)
    crop = picture_crop(mesh.points, photo.shape[1], photo.shape[0])
    scale = SOURCE_PX / crop.size
    image = resized(crop.cut(photo), SOURCE_PX)
    points = (mesh.points - (crop.x0, crop.y0, 0.0)) * scale
    fit = fit_mesh(points, SOURCE_PX)
    _check_fit(fit)
    grey = _is_grey(image)
    tone = None if grey else skin_tone(image, points)
    return Annotated(image, fit.head, fit, mesh.score, grey, tone, crop)


@lru_cache(maxsize=1)
def _detector() -> Detector:
    return open_detector()


def picture_crop(points: NDArray[np.floating], width: int, height: int) -> Crop:
    """The square of a photograph that becomes the picture: all of it, or `PICTURE_PER_FACE` of the face."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    side = min(float(max(width, height)), PICTURE_PER_FACE * float(np.sqrt(np.prod(high - low))))
    side = float(math.ceil(side))
    corner = []
    for centre, extent in zip((low + high) / 2, (width, height), strict=True):
        start = float(centre) - side / 2
        # Inside of the photograph where it is large enough, else centred on it.
        start = float(np.clip(start, 0, extent - side)) if extent >= side else (extent - side) / 2
        corner.append(float(round(start)))
    return Crop(corner[0], corner[1], side)


def resized(square: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Bring a square picture to a size, averaging where it is reduced."""
    how = cv2.INTER_AREA if square.shape[0] > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (side, side), interpolation=how), np.uint8)


def skin_tone(image: NDArray[np.uint8], points: NDArray[np.floating]) -> float:
    """Skin tone of the cheeks, 0 (lightest) to 1 (darkest), from the individual typology angle.

    ITA = atan((L - 50) / b) of CIELAB (Chardon et al. 1991), 55 degrees and more is very light, -40 dark.
    Light of another colour or strength moves it.
    """
    radius = max(2, image.shape[0] // 60)
    patches = []
    for x, y in points[list(_CHEEKS), :2].astype(int):
        patch = image[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        if patch.size:
            patches.append(np.median(patch.reshape(-1, 3), axis=0))
    colour = np.median(patches, axis=0).astype(np.float32)[None, None] / 255
    lightness, _, b = cv2.cvtColor(colour, cv2.COLOR_RGB2LAB)[0, 0]
    ita_deg = math.degrees(math.atan2(float(lightness) - 50, max(float(b), 1e-3)))
    return float(np.clip((_LIGHTEST_ITA_DEG - ita_deg) / (_LIGHTEST_ITA_DEG - _DARKEST_ITA_DEG), 0, 1))


def _is_grey(image: NDArray[np.uint8]) -> bool:
    red, green, blue = cv2.split(image)
    highest, lowest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return float(np.mean(highest - lowest)) < GREY_SPREAD


def person_number(name: str) -> int:
    """A number of 48 bits that stands for a person's name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def _check_mesh(mesh: FaceMesh, photo: NDArray[np.uint8]) -> None:
    if mesh.score < LEAST_SCORE:
        raise SampleError(
            "mesh-unsure", f"the mesh sees a face with {mesh.score:.2f}, at least {LEAST_SCORE} is needed"
        )
    xy = mesh.points[:, :2]
    size = float(np.sqrt(np.prod(np.ptp(xy, axis=0))))
    if size < SMALLEST_FACE_PX:
        raise SampleError(
            "face-too-small", f"the face is {size:.0f} px large, {SMALLEST_FACE_PX:.0f} px are needed"
        )
    outside = float(((xy < 0) | (xy > photo.shape[1::-1])).any(axis=1).mean())
    if outside > MOST_CUT_OFF:
        raise SampleError("face-cut-off", f"{outside:.0%} of the face lie outside the photograph")


def _check_fit(fit: MeshFit) -> None:
    yaw = math.degrees(fit.head.pose.yaw_rad)
    if abs(yaw) > LARGEST_YAW_DEG:
        raise SampleError(
            "face-turned-away", f"turned by {yaw:.0f} degrees, the mesh is good to {LARGEST_YAW_DEG:.0f}"
        )
    for value, limit, what in (
        (fit.residual, LARGEST_RESIDUAL, "mean distance in the picture, sizes of the face"),
        (fit.depth_residual, LARGEST_DEPTH_RESIDUAL, "mean distance in depth, sizes of the face"),
        (fit.outliers, MOST_OUTLIERS, "share of outliers"),
        (fit.unlikelihood, LARGEST_UNLIKELIHOOD, "deviation from people"),
    ):
        if value > limit:
            raise SampleError("fit-bad", f"{what}: {value:.3f}, at most {limit:g}")


def annotated_fields(face: Annotated, person: str) -> dict[str, NDArray]:
    """The variables of a face's .mat, in 300W-LP's shapes and pixel convention."""
    pose = face.head.pose
    posed = pose.apply(face.head.vertices_mm, SOURCE_PX)[load_head().model.landmarks, :2]
    fields = {
        "Pose_Para": pose.parameters()[None],
        "Shape_Para": face.head.shape.astype(np.float64)[:, None],
        "Exp_Para": face.head.expression.astype(np.float64)[:, None],
        "pt2d": (posed + 0.5).T.copy(),
        "roi": np.array([[1, 1, SOURCE_PX, SOURCE_PX]], np.float64),
        "grey": np.array([[float(face.grey)]]),
        "person": np.array([[float(person_number(person))]]),
        "photo_px": np.array([[face.crop.size]]),
        "fit_residual": np.array([[face.fit.residual]]),
        "mesh_score": np.array([[face.mesh_score]]),
    }
    if face.skin_tone is not None:
        fields["skin_tone"] = np.array([[face.skin_tone]])
    return fields
