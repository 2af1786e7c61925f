"""Metrics, against numpy, scikit-image and point-to-point ICP."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks.inputs import case, fine_face
from benchmarks.measure import Row, compare, require
from facepipe.bench import stages
from facepipe.geometry.volume import SURFACE_LEVEL, surface
from facepipe.metrics.faces import interocular_px, nme_pair
from facepipe.metrics.geometry import Occupancy, TrueFace, volume_iou
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
    """IoU, image metrics, ICP with NME, and a whole row of the scores."""
    return [_overlap(rounds), _images(rounds), _alignment(rounds), _row(rounds)]


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


def _row(rounds: int) -> Row:
    """All columns of a row with dense truth; what depends on the sample alone is known already."""
    face = case()
    true = TrueFace.of(face.truth, face.topology, face.truth_volume, face.geometry)
    reference = Occupancy.of(face.truth_volume, face.geometry)

    def ours() -> dict[str, float | None]:
        images = stages.score_images(face.reference, face.restored, False)
        return images | dict(stages.score_volume(face.volume, reference, true))

    found, theirs = ours(), usual_row()
    off = max(abs(theirs[name] - (found[name] or 0)) for name in ("psnr_db", "ssim", "iou"))
    require(off < TOLERANCE, f"PSNR, SSIM or IoU by {off:.1e}")
    nme = f"NME {found['nme']:.4f} and {theirs['nme']:.4f}, Chamfer distance {found['chamfer_rel']:.4f} and "
    return compare(
        "a row of scores with dense truth (aim: 35 ms)",
        "scikit-image, point to point ICP, k-d trees, sample by sample and row by row",
        usual_row,
        ours,
        target=None,
        check=f"PSNR, SSIM, IoU within {off:.0e}; {nme}{theirs['chamfer_rel']:.4f}",
        runs=3 * rounds,
    )


def usual_row() -> dict[str, float]:
    """The same figures as libraries give them, without normals: distances are to vertices."""
    face = case()
    d_px = interocular_px(face.truth.landmarks)
    inside, true_inside = face.volume >= 128, face.truth_volume >= 128
    iou = np.sum(inside & true_inside) / np.sum(inside | true_inside)
    vertices, _, _, _ = marching_cubes(np.pad(face.volume.astype(np.float32), 1), SURFACE_LEVEL)
    scale = np.array(face.geometry.spacing) * face.geometry.reference_px
    predicted = ((vertices - 0.5 - [face.geometry.z_zero, 0, 0]) * scale)[:, ::-1]
    true = np.asarray(face.truth.vertices, np.float64)
    before, after = point_to_point(true[face.topology.region], np.ascontiguousarray(predicted))
    pairs = ((true, predicted), (predicted, true))
    gaps = [cKDTree(a).query(b[:: max(1, len(b) // 3000)])[0].mean() for a, b in pairs]
    return {
        "psnr_db": peak_signal_noise_ratio(face.reference, face.restored),
        "ssim": structural_similarity(face.reference, face.restored, channel_axis=-1),
        "iou": iou,
        "nme": before / d_px,
        "nme_icp": after / d_px,
        "chamfer_rel": sum(gaps) / 2 / d_px,
    }
