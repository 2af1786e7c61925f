"""The stages as pure functions: a sample or arrays in, arrays or rows out. No files, no cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.bench.external_results import ExternalResults
from facepipe.bench.result_checks import checked_sample, shift_z, spread
from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import SampleError
from facepipe.core.truth import Topology, Truth
from facepipe.datasets.crops import crop_for
from facepipe.datasets.dataset import Sample, SampleRef
from facepipe.geometry.voxelisation import get_voxeliser
from facepipe.imaging.contrast import MIN_CONTRAST_LEVELS, contrast_levels
from facepipe.imaging.crop import Crop
from facepipe.imaging.degrade import degrade, make_reference
from facepipe.metrics.faces import eye_distance_px
from facepipe.metrics.geometry import (
    Occupancy,
    TrueFace,
    front_surface_errors,
    occupancy_iou,
    score_geometry,
)
from facepipe.metrics.image import psnr_db, ssim

Image8 = NDArray[np.uint8]

REVISION = 3
"""Of what the stages compute, degrade, voxelise, score, and the constants behind them, and of how they store
it. It is raised with every change after which tables may differ or an older run cannot go on. Part of a run's
id."""


def ingest(ref: SampleRef, sample: Sample, crop_mode: str) -> dict[str, Any]:
    """Describe an accepted sample: a row of the samples table.

    Raises:
        SampleError: blank-image, no-contrast, crop-too-large, a reason of `crop_for`, or small-image: what is
            smaller than the reference cannot be one.
    """
    crop = crop_for(sample, crop_mode)
    crop.check_size()
    if crop.size < NETWORK_PX:
        raise SampleError(
            "small-image",
            f"{ref.source_path}: a crop of {crop.size:.0f} px; the reference needs {NETWORK_PX} px",
        )
    if sample.image.min() == sample.image.max():
        raise SampleError("blank-image", f"{ref.source_path}: every pixel has the same value")
    if contrast_levels(sample.image) < MIN_CONTRAST_LEVELS:
        raise SampleError(
            "no-contrast",
            f"{ref.source_path}: 98 of 100 values lie within {contrast_levels(sample.image)} of 255 levels, "
            f"{MIN_CONTRAST_LEVELS} are needed; are its samples scaled as the file says?",
        )
    return {
        "sample_id": ref.sample_id,
        "subset": ref.subset,
        "source_path": ref.source_path,
        "truth": sample.truth.kind,
        "crop_x0": crop.x0,
        "crop_y0": crop.y0,
        "crop_size": crop.size,
        "yaw_deg": sample.yaw_deg,
        "pitch_deg": sample.pitch_deg,
        "roll_deg": sample.roll_deg,
        "sha256": sample.sha256,
        "skin_tone": sample.skin_tone,
        "interocular_px": _eye_distance_px(sample.truth, crop),
    }


def _eye_distance_px(truth: Truth, crop: Crop) -> float | None:
    """Distance of the eyes in the reference, None where no landmarks tell it."""
    found = None if truth.landmarks is None else eye_distance_px(truth.landmarks)
    return None if found is None else found * crop.scale


def make_images(
    sample: Sample,
    crop: Crop,
    sample_id: str,
    degradations: tuple[str, ...],
    low_px: tuple[int, ...],
    seed: int,
) -> tuple[Image8, dict[tuple[str, int], Image8]]:
    """Make the reference (128, 128, 3) and every low-resolution image from the full-resolution crop."""
    square = crop.cut(sample.image)
    lowres = {
        (name, px): degrade(square, name, px, seed, sample_id) for name in degradations for px in low_px
    }
    return make_reference(square), lowres


def truth_in_crop(truth: Truth, crop: Crop) -> Truth:
    """Bring a truth from source to reference coordinates."""
    move = lambda points: None if points is None else crop.to_reference(points).astype(np.float32)  # noqa: E731
    return Truth(truth.kind, move(truth.vertices), move(truth.landmarks))


def make_truth_volume(
    truth: Truth, topology: Topology, geometry: VolumeGeometry, filling: str = "exact"
) -> NDArray[np.uint8]:
    """Fill the dense truth, in reference coordinates, to an occupancy volume (D, H, W) of 0 and 255.

    Args:
        truth: in reference coordinates.
        topology: its triangles.
        geometry: of the volume.
        filling: one of `facepipe.geometry.voxelisation.VOXELISERS`.
    """
    if truth.vertices is None:
        return np.zeros(geometry.shape, np.uint8)
    return get_voxeliser(filling)(truth.vertices, topology, geometry)


def external_volume(
    results: ExternalResults, sample_id: str, crop: Crop, truth: Truth, topology: Topology | None
) -> NDArray[np.uint8]:
    """What another program made of a sample, as an occupancy volume (D, H, W) in the geometry of its results.

    A mesh in pixels of the photo begins anywhere along z: it is moved so that the median of its differences
    to the truth is 0.

    Args:
        results: the folder.
        sample_id: of the sample.
        crop: its square in the photo.
        truth: in reference coordinates.
        topology: of the dense truth, if any.

    Raises:
        SampleError: missing-result, damaged-result, empty-result, misplaced-result, or no-depth.
    """

    def image_z(vertices: NDArray[np.float64], triangles: NDArray[Any]) -> float:
        checked = checked_sample(sample_id, crop, truth, topology)
        if checked is None:
            raise SampleError("no-depth", f"{sample_id}: the depth of its face is not known")
        return shift_z(spread(vertices, triangles), checked)

    return results.volume(sample_id, crop, image_z)


def score_images(reference: Image8, restored: Image8, is_reference: bool) -> dict[str, float | None]:
    """Score a restored image (128, 128, 3) against its reference."""
    if is_reference:
        return {"psnr_db": None, "ssim": 1.0}
    return {"psnr_db": psnr_db(reference, restored), "ssim": ssim(reference, restored)}


def score_volume(
    volume: NDArray[np.uint8], reference: Occupancy, true: TrueFace
) -> Mapping[str, float | None]:
    """Score a volume (D, H, W) against the truth and against the volume of the reference image.

    Args:
        volume: what the regressor made of the restored image.
        reference: of what it made of the reference image.
        true: what is known about the face, for this regressor's geometry.

    Returns:
        The columns of volumes. An empty volume of the reference is nothing to compare with: those that need
        it are None then.
    """
    found = Occupancy.of(volume, true.geometry)
    rmse_px, _ = front_surface_errors(found.depth, reference.depth)
    return {
        **score_geometry(volume, found, true),
        "ref_iou": None if reference.is_empty else occupancy_iou(found, reference),
        "ref_depth_rmse_px": rmse_px,
    }
