"""Metrics of volumes: IoU, depth and landmarks against the true geometry.

Pixels are reference pixels: those of the crop at network size (128 px), whatever the regressor's grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.truth import Topology, Truth
from facepipe.geometry.kernels import count_inside, pack_inside
from facepipe.geometry.volume import front_depth, surface
from facepipe.metrics.faces import compare_surfaces, interocular_px, landmark_depth_nme, nme_pair, visible
from facepipe.metrics.surface import Surface, SurfacePoints


@dataclass(frozen=True, eq=False)
class Occupancy:
    """What comparing volumes needs of one, worked out once.

    Attributes:
        inside: uint64, a bit for each voxel.
        depth: float32 (H, W), z of the front surface in reference pixels, NaN where there is none.
    """

    inside: NDArray[np.uint64]
    depth: NDArray[np.float32]

    @classmethod
    def of(cls, volume: NDArray[np.uint8], geometry: VolumeGeometry) -> Occupancy:
        """Look at a uint8 volume (D, H, W) of a geometry."""
        return cls(pack_inside(volume), front_depth(volume, geometry))

    @property
    def is_empty(self) -> bool:
        """Whether no voxel is inside."""
        return not np.isfinite(self.depth).any()


def volume_iou(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Intersection over union of the insides of two occupancy volumes; 1 where both are empty.

    Args:
        a, b: uint8 occupancy of the same shape; inside means at least 128.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"volumes of shapes {a.shape} and {b.shape} cannot be compared")
    return _packed_iou(pack_inside(a), pack_inside(b))


def occupancy_iou(a: Occupancy, b: Occupancy) -> float:
    """As `volume_iou`, of two volumes of one geometry."""
    return _packed_iou(a.inside, b.inside)


def _packed_iou(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
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


@dataclass(frozen=True, eq=False)
class TrueFace:
    """What scoring needs of the truth of a sample, whatever the volume: worked out once for all of them.

    Attributes:
        geometry: of the volumes that are compared with it.
        landmarks: float32 (68, 2 or 3), reference pixels, or None.
        occupancy: of the filled dense truth, or None.
        region: float64 (R, 3), the vertices over which NME is taken, or None without a dense surface.
        surface: the dense surface, or None.
        seen: points spread over the part of it that the camera sees, or None.
    """

    geometry: VolumeGeometry
    landmarks: NDArray[np.floating] | None = None
    occupancy: Occupancy | None = None
    region: NDArray[np.float64] | None = None
    surface: Surface | None = None
    seen: SurfacePoints | None = None

    @classmethod
    def of(
        cls,
        truth: Truth,
        topology: Topology | None,
        truth_volume: NDArray[np.uint8] | None,
        geometry: VolumeGeometry,
    ) -> TrueFace:
        """Work out what comparing volumes with a truth needs.

        Args:
            truth: in reference coordinates.
            topology: of the dense truth, if any.
            truth_volume: uint8 (D, H, W), the filled dense truth in this geometry, if any.
            geometry: of the volumes to be scored.
        """
        occupancy = None if truth_volume is None else Occupancy.of(truth_volume, geometry)
        made = cls(geometry, truth.landmarks, occupancy)
        if truth.vertices is None or topology is None or occupancy is None or not made.has_depth:
            return made
        surface = Surface(truth.vertices, topology.surface)
        seen = _seen(surface, occupancy.depth, geometry.reference_px)
        region = truth.vertices[topology.region].astype(np.float64)
        return replace(made, region=region, surface=surface, seen=seen)

    @property
    def has_depth(self) -> bool:
        """Whether the landmarks have a depth."""
        return self.landmarks is not None and self.landmarks.shape[1] == 3


def score_geometry(volume: NDArray[np.uint8], found: Occupancy, true: TrueFace) -> dict[str, float | None]:
    """Score a volume against what is known about the face, in reference coordinates.

    Args:
        volume: uint8 (D, H, W), of the truth's geometry.
        found: its occupancy.
        true: what is known.

    Returns:
        The geometry columns that apply to this kind of truth (see `facepipe.metrics.catalogue`), None where
        the prediction leaves one undefined.
    """
    scores: dict[str, float | None] = {}
    true_depth = None
    if true.occupancy is not None:
        true_depth = true.occupancy.depth
        scores["iou"] = occupancy_iou(found, true.occupancy)
        scores["depth_rmse_px"], scores["coverage"] = front_surface_errors(found.depth, true_depth)
    if true.landmarks is not None and true.has_depth:
        scores["landmark_depth_nme"] = landmark_depth_nme(
            true.landmarks, found.depth, true_depth, true.geometry.reference_px
        )
        if true.surface is not None and true.region is not None and true.seen is not None:
            d_px = interocular_px(true.landmarks)
            if found.is_empty or d_px == 0:  # a prediction without a surface finds nothing of the truth
                undefined = ("nme", "nme_icp", "chamfer_rel", "normal_deg")
                return scores | dict.fromkeys(undefined) | {"fscore_1pct": 0.0}
            predicted = Surface.of(surface(volume, true.geometry))
            seen = _seen(predicted, found.depth, true.geometry.reference_px)
            scores["nme"], scores["nme_icp"] = nme_pair(true.region, predicted, d_px)
            if len(seen.points) and len(true.seen.points):
                both = compare_surfaces(predicted, seen, true.surface, true.seen, d_px)
                scores["chamfer_rel"] = both.chamfer_rel
                scores["fscore_1pct"] = both.fscore
                scores["normal_deg"] = both.normal_deg
    return scores


def _seen(of: Surface, depth: NDArray[np.float32], pixel_px: float) -> SurfacePoints:
    """Points spread over the part of a surface that the camera sees."""
    points = of.sample(SAMPLE_POINTS, SEED)
    facing = of.normals_at(points)[:, 2] > 0
    return points.keep(facing & visible(points.points, depth, pixel_px, VISIBLE_WITHIN_PX))
