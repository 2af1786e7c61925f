"""The voxelisers by name: the exact one, and that of the study of 2019."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.names import unknown
from facepipe.core.truth import Topology
from facepipe.geometry.voxelise import voxelise

STUDY_PX = 450
"""Side of the study's images, on whose pixels it drew its depth maps."""

_CLOSE_PX = 5
_BLUR_PX = 5
_BLUR_SIGMA_PX = 3.0

Voxeliser = Callable[[NDArray[np.floating], Topology, VolumeGeometry], NDArray[np.uint8]]
"""From vertices (V, 3) in reference pixels, their topology and a geometry to uint8 (D, H, W), 0 or 255."""


def fill_exactly(
    vertices: NDArray[np.floating], topology: Topology, geometry: VolumeGeometry
) -> NDArray[np.uint8]:
    """Fill the solid by winding number: see `facepipe.geometry.voxelise.voxelise`."""
    return voxelise(vertices, topology.solid, geometry)


def fill_columns(
    vertices: NDArray[np.floating], topology: Topology, geometry: VolumeGeometry
) -> NDArray[np.uint8]:
    """Fill columns from the mesh's back to a smoothed depth map of its vertices.

    The depth map has 450 x 450 pixels over the crop and takes the largest z of the vertices in a pixel. It
    is closed by an ellipse of 5 x 5, blurred by a Gaussian of 5 x 5 pixels with sigma 3, and averaged over
    the grid's pixels. Depth counts from the smallest z. What differs from the study is only the grid:
    that of the regressor instead of 200 slices of a 450th of the image. Kept for comparison: it smooths
    the face, widens it by about two pixels of 450 and knows no overhangs.

    Source: the voxeliser of the study from 2019 that this project grew from.
    """
    used = np.asarray(vertices, np.float64)[np.unique(topology.solid)]
    back = float(used[:, 2].min())
    depth_map = np.zeros((STUDY_PX, STUDY_PX), np.float32)
    column, row = np.floor(used[:, :2].T * (STUDY_PX / NETWORK_PX)).astype(int)
    inside = (column >= 0) & (column < STUDY_PX) & (row >= 0) & (row < STUDY_PX)
    np.maximum.at(depth_map, (row[inside], column[inside]), (used[inside, 2] - back).astype(np.float32))
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_CLOSE_PX, _CLOSE_PX))
    closed = cv2.morphologyEx(depth_map, cv2.MORPH_CLOSE, ellipse)
    blurred = cv2.GaussianBlur(closed, (_BLUR_PX, _BLUR_PX), _BLUR_SIGMA_PX)
    depth = cv2.resize(blurred, (geometry.size, geometry.size), interpolation=cv2.INTER_AREA)
    slice_px = geometry.spacing[0] * geometry.reference_px
    z = (np.arange(geometry.depth) + 0.5 - geometry.z_zero) * slice_px - back
    filled = (z[:, None, None] >= 0) & (z[:, None, None] < depth)
    return (filled * np.uint8(255)).astype(np.uint8)


VOXELISERS: dict[str, Voxeliser] = {"exact": fill_exactly, "columns-2019": fill_columns}


def get_voxeliser(name: str) -> Voxeliser:
    """Look up a voxeliser by its name.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in VOXELISERS:
        raise unknown("filling", name, VOXELISERS)
    return VOXELISERS[name]
