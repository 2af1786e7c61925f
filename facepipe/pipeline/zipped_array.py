"""One Zarr array in one zip file: how archives of older versions keep each volume."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from facepipe.core.errors import FacepipeError

_MEMBERS = ["c/0/0/0", "zarr.json"]


def read_zipped_array(path: Path) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Read a volume that is a file of its own.

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
