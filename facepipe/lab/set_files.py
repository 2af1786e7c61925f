"""Write data sets in 300W-LP's layout: the folder with its marker file, .mat files, pictures."""

from __future__ import annotations

import io
import os
from pathlib import Path

import scipy.io
from numpy.typing import NDArray

from facepipe.core.errors import UsageError
from facepipe.datasets.synthetic_marker import Marker, parse_marker
from facepipe.geometry.head import HEAD_NAME
from facepipe.geometry.morphable import SOURCE_PX


def prepare_folder(out: Path, marker_file: str) -> None:
    """Make the folder of a set with its marker file, or check that it is one that can go on.

    Raises:
        UsageError: it holds other files, or a set of another head or image size.
    """
    out.mkdir(parents=True, exist_ok=True)
    marker_path = out / marker_file
    wanted = Marker(HEAD_NAME, SOURCE_PX)
    if marker_path.exists():
        found = parse_marker(marker_path.read_bytes(), str(marker_path))
        if found != wanted:
            raise UsageError(
                f"{marker_path}: its faces are of {found.head!r} at {found.image_px} px, this version makes "
                f"{wanted.head!r} at {wanted.image_px} px; choose another folder"
            )
    elif any(not path.name.startswith(f".{marker_file}") for path in out.iterdir()):
        raise UsageError(f"{out}: holds other files and no {marker_file}; choose another folder")
    else:
        write_file(marker_path, wanted.to_json().encode())


def mat_bytes(fields: dict[str, NDArray]) -> bytes:
    """The bytes of a compressed .mat file with these variables."""
    stream = io.BytesIO()
    scipy.io.savemat(stream, fields, do_compression=True)
    return stream.getvalue()


def write_file(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it; not synced: a lost one is made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
