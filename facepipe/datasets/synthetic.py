"""Faces that `facepipe data synthesize` made: 300W-LP's layout, with the project's own head as model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from facepipe.core.errors import UsageError
from facepipe.datasets.dataset import Sample, SampleRef, TruthSource
from facepipe.datasets.file_tree import FileTree, file_sha256
from facepipe.datasets.synthetic_marker import MARKER_FILE, parse_marker
from facepipe.datasets.w300lp import W300LP
from facepipe.geometry.head import HEAD_FILE, HEAD_NAME, load_head
from facepipe.geometry.morphable import MorphableModel


@dataclass(frozen=True)
class OwnHead:
    """The head that ships with facepipe, as a model of dense truth."""

    def load(self) -> MorphableModel:
        """The head; its solid is the face part."""
        return load_head().model

    def fingerprint(self) -> str:
        """A digest of the head's file."""
        return file_sha256(HEAD_FILE)


@dataclass(frozen=True)
class SynthesizedFaces(W300LP):
    """A folder or archive with the marker file of `facepipe.datasets.synthetic_marker`."""

    model: OwnHead = field(default_factory=OwnHead)

    kind: ClassVar[str] = "synthetic"
    keys: ClassVar[tuple[str, ...]] = (*W300LP.keys, "skin_tone")

    def load(self, ref: SampleRef, dense: bool = True) -> Sample:
        """Decode one face with its exact mesh and its skin tone."""
        sample = super().load(ref, dense)
        tone = self.mat(ref).get("skin_tone")
        return sample if tone is None else replace(sample, skin_tone=float(np.ravel(tone)[0]))

    def truth_source(self) -> TruthSource:
        """The head that the faces were made from."""
        model = self.model.load()
        return TruthSource(
            f"exact meshes of rendered faces, {len(model.region)} vertices in the region",
            self.model.fingerprint(),
        )


def find_synthesized(tree: FileTree) -> FileTree | None:
    """The root of synthesized faces in a tree: itself or a folder in it; None if there is no marker."""
    return find_marked(tree, MARKER_FILE)


def find_marked(tree: FileTree, marker_file: str) -> FileTree | None:
    """The tree itself or the first folder in it that has a marker of this name; None if there is none."""
    for root in (tree, *(tree.at(name) for name in tree.folders())):
        if root.exists(marker_file):
            return root
    return None


def open_synthesized(root: FileTree) -> SynthesizedFaces:
    """Open faces at the root that `find_synthesized` gave.

    Raises:
        UsageError: the marker is damaged, or the faces belong to another head.
    """
    marker = parse_marker(root.read(MARKER_FILE), root.path(MARKER_FILE))
    if marker.head != HEAD_NAME:
        raise UsageError(
            f"{root.path(MARKER_FILE)}: these faces were made from the head {marker.head!r}, this version of "
            f"facepipe has {HEAD_NAME!r}; synthesize them again"
        )
    return SynthesizedFaces(root, image_px=marker.image_px)
