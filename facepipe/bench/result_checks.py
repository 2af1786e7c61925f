"""Check that results of other programs lie where the faces are, before anything is scored.

Tables of the field have been spoilt by results in another frame, mirrored, of another scale or under another
name. Each of these is a hypothesis about a whole folder. It is tested on some samples: the depth of the
result below the true face is compared with the truth, as it stands and as the hypothesis has it. A folder
that fits clearly better under a hypothesis than as it stands is refused with that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facepipe.bench.external_results import (
    FRAMES,
    ExternalResults,
    Frame,
    to_reference,
)
from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import SampleError, UsageError
from facepipe.core.truth import Topology, Truth
from facepipe.imaging.crop import Crop
from facepipe.metrics.faces import INNER_LANDMARKS, interocular_px
from facepipe.metrics.surface import Surface

CHECKED_SAMPLES = 48
"""Samples of a folder that are looked at, spread evenly over it."""

SURFACE_POINTS = 4000
"""Points spread over a result, which stand for its surface."""

TRUE_POINTS = 200
"""Points of the true face, at most."""

REACH_PX = 3.0
"""A true point with no point of the result so near in x and y is not covered."""

UNCOVERED = 0.3
"""What a true point that is not covered counts for, in d."""

CLEARLY = 0.75
"""A hypothesis has to bring the median error below this share of the error as it stands, ..."""

MOSTLY = 0.7
"""... for this share of the samples, ..."""

STRICTLY = 0.5
"""... and below this share where fewer than `FEW` samples were looked at, or where it can be a poor
method, one that makes faces flat."""

FEW = 4

NOTICEABLE = 0.02
"""Smallest median error as it stands, in d, that is doubted: nearer results are as good as any."""

SMALLEST_WIDTH, LARGEST_WIDTH = 0.4, 6.0
"""Width of a result in widths of the true face's front: from a mask of its middle to a bust."""

SHIFTS = (0.3, 0.8)
"""Steps, in d, by which results are moved in the picture to see whether they fit better."""

