"""The stages `restore`, `regress` and `export`: from the crops of a block to images, volumes and meshes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import SampleError
from facepipe.core.files import write_atomically
from facepipe.geometry.mesh import encode, photo_colours
from facepipe.geometry.volume import display_surface
from facepipe.imaging.degrade import degrade, make_reference
from facepipe.models.superres.methods import get_method
from facepipe.models.superres.size_fit import fitting_px
from facepipe.models.vrn.regressors import get_regressor
from facepipe.surveil.quality import surface_thickness_px
from facepipe.surveil.quarantine import attempt
from facepipe.surveil.rules import Rules
from facepipe.surveil.volume_file import SUFFIX, read_volume, write_volume

Image8 = NDArray[np.uint8]
Row = dict[str, Any]

_REASON = [("reason", pa.string()), ("detail", pa.string())]

RESTORED = pa.schema(
    [
        ("index", pa.int64()),
        ("face_id", pa.string()),
        ("low_px", pa.int32()),
        ("image", pa.binary()),
        *_REASON,
    ]
)
"""`image` is uint8 RGB (128, 128, 3); `low_px` is null where nothing had to be restored."""

REGRESSED = pa.schema([("index", pa.int64()), ("face_id", pa.string()), *_REASON])
"""A volume lies under its face's name, for every row without a reason."""

EXPORTED = pa.schema(
    [
        ("index", pa.int64()),
        ("low_px", pa.int32()),
        ("thickness_px", pa.float32()),
        ("image_path", pa.string()),
        ("volume_path", pa.string()),
        ("mesh_path", pa.string()),
        *_REASON,
    ]
)
"""Paths are relative to the archive; null where it keeps no pixels."""


@dataclass(frozen=True)
class Places:
    """Where the files of a batch go.

    Attributes:
        archive: the archive's folder.
        volumes: where volumes are written.
        pixels: where everything else is written, and volumes, too; None keeps nothing.
    """

    archive: Path
    volumes: Path
    pixels: Path | None

    def volume(self, face_id: str) -> Path:
        """The file of a volume."""
        return self.volumes / f"{face_id}{SUFFIX}"

    def relative(self, path: Path) -> str:
        """A path as the table has it."""
        return path.relative_to(self.archive).as_posix()


def restore(rows: list[Row], rules: Rules, device: str) -> list[Row]:
    """Bring crops to network size, each at the largest size that the method fits.

    Args:
        rows: of `DETECTED`, with crops.
        rules: the method.
        device: where its network runs.

    Returns:
        Rows of `RESTORED`.
    """
    method = get_method(rules.method)
    made: list[Row] = []
    by_px: dict[int | None, list[tuple[Row, Image8]]] = {}
    for row in rows:
        side = row["crop_px"]
        crop = np.frombuffer(row["crop"], np.uint8).reshape(side, side, 3)
        result: Row = {"index": row["index"], "face_id": row["face_id"]}
        low_px = attempt(lambda side=side: fitting_px(side, method))  # type: ignore[misc]
        if isinstance(low_px, SampleError):
            result |= {"reason": low_px.reason, "detail": low_px.detail}
        else:
            result["low_px"] = low_px
            by_px.setdefault(low_px, []).append((result, crop))
        made.append(result)
    for px, members in by_px.items():
        crops = [crop for _, crop in members]
        if px is None:
            images = [make_reference(crop) for crop in crops]
        else:
            small = [crop if len(crop) == px else degrade(crop, "area", px, 0, "") for crop in crops]
            images = list(method.build(px, device)(np.stack(small)))
        for (result, _), image in zip(members, images, strict=True):
            result["image"] = np.ascontiguousarray(image).tobytes()
    return made


def regress(rows: list[Row], rules: Rules, places: Places, device: str) -> list[Row]:
    """Regress volumes and write a file for each.

    Args:
        rows: of `RESTORED`, with images.
        rules: the regressor.
        places: where the files go.
        device: where its network runs.

    Returns:
        Rows of `REGRESSED`.
    """
    if not rows:
        return []
    regressor = get_regressor(rules.regressor)
    volumes = regressor.build(device, rules.backend)(np.stack([_image(row) for row in rows]))
    for row, volume in zip(rows, volumes, strict=True):
        write_volume(places.volume(row["face_id"]), volume, regressor.geometry)
    return [{"index": row["index"], "face_id": row["face_id"]} for row in rows]


def export(
    rows: list[Row], restored: Mapping[int, Row], crops: Mapping[int, Row], rules: Rules, places: Places
) -> list[Row]:
    """Judge volumes, and write restored images and meshes where they are kept.

    Args:
        rows: of `REGRESSED`, with volumes.
        restored: rows of `RESTORED` by index.
        crops: rows of `DETECTED` by index.
        rules: the regressor.
        places: where the files go.

    Returns:
        Rows of `EXPORTED`.
    """
    made = []
    for row in rows:
        index = row["index"]
        result = attempt(lambda i=index: _export(restored[i], crops[i], rules, places))  # type: ignore[misc]
        if isinstance(result, SampleError):
            result = {"reason": result.reason, "detail": result.detail}
        made.append({"index": index, "low_px": restored[index]["low_px"], **result})
    return made


def _export(restored: Row, cut: Row, rules: Rules, places: Places) -> Row:
    face_id, geometry = restored["face_id"], get_regressor(rules.regressor).geometry
    path = places.volume(face_id)
    volume, _ = read_volume(path)
    result: Row = {}
    if places.pixels is not None:
        picture = places.pixels / f"{face_id}.png"
        _, png = cv2.imencode(".png", _image(restored)[:, :, ::-1])
        write_atomically(picture, png.tobytes(), private=True)
        result = {"image_path": places.relative(picture), "volume_path": places.relative(path)}
    try:
        mesh = display_surface(volume, geometry)
    except SampleError:
        detail = f"{rules.regressor} made an empty volume"
        return result | {"reason": "empty-volume", "detail": detail}
    result["thickness_px"] = surface_thickness_px(volume, geometry, mesh)
    if places.pixels is not None:
        side = cut["crop_px"]
        crop = np.frombuffer(cut["crop"], np.uint8).reshape(side, side, 3)
        file = places.pixels / f"{face_id}.glb"
        write_atomically(file, encode(mesh, photo_colours(mesh.vertices, crop), "glb"), private=True)
        result["mesh_path"] = places.relative(file)
    return result


def _image(row: Row) -> Image8:
    return np.frombuffer(row["image"], np.uint8).reshape(NETWORK_PX, NETWORK_PX, 3)
