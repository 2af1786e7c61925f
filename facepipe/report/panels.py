"""Prepare the gallery's faces for the template, the viewer and the mesh files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facepipe.core.files import write_atomically
from facepipe.geometry.mesh import encode, photo_colours
from facepipe.metrics.catalogue import METRICS
from facepipe.report.gallery import Cell, Face
from facepipe.report.meshes import STEPS_PER_PX, Z_OFFSET_PX, pack
from facepipe.report.pictures import depth_uri, photo_uri
from facepipe.report.style import MethodStyle, number

_NOTED = ("psnr_db", "iou", "ref_iou")
_SHORT = {"psnr_db": "{} dB", "iou": "IoU {}", "ref_iou": "ref. IoU {}"}
_TRUTH = MethodStyle("truth", "truth", "mtruth")


@dataclass(frozen=True)
class Tile:
    """One image of the gallery with its depth map; either may be missing."""

    key: str
    style: MethodStyle
    photo: str
    depth: str
    note: str


@dataclass(frozen=True)
class TileRow:
    """A face at one degradation and size."""

    label: str
    lowres: str
    tiles: list[Tile]


@dataclass(frozen=True)
class FaceView:
    """A face of the gallery.

    Attributes:
        title: how it fares among the samples.
        sample_id: which it is.
        fixed: reference and, where there is one, truth.
        rows: by degradation and size.
        depth_range_px: the depths at both ends of the colour scale, or None without volumes.
    """

    title: str
    sample_id: str
    fixed: list[Tile]
    rows: list[TileRow]
    depth_range_px: tuple[float, float] | None


@dataclass(frozen=True)
class GalleryView:
    """The gallery.

    Attributes:
        faces: best first.
        has_meshes: whether there is any mesh to turn.
        regressor: whose volumes are shown, or 'none'.
        degradations: which are shown.
    """

    faces: list[FaceView]
    has_meshes: bool
    regressor: str
    degradations: list[str]


def build_gallery(faces: Sequence[Face], styles: Mapping[str, MethodStyle]) -> GalleryView:
    """Lay the faces out: photos and depth maps as data URIs, one colour scale a face."""
    views = []
    for i, face in enumerate(faces):
        span = _depth_range(face)
        tile = lambda key, cell, span=span: _tile(key, cell, styles, span)  # noqa: E731
        fixed = [tile(key, cell) for key, cell in _fixed_cells(i, face)]
        rows = [
            TileRow(
                f"{row.degradation} {row.low_px} px",
                photo_uri(row.lowres),
                [tile(_key(i, r, c), cell) for c, cell in enumerate(row.cells)],
            )
            for r, row in enumerate(face.rows)
        ]
        views.append(FaceView(face.rank, face.sample_id, fixed, rows, span))
    has_meshes = any(cell.mesh is not None for face in faces for _, cell in _all_cells(0, face))
    condition = faces[0].reference.condition
    return GalleryView(
        views,
        has_meshes,
        condition.regressor if condition is not None else "none",
        list(dict.fromkeys(row.degradation for face in faces for row in face.rows)),
    )


def viewer_json(
    faces: Sequence[Face], styles: Mapping[str, MethodStyle], gallery: GalleryView | None
) -> dict[str, Any] | None:
    """What `viewer.js` reads, or None where there is no mesh to turn."""
    if gallery is None or not gallery.has_meshes:
        return None
    listed = []
    for i, face in enumerate(faces):
        shapes = [cell.mesh.vertices for _, cell in _all_cells(i, face) if cell.mesh is not None]
        points = np.concatenate(shapes) if shapes else np.zeros((1, 3))
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        reach_px = float(np.linalg.norm(points - centre, axis=1).max())
        listed.append(
            {
                "label": face.rank or "face",
                "centre": [round(float(v), 3) for v in centre],
                "reachPx": round(max(reach_px, 1.0) * 0.96, 3),
                "fixed": [_panel(key, cell, styles, i) for key, cell in _fixed_cells(i, face)],
                "rows": [
                    {
                        "label": f"{row.degradation} {row.low_px} px",
                        "panels": [
                            _panel(_key(i, r, c), cell, styles, i) for c, cell in enumerate(row.cells)
                        ],
                    }
                    for r, row in enumerate(face.rows)
                ],
            }
        )
    return {"stepsPerPx": STEPS_PER_PX, "zOffsetPx": Z_OFFSET_PX, "faces": listed}


def write_meshes(faces: Sequence[Face], styles: Mapping[str, MethodStyle], folder: Path) -> list[Path]:
    """Write every mesh of the gallery as coloured GLB and delete those of an earlier report."""
    for old in folder.glob("*.glb"):
        old.unlink()
    written = []
    for i, face in enumerate(faces):
        for key, cell in _all_cells(i, face):
            if cell.mesh is None:
                continue
            photo = face.reference.image if cell.image is None else cell.image
            if photo is None:
                continue
            path = folder / f"{key}_{_file_name(cell, styles)}.glb"
            write_atomically(path, encode(cell.mesh, photo_colours(cell.mesh.vertices, photo), "glb"))
            written.append(path)
    return written


def _file_name(cell: Cell, styles: Mapping[str, MethodStyle]) -> str:
    if cell.condition is None:
        return "truth"
    words = (cell.condition.size_key, _style(cell, styles).label)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(words))[:80]


def _style(cell: Cell, styles: Mapping[str, MethodStyle]) -> MethodStyle:
    return _TRUTH if cell.condition is None else styles[cell.condition.method]


def _key(face: int, row: int, cell: int) -> str:
    return f"face{face + 1}-{row}-{cell}"


def _fixed_cells(index: int, face: Face) -> list[tuple[str, Cell]]:
    cells = [(f"face{index + 1}-reference", face.reference)]
    return cells + ([(f"face{index + 1}-truth", face.truth)] if face.truth is not None else [])


def _all_cells(index: int, face: Face) -> Iterator[tuple[str, Cell]]:
    yield from _fixed_cells(index, face)
    for r, row in enumerate(face.rows):
        for c, cell in enumerate(row.cells):
            yield _key(index, r, c), cell


def _tile(key: str, cell: Cell, styles: Mapping[str, MethodStyle], span: tuple[float, float] | None) -> Tile:
    photo = "" if cell.image is None else photo_uri(cell.image)
    depth = "" if cell.depth_px is None or span is None else depth_uri(cell.depth_px, *span)
    return Tile(key, _style(cell, styles), photo, depth, _note(cell))


def _note(cell: Cell) -> str:
    if cell.condition is None or cell.condition.is_reference:
        names: tuple[str, ...] = ("iou",)
    else:
        names = _NOTED
    values = {name: cell.scores.get(name) for name in names}
    return ", ".join(
        _SHORT[name].format(number(value, METRICS[name].unit))
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    )


def _panel(key: str, cell: Cell, styles: Mapping[str, MethodStyle], face: int) -> dict[str, Any]:
    style = _style(cell, styles)
    return {
        "key": key,
        "label": style.label,
        "colour": style.colour,
        "note": _note(cell),
        "photo": f"face{face + 1}-reference" if cell.image is None else key,
        "mesh": None if cell.mesh is None else pack(cell.mesh),
    }


def _depth_range(face: Face) -> tuple[float, float] | None:
    """A scale that shows the relief of the face: the middle 96 % of the depths of reference and truth."""
    maps = [cell.depth_px for cell in (face.reference, face.truth) if cell is not None]
    depths = [values[np.isfinite(values)] for values in maps if values is not None]
    known = np.concatenate(depths) if depths else np.zeros(0)
    if not len(known):
        return None
    low, high = np.percentile(known, [2, 98])
    return float(low), float(high)