FAR_OFF = 0.25
"""Median error, in d, from which on results do not lie on the faces at all."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class CheckedSample:
    """A sample as the checks see it.

    Attributes:
        sample_id: its id.
        crop: its square in the photo.
        points: (N, 3), points of the true face that the camera sees, reference pixels.
        d_px: distance of the true outer eye corners.
    """

    sample_id: str
    crop: Crop
    points: Points
    d_px: float


def checked_sample(
    sample_id: str, crop: Crop, truth: Truth, topology: Topology | None
) -> CheckedSample | None:
    """Choose the points of a sample that results are compared at; None where the truth has no depth.

    Args:
        sample_id: its id.
        crop: its square in the photo.
        truth: in reference coordinates.
        topology: of the dense truth, if any.
    """
    if truth.landmarks is None or truth.landmarks.shape[1] != 3:
        return None
    d_px = interocular_px(truth.landmarks)
    if not np.isfinite(d_px) or d_px == 0:
        return None
    points = truth.landmarks[INNER_LANDMARKS].astype(np.float64)
    if truth.vertices is not None and topology is not None:
        normals = Surface(truth.vertices, topology.surface).normals
        used = np.unique(topology.surface)
        seen = used[normals[:, 2] > 0.3]
        region = np.intersect1d(seen, topology.region)
        if len(region) >= len(points):
            points = truth.vertices[region[:: max(1, len(region) // TRUE_POINTS)]].astype(np.float64)
    return CheckedSample(sample_id, crop, points, d_px)


def spread(vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> Points:
    """Points (`SURFACE_POINTS`, 3) spread evenly over a mesh, (V, 3) and (T, 3)."""
    return Surface(vertices, triangles).sample(SURFACE_POINTS, seed=0).points


def misfit(surface_points: Points, sample: CheckedSample) -> float:
    """How far a result is from the true face, in d, whatever its place along z.

    The mean over the true points of |dz - median dz|, at most `UNCOVERED`, which also counts for a point
    that has nothing above it. dz is taken to the foremost of the result's points around.

    Args:
        surface_points: (M, 3), spread over the result, reference pixels.
        sample: the truth.
    """
    front = _front_z(surface_points, sample.points)
    covered = np.isfinite(front)
    if not covered.any():
        return UNCOVERED
    dz = front[covered] - sample.points[covered, 2]
    errors = np.full(len(front), UNCOVERED)
    errors[covered] = np.minimum(np.abs(dz - np.median(dz)) / sample.d_px, UNCOVERED)
    return float(errors.mean())


def shift_z(surface_points: Points, sample: CheckedSample) -> float:
    """How far a result is to be moved along z so that the median of its differences to the truth is 0.

    Raises:
        SampleError: misplaced-result, it covers no point of the true face.
    """
    front = _front_z(surface_points, sample.points)
    if not np.isfinite(front).any():
        raise SampleError(
            "misplaced-result", f"{sample.sample_id}: the result lies beside the face in the picture"
        )
    return float(np.nanmedian(sample.points[:, 2] - front))


def check_results(results: ExternalResults, samples: Sequence[CheckedSample], frame: str) -> ExternalResults:
    """Check a folder of results; return it with its frame.

    Args:
        results: the folder.
        samples: those that are looked at, see `checked_sample`; each has a file.
        frame: one of `FRAMES`, or 'auto' to take the one that fits.

    Raises:
        UsageError: the results lie elsewhere, are mirrored, of another scale, or belong to other samples; the
            message says which.
    """
    found = [(sample, _spread(results, sample.sample_id)) for sample in samples]
    looked_at = [sample for sample, points in found if len(points)]
    raw = [points for _, points in found if len(points)]
    if not looked_at:
        raise UsageError(
            f"{results.folder}: no readable result belongs to a sample whose depth is known; results are "
            "scored on data sets with dense truth or landmarks in 3D"
        )
    fits = {name: _misfits(results, raw, looked_at, name) for name in FRAMES}
    if results.is_volumes():
        chosen: Frame = "crop"
    elif frame == "auto":
        chosen = min(FRAMES, key=lambda name: float(np.median(fits[name])))
    else:
        chosen = next(name for name in FRAMES if name == frame)
    before = fits[chosen]
    placed = [_placed(results, points, s.crop, chosen) for points, s in zip(raw, looked_at, strict=True)]
    _check_width(results, placed, looked_at)
    _refuse_if_better(results, before, {f"they fit as --frame {name}": fits[name] for name in FRAMES})
    _refuse_if_better(
        results,
        before,
        {
            why: np.array([misfit(change(p, s), s) for p, s in zip(placed, looked_at, strict=True)])
            for why, change in _HYPOTHESES.items()
        },
    )
    _check_owners(results, placed, looked_at, before)
    typical = float(np.median(before))
    if typical > FAR_OFF:
        raise UsageError(
            f"{results.folder}: misaligned: the results do not lie on the faces (median depth error "
            f"{typical:.2f} of the distance of the eyes); expected the coordinates of --frame "
            "image, crop or file"
        )
    return replace(results, frame=chosen)


def _spread(results: ExternalResults, sample_id: str) -> Points:
    """Points spread over a result, in the coordinates of its file; none where it cannot be read."""
    try:
        mesh = results.mesh(sample_id)
    except SampleError:
        return np.zeros((0, 3))
    return spread(mesh.vertices, mesh.triangles)


def _placed(results: ExternalResults, points: Points, crop: Crop, frame: Frame) -> Points:
    return points if results.is_volumes() else to_reference(points, frame, crop)


def _misfits(
    results: ExternalResults,
    raw: Sequence[Points],
    samples: Sequence[CheckedSample],
    frame: Frame,
) -> NDArray[np.float64]:
    placed = (_placed(results, p, sample.crop, frame) for p, sample in zip(raw, samples, strict=True))
    return np.array([misfit(points, sample) for points, sample in zip(placed, samples, strict=True)])


def _front_z(surface_points: Points, at: Points) -> NDArray[np.float64]:
    """z of the foremost of a result's points around each of (N, 3) points; NaN where there is none."""
    if not len(surface_points):
        return np.full(len(at), np.nan)
    tree = cKDTree(surface_points[:, :2])
    found = tree.query_ball_point(at[:, :2], REACH_PX / 2)
    front = np.array([surface_points[near, 2].max() if near else np.nan for near in found])
    empty = np.isnan(front)
    if empty.any():
        distance, nearest = tree.query(at[empty, :2], k=min(4, len(surface_points)))
        z = surface_points[nearest, 2].reshape(len(distance), -1).max(axis=1)
        front[empty] = np.where(distance.reshape(len(distance), -1)[:, 0] <= REACH_PX, z, np.nan)
    return front


def _mirror_x(points: Points, sample: CheckedSample) -> Points:  # noqa: ARG001
    return points * [-1, 1, 1] + [NETWORK_PX, 0, 0]


def _mirror_face(points: Points, sample: CheckedSample) -> Points:
    """Mirrored about the middle of the face, as by a program that mirrors its mesh and not its picture."""
    return points * [-1, 1, 1] + [2 * float(np.median(sample.points[:, 0])), 0, 0]


def _flip_y(points: Points, sample: CheckedSample) -> Points:  # noqa: ARG001
    return points * [1, -1, 1] + [0, NETWORK_PX, 0]


