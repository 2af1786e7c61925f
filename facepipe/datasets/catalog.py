"""The list of data set kinds, and opening one by path or name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from facepipe.datasets.base import Dataset
from facepipe.datasets.filters import FilteredDataset
from facepipe.datasets.photos import PhotosDataset
from facepipe.datasets.split import SPLITS, Split
from facepipe.errors import UsageError
from facepipe.registry import unknown

SAMPLE_NAME = "sample"

KINDS: dict[str, Callable[[Path], Dataset]] = {
    "photos": PhotosDataset,
}


def open_dataset(
    path_or_name: str | Path,
    kind: str = "auto",
    *,
    subsets: Collection[str] = (),
    min_yaw_deg: float | None = None,
    max_yaw_deg: float | None = None,
    split: Split | None = None,
) -> Dataset:
    """Open a data set.

    Args:
        path_or_name: a folder, or 'sample' for the faces that ship with facepipe.
        kind: 'auto' or one of `KINDS`.
        subsets: take only these subsets.
        min_yaw_deg, max_yaw_deg: take only faces whose |yaw| lies between these.
        split: take only this part of the fixed split (see `facepipe.datasets.split`).

    Raises:
        UsageError: the kind or the split is unknown, the path is missing, or nothing there is of that kind.
    """
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    dataset = _open(path_or_name, kind)
    if subsets or split is not None or min_yaw_deg is not None or max_yaw_deg is not None:
        return FilteredDataset(dataset, tuple(subsets), min_yaw_deg, max_yaw_deg, split)
    return dataset


def _open(path_or_name: str | Path, kind: str) -> Dataset:
    if kind not in ("auto", *KINDS):
        raise unknown("kind of data set", kind, ["auto", *KINDS])
    if str(path_or_name) == SAMPLE_NAME:
        from facepipe.datasets.sample import SampleDataset

        return SampleDataset()
    path = Path(path_or_name)
    if not path.exists():
        raise UsageError(f"{path}: no such folder; --dataset takes the folder of a data set, or 'sample'")
    return KINDS["photos" if kind == "auto" else kind](path)
