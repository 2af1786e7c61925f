"""Voxelising a face's mesh, against the depth-map loop of the study of 2019."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs import fine_face
from benchmarks.measure import Row, compare, require
from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.truth import Topology
from facepipe.geometry.voxelisation import STUDY_PX, fill_columns
from facepipe.geometry.voxelise import voxelise
from facepipe.metrics.geometry import volume_iou

SLICES = 200
MIN_IOU = 0.98


def study_loop(vertices: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The study's way: vertices (V, 3) to (200, 128, 128), slices of one pixel of its 450.

    The largest z of the vertices in each pixel, closed twice, blurred; every column filled up to there by a
    double loop over the image; then each slice brought to 128 px.
    """
    scale = STUDY_PX / NETWORK_PX
    depth = np.zeros((STUDY_PX, STUDY_PX), np.float32)
    column, row = np.floor(vertices[:, :2].T * scale).astype(int)
    np.maximum.at(depth, (row, column), ((vertices[:, 2] - vertices[:, 2].min()) * scale).astype(np.float32))
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    depth = cv2.morphologyEx(depth, cv2.MORPH_CLOSE, ellipse)
    depth = cv2.GaussianBlur(depth, (5, 5), 3)
    volume = np.zeros((STUDY_PX, STUDY_PX, SLICES), np.uint8)
    for i in range(STUDY_PX):
        for j in range(STUDY_PX):
            volume[i, j, : round(float(depth[i, j]))] = 1
    size = (NETWORK_PX, NETWORK_PX)
    slices = [
        cv2.resize(volume[:, :, k].astype(np.float32), size, interpolation=cv2.INTER_AREA)
        for k in range(SLICES)
    ]
    return (np.stack(slices) >= 0.5).astype(np.uint8) * np.uint8(255)


def rows(rounds: int) -> list[Row]:
    """Both voxelisers against the loop."""
    vertices, triangles = fine_face()
    slice_px = NETWORK_PX / STUDY_PX
    # The study counts slices from the face's back.
    geometry = VolumeGeometry(spacing=(slice_px, 1.0, 1.0), z_zero=-vertices[:, 2].min() / slice_px)
    topology = Topology(triangles, triangles, np.arange(len(vertices), dtype=np.int32))
    usual = study_loop(vertices)
    columns = volume_iou(fill_columns(vertices, topology, geometry), usual)
    require(columns > MIN_IOU, f"columns-2019 and the loop have an IoU of {columns:.3f}")
    exact = volume_iou(voxelise(vertices, triangles, geometry), usual)
    face = f"{len(vertices) / 1000:.0f}k-vertex face to 128 x 128 x 200"
    against = "the loop of 2019"
    return [
        compare(
            f"exact voxelisation, {face}",
            against,
            lambda: study_loop(vertices),
            lambda: voxelise(vertices, triangles, geometry),
            target=30,
            runs=3 * rounds,
            check=f"no: it fills the mesh itself (IoU {exact:.3f})",
        ),
        compare(
            f"voxelisation as in 2019, {face}",
            against,
            lambda: study_loop(vertices),
            lambda: fill_columns(vertices, topology, geometry),
            target=12,
            runs=3 * rounds,
            check=f"IoU {columns:.3f}: it averages depth, the loop voxels",
        ),
    ]
