"""Metrics of volumes: IoU, depth and landmarks against the true geometry.

Pixels are reference pixels: those of the crop at network size (128 px), whatever the regressor's grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.truth import Topology, Truth
from facepipe.geometry.kernels import count_inside
from facepipe.geometry.volume import front_depth, surface
from facepipe.metrics.faces import compare_surfaces, interocular_px, landmark_depth_nme, nme_pair, visible
from facepipe.metrics.surface import Surface, SurfacePoints


def volume_iou(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Intersection over union of the insides of two occupancy volumes; 1 where both are empty.

    Args:
        a, b: uint8 occupancy of the same shape; inside means at least 128.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"volumes of shapes {a.shape} and {b.shape} cannot be compared")
    both, either = count_inside(a, b)
    return 1.0 if either == 0 else both / either


def front_surface_errors(
    pred_depth: NDArray[np.floating], true_depth: NDArray[np.floating]
) -> tuple[float | None, float | None]:
    """Compare two maps of the surface that the camera sees.

    Args:
        pred_depth, true_depth: (H, W), z of the front surface in reference pixels, NaN where there is none.

    Returns:
        The root mean square difference in reference pixels over the pixels where both surfaces are (None
        if there are no such pixels), and the share of the truth's pixels that the prediction covers,
        0 to 1 (None if the truth is empty).

    Raises:
        ValueError: the shapes differ.
    """
    if pred_depth.shape != true_depth.shape:
        raise ValueError(f"depth maps of shapes {pred_depth.shape} and {true_depth.shape} differ in shape")
    there = np.isfinite(true_depth)
    both = there & np.isfinite(pred_depth)
    n_there, n_both = np.count_nonzero(there), np.count_nonzero(both)
    if n_both == 0:
        return None, (0.0 if n_there else None)
    difference = pred_depth[both].astype(np.float64) - true_depth[both]
    return float(np.sqrt(np.mean(difference * difference))), float(n_both / n_there)


SAMPLE_POINTS = 3000
"""Points spread over each surface for Chamfer distance, F-score and normals."""

SEED = 0
"""Of these points: the same for every sample."""

VISIBLE_WITHIN_PX = 1.0
"""How far behind the front surface of its volume a point of a surface may lie and still be seen: a voxel."""


def score_geometry(
    volume: NDArray[np.uint8],
    geometry: VolumeGeometry,
    truth: Truth,
    topology: Topology | None,
    truth_volume: NDArray[np.uint8] | None,
) -> dict[str, float | None]:
    """Score a volume against what is known about the face, in reference coordinates.

    Args:
        volume: uint8 (D, H, W).
        geometry: of the volume.
        truth: in reference coordinates.
        topology: of the dense truth, if any.
        truth_volume: the filled dense truth in the same geometry, if any.

    Returns:
        The geometry columns that apply to this kind of truth (see `facepipe.metrics.catalogue`), None where
        the prediction leaves one undefined.
    """
    scores: dict[str, float | None] = {}
    pred_depth = front_depth(volume, geometry)
    true_depth = None
    if truth_volume is not None:
        true_depth = front_depth(truth_volume, geometry)
        scores["iou"] = volume_iou(volume, truth_volume)
        scores["depth_rmse_px"], scores["coverage"] = front_surface_errors(pred_depth, true_depth)
    if truth.landmarks is not None and truth.landmarks.shape[1] == 3:
        scores["landmark_depth_nme"] = landmark_depth_nme(
            truth.landmarks, pred_depth, true_depth, geometry.reference_px
        )
        if truth.vertices is not None and topology is not None and true_depth is not None:
            d_px = interocular_px(truth.landmarks)
            scores |= _score_surfaces(
                volume, geometry, truth.vertices, topology, pred_depth, true_depth, d_px
            )
    return scores


def _score_surfaces(
    volume: NDArray[np.uint8],
    geometry: VolumeGeometry,
    vertices: NDArray[np.float32],
    topology: Topology,
    pred_depth: NDArray[np.float32],
    true_depth: NDArray[np.float32],
    d_px: float,
) -> dict[str, float | None]:
    """The metrics that compare meshes; a prediction without a surface finds nothing of the truth."""
    if not np.isfinite(pred_depth).any() or d_px == 0:
        return dict.fromkeys(("nme", "nme_icp", "chamfer_rel", "normal_deg")) | {"fscore_1pct": 0.0}
    mesh = surface(volume, geometry)
    predicted = Surface(mesh.vertices, mesh.triangles)
    true = Surface(vertices, topology.surface)
    pixel_px = geometry.reference_px
    nme, nme_icp = nme_pair(vertices[topology.region].astype(np.float64), predicted, d_px)
    pred_points = _seen(predicted, pred_depth, pixel_px)
    true_points = _seen(true, true_depth, pixel_px)
    scores: dict[str, float | None] = {"nme": nme, "nme_icp": nme_icp}
    if len(pred_points.points) and len(true_points.points):
        found = compare_surfaces(predicted, pred_points, true, true_points, d_px)
        scores |= {
            "chamfer_rel": found.chamfer_rel,
            "fscore_1pct": found.fscore,
            "normal_deg": found.normal_deg,
        }
    return scores


def _seen(of: Surface, depth: NDArray[np.float32], pixel_px: float) -> SurfacePoints:
    """Points spread over the part of a surface that the camera sees."""
    points = of.sample(SAMPLE_POINTS, SEED)
    facing = of.normals_at(points)[:, 2] > 0
    return points.keep(facing & visible(points.points, depth, pixel_px, VISIBLE_WITHIN_PX))
