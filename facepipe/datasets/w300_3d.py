"""300W-3D with 300W-3D-Face: 300W's photos and the meshes fitted to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError
from facepipe.datasets.basel import ModelFiles
from facepipe.datasets.dataset import SampleRef, Truth
from facepipe.datasets.file_tree import FileTree, stem
from facepipe.datasets.fitted import (
    PUBLISHED_SIZE_PX,
    FittedDataset,
    centred_landmarks,
    centred_truth,
    dense_truth,
    read_companion,
)
from facepipe.datasets.matfile import Arrays, read_mat
from facepipe.datasets.pairs import Pairs, spelled_alike
from facepipe.datasets.parameters import MATLAB_OFFSET_PX, read_parameters, read_points, read_pose
from facepipe.geometry.morphable import Pose

IMAGES = "300W-3D"
MESHES = "300W-3D-Face"
_KEY = "Fitted_Face"

N_VERTICES = 53215

LANDMARK_VERTICES = np.array(
    [
        21874, 22150, 21654, 21037, 43237, 44919, 46167, 47136, 47915, 48696, 49668, 50925, 52614, 33679,
        33006, 32470, 32710, 38696, 39393, 39783, 39988, 40155, 40894, 41060, 41268, 41662, 42368, 8162,
        8178, 8188, 8193, 6516, 7244, 8205, 9164, 9884, 2216, 3887, 4921, 5829, 4802, 3641, 10456, 11354,
        12384, 14067, 12654, 11493, 5523, 6026, 7496, 8216, 8936, 10396, 10796, 9556, 8837, 8237, 7637,
        6916, 5910, 7385, 8224, 9065, 10538, 8830, 8230, 7630,
    ]
)  # fmt: skip
"""Vertices of the iBUG points in the mesh of 53,215, as 3DDFA numbers them (0-based)."""

MAX_DISAGREEMENT = 0.15
"""Largest mean distance of the mesh's landmarks from `pt2d`, in sides of the landmarks' box."""


@dataclass(frozen=True)
class W300In3D(FittedDataset):
    """`300W-3D/<SET>/x.jpg` with `x.mat`, and the mesh `Fitted_Face` in `300W-3D-Face/<SET>/x.mat`.

    The mesh is dense truth once a model gives its triangles; without a model its landmark vertices are 3D
    landmarks; without the meshes the parameters and `pt2d` are what there is.

    Attributes:
        meshes: the files of 300W-3D-Face, None if they are not there.
    """

    model: ModelFiles | None = None
    meshes: FileTree | None = None

    kind: ClassVar[str] = "300w-3d"
    keys: ClassVar[tuple[str, ...]] = ("Pose_Para", "Shape_Para", "Exp_Para", "pt2d")

    def pose(self, ref: SampleRef, arrays: Arrays) -> Pose | None:
        """The pose where the .mat has it."""
        return read_pose(arrays, self.mat_path(ref)) if "Pose_Para" in arrays else None

    def truth(self, ref: SampleRef, arrays: Arrays, dense: bool) -> Truth:
        """The best of mesh, posed model, 3D and 2D landmarks that there is."""
        path = self.mat_path(ref)
        contour = read_points(arrays, "pt2d", 2, path)
        if self.meshes is not None:
            return self._from_mesh(self.meshes, ref, contour, dense)
        if self.model is not None:
            face = read_parameters(arrays, path)
            return dense_truth(self.model.load(), face, self.image_px, dense)
        return Truth("landmarks2d", None, contour)

    def landmark_source(self) -> str:
        """Where landmarks come from without a model."""
        if self.meshes is None:
            return f"2D landmarks of the data set (pt2d); {MESHES} is not beside it"
        return f"3D landmarks: the landmark vertices of {MESHES}"

    def _from_mesh(
        self, meshes: FileTree, ref: SampleRef, contour: NDArray[np.float32], dense: bool
    ) -> Truth:
        name = f"{stem(ref.source_path)}.mat"
        path = meshes.path(name)
        vertices = _vertices(read_mat(read_companion(meshes, name), path, (_KEY,)), path)
        vertices = _upright(vertices, contour, path)
        if self.model is None:
            return centred_landmarks(vertices[LANDMARK_VERTICES].astype(np.float32))
        model, numbers = self.model.load_numbered()
        if numbers[-1] >= len(vertices):
            raise SampleError(
                "mat-wrong-shape",
                f"{path}: {len(vertices)} vertices; the model has {numbers[-1] + 1} or more",
            )
        truth = centred_truth(vertices[numbers], model)
        return truth if dense else Truth("dense", None, truth.landmarks)


def find_300w_3d(tree: FileTree, pairs: Pairs | None = None) -> tuple[FileTree, FileTree | None] | None:
    """The roots of 300W-3D and of 300W-3D-Face; None if the first is not there.

    Args:
        tree: where to look: the folder (or archive) that holds both, or 300W-3D itself with the other beside
            it.
        pairs: of the tree, to look for both in every folder, however their names are spelled.
    """
    if pairs is not None:
        return _find_deeper(tree, pairs)
    folders = tree.folders()
    if IMAGES in folders:
        return tree.at(IMAGES), (tree.at(MESHES) if MESHES in folders else None)
    root_name = tree.below.rpartition("/")[2] or tree.source.resolve().name
    if root_name == IMAGES:
        beside = FileTree(tree.source.resolve().parent / MESHES)
        return tree, (beside if beside.source.is_dir() else None)
    return None


def _find_deeper(tree: FileTree, pairs: Pairs) -> tuple[FileTree, FileTree | None] | None:
    for place in pairs.folders:
        parts = place.split("/")
        for depth, part in enumerate(parts):
            if spelled_alike(part) == spelled_alike(IMAGES):
                above = "/".join(parts[:depth])
                beside = (n for n in tree.folders(above) if spelled_alike(n) == spelled_alike(MESHES))
                meshes = next((tree.at(f"{above}/{name}".lstrip("/")) for name in beside), None)
                return tree.at("/".join(parts[: depth + 1])), meshes
    return None


def _vertices(arrays: Arrays, path: str) -> NDArray[np.float64]:
    if _KEY not in arrays:
        raise SampleError("mat-missing-key", f"{path}: no variable {_KEY!r} in it")
    stored = arrays[_KEY]
    if stored.shape != (3, N_VERTICES):
        raise SampleError("mat-wrong-shape", f"{path}: {_KEY!r} is {stored.shape}; expected 3 x {N_VERTICES}")
    if not np.isfinite(stored).all():
        raise SampleError("mat-not-finite", f"{path}: {_KEY!r} has values that are NaN or infinite")
    vertices = np.array(stored.T, np.float64)
    vertices[:, :2] -= MATLAB_OFFSET_PX
    return vertices


def _upright(vertices: NDArray[np.float64], contour: NDArray[np.float32], path: str) -> NDArray[np.float64]:
    """Bring a mesh to y pointing down.

    Whether the published meshes count y from the top or, as the pose parameters do, from the bottom is
    not documented: the 2D landmarks of the same image decide.
    """
    flipped = vertices * np.array([1.0, -1.0, 1.0]) + np.array([0.0, PUBLISHED_SIZE_PX, 0.0])
    distances = [
        float(np.linalg.norm(mesh[LANDMARK_VERTICES, :2] - contour, axis=1).mean())
        for mesh in (vertices, flipped)
    ]
    side = float(np.sqrt(np.prod(np.ptp(contour, axis=0))))
    if min(distances) > MAX_DISAGREEMENT * side:
        raise SampleError(
            "mesh-landmarks-disagree",
            f"{path}: the mesh's landmarks lie {min(distances):.0f} px from pt2d on a face of {side:.0f} px; "
            "the mesh is another image's",
        )
    return vertices if distances[0] <= distances[1] else flipped
