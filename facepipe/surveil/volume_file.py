"""One occupancy volume in one file: a zip that holds a Zarr array, so that any Zarr reader opens it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.storage import ZipStore

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import FacepipeError
from facepipe.core.files import opened, replacing, sync

SUFFIX = ".zarr.zip"

_MEMBERS = ["c/0/0/0", "zarr.json"]


def write_volume(path: Path, volume: NDArray[np.uint8], geometry: VolumeGeometry) -> None:
    """Write a volume atomically, readable by its owner only.

    Args:
        path: of the file; its name should end in `SUFFIX`.
        volume: uint8 (D, H, W).
        geometry: becomes the array's attributes `spacing` and `z_zero`.
    """
    with replacing(path, private=True) as temporary:
        opened(temporary, private=True).close()
        with ZipStore(temporary, mode="w") as store:
            array = zarr.create_array(
                store=store,
                shape=volume.shape,
                chunks=volume.shape,
                dtype="uint8",
                compressors=ZstdCodec(level=1),
                attributes={"spacing": list(geometry.spacing), "z_zero": geometry.z_zero},
                config={"write_empty_chunks": True},
            )
            array[:] = volume
        with temporary.open("rb") as file:
            sync(file)


def read_volume(path: Path) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Read a volume.

    Returns:
        uint8 (D, H, W) and its attributes, `spacing` and `z_zero` among them.

    Raises:
        FacepipeError: the file is missing or damaged.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip file" if path.exists() else "it is not there")
        _check_members(path)
        with ZipStore(path, mode="r") as store:
            array = zarr.open_array(store, mode="r")
            return np.asarray(array[:], np.uint8), dict(array.attrs)
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise FacepipeError(
            f"{path}: no readable volume ({error}); 'facepipe surveil ... --reprocess' makes it again"
        ) from error


def _check_members(path: Path) -> None:
    """Compare the members with their CRC-32; Zarr takes one that is not listed for zeros."""
    with zipfile.ZipFile(path) as file:
        if sorted(file.namelist()) != _MEMBERS or file.testzip() is not None:
            raise ValueError("it is damaged")
