"""Fitting the head to all points of a face mesh, against fitting it to 68 landmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Row, compare, require
from facepipe.core.conventions import NETWORK_PX
from facepipe.geometry.head import load_head
from facepipe.geometry.head_fit import fit_head
from facepipe.geometry.morphable import SOURCE_PX
from facepipe.lab.faces.factory import sample, vertices_px
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.photos.face_mesh import IBUG_68
from facepipe.lab.photos.mesh_fit import fit_mesh, load_correspondence

NOISE_SHARE = 0.015
"""Noise of the points in the picture and in depth, sizes of the face: that of the mesh on drawn faces."""


def points_of(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A drawn face's vertices (V, 3), and the points of its mesh with noise (468, 3), in 450 px."""
    truth = vertices_px(sample(face_seed("test", seed)), SOURCE_PX).astype(np.float64)
    size = float(np.sqrt(np.prod(np.ptp(truth[load_head().model.landmarks, :2], axis=0))))
    noise = np.random.default_rng(seed).normal(0, NOISE_SHARE * size, (468, 3))
    return truth, load_correspondence().on(truth) + noise


def error_px(vertices: NDArray[np.floating], truth: NDArray[np.float64]) -> float:
    """Mean distance in the picture over the region, source pixels."""
    region = load_head().model.region
    return float(np.linalg.norm((vertices - truth)[region, :2], axis=1).mean())


def rows(rounds: int) -> list[Row]:
    """All points against 68."""
    truth, points = points_of(0)
    scale = NETWORK_PX / SOURCE_PX
    few = points[list(IBUG_68)] * scale
    usual = error_px(fit_head(few).vertices_px / scale, truth)
    head = fit_mesh(points, SOURCE_PX).head
    ours = error_px(head.pose.apply(head.vertices_mm, SOURCE_PX), truth)
    require(ours < usual, f"error {ours:.2f} px of the fit to all points, {usual:.2f} px to 68")
    return [
        compare(
            "head fitted to the 468 points of a face mesh",
            "head fitted to 68 landmarks",
            lambda: fit_head(few),
            lambda: fit_mesh(points, SOURCE_PX),
            target=2,
            check=f"no: {ours:.1f} px off the true surface of a face of 450 px, the usual way {usual:.1f} px",
            runs=3 * rounds,
        )
    ]
