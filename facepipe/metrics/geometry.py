"""How near a predicted volume is to the true geometry.

Pixels are reference pixels: those of the crop at network size (128 px), whatever the regressor's grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facepipe.conventions import INSIDE_LEVEL, VolumeGeometry
from facepipe.truth import Topology, Truth
from facepipe.volume import front_depth


def volume_iou(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Intersection over union of the insides of two occupancy volumes; 1 where both are empty.

    Args:
        a, b: uint8 occupancy of the same shape; inside means at least `INSIDE_LEVEL`.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"volumes of shapes {a.shape} and {b.shape} cannot be compared")
    inside_a = a >= INSIDE_LEVEL
    inside_b = b >= INSIDE_LEVEL
    union = np.count_nonzero(inside_a | inside_b)
    return 1.0 if union == 0 else np.count_nonzero(inside_a & inside_b) / union


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
    return float(np.sqrt(np.mean(difference * difference))), n_both / n_there


def score_geometry(
    volume: NDArray[np.uint8],
    geometry: VolumeGeometry,
    truth: Truth,  # noqa: ARG001
    topology: Topology | None,  # noqa: ARG001
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
        The geometry columns that apply.
    """
    if truth_volume is None:
        return {}
    rmse_px, coverage = front_surface_errors(
        front_depth(volume, geometry), front_depth(truth_volume, geometry)
    )
    return {"iou": volume_iou(volume, truth_volume), "depth_rmse_px": rmse_px, "coverage": coverage}
