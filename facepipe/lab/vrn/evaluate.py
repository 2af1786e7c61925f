"""How good a regressor is: figures of single images, and their means with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import SampleError
from facepipe.core.truth import Truth
from facepipe.geometry.head import load_head
from facepipe.geometry.head_fit import FittedHead, fit_head
from facepipe.geometry.morphable import SOURCE_PX
from facepipe.geometry.volume import front_depth
from facepipe.geometry.voxelise import voxelise
from facepipe.imaging.degrade import degrade
from facepipe.lab.faces.factory import example, render, sample
from facepipe.lab.faces.seeds import face_seed
from facepipe.metrics.faces import (
    HIDDEN_BEHIND,
    INNER_LANDMARKS,
    MIN_LANDMARKS,
    depth_at,
    interocular_px,
    visible,
)
from facepipe.metrics.geometry import front_surface_errors, volume_iou
from facepipe.metrics.intervals import Estimate, mean_of
from facepipe.metrics.ranges import TONE, YAW, by_range
from facepipe.models.vrn.base import VolumeRegressor
from facepipe.models.weights import FITTED_HEAD, TRUTH_ITSELF

DEFAULT_DEGRADATION = "area"

Low = tuple[str, int]
"""A degradation, and the side in pixels to which it brings an image."""


@dataclass(frozen=True, eq=False)
class Case:
    """An image and what is known about it.

    Attributes:
        image: uint8 RGB (128, 128, 3).
        truth: in reference coordinates.
        volume: the filled truth in the regressor's geometry, None where there is no dense truth.
        fitted: the filled head that was fitted to the landmarks, None where there is dense truth.
        yaw_deg: None where unknown.
        skin_tone: 0 (lightest) to 1 (darkest), None where unknown.
        grey: whether the picture has no colours, None where unknown.
        subset: the part of its data set, '' where that has none.
        low_px: side to which the image was degraded before it was enlarged again, None for a reference.
        degradation: how.
        perfect: '' for a prediction, else which perfect volume was compared in its place: `TRUTH_ITSELF` or
            `FITTED_HEAD`.
    """

    image: NDArray[np.uint8]
    truth: Truth
    volume: NDArray[np.uint8] | None = None
    fitted: NDArray[np.uint8] | None = None
    yaw_deg: float | None = None
    skin_tone: float | None = None
    grey: bool | None = None
    subset: str = ""
    low_px: int | None = None
    degradation: str = DEFAULT_DEGRADATION
    perfect: str = ""

    def lowered(self, image: NDArray[np.uint8], low: Low, sample_id: str) -> Case:
        """The same face seen at low resolution, enlarged bilinearly.

        Args:
            image: uint8 RGB (S, S, 3), of which the low resolution is made.
            low: how.
            sample_id: seeds what a degradation draws.
        """
        degradation, px = low
        small = degrade(image, degradation, px, 0, sample_id)
        enlarged = cv2.resize(small, (NETWORK_PX, NETWORK_PX), interpolation=cv2.INTER_LINEAR)
        return replace(self, image=np.asarray(enlarged, np.uint8), low_px=px, degradation=degradation)


@dataclass(frozen=True)
class Figures:
    """Figures of one image; None where the truth does not give one, or the prediction leaves it undefined.

    Attributes:
        iou: intersection over union with the filled truth.
        depth_rmse_px: of the front surface, over the pixels where both have one.
        landmark_depth_error: mean |dz - median dz| over the inner 51 landmarks in the predicted silhouette,
            over sqrt(w h) of all 68 landmarks' box. Landmarks behind the front surface count too, as in the
            published protocol, so that even the truth errs there.
        landmarks_inside: share of the inner 51 landmarks in the predicted silhouette, those that count above:
            who covers more of a turned face has more hidden ones counted.
        visible_depth_error: the same over those landmarks only that the front surface of the truth does not
            hide; None where there is no dense truth.
        flat_depth_error: the same of a surface without depth: what knowing nothing gives.
        landmark_correlation: Pearson's, of predicted and true depths of the same landmarks.
        visible_correlation: the same over the landmarks of `visible_depth_error`.
        hull_coverage: share of the pixels in the convex hull of the 68 landmarks that are in the silhouette.
    """

    iou: float | None = None
    depth_rmse_px: float | None = None
    landmark_depth_error: float | None = None
    landmarks_inside: float | None = None
    visible_depth_error: float | None = None
    flat_depth_error: float | None = None
    landmark_correlation: float | None = None
    visible_correlation: float | None = None
    hull_coverage: float | None = None


def factory_cases(count: int, geometry: VolumeGeometry, lows: Sequence[Low] = ()) -> Iterator[Case]:
    """Make the first faces of the test seeds, on which no training looks, each also at low resolutions."""
    head = load_head()
    for index in range(count):
        face = sample(face_seed("test", index), head)
        made = example(face, geometry, head)
        truth = Truth("landmarks3d", None, made.landmarks)
        yaw_deg = math.degrees(face.pose.yaw_rad)
        case = Case(made.image, truth, made.volume, yaw_deg=yaw_deg, skin_tone=face.skin_tone)
        yield case
        source = render(face, SOURCE_PX, head) if lows else made.image
        for low in lows:
            yield case.lowered(source, low, str(index))


def evaluate(
    regressor: VolumeRegressor, geometry: VolumeGeometry, cases: Iterable[Case]
) -> list[tuple[Case, Figures]]:
    """Regress images one by one and compare them with what is known.

    Returns:
        Each case with its figures, and each reference once more with those of a perfect volume where there is
        one. Their volumes are dropped: a thousand of them fill a machine.
    """
    results = []
    for case in cases:
        known = replace(case, volume=None, fitted=None)
        results.append((known, compare(regressor(case.image[None])[0], geometry, case)))
        if case.low_px is not None:
            continue
        for perfect, volume in ((TRUTH_ITSELF, case.volume), (FITTED_HEAD, case.fitted)):
            if volume is not None:
                results.append((replace(known, perfect=perfect), compare(volume, geometry, case)))
    return results


def compare(volume: NDArray[np.uint8], geometry: VolumeGeometry, case: Case) -> Figures:
    """Compare a volume (D, H, W) with what is known about its image."""
    depth = front_depth(volume, geometry)
    true_depth = None
    found: dict[str, float | None] = {}
    if case.volume is not None:
        true_depth = front_depth(case.volume, geometry)
        found["iou"] = volume_iou(volume, case.volume)
        found["depth_rmse_px"], _ = front_surface_errors(depth, true_depth)
    landmarks = case.truth.landmarks
    if landmarks is not None:
        found["hull_coverage"] = _hull_coverage(depth, landmarks / geometry.reference_px)
        if landmarks.shape[1] == 3:
            found |= _landmark_depth(depth, true_depth, landmarks.astype(np.float64), geometry.reference_px)
    return Figures(**found)


def _landmark_depth(
    depth: NDArray[np.float32],
    true_depth: NDArray[np.float32] | None,
    landmarks: NDArray[np.float64],
    pixel_px: float,
) -> dict[str, float | None]:
    inner = landmarks[INNER_LANDMARKS]
    predicted = depth_at(depth, inner / pixel_px)
    counts = np.isfinite(predicted)
    size_px = float(np.sqrt(np.prod(np.ptp(landmarks[:, :2], axis=0))))
    inside = float(counts.mean())
    if np.count_nonzero(counts) < MIN_LANDMARKS or size_px == 0:
        return {"landmarks_inside": inside}
    found: dict[str, float | None] = {
        "landmarks_inside": inside,
        "landmark_depth_error": _spread((predicted - inner[:, 2])[counts]) / size_px,
        "flat_depth_error": _spread(inner[counts, 2]) / size_px,
        "landmark_correlation": _correlation(inner[counts, 2], predicted[counts]),
    }
    if true_depth is not None:
        tolerance_px = HIDDEN_BEHIND * interocular_px(landmarks)
        seen = counts & visible(inner, true_depth, pixel_px, tolerance_px)
        if np.count_nonzero(seen) >= MIN_LANDMARKS:
            found["visible_depth_error"] = _spread((predicted - inner[:, 2])[seen]) / size_px
            found["visible_correlation"] = _correlation(inner[seen, 2], predicted[seen])
    return found


def _correlation(z: NDArray[np.float64], predicted: NDArray[np.float64]) -> float | None:
    """Pearson's; None where one of them is the same everywhere."""
    if np.ptp(z) == 0 or np.ptp(predicted) == 0:
        return None
    return float(np.corrcoef(z, predicted)[0, 1])


