"""The list of data set kinds, and opening one by path or name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from facepipe.core.errors import UsageError
from facepipe.core.names import unknown
from facepipe.core.paths import absolute
from facepipe.core.plugins import has_plugin, plugin_names
from facepipe.datasets.aflw2000 import Aflw2000, find_aflw2000
from facepipe.datasets.annotated import MARKER_FILE as PHOTOS_MARKER_FILE
from facepipe.datasets.annotated import find_annotated, open_annotated
from facepipe.datasets.basel import find_model
from facepipe.datasets.dataset import Dataset
from facepipe.datasets.file_tree import FileTree
from facepipe.datasets.filters import FilteredDataset
from facepipe.datasets.pairs import DEEPEST, Pairs
from facepipe.datasets.photos import PhotosDataset
from facepipe.datasets.plugin_dataset import open_plugin_dataset
from facepipe.datasets.split import SPLITS, Split
from facepipe.datasets.synthetic import find_synthesized, open_synthesized
from facepipe.datasets.synthetic_marker import MARKER_FILE
from facepipe.datasets.w300_3d import W300In3D, find_300w_3d
from facepipe.datasets.w300lp import W300LP, find_300w_lp

SAMPLE_NAME = "sample"

Reader = Callable[[FileTree, Pairs | None, Path | None], Dataset | None]
"""From a tree, its pairs and the place of a model to a data set of one kind; None if it is not of that kind.

Without pairs it looks where the published archives unpack, with them in every folder.
"""


def _w300_3d(tree: FileTree, pairs: Pairs | None, model: Path | None) -> Dataset | None:
    roots = find_300w_3d(tree, pairs)
    return None if roots is None else W300In3D(roots[0], find_model(model), meshes=roots[1])


def _w300_lp(tree: FileTree, pairs: Pairs | None, model: Path | None) -> Dataset | None:
    root = find_300w_lp(tree, pairs)
    return None if root is None else W300LP(root, find_model(model))


def _synthesized(tree: FileTree, pairs: Pairs | None, model: Path | None) -> Dataset | None:  # noqa: ARG001
    root = find_synthesized(tree)
    return None if root is None else open_synthesized(root)


def _annotated(tree: FileTree, pairs: Pairs | None, model: Path | None) -> Dataset | None:  # noqa: ARG001
    root = find_annotated(tree)
    return None if root is None else open_annotated(root)


def _aflw2000(tree: FileTree, pairs: Pairs | None, model: Path | None) -> Dataset | None:
    root = find_aflw2000(tree, pairs)
    return None if root is None else Aflw2000(root, find_model(model))


def _photos(tree: FileTree, pairs: Pairs | None, model: Path | None) -> Dataset | None:  # noqa: ARG001
    return None if pairs is None else PhotosDataset(tree.source)


_PLACE = f"at most {DEEPEST} folders down"

KINDS: dict[str, tuple[Reader, str]] = {
    "synthetic": (_synthesized, f"what `facepipe data synthesize` wrote, with its {MARKER_FILE}"),
    "annotated": (_annotated, f"what `facepipe data annotate` wrote, with its {PHOTOS_MARKER_FILE}"),
    "300w-3d": (_w300_3d, "folders 300W-3D and 300W-3D-Face"),
    "300w-lp": (_w300_lp, f"folders AFW, HELEN, IBUG, LFPW with x.jpg and x.mat, {_PLACE}"),
    "aflw2000-3d": (_aflw2000, f"files image00002.jpg and image00002.mat, {_PLACE}"),
    "photos": (_photos, "image files"),
}
"""Name -> reader and what it expects, in the order in which 'auto' tries them."""


def open_dataset(
    path_or_name: str | Path,
    kind: str = "auto",
    *,
    subsets: Collection[str] = (),
    min_yaw_deg: float | None = None,
    max_yaw_deg: float | None = None,
    split: Split | None = None,
    model: Path | None = None,
) -> Dataset:
    """Open a data set.

    Args:
        path_or_name: a folder or a zip archive, or 'sample' for the faces that ship with facepipe.
        kind: 'auto', one of `KINDS`, or a plug-in.
        subsets: take only these subsets.
        min_yaw_deg, max_yaw_deg: take only faces whose |yaw| lies between these.
        split: take only this part of the fixed split (see `facepipe.datasets.split`).
        model: folder or file of the morphable model; by default it is looked for in
            `facepipe.datasets.basel.models_folder`.

    Raises:
        UsageError: the kind or the split is unknown, the path or the model is missing, or nothing there is of
            that kind.
    """
    if model is not None and not model.exists():
        raise UsageError(f"--model {model}: no such file or folder")
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    dataset = _open(path_or_name, kind, model)
    if subsets or split is not None or min_yaw_deg is not None or max_yaw_deg is not None:
        return FilteredDataset(dataset, tuple(subsets), min_yaw_deg, max_yaw_deg, split)
    return dataset


def _open(path_or_name: str | Path, kind: str, model: Path | None) -> Dataset:
    is_plugin = kind not in ("auto", *KINDS)
    if is_plugin and not has_plugin("dataset", kind):
        raise unknown("kind of data set", kind, ["auto", *KINDS, *plugin_names("dataset"), "module:object"])
    if str(path_or_name) == SAMPLE_NAME:
        if kind != "auto":
            raise UsageError(
                f"--kind {kind} with --dataset {SAMPLE_NAME}: the shipped faces are of a kind of their own; "
                "leave --kind out"
            )
        from facepipe.datasets.sample import SampleDataset

        return SampleDataset()
    path = absolute(path_or_name)  # workers may run in another folder
    if not path.exists():
        raise UsageError(
            f"{path}: no such folder or archive; --dataset takes the folder or zip of a data set, or 'sample'"
        )
    if is_plugin:
        return open_plugin_dataset(kind, path)
    tree = FileTree(path)
    # What lies as it was published is found first: other finds must not change the ids of its samples.
    for pairs in (None, Pairs(tree)):
        for name in KINDS if kind == "auto" else (kind,):
            dataset = KINDS[name][0](tree, pairs, model)
            if dataset is not None:
                return dataset
    raise UsageError(f"{path}: no {kind} data set there; expected {KINDS[kind][1]}")
