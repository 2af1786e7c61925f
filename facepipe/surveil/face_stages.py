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

from facepipe.core.errors import SampleError
from facepipe.geometry.mesh import encode, photo_colours
from facepipe.geometry.volume import display_surface
from facepipe.imaging.degrade import degrade, make_reference
from facepipe.models.superres.methods import get_method
from facepipe.models.superres.size_fit import fitting_px
from facepipe.models.vrn.regressors import get_regressor
from facepipe.surveil.quality import surface_thickness_px
from facepipe.surveil.quarantine import attempt
from facepipe.surveil.rules import Rules

Image8 = NDArray[np.uint8]
Row = dict[str, Any]

_REASON = [("reason", pa.string()), ("detail", pa.string())]

RESTORED = pa.schema([("index", pa.int64()), ("low_px", pa.int32()), *_REASON])
"""`low_px` is null where nothing had to be restored."""

REGRESSED = pa.schema([("index", pa.int64()), *_REASON])

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


def restore(
    crops: Mapping[int, Image8], rules: Rules, device: str
) -> tuple[dict[int, Row], dict[int, Image8]]:
    """Bring crops to network size, each at the largest size that the method fits.

    Args:
        crops: uint8 RGB (S, S, 3) by index.
        rules: the method.
        device: where its network runs.

    Returns:
        By index, what `RESTORED` says beside it, and uint8 RGB (128, 128, 3) of those that could be restored.
    """
    method = get_method(rules.method)
    rows: dict[int, Row] = {}
    images: dict[int, Image8] = {}
    by_px: dict[int | None, list[int]] = {}
    for index, crop in crops.items():
        low_px = attempt(lambda crop=crop: fitting_px(len(crop), method))  # type: ignore[misc]
        if isinstance(low_px, SampleError):
            rows[index] = {"reason": low_px.reason, "detail": low_px.detail}
        else:
            rows[index] = {"low_px": low_px}
            by_px.setdefault(low_px, []).append(index)
    for px, members in by_px.items():
        faces = [crops[index] for index in members]
        if px is None:
            made = [make_reference(face) for face in faces]
        else:
            small = [face if len(face) == px else degrade(face, "area", px, 0, "") for face in faces]
            made = list(method.build(px, device)(np.stack(small)))
        images |= dict(zip(members, made, strict=True))
    return rows, images


def regress(images: Mapping[int, Image8], rules: Rules, device: str) -> dict[int, NDArray[np.uint8]]:
    """Regress volumes.

    Args:
        images: uint8 RGB (128, 128, 3) by index.
        rules: the regressor.
        device: where its network runs.

    Returns:
        uint8 (D, H, W) by index.
    """
    if not images:
        return {}
    regressor = get_regressor(rules.regressor).build(device, rules.backend)
    return dict(zip(images, regressor(np.stack(list(images.values()))), strict=True))


@dataclass(frozen=True)
class Face:
    """What is known of a face when it is exported.

    Attributes:
        face_id: names its files.
        crop: uint8 RGB (S, S, 3), as it was cut out.
        image: uint8 RGB (128, 128, 3), restored.
        volume: uint8 (D, H, W).
        volume_path: what the table calls the volume.
    """

    face_id: str
    crop: Image8
    image: Image8
    volume: NDArray[np.uint8]
    volume_path: str


def export(face: Face, rules: Rules, archive: Path, pixels: Path | None) -> tuple[Row, dict[Path, bytes]]:
    """Judge a volume, and make the restored image and the mesh where they are kept.

    Args:
        face: the face.
        rules: the regressor.
        archive: the folder below which the table's paths are.
        pixels: where images and meshes go; None keeps nothing.

    Returns:
        What `EXPORTED` says of it, and the files to be written.
    """
    geometry = get_regressor(rules.regressor).geometry
    row: Row = {}
    files: dict[Path, bytes] = {}

    if pixels is not None:
        _, png = cv2.imencode(".png", face.image[:, :, ::-1])
        picture = pixels / f"{face.face_id}.png"
        files[picture] = png.tobytes()
        row = {"image_path": picture.relative_to(archive).as_posix(), "volume_path": face.volume_path}
    try:
        mesh = display_surface(face.volume, geometry)
    except SampleError:
        detail = f"{rules.regressor} made an empty volume"
        return row | {"reason": "empty-volume", "detail": detail}, files
    row["thickness_px"] = surface_thickness_px(face.volume, geometry, mesh)
    if pixels is not None:
        model = pixels / f"{face.face_id}.glb"
        files[model] = encode(mesh, photo_colours(mesh.vertices, face.crop), "glb")
        row["mesh_path"] = model.relative_to(archive).as_posix()
    return row, files