def _spread(values: NDArray[np.float64]) -> float:
    return float(np.abs(values - np.median(values)).mean())


def _hull_coverage(depth: NDArray[np.float32], points: NDArray[np.floating]) -> float | None:
    """Share of the pixels with their centre in the hull of points (68, 2 or 3) that have a surface."""
    hull = cv2.convexHull(points[:, :2].astype(np.float32))
    steps = 8  # bits of a pixel's fraction; OpenCV counts pixel centres at whole numbers
    fixed = np.rint((hull - 0.5) * 2**steps).astype(np.int32)
    inside = cv2.fillConvexPoly(np.zeros(depth.shape, np.uint8), fixed, 1, shift=steps) > 0
    if not inside.any():
        return None
    return float(np.isfinite(depth[inside]).mean())


def summarise(figures: Sequence[Figures]) -> dict[str, Estimate]:
    """Means of every figure that some image has."""
    means = {}
    for field in fields(Figures):
        values = np.array([v for v in (getattr(one, field.name) for one in figures) if v is not None])
        if len(values):
            means[field.name] = mean_of(values)
    return means


def groups(results: Sequence[tuple[Case, Figures]]) -> dict[str, dict[str, Estimate]]:
    """Means for all references, for ranges of their |yaw| and skin tone where known, for grey pictures and
    those in colours, for the parts of a data set, for low resolutions.

    The same for perfect volumes where they were compared, by yaw.
    """
    predicted = [(case, figures) for case, figures in results if not case.perfect]
    references = [(case, figures) for case, figures in predicted if case.low_px is None]
    tables = {"all": summarise([figures for _, figures in references])}
    for what in (YAW, TONE):
        tables |= {name: summarise(chosen) for name, chosen in by_range(what, references).items()}
    tables |= _by_kind(references)
    for degradation, px in sorted({(c.degradation, c.low_px) for c, _ in predicted if c.low_px is not None}):
        tables[f"{degradation} {px} px, bilinear"] = summarise(
            [figures for case, figures in predicted if (case.degradation, case.low_px) == (degradation, px)]
        )
    for perfect in (TRUTH_ITSELF, FITTED_HEAD):
        known = [(case, figures) for case, figures in results if case.perfect == perfect]
        if known:
            tables[f"{perfect}, all"] = summarise([figures for _, figures in known])
            ranges = by_range(YAW, known)
            tables |= {f"{perfect}, {name}": summarise(chosen) for name, chosen in ranges.items()}
    return tables


