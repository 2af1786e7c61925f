"""The images, volumes and meshes of an archive, by the names that its tables have for them.

An image or a mesh is a file. A volume is a sample of an array: `FOLDER#INDEX`, a Zarr array below the archive
and a place along its first axis. Archives of older versions name a zip file with a volume of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import DamageError, FacepipeError, UsageError
from facepipe.pipeline.batch_store import BatchStore
from facepipe.pipeline.zipped_array import read_zipped_array


def volume_name(folder: str, index: int) -> str:
    """The name of a volume.

    Args:
        folder: of the array, below the archive.
        index: of the volume in it.
    """
    return f"{folder}#{index}"


def read_volume(archive: Path, name: str) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Read a volume of an archive.

    Args:
        archive: its folder.
        name: as the column `volume_path` has it.

    Returns:
        uint8 (D, H, W) and the array's attributes, `spacing` and `z_zero` among them.

    Raises:
        FacepipeError: it is missing or damaged.
    """
    if "#" not in name:
        return read_zipped_array(archive / name)
    store, array, index = _located(archive, name)
    try:
        return store.read_one(array, index), store.attributes(array)
    except (DamageError, UsageError, ValueError, IndexError) as error:
        raise FacepipeError(
            f"{archive / name}: no readable volume ({error}); 'facepipe surveil ... --reprocess' makes it "
            "again"
        ) from error


def delete_pixels(archive: Path, names: Iterable[str]) -> None:
    """Delete images, volumes and meshes; what is not there any more is passed over.

    A volume is overwritten with zeros. Where its shard is damaged, all of that goes: nobody can read it.

    Args:
        archive: its folder.
        names: as its tables have them.
    """
    volumes: dict[str, list[int]] = {}
    for name in names:
        folder, found, index = name.partition("#")
        if found:
            volumes.setdefault(folder, []).append(int(index))
        else:
            (archive / name).unlink(missing_ok=True)
    for folder, indices in volumes.items():
        store, array, _ = _located(archive, volume_name(folder, 0))
        if store.has_array(array):
            store.erase(array, indices)


def _located(archive: Path, name: str) -> tuple[BatchStore, str, int]:
    folder, _, index = name.partition("#")
    path = archive / folder
    return BatchStore(path.parent, path.parent, private=True), path.name, int(index)
