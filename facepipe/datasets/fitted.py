"""Shared code of the readers of image and .mat pairs."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError, UsageError
from facepipe.datasets.basel import notice
from facepipe.datasets.dataset import Sample, SampleRef, Topology, Truth, TruthSource
from facepipe.datasets.file_tree import FileTree, is_photo, stem
from facepipe.datasets.matfile import Arrays, read_mat
from facepipe.datasets.parameters import FaceParameters, check_landmarks, read_pose
from facepipe.datasets.photos import refuse_twin
from facepipe.geometry.morphable import MorphableModel, Pose
from facepipe.imaging.images import decode_image

PUBLISHED_SIZE_PX = 450
"""Side of every image of 300W-LP, 300W-3D and AFLW2000-3D, to which their .mat files refer."""


class ModelSource(Protocol):
    """Where a morphable model comes from; small and picklable."""

    def load(self) -> MorphableModel:
        """The model, kept in memory by each process."""

    def fingerprint(self) -> str:
        """A digest of its files."""


@dataclass(frozen=True)
class FittedDataset:
    """Images with a .mat of the same name beside each.

    Attributes:
        tree: the files.
        model: the morphable model that turns parameters into meshes, if the user has one.
        image_px: side of every image, to which the .mat files refer.
    """

    tree: FileTree
    model: ModelSource | None = None
    image_px: int = PUBLISHED_SIZE_PX

    kind: ClassVar[str]
    skipped_folders: ClassVar[frozenset[str]] = frozenset({"Code"})
    keys: ClassVar[tuple[str, ...]]

    @property
    def name(self) -> str:
        """The kind: what such data sets are called in publications."""
        return self.kind

    def refs(self) -> list[SampleRef]:
        """List the images in the order of their ids.

        Raises:
            UsageError: the folder or archive is missing or has no images.
        """
        found = [
            SampleRef(stem(name), self.subset_of(name), name, size)
            for name, size in self.tree.walk()
            if is_photo(name) and name.split("/", 1)[0] not in self.skipped_folders
        ]
        if not found:
            raise UsageError(f"{self.tree.path()}: no images of a {self.kind} data set there")
        return sorted(found, key=lambda ref: (ref.sample_id, ref.source_path))

    def load(self, ref: SampleRef, dense: bool = True) -> Sample:
        """Decode one image with its truth.

        Raises:
            SampleError: duplicate-id, missing-mat, image-size-mismatch, landmarks-outside, or a reason of
                `facepipe.imaging.images.decode_image`, `matfile.read_mat` and `parameters`.
        """
        refuse_twin(self.tree, ref)
        data = self.tree.read(ref.source_path)
        arrays = self.mat(ref)
        image = decode_image(data, self.tree.path(ref.source_path))
        height, width = image.shape[:2]
        if (width, height) != (self.image_px, self.image_px):
            raise SampleError(
                "image-size-mismatch",
                f"{self.tree.path(ref.source_path)}: {width} x {height} px, but its .mat refers to "
                f"{self.image_px} x {self.image_px}; use the images as they were published",
            )
        pose = self.pose(ref, arrays)
        truth = self.truth(ref, arrays, dense)
        if truth.landmarks is not None:
            check_landmarks(truth.landmarks, width, height, self.mat_path(ref))
        return Sample(
            image=image,
            sha256=hashlib.sha256(data).hexdigest(),
            truth=truth,
            yaw_deg=None if pose is None else math.degrees(pose.yaw_rad),
            pitch_deg=None if pose is None else math.degrees(pose.pitch_rad),
            roll_deg=None if pose is None else math.degrees(pose.roll_rad),
        )

    def topology(self) -> Topology | None:
        """The triangles of the model's face part, None without a model."""
        if self.model is None:
            return None
        model = self.model.load()
        return Topology(model.surface, model.solid, model.region)

    def truth_source(self) -> TruthSource:
        """The model, or what the landmarks are and what would give more."""
        if self.model is None:
            return TruthSource(self.landmark_source(), notice=notice())
        model = self.model.load()
        return TruthSource(
            f"{model.name}: face part of {len(model.mean)} vertices, {len(model.region)} in the region",
            self.model.fingerprint(),
        )

    def yaw_deg(self, ref: SampleRef) -> float | None:
        """Yaw in degrees from the .mat alone."""
        pose = self.pose(ref, self.mat(ref))
        return None if pose is None else math.degrees(pose.yaw_rad)

    def mat_name(self, ref: SampleRef) -> str:
        """The .mat of an image, below the root."""
        return f"{stem(ref.source_path)}.mat"

    def mat_path(self, ref: SampleRef) -> str:
        """How messages call the .mat of an image."""
        return self.tree.path(self.mat_name(ref))

    def mat(self, ref: SampleRef) -> Arrays:
        """The variables of an image's .mat.

        Raises:
            SampleError: missing-mat, or a reason of `matfile.read_mat`.
        """
        return read_mat(read_companion(self.tree, self.mat_name(ref)), self.mat_path(ref), self.keys)

    def pose(self, ref: SampleRef, arrays: Arrays) -> Pose | None:
        """The pose, None where a data set may lack it."""
        return read_pose(arrays, self.mat_path(ref))

    def subset_of(self, name: str) -> str:
        """The subset that an image below the root belongs to: its first folder."""
        return name.split("/", 1)[0] if "/" in name else ""

    def unpaired(self) -> list[str]:
        """Names below the root of .mat files without an image of the same name, sorted."""
        mats: set[str] = set()
        images: set[str] = set()
        for name, _ in self.tree.walk():
            if name.split("/", 1)[0] not in self.skipped_folders:
                if name.endswith(".mat"):
                    mats.add(stem(name))
                elif is_photo(name):
                    images.add(stem(name))
        return sorted(f"{name}.mat" for name in mats - images)

    @abstractmethod
    def truth(self, ref: SampleRef, arrays: Arrays, dense: bool) -> Truth:
        """The truth of an image."""

    @abstractmethod
    def landmark_source(self) -> str:
        """What the landmarks are where there is no model, in a line."""


