"""Find photos with a .mat file beside them, in folders of any name."""

from __future__ import annotations

from functools import cached_property

from facepipe.datasets.file_tree import FileTree, is_photo, stem

DEEPEST = 5
"""How many folders below the tree's root photos may lie for their data set to be found."""


class Pairs:
    """Photos of a tree that have a .mat of the same name, by folder; listed once, when first asked for.

    Args:
        tree: to list.
        deepest: how many folders below its root to look; None for all.
    """

    def __init__(self, tree: FileTree, deepest: int | None = DEEPEST) -> None:
        self.tree = tree
        self._deepest = deepest

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """Folder below the root, '' for the root -> sorted names of its pairs without extension.

        The folders nearest to the root come first, those of one depth in the order of their names.

        Raises:
            UsageError, EnvironmentTroubleError: as `FileTree.walk`.
        """
        photos: set[str] = set()
        mats: set[str] = set()
        for name in self.tree.names(self._deepest):
            if name.endswith(".mat"):
                mats.add(stem(name))
            elif is_photo(name):
                photos.add(stem(name))
        found: dict[str, list[str]] = {}
        for pair in sorted(photos & mats):
            folder, _, name = pair.rpartition("/")
            found.setdefault(folder, []).append(name)
        return {folder: found[folder] for folder in sorted(found, key=lambda f: (_depth(f), f))}


def spelled_alike(name: str) -> str:
    """A folder's name as it is compared: in small letters, without '-' and '_'."""
    return name.lower().replace("-", "").replace("_", "")


def _depth(folder: str) -> int:
    return folder.count("/") + bool(folder)