def _by_kind(references: Sequence[tuple[Case, Figures]]) -> dict[str, dict[str, Estimate]]:
    """Means for grey pictures and for those in colours, and for every part of a data set that has several."""
    tables = {}
    for name, wanted in (("colours", False), ("grey", True)):
        chosen = [figures for case, figures in references if case.grey is wanted]
        if chosen:
            tables[f"picture in {name}"] = summarise(chosen)
    subsets = sorted({case.subset for case, _ in references})
    if len(subsets) > 1:
        for subset in subsets:
            tables[f"part {subset}"] = summarise(
                [figures for case, figures in references if case.subset == subset]
            )
    return tables


def fitted_head(truth: Truth) -> FittedHead | None:
    """The head that goes with 3D landmarks in reference coordinates, None without or without an extent."""
    landmarks = truth.landmarks
    if landmarks is None or landmarks.shape[1] != 3 or not np.ptp(landmarks[:, :2], axis=0).all():
        return None
    try:
        return fit_head(landmarks)
    except SampleError:
        return None


def fitted_volume(truth: Truth, geometry: VolumeGeometry) -> NDArray[np.uint8] | None:
    """The volume (D, H, W) of the head that goes with 3D landmarks in reference coordinates.

    None where there is no such head, or none that a volume holds.
    """
    fitted = fitted_head(truth)
    try:
        return None if fitted is None else voxelise(fitted.vertices_px, load_head().model.solid, geometry)
    except SampleError:
        return None
