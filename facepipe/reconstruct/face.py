"""Reconstruct a coloured mesh from an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import SampleError, UsageError
from facepipe.detect import eyes_px, face_crop, main_face, open_detector
from facepipe.geometry.mesh import photo_colours
from facepipe.geometry.volume import SurfaceMesh, display_surface
from facepipe.imaging.crop import Crop, full_crop
from facepipe.models.superres.size_fit import to_network_size
from facepipe.models.vrn.base import Regressor
from facepipe.models.vrn.regressors import get_regressor, known_regressors

DEFAULT_REGRESSOR = "vrn-compact"
DEFAULT_METHOD = "compact-camera"

MEAN_INTEROCULAR_MM = 63.0
"""Mean distance of adults' pupils; 19 in 20 adults lie between 56 and 70 (Dodgson 2004, Variation and extrema
of human interpupillary distance)."""

CropMode = Literal["auto", "face", "full"]
"""What is reconstructed of a photo: 'face' the part around a detected face, 'full' all of it, 'auto' the face
where there is one and else all."""

Image8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Reconstruction:
    """A face as a mesh.

    Attributes:
        mesh: in reference pixels, closed, one part.
        colours: uint8 sRGB (V, 3), from the full-resolution crop.
        crop: uint8 RGB (S, S, 3).
        volume: uint8 occupancy (D, H, W).
        geometry: of the volume.
    """

    mesh: SurfaceMesh
    colours: Image8
    crop: Image8
    volume: Image8
    geometry: VolumeGeometry


def reconstruct_image(
    image: Image8,
    regressor: str = DEFAULT_REGRESSOR,
    method: str = DEFAULT_METHOD,
    crop: Crop | None = None,
) -> Reconstruction:
    """Reconstruct the face in an image.

    Args:
        image: uint8 RGB (H, W, 3), upright.
        regressor: the network that makes the volume.
        method: what restores crops smaller than the network's input.
        crop: the square of the image to take; by default the whole image, centred and padded.

    Raises:
        UsageError: there is no such regressor or method.
        WeightsError: its weights are missing or damaged.
        SampleError: no-face, the volume is empty; too-small; crop-too-large.
    """
    height, width = image.shape[:2]
    square = (crop or full_crop(width, height)).cut(image)
    found = mesh_regressor(regressor)
    volume = found.build()(to_network_size(square, method)[None])[0]
    try:
        mesh = display_surface(volume, found.geometry)
    except SampleError as error:
        raise SampleError("no-face", f"{regressor} found no face: its volume is empty") from error
    colours = photo_colours(mesh.vertices, square)
    return Reconstruction(mesh, colours, square, volume, found.geometry)


def mm_per_px(made: Reconstruction) -> float:
    """Size of a reference pixel of a face in millimetres, if its eyes lie as far apart as people's do.

    The distance of the eyes is the detector's, in the picture; of a turned face that of a frontal one as
    large.

    Raises:
        UsageError: the detector is not installed.
        SampleError: no-face-detected: there are no eyes to go by.
    """
    side = len(made.crop)
    face = main_face(open_detector()(made.crop))
    if face is None:
        raise SampleError("no-face-detected", "no face found whose eyes would tell its size")
    distance_px = eyes_px(face, face_crop(face, side, side).size) * NETWORK_PX / side
    return MEAN_INTEROCULAR_MM / distance_px


def find_crops(image: Image8, mode: CropMode = "auto", all_faces: bool = False) -> list[Crop]:
    """The squares of an image to reconstruct; none where the mode is 'auto' and no face was found.

    Args:
        image: uint8 RGB (H, W, 3), upright.
        mode: see `CropMode`.
        all_faces: every face, from left to right, instead of the most prominent one.

    Raises:
        UsageError: the detector is not installed.
        SampleError: no-face-detected, where the mode is 'face'.
    """
    height, width = image.shape[:2]
    if mode == "full":
        return [full_crop(width, height)]
    faces = open_detector()(image)
    main = main_face(faces)
    if main is None and mode == "face":
        raise SampleError("no-face-detected", f"no face found in {width} x {height} px")
    wanted = sorted(faces, key=lambda face: face.box) if all_faces else [main] if main else []
    return [face_crop(face, width, height) for face in wanted]


def mesh_regressor(name: str) -> Regressor:
    """Return the regressor of a name.

    Raises:
        UsageError: there is none of that name, or it is 'none'.
        WeightsError: its weights are damaged.
    """
    if name == "none":
        known = ", ".join(known_regressors())
        raise UsageError(f"regressor 'none' makes no volume, and a mesh needs one; choose one of {known}")
    return get_regressor(name)
