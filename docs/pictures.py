"""Draws README's gallery from a run: `python docs/pictures.py runs/demo docs/images/gallery.png`."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from facepipe.bench.driver import load_spec
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import Condition
from facepipe.geometry.mesh import photo_colours, render
from facepipe.geometry.volume import surface

TILE_PX = 150
LABEL_PX = 22
FACES = 4
LOW_PX = 16
METHODS = ("bilinear", "compact-area")


def main(run: Path, out: Path) -> None:
    """Draw frontal faces with what each method makes of 16 px."""
    store = RunStore(run)
    spec = load_spec(store)
    yaw_deg = np.abs(pq.read_table(store.samples_path)["yaw_deg"].to_numpy())
    regressor = next(iter(spec.regressors))
    reference = Condition("none", 128, "reference", regressor)
    restored = [Condition("area", LOW_PX, method, regressor) for method in METHODS]
    header = ["reference", "its mesh", f"{LOW_PX} px"]
    for method in METHODS:
        header += [method, "its mesh"]
    rows = [_header(header)]
    for index in np.argsort(yaw_deg, kind="stable")[:FACES]:
        tiles = [*_face(store, reference, spec.regressors[regressor], index)]
        tiles.append(_enlarged(store.read(restored[0].lowres, index, index + 1)[0], cv2.INTER_NEAREST))
        for condition in restored:
            tiles += _face(store, condition, spec.regressors[regressor], index)
        rows.append(np.hstack(tiles))
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(out, optimize=True)


def _face(store: RunStore, condition: Condition, geometry, index: int) -> list[np.ndarray]:
    image = store.read(condition.restored, index, index + 1)[0]
    mesh = surface(store.read(condition.volume, index, index + 1)[0], geometry, smoothing_px=1.0)
    picture = render(mesh, TILE_PX, 25.0, photo_colours(mesh.vertices, image))
    return [_enlarged(image, cv2.INTER_CUBIC), picture[:, :, :3]]


def _enlarged(image: np.ndarray, interpolation: int) -> np.ndarray:
    return cv2.resize(image, (TILE_PX, TILE_PX), interpolation=interpolation)


def _header(labels: list[str]) -> np.ndarray:
    image = Image.new("RGB", (TILE_PX * len(labels), LABEL_PX), "white")
    draw = ImageDraw.Draw(image)
    for number, label in enumerate(labels):
        place = (TILE_PX * number + TILE_PX // 2, LABEL_PX // 2)
        draw.text(place, label, "black", font=ImageFont.load_default(14), anchor="mm")
    return np.asarray(image)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
