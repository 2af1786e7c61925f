"""Sheets of annotated photographs: `python docs/sheets_photographs.py SET OUT.jpg [REGRESSOR ...]`.

A row for each of some photographs held out for tests, evenly spread over the named parts of the set: the
photograph, the fitted head over it, then the fitted surface and what each regressor sees, shaded and turned a
little. Without regressors: the photograph, the head over it, and a view turned further with its head.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from facepipe.core.conventions import VolumeGeometry
from facepipe.datasets.annotated import is_turned
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.crops import crop_for
from facepipe.datasets.dataset import Sample
from facepipe.geometry.head import load_head
from facepipe.geometry.mesh import render
from facepipe.geometry.volume import surface
from facepipe.geometry.voxelise import voxelise
from facepipe.imaging.degrade import make_reference
from facepipe.lab.faces.raster import NOTHING, rasterise, vertex_normals
from facepipe.models.vrn.regressors import open_regressor

TILE_PX = 150
TURN_DEG = 25.0
VEIL = 0.6
"""How much of a fitted head's shading covers the photograph."""


def main(folder: Path, out: Path, regressors: list[str], parts: list[str], each: int, split: str) -> None:
    """Draw the sheet."""
    dataset = open_dataset(folder, "annotated", split=split)
    refs = [ref for ref in dataset.refs() if not parts or ref.subset.removesuffix("_turned") in parts]
    plain = [ref for ref in refs if not is_turned(ref)]
    chosen = []
    for part in parts or sorted({ref.subset for ref in plain}):
        of_part = [ref for ref in plain if ref.subset == part]
        chosen += of_part[:: max(1, len(of_part) // each)][:each]
    opened = [open_regressor(name) for name in regressors]
    networks = [(one.build(), one.geometry) for one in opened]
    rows = []
    for ref in chosen:
        photo = dataset.load(ref)
        tiles = [small(photo.image), small(veiled(photo))]
        if networks:
            tiles += surfaces(photo, networks)
        else:
            turned_refs = (view for view in refs if is_turned(view))
            views = [view for view in turned_refs if view.sample_id.split("/")[1].startswith(stem(ref))]
            for view in views[:1]:
                turned = dataset.load(view)
                tiles += [small(turned.image), small(veiled(turned))]
        rows.append(np.hstack(tiles))
    widest = max(row.shape[1] for row in rows)
    sheet = np.vstack([np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows])
    half = (len(rows) + 1) // 2 * TILE_PX
    if len(rows) % 2:
        sheet = np.vstack([sheet, np.zeros_like(sheet[:TILE_PX])])
    Image.fromarray(np.hstack([sheet[:half], sheet[half:]])).save(out, quality=88)


def stem(ref) -> str:  # type: ignore[no-untyped-def]
    """How the views of a photograph begin."""
    return f"{ref.sample_id.split('/')[1]}_"


def small(image: np.ndarray) -> np.ndarray:
    """A tile."""
    return cv2.resize(image, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)


def veiled(photo: Sample) -> np.ndarray:
    """The photograph with the fitted head's surface shaded over it."""
    model = load_head().model
    assert photo.truth.vertices is not None
    seen = rasterise(photo.truth.vertices, model.surface, photo.image.shape[0])
    normals = vertex_normals(photo.truth.vertices, model.surface)
    shade = normals[model.surface[np.maximum(seen.triangle, 0)]].mean(axis=2)[..., 2].clip(0, 1) * 255
    there = (seen.triangle != NOTHING)[..., None] * VEIL
    return (photo.image * (1 - there) + shade[..., None] * there).astype(np.uint8)


def surfaces(photo: Sample, networks) -> list[np.ndarray]:  # type: ignore[no-untyped-def]
    """The fitted surface and those of regressors, turned."""
    crop = crop_for(photo, "landmarks")
    assert photo.truth.vertices is not None
    geometry = networks[0][1]
    true = voxelise(crop.to_reference(photo.truth.vertices), load_head().model.solid, geometry)
    image = make_reference(crop.cut(photo.image))
    made = [(true, geometry), *((network(image[None])[0], own) for network, own in networks)]
    return [drawn(volume, own) for volume, own in made]


def drawn(volume: np.ndarray, geometry: VolumeGeometry) -> np.ndarray:
    """A volume's surface, shaded, turned to the side."""
    return render(surface(volume, geometry, smoothing_px=1.0), TILE_PX, TURN_DEG)[:, :, :3]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("regressors", nargs="*")
    parser.add_argument("--parts", default="")
    parser.add_argument("--each", type=int, default=2)
    parser.add_argument("--split", default="test")
    given = parser.parse_args()
    named = [part for part in given.parts.split(",") if part]
    main(given.folder, given.out, given.regressors, named, given.each, given.split)
