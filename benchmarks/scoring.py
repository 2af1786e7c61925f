"""Metrics, against numpy, scikit-image and point-to-point ICP."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks.inputs import case, fine_face
from benchmarks.measure import Row, compare, require
from facepipe.geometry.volume import surface
from facepipe.metrics.faces import interocular_px, nme_pair
from facepipe.metrics.geometry import volume_iou
from facepipe.metrics.image import psnr_db, ssim
from facepipe.metrics.surface import Surface

ICP_STEPS = 20
TOLERANCE = 1e-9


def point_to_point(points: NDArray[np.float64], vertices: NDArray[np.float64]) -> tuple[float, float]:
    """The usual rigid ICP: mean distance of points to the nearest vertices, before and after moving them.

    Twenty steps of nearest vertices by a k-d tree and the best rotation by singular values (Arun et al.
    1987).
    """
    tree = cKDTree(vertices)
    moved = points
    for _ in range(ICP_STEPS):
        nearest = vertices[tree.query(moved)[1]]
        from_centre, to_centre = moved.mean(axis=0), nearest.mean(axis=0)
        u, _, vt = np.linalg.svd((moved - from_centre).T @ (nearest - to_centre))
        turn = (vt.T * [1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
        moved = (moved - from_centre) @ turn.T + to_centre
    nearest = vertices[tree.query(moved)[1]]
    return (
        float(np.linalg.norm(points - nearest, axis=1).mean()),
        float(np.linalg.norm(moved - nearest, axis=1).mean()),
    )


def rows(rounds: int) -> list[Row]:
    """IoU, image metrics, ICP with NME."""
    return [_overlap(rounds), _images(rounds), _alignment(rounds)]


def _overlap(rounds: int) -> Row:
    a, b = case().volume, case().truth_volume
    inside_a, inside_b = a >= 128, b >= 128
    usual = lambda: np.sum(inside_a & inside_b) / np.sum(inside_a | inside_b)  # noqa: E731
    require(volume_iou(a, b) == usual(), "IoU")
    return compare(
        "IoU of two volumes of 128 x 128 x 200",
        "numpy on bool, already thresholded",
        usual,
        lambda: volume_iou(a, b),
        target=10,
        check="equal to the last bit",
        runs=15 * rounds,
    )


def _images(rounds: int) -> Row:
    a, b = case().reference, case().restored
    usual = lambda: (peak_signal_noise_ratio(a, b), structural_similarity(a, b, channel_axis=-1))  # noqa: E731
    off = max(abs(x - y) for x, y in zip(usual(), (psnr_db(a, b), ssim(a, b)), strict=True))
    require(off < TOLERANCE, f"PSNR or SSIM by {off:.1e}")
    return compare(
        "SSIM and PSNR of 128 x 128 RGB",
        "scikit-image",
        usual,
        lambda: (psnr_db(a, b), ssim(a, b)),
        target=4,
        check=f"within {off:.0e}",
        runs=15 * rounds,
    )


def _alignment(rounds: int) -> Row:
    points, _ = fine_face()
    mesh = surface(case().volume, case().geometry)
    d_px = interocular_px(case().truth.landmarks)
    ours = lambda: nme_pair(points, Surface(mesh.vertices, mesh.triangles), d_px)  # noqa: E731
    usual = lambda: point_to_point(points, np.asarray(mesh.vertices, np.float64))  # noqa: E731
    residual, before = ours()[1], usual()[1] / d_px
    require(residual <= before, f"residual {residual:.4f} against {before:.4f}")
    return compare(
        f"rigid ICP and NME, {len(points) / 1000:.0f}k points on a mesh of {len(mesh.vertices) / 1000:.0f}k",
        f"point to point, {ICP_STEPS} steps, k-d tree",
        usual,
        ours,
        target=4,
        check=f"residual {residual:.4f} d, theirs {before:.4f}",
        runs=3 * rounds,
    )
