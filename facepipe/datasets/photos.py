"""Photos without any truth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from facepipe.core.errors import SampleError, UsageError, printable
from facepipe.datasets.dataset import Sample, SampleRef, Topology, TruthSource
from facepipe.datasets.file_tree import PHOTO_SUFFIXES, FileTree, is_photo, stem
from facepipe.datasets.pairs import Pairs
from facepipe.imaging.images import decode_image


@dataclass(frozen=True)
class PhotosDataset:
    """Every image file below a folder or in a zip archive, however deep; hidden ones are left out.

    The subset of a photo is the first folder on its way, '' for a photo at the root. Of several files
    with the same id (`a.jpg` and `a.png`) the first by name is taken and the others are rejected.

    Attributes:
        root: the folder or the archive.
    """

    root: Path
    kind: str = "photos"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.root.resolve().name

    @property
    def tree(self) -> FileTree:
        """The files below the root."""
        return FileTree(self.root)

    def refs(self) -> list[SampleRef]:
        """List the photos in the order of their ids.

        Raises:
            UsageError: the folder is missing or holds no photo.
        """
        found = [
            SampleRef(stem(name), name.split("/", 1)[0] if "/" in name else "", name, size_bytes)
            for name, size_bytes in self.tree.walk()
            if is_photo(name)
        ]
        if not found:
            raise UsageError(
                f"{self.root}: no photos there; expected files ending in {', '.join(sorted(PHOTO_SUFFIXES))}"
            )
        return sorted(found, key=lambda ref: (ref.sample_id, ref.source_path))

    def load(self, ref: SampleRef, dense: bool = True) -> Sample:  # noqa: ARG002
        """Decode one photo.

        Raises:
            SampleError: duplicate-id, or a reason of `FileTree.read` and
                `facepipe.imaging.images.decode_image`.
        """
        tree = self.tree
        refuse_twin(tree, ref)
        data = tree.read(ref.source_path)
        return Sample(decode_image(data, tree.path(ref.source_path)), hashlib.sha256(data).hexdigest())

    def topology(self) -> Topology | None:
        """Photos have no dense truth."""
        return None

    def truth_source(self) -> TruthSource:
        """Photos have no truth at all; what lies beside them and is not read is said."""
        pairs = Pairs(self.tree, deepest=None).folders
        if not pairs:
            return TruthSource("none: plain photos")
        folder, names = next(iter(pairs.items()))
        example = printable(f"{folder}/{names[0]}.mat".lstrip("/"))
        return TruthSource(
            "none: plain photos",
            notice=(
                f"{sum(map(len, pairs.values()))} .mat files beside the photos are not read, such as "
                f"{example}; with --kind auto, 300W-LP, 300W-3D and "
                "AFLW2000-3D are recognised by the published names of their folders and files"
            ),
        )


def refuse_twin(tree: FileTree, ref: SampleRef) -> None:
    """Reject a photo whose id another photo has, too.

    Raises:
        SampleError: duplicate-id.
    """
    twin = tree.earlier_twin(ref.source_path)
    if twin is not None:
        raise SampleError(
            "duplicate-id",
            f"{tree.path(ref.source_path)}: {twin} has the same id {ref.sample_id!r} and comes first; "
            "rename one",
        )
