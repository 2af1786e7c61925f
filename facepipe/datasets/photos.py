"""Photos without any truth."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from facepipe.core.errors import SampleError, UsageError, printable
from facepipe.datasets.dataset import Sample, SampleRef, Topology, TruthSource
from facepipe.datasets.file_tree import FileTree, is_photo, stem
from facepipe.datasets.pairs import Pairs
from facepipe.imaging.images import FORMATS as IMAGE_FORMATS
from facepipe.imaging.images import decode_image
from facepipe.imaging.passed_over import NOT_READ, PassedOver, extension_of, summarised, why_not


@dataclass(frozen=True)
class PhotosDataset:
    """Every image below a folder or in a zip archive, however deep; hidden ones are left out.

    What is called an image is taken for one, other files by what they contain.

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
            SampleRef(_id_of(name), name.split("/", 1)[0] if "/" in name else "", name, size_bytes)
            for name, size_bytes in self.tree.walk()
            if _why_not(self.tree, name) is None
        ]
        if not found:
            passed = "".join(f"; passed over: {printable(str(passed))}" for passed in self._passed_over())
            raise UsageError(
                f"{self.root}: no photos there; expected images: {', '.join(IMAGE_FORMATS)}{passed}"
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
        passed_over = self._passed_over()
        if not pairs:
            return TruthSource("none: plain photos", passed_over=passed_over)
        folder, names = next(iter(pairs.items()))
        example = printable(f"{folder}/{names[0]}.mat".lstrip("/"))
        return TruthSource(
            "none: plain photos",
            passed_over=passed_over,
            notice=(
                f"{sum(map(len, pairs.values()))} .mat files beside the photos are not read, such as "
                f"{example}; with --kind auto, 300W-LP, 300W-3D and "
                "AFLW2000-3D are recognised by the published names of their folders and files"
            ),
        )

    def _passed_over(self) -> tuple[PassedOver, ...]:
        why = ((extension_of(name), _why_not(self.tree, name)) for name in self.tree.names())
        return tuple(summarised(Counter((extension, reason) for extension, reason in why if reason)))


def _id_of(name: str) -> str:
    """The id of a photo: its path without the extension, unless that is not one of photos."""
    return stem(name) if is_photo(name) else name


def _why_not(tree: FileTree, name: str) -> str | None:
    """Why a file is no sample; None if it is. What is called a photo is one, or quarantined with a reason."""
    if is_photo(name):
        return None
    return NOT_READ if name.endswith(".mat") else why_not(tree.head(name), with_videos=False)


def refuse_twin(tree: FileTree, ref: SampleRef) -> None:
    """Reject a photo whose id another photo has, too.

    Raises:
        SampleError: duplicate-id.
    """
    if not is_photo(ref.source_path):
        return
    twin = tree.earlier_twin(ref.source_path)
    other = ref.sample_id
    if twin is None and not is_photo(other) and tree.exists(other) and _why_not(tree, other) is None:
        twin = other
    if twin is not None:
        raise SampleError(
            "duplicate-id",
            f"{tree.path(ref.source_path)}: {twin} has the same id {ref.sample_id!r} and comes first; "
            "rename one",
        )
