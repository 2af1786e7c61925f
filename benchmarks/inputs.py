"""What the benchmarks work on: faces of the sample set, their meshes and volumes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import trimesh
from numpy.typing import NDArray

from facepipe.bench import stages
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.truth import Topology, Truth
from facepipe.datasets.catalog import open_dataset
from facepipe.imaging.crop import Crop
from facepipe.imaging.degrade import make_reference
from facepipe.models.vrn.regressors import get_regressor

REGRESSOR = "vrn-compact"
LOW_PX = 32


@dataclass(frozen=True)
class Case:
    """One face.

    Attributes:
        reference: uint8 RGB (128, 128, 3).
        restored: the same after 32 px and bicubic.
        volume: what the network makes of `restored`.
        truth_volume: the filled truth.
        truth: in reference coordinates.
        topology: of the truth.
        geometry: of both volumes.
    """

    reference: NDArray[np.uint8]
    restored: NDArray[np.uint8]
    volume: NDArray[np.uint8]
    truth_volume: NDArray[np.uint8]
    truth: Truth
    topology: Topology
    geometry: VolumeGeometry


@lru_cache(maxsize=1)
def case() -> Case:
    """The first face of the sample set."""
    from facepipe.models.superres.methods import get_method

    dataset = open_dataset("sample", "auto")
    topology = dataset.topology()
    ref = dataset.refs()[0]
    sample = dataset.load(ref)
    row = stages.ingest(ref, sample, "full")
    crop = Crop(row["crop_x0"], row["crop_y0"], row["crop_size"])
    reference, lowres = stages.make_images(sample, crop, ref.sample_id, ("area",), (LOW_PX,), 0)
    restored = get_method("bicubic").build(LOW_PX)(lowres["area", LOW_PX][None])[0]
    regressor = get_regressor(REGRESSOR)
    truth = stages.truth_in_crop(sample.truth, crop)
    if topology is None or truth.vertices is None:
        raise RuntimeError("the sample set has no dense truth")
    return Case(
        reference=reference,
        restored=restored,
        volume=regressor.build()(restored[None])[0],
        truth_volume=stages.make_truth_volume(truth, topology, regressor.geometry),
        truth=truth,
        topology=topology,
        geometry=regressor.geometry,
    )


@lru_cache(maxsize=1)
def references() -> NDArray[np.uint8]:
    """The first sixteen faces of the sample set at network size, uint8 RGB (16, 128, 128, 3)."""
    dataset = open_dataset("sample", "auto")
    return np.stack([make_reference(dataset.load(ref).image) for ref in dataset.refs()[:16]])


@lru_cache(maxsize=1)
def fine_face() -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """The face part of the truth, each triangle cut into sixteen: vertices (V, 3), triangles (T, 3)."""
    vertices, triangles = np.asarray(case().truth.vertices, np.float64), case().topology.solid
    used, triangles = np.unique(triangles, return_inverse=True)
    vertices, triangles = vertices[used], triangles.reshape(-1, 3)
    for _ in range(2):
        vertices, triangles = trimesh.remesh.subdivide(vertices, triangles)
    return vertices, np.ascontiguousarray(triangles, np.int32)
