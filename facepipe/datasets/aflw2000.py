"""AFLW2000-3D: 2,000 photos of AFLW with fitted model parameters and 3D landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from facepipe.datasets.dataset import SampleRef, Truth
from facepipe.datasets.file_tree import FileTree, stem
from facepipe.datasets.fitted import FittedDataset, centred_landmarks, dense_truth
from facepipe.datasets.matfile import Arrays
from facepipe.datasets.pairs import Pairs
from facepipe.datasets.parameters import has_missing, read_parameters, read_points
from facepipe.datasets.pose_check import check_pose


@dataclass(frozen=True)
class Aflw2000(FittedDataset):
    """`imageNNNNN.jpg` with `imageNNNNN.mat` in one folder.

    Without a model the truth is `pt3d_68`. `pt2d` has 21 points of another scheme and is not used.
    """

    kind: ClassVar[str] = "aflw2000-3d"
    keys: ClassVar[tuple[str, ...]] = ("Pose_Para", "Shape_Para", "Exp_Para", "pt3d_68")

    def truth(self, ref: SampleRef, arrays: Arrays, dense: bool) -> Truth:
        """The mesh where there is a model, else 3D landmarks."""
        path = self.mat_path(ref)
        face = read_parameters(arrays, path)
        points = read_points(arrays, "pt3d_68", 3, path)
        if self.model is not None:
            return dense_truth(self.model.load(), face, self.image_px, dense)
        if has_missing(points):
            return Truth()
        check_pose(points, face.pose, path)
        return centred_landmarks(points)

    def landmark_source(self) -> str:
        """Where 3D landmarks come from."""
        return "3D landmarks of the data set (pt3d_68)"


def find_aflw2000(tree: FileTree, pairs: Pairs | None = None) -> FileTree | None:
    """The root of AFLW2000-3D in a tree: the folder that holds `imageNNNNN.mat`; None if it is not there.

    Args:
        tree: where to look.
        pairs: of the tree, to look in every folder; None for the tree's root and its folders `AFLW2000*`.
    """
    if pairs is not None:
        places = pairs.folders.items()
        return next((tree.at(place) for place, names in places if any(map(_is_its_name, names))), None)
    for root in (tree, *(tree.at(name) for name in tree.folders() if name.startswith("AFLW2000"))):
        if any(_is_its_name(stem(name)) for name in root.names(deepest=0) if name.endswith(".mat")):
            return root
    return None


def _is_its_name(name: str) -> bool:
    return len(name) == len("image00000") and name.startswith("image")
