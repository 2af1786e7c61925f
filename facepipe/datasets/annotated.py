"""Photographs that `facepipe data annotate` gave truth: 300W-LP's layout, the project's own head as model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from facepipe.core.errors import UsageError
from facepipe.datasets.dataset import Sample, SampleRef, TruthSource
from facepipe.datasets.file_tree import FileTree
from facepipe.datasets.split import Split
from facepipe.datasets.synthetic import SynthesizedFaces, find_marked
from facepipe.datasets.synthetic_marker import parse_marker
from facepipe.geometry.head import HEAD_NAME

MARKER_FILE = "facepipe-photos.json"
"""Lies beside the folders of the sets."""

INDEX_FILE = "photos.parquet"
"""A row for each photograph, beside the marker."""

TURNED_SUFFIX = "_turned"
"""Ends the name of the folder that holds the turned views of another folder's photographs."""

TRAINING_SHARE, VALIDATION_SHARE = 0.77, 0.03
"""Of the people; the others are for tests."""


@dataclass(frozen=True)
class AnnotatedPhotos(SynthesizedFaces):
    """A folder or archive with the marker file of annotated photographs."""

    kind: ClassVar[str] = "annotated"
    keys: ClassVar[tuple[str, ...]] = (*SynthesizedFaces.keys, "grey", "person", "photo_px")

    def load(self, ref: SampleRef, dense: bool = True) -> Sample:
        """Decode one photograph with the mesh fitted to it."""
        sample = super().load(ref, dense)
        grey = self.mat(ref).get("grey")
        return sample if grey is None else replace(sample, grey=bool(np.ravel(grey)[0]))

    def split_of(self, ref: SampleRef) -> Split:
        """The part of the split that the person in a photograph belongs to."""
        number = self.mat(ref).get("person")
        return "test" if number is None else split_of_person(float(np.ravel(number)[0]))

    def truth_source(self) -> TruthSource:
        """The head that was fitted."""
        model = self.model.load()
        return TruthSource(
            f"heads fitted to the face meshes of photographs, {len(model.region)} vertices in the region",
            self.model.fingerprint(),
        )


def split_of_person(number: float) -> Split:
    """The part of the split that a person belongs to, given a number of 48 bits that stands for the name."""
    share = number / 2**48
    if share < TRAINING_SHARE:
        return "training"
    return "validation" if share < TRAINING_SHARE + VALIDATION_SHARE else "test"


def is_turned(ref: SampleRef) -> bool:
    """Whether a sample is a photograph turned out of its plane."""
    return ref.subset.endswith(TURNED_SUFFIX)


def find_annotated(tree: FileTree) -> FileTree | None:
    """The root of annotated photographs in a tree: itself or a folder in it; None if there is no marker."""
    return find_marked(tree, MARKER_FILE)


def open_annotated(root: FileTree) -> AnnotatedPhotos:
    """Open photographs at the root that `find_annotated` gave.

    Raises:
        UsageError: the marker is damaged, or the fits belong to another head.
    """
    marker = parse_marker(root.read(MARKER_FILE), root.path(MARKER_FILE))
    if marker.head != HEAD_NAME:
        raise UsageError(
            f"{root.path(MARKER_FILE)}: these photographs were fitted with {marker.head!r}, this version of "
            f"facepipe has {HEAD_NAME!r}; annotate them again"
        )
    return AnnotatedPhotos(root, image_px=marker.image_px)
