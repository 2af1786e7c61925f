"""Metrics of face surfaces, normalised by the distance of the outer eye corners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facepipe.metrics.alignment import align
from facepipe.metrics.surface import Surface, SurfacePoints

OUTER_EYE_CORNERS = (36, 45)
"""Landmarks 37 and 46 counted from 1."""

EYES = (slice(36, 42), slice(42, 48))
"""The landmarks around each eye."""

INNER_LANDMARKS = slice(17, 68)
"""The 51 landmarks without the jaw."""

HIDDEN_BEHIND = 0.05
"""A landmark farther than this, in d, behind the truth's surface at its pixel is hidden."""

MIN_LANDMARKS = 10
"""Fewest landmarks that a depth error is taken over: with fewer the median offset hides the error."""

FSCORE_DISTANCE = 0.01
"""Largest distance, in d, of a point that counts as found."""

Depth = NDArray[np.floating]


def interocular_px(landmarks: NDArray[np.floating]) -> float:
    """d: the distance of the outer eye corners of (68, 2 or 3) landmarks."""
    first, second = (landmarks[i].astype(np.float64) for i in OUTER_EYE_CORNERS)
    return float(np.linalg.norm(first - second))


def eye_distance_px(landmarks: NDArray[np.floating]) -> float | None:
    """Distance of the eyes' centres in the picture, the pixels by which studies of low resolution count.

    The centre of an eye is the mean of its six landmarks (37 to 42 and 43 to 48 counted from 1). Of a turned
    face the distance is smaller than of the same face seen from the front.

    Args:
        landmarks: (68, 2 or 3).

    Returns:
        The distance in pixels of the landmarks; None where one of these is not known.
    """
    left, right = (landmarks[eye, :2].astype(np.float64).mean(axis=0) for eye in EYES)
    distance = float(np.linalg.norm(left - right))
    return distance if np.isfinite(distance) else None


def nme_pair(region: NDArray[np.floating], predicted: Surface, d_px: float) -> tuple[float, float]:
    """Normalised mean error without and with rigid alignment, VRN's definition.

    (1 / N) sum |x_k - y_k| / d over the region's N vertices x_k; y_k is the point of the predicted surface
    nearest to x_k after point-to-plane ICP. The first figure measures where the points were predicted, the
    second after alignment. Source: Jackson et al., ICCV 2017, section 4.

    Args:
        region: (N, 3), vertices of the truth's face region, reference pixels.
        predicted: in the same frame.
        d_px: of the truth.
    """
    moved = align(region, predicted).apply(region)
    found = predicted.closest(moved).points
    as_predicted = np.linalg.norm(region - found, axis=1).mean()
    aligned = np.linalg.norm(moved - found, axis=1).mean()
    return float(as_predicted / d_px), float(aligned / d_px)


def landmark_depth_nme(
    landmarks: NDArray[np.floating], pred_depth: Depth, true_depth: Depth | None, pixel_px: float = 1.0
) -> float | None:
    """Mean |dz - median dz| / d over landmarks, dz = predicted surface's z - landmark's z.

    Counted are the inner 51 landmarks that lie in the predicted silhouette and are not hidden: not farther
    than `HIDDEN_BEHIND` d behind the truth's surface at their pixel. Without that surface all count.

    Args:
        landmarks: (68, 3), reference pixels.
        pred_depth: (H, W), z of the predicted front surface, NaN where there is none.
        true_depth: the same of the truth, or None.
        pixel_px: reference pixels that a pixel of the maps is.

    Returns:
        The error; None where fewer than `MIN_LANDMARKS` count.
    """
    d_px = interocular_px(landmarks)
    inner = landmarks[INNER_LANDMARKS].astype(np.float64)
    predicted = depth_at(pred_depth, inner / pixel_px)
    counts = np.isfinite(predicted)
    if true_depth is not None:
        surface_z = depth_at(true_depth, inner / pixel_px)
        counts &= ~(surface_z - inner[:, 2] > HIDDEN_BEHIND * d_px)
    if np.count_nonzero(counts) < MIN_LANDMARKS or d_px == 0:
        return None
    difference = (predicted - inner[:, 2])[counts]
    return float(np.abs(difference - np.median(difference)).mean() / d_px)


@dataclass(frozen=True)
class SurfaceScores:
    """How two surfaces compare.

    Attributes:
        chamfer_rel: mean of the two mean distances, in d.
        fscore: harmonic mean of the shares of points nearer than the threshold to the other surface.
        normal_deg: mean angle between normals at points of the true surface and their nearest points.
    """

    chamfer_rel: float
    fscore: float
    normal_deg: float


def compare_surfaces(
    predicted: Surface, pred_points: SurfacePoints, true: Surface, true_points: SurfacePoints, d_px: float
) -> SurfaceScores:
    """Compare surfaces by points spread over either (or over a part of it) and nearest points of the other.

    Args:
        predicted, true: in the same frame.
        pred_points, true_points: points of each, at least one.
        d_px: outer eye corner distance of the truth.
    """
    to_pred = predicted.closest(true_points.points)
    to_true = true.closest(pred_points.points)
    true_gaps = np.linalg.norm(true_points.points - to_pred.points, axis=1)
    pred_gaps = np.linalg.norm(pred_points.points - to_true.points, axis=1)
    cosines = np.einsum("nd,nd->n", true.normals_at(true_points), predicted.normals_at(to_pred))
    recall = np.mean(true_gaps <= FSCORE_DISTANCE * d_px)
    precision = np.mean(pred_gaps <= FSCORE_DISTANCE * d_px)
    both = precision + recall
    return SurfaceScores(
        chamfer_rel=float((true_gaps.mean() + pred_gaps.mean()) / 2 / d_px),
        fscore=float(2 * precision * recall / both) if both else 0.0,
        normal_deg=float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean()),
    )


def depth_at(depth: Depth, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Depth at points (N, 2 or 3) in the map's own pixels: bilinear, NaN outside the silhouette.

    A point is in the silhouette if its pixel is; where one of the four pixels around has no surface, the
    depth of its own pixel is taken.
    """
    height, width = depth.shape
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    own = np.full(len(points), np.nan)
    own[inside] = depth[row[inside], column[inside]]
    left = np.clip(np.floor(x - 0.5).astype(int), 0, width - 2)
    top = np.clip(np.floor(y - 0.5).astype(int), 0, height - 2)
    across, down = np.clip(x - 0.5 - left, 0, 1), np.clip(y - 0.5 - top, 0, 1)
    upper = depth[top, left] * (1 - across) + depth[top, left + 1] * across
    lower = depth[top + 1, left] * (1 - across) + depth[top + 1, left + 1] * across
    smooth = upper * (1 - down) + lower * down
    return np.where(np.isfinite(own) & np.isfinite(smooth), smooth, own)


def visible(
    points: NDArray[np.floating], depth: Depth, pixel_px: float, tolerance_px: float
) -> NDArray[np.bool_]:
    """Which points (N, 3) of a surface the camera sees: those not behind its own front surface.

    Args:
        points: reference pixels.
        depth: (H, W), z of the front surface, reference pixels.
        pixel_px: reference pixels that a pixel of the map is.
        tolerance_px: how far behind a seen point may lie.
    """
    front = depth_at(depth, points / pixel_px)
    return ~(front - points[:, 2] > tolerance_px)