def _scaled(*factors: float) -> Callable[[Points, CheckedSample], Points]:
    def scale(points: Points, sample: CheckedSample) -> Points:  # noqa: ARG001
        middle = np.median(points, axis=0) if len(points) else np.zeros(3)
        return (points - middle) * factors + middle

    return scale


def _moved(right: float, down: float) -> Callable[[Points, CheckedSample], Points]:
    def move(points: Points, sample: CheckedSample) -> Points:
        return points + np.array([right, down, 0.0]) * sample.d_px

    return move


_FLAT_METHOD = "wrongly scaled: they fit with twice their depth"

_HYPOTHESES: dict[str, Callable[[Points, CheckedSample], Points]] = {
    "mirrored: they fit with left and right of the picture exchanged": _mirror_x,
    "mirrored: they fit with left and right of the face exchanged": _mirror_face,
    "mirrored: they fit with top and bottom exchanged": _flip_y,
    "mirrored: they fit with front and back exchanged": _scaled(1, 1, -1),
    _FLAT_METHOD: _scaled(1, 1, 2),
    "wrongly scaled: they fit with half their depth": _scaled(1, 1, 0.5),
    "wrongly scaled: they fit enlarged by a quarter": _scaled(1.25, 1.25, 1.25),
    "wrongly scaled: they fit reduced by a fifth": _scaled(0.8, 0.8, 0.8),
    "wrongly scaled: they fit twice as large": _scaled(2, 2, 2),
    "wrongly scaled: they fit half as large": _scaled(0.5, 0.5, 0.5),
    **{
        f"misaligned: they fit moved by {step:g} of the distance of the eyes to the {way}": _moved(
            right * step, down * step
        )
        for step in SHIFTS
        for way, right, down in (("right", 1, 0), ("left", -1, 0), ("bottom", 0, 1), ("top", 0, -1))
    },
}
"""What may be wrong with all results of a folder, and how it would be undone."""


def _refuse_if_better(
    results: ExternalResults, before: NDArray[np.float64], after: dict[str, NDArray[np.float64]]
) -> None:
    """Refuse a folder that fits clearly better under a hypothesis; the best one is named.

    Raises:
        UsageError: it does.
    """
    typical = float(np.median(before))

    def share(why: str) -> float:
        return STRICTLY if len(before) < FEW or why == _FLAT_METHOD else CLEARLY

    better = {
        why: float(np.median(errors))
        for why, errors in after.items()
        if np.median(errors) < share(why) * typical and np.mean(errors < before) >= MOSTLY
    }
    if better and typical > NOTICEABLE:
        why = min(better, key=lambda name: better[name])
        raise UsageError(
            f"{results.folder}: {why} (median depth error {typical:.3f} of the distance of the eyes as they "
            f"stand, {better[why]:.3f} so, {len(before)} samples); nothing was scored"
        )


def _check_width(
    results: ExternalResults, placed: Sequence[Points], samples: Sequence[CheckedSample]
) -> None:
    """Refuse results that are far smaller or larger than faces are.

    Raises:
        UsageError: they are.
    """
    ratios = [
        float(np.ptp(points[:, 0]) / np.ptp(sample.points[:, 0]))
        for points, sample in zip(placed, samples, strict=True)
        if len(points)
    ]
    ratio = float(np.median(ratios)) if ratios else 1.0
    if not SMALLEST_WIDTH <= ratio <= LARGEST_WIDTH:
        raise UsageError(
            f"{results.folder}: wrongly scaled: the results are {ratio:.2g} times as wide as the faces; "
            "expected pixels of the photo (--frame image), of the 128-px reference (crop), or facepipe's own "
            "files (file)"
        )


def _check_owners(
    results: ExternalResults,
    placed: Sequence[Points],
    samples: Sequence[CheckedSample],
    own: NDArray[np.float64],
) -> None:
    """Refuse results that fit the faces of other samples better than their own.

    Raises:
        UsageError: that is so for most samples that are looked at.
    """
    if len(samples) < FEW or float(np.median(own)) <= NOTICEABLE:
        return
    few = [replace(sample, points=sample.points[::4]) for sample in samples]
    best = np.full(len(samples), np.inf)
    owner = np.arange(len(samples))
    for i, points in enumerate(placed):
        errors = np.array([misfit(points, sample) if j != i else np.inf for j, sample in enumerate(few)])
        owner[i], best[i] = int(np.argmin(errors)), float(errors.min())
    strangers = best < STRICTLY * own
    if np.mean(strangers) >= 0.5:
        example = int(np.flatnonzero(strangers)[0])
        raise UsageError(
            f"{results.folder}: wrongly named: {int(strangers.sum())} of {len(samples)} results fit the "
            f"face of another sample much better than that of their name, as {samples[example].sample_id!r}, "
            f"which fits {samples[owner[example]].sample_id!r}; nothing was scored"
        )
