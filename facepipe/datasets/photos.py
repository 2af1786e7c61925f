"""A folder of photos without any truth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from facepipe.datasets.base import Sample, SampleRef, Topology, TruthSource
from facepipe.errors import SampleError, UsageError
from facepipe.images import read_image

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class PhotosDataset:
    """Every image file below a folder, however deep; hidden files and folders are left out.

    The subset of a photo is the first folder on its way, '' for a photo at the root. Of several files
    with the same id (`a.jpg` and `a.png`) the first by name is used and the others are rejected.

    Attributes:
        root: the folder.
    """

    root: Path
    kind: str = "photos"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.root.resolve().name

    def refs(self) -> list[SampleRef]:
        """List the photos in the order of their ids.

        Raises:
            UsageError: the folder is missing or holds no photo.
        """
        found = [self._ref(path) for path in _photos(self.root)]
        if not found:
            raise UsageError(
                f"{self.root}: no photos there; expected files ending in {', '.join(sorted(PHOTO_SUFFIXES))}"
            )
        return sorted(found, key=lambda ref: (ref.sample_id, ref.source_path))

    def load(self, ref: SampleRef, dense: bool = True) -> Sample:  # noqa: ARG002
        """Decode one photo.

        Raises:
            SampleError: duplicate-id, or a reason of `facepipe.images.read_image`.
        """
        path = self.root / ref.source_path
        first = _first_twin(path)
        if first is not None:
            raise SampleError(
                "duplicate-id",
                f"{path}: {first} beside it has the same id {ref.sample_id!r} and is used; rename one",
            )
        image, sha256 = read_image(path)
        return Sample(image, sha256)

    def topology(self) -> Topology | None:
        """Photos have no dense truth."""
        return None

    def truth_source(self) -> TruthSource:
        """Photos have no truth at all."""
        return TruthSource("none: plain photos")

    def _ref(self, path: Path) -> SampleRef:
        relative = path.relative_to(self.root)
        subset = relative.parts[0] if len(relative.parts) > 1 else ""
        sample_id = relative.with_suffix("").as_posix()
        return SampleRef(sample_id, subset, relative.as_posix(), path.stat().st_size)


def is_photo(name: str) -> bool:
    """Whether a file name is that of a photo."""
    return not name.startswith(".") and Path(name).suffix.lower() in PHOTO_SUFFIXES


def _photos(root: Path) -> list[Path]:
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; --dataset takes the folder of a data set, or 'sample'")
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.extend(Path(folder, name) for name in files if is_photo(name))
    return found


def _first_twin(path: Path) -> str | None:
    """Name of the photo with the same stem that stands before this one by name, or None.

    Asks for the few possible names instead of listing the folder, which may hold a hundred thousand.
    """
    suffixes = PHOTO_SUFFIXES | {suffix.upper() for suffix in PHOTO_SUFFIXES}
    for name in sorted(path.stem + suffix for suffix in suffixes):
        twin = path.with_name(name)
        # On a file system that ignores case, another spelling is the same file.
        if name < path.name and twin.is_file() and not (path.exists() and twin.samefile(path)):
            return name
    return None
