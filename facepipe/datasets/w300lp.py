"""300W-LP: 300W's photos and their turned versions, with fitted model parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from facepipe.datasets.dataset import SampleRef, Truth
from facepipe.datasets.file_tree import FileTree, stem
from facepipe.datasets.fitted import FittedDataset, dense_truth
from facepipe.datasets.matfile import Arrays, read_mat
from facepipe.datasets.pairs import Pairs, spelled_alike
from facepipe.datasets.parameters import has_missing, read_parameters, read_points
from facepipe.datasets.pose_check import check_pose

SETS = frozenset(f"{name}{flip}" for name in ("AFW", "HELEN", "IBUG", "LFPW") for flip in ("", "_Flip"))

_ALIKE = frozenset(map(spelled_alike, SETS))
_LANDMARKS = "landmarks"


@dataclass(frozen=True)
class W300LP(FittedDataset):
    """`<SET>/x.jpg` with `<SET>/x.mat`, and `landmarks/<SET>/x_pts.mat` where that folder is there.

    Its `pts_3d` are the projections of the model's landmarks, 68 x 2: without a model there are 2D
    landmarks only. Without that folder they are `pt2d`, which follow the visible contour of the face.
    """

    kind: ClassVar[str] = "300w-lp"
    skipped_folders: ClassVar[frozenset[str]] = frozenset({"Code", _LANDMARKS})
    keys: ClassVar[tuple[str, ...]] = ("Pose_Para", "Shape_Para", "Exp_Para", "pt2d")

    def truth(self, ref: SampleRef, arrays: Arrays, dense: bool) -> Truth:
        """The mesh where there is a model, else 2D landmarks."""
        path = self.mat_path(ref)
        face = read_parameters(arrays, path)
        contour = read_points(arrays, "pt2d", 2, path)
        if self.model is not None:
            return dense_truth(self.model.load(), face, self.image_px, dense)
        points_name = f"{_LANDMARKS}/{stem(ref.source_path)}_pts.mat"
        points = contour
        if self.tree.exists(points_name):
            path = self.tree.path(points_name)
            points = read_points(read_mat(self.tree.read(points_name), path, ("pts_3d",)), "pts_3d", 2, path)
        if has_missing(points):
            return Truth()
        check_pose(points, face.pose, path)
        return Truth("landmarks2d", None, points)

    def landmark_source(self) -> str:
        """Where 2D landmarks come from."""
        return "2D landmarks of the data set (pts_3d of landmarks/, else pt2d)"


def find_300w_lp(tree: FileTree, pairs: Pairs | None = None) -> FileTree | None:
    """The root of 300W-LP in a tree; None if it is not there.

    What tells it from other folders is a set's folder with a .mat in it.

    Args:
        tree: where to look.
        pairs: of the tree, to look in every folder; None for the tree's root and its folder `300W_LP`.
    """
    if pairs is not None:
        for place in pairs.folders:
            above, _, name = place.rpartition("/")
            # The sets of 300W-3D are called the same.
            is_other = spelled_alike(above.rpartition("/")[2]) == spelled_alike("300W-3D")
            if spelled_alike(name) in _ALIKE and not is_other:
                return tree.at(above)
        return None
    for root in (tree, *(tree.at(name) for name in tree.folders() if name == "300W_LP")):
        for name in SETS.intersection(root.folders()):
            if any(file.endswith(".mat") for file, _ in root.at(name).walk()):
                return root
    return None