def read_companion(tree: FileTree, name: str) -> bytes:
    """The bytes of a file that belongs to an image.

    Raises:
        SampleError: missing-mat if it is not there, or a reason of `FileTree.read`.
    """
    if not tree.exists(name):
        raise SampleError("missing-mat", f"{tree.path(name)}: not there, but its image is")
    return tree.read(name)


def dense_truth(model: MorphableModel, face: FaceParameters, height_px: int, with_mesh: bool) -> Truth:
    """Pose a model's mesh in an image.

    Args:
        model: whose parameters they are.
        face: pose, shape and expression.
        height_px: of the image, which the stored pose counts y from the bottom of.
        with_mesh: False to pose the landmarks only, whose z is then not centred: a thousandth of the work.
    """
    if with_mesh:
        posed = face.pose.apply(model.mesh(face.shape, face.expression), height_px)
        return centred_truth(posed, model)
    few = model.landmarks
    rows = (3 * few[:, None] + np.arange(3)).ravel()
    landmark_model = replace(
        model,
        mean=model.mean[few],
        shape_basis=model.shape_basis[rows],
        expression_basis=model.expression_basis[rows],
    )
    points = landmark_model.mesh(face.shape, face.expression)
    return Truth("dense", None, face.pose.apply(points, height_px).astype(np.float32))


def centred_truth(vertices: NDArray[np.float64], model: MorphableModel) -> Truth:
    """Dense truth from posed vertices (V, 3), moved so that z = 0 is the centre of the solid's depth."""
    z = vertices[_solid_vertices(model), 2]
    moved = vertices - np.array([0.0, 0.0, (z.min() + z.max()) / 2])
    moved = moved.astype(np.float32)
    return Truth("dense", moved, moved[model.landmarks])


def centred_landmarks(points: NDArray[np.float32]) -> Truth:
    """3D landmarks (68, 3) as truth, moved so that z = 0 is the centre of their depth."""
    z = points[:, 2]
    return Truth("landmarks3d", None, points - np.array([0, 0, (z.min() + z.max()) / 2], np.float32))


@lru_cache(maxsize=4)
def _solid_vertices(model: MorphableModel) -> NDArray[np.intp]:
    return np.unique(model.solid)
