"""How good annotated truth is: `python docs/annotation_error.py [FACES [DATASET]]`.

Drawn faces of the test seeds are annotated like photographs and compared with the meshes that they were drawn
from, which no annotation saw; with DATASET (AFLW2000-3D), photographs are compared with its 3D landmarks. By
yaw, as a Markdown table: how many were left out, mean distance of the inner 51 landmarks in the picture and
of their depths about the median, over the root of the area of the 68 landmarks' box, the correlation of
depths, and for drawn faces the IoU of the two volumes as a regressor's evaluation fills them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import SampleError
from facepipe.datasets.catalog import open_dataset
from facepipe.geometry.head import load_head
from facepipe.geometry.morphable import SOURCE_PX
from facepipe.geometry.voxelise import voxelise
from facepipe.imaging.crop import Crop
from facepipe.lab.faces.factory import render, sample, vertices_px
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.photos.annotation import annotate
from facepipe.metrics.faces import INNER_LANDMARKS
from facepipe.metrics.geometry import volume_iou
from facepipe.metrics.intervals import mean_of

PICTURE_PX = 300
LIMITS = (0.0, 15.0, 30.0, 45.0, 60.0, 90.0)
COLUMNS = ("distance in the picture", "distance in depth", "depth correlation", "IoU")


@dataclass(frozen=True, eq=False)
class Known:
    """A picture and its truth: uint8 RGB, landmarks (68, 3) and, where drawn, vertices, source pixels."""

    image: np.ndarray
    yaw_deg: float
    landmarks: np.ndarray
    vertices: np.ndarray | None = None


def main(faces: int, dataset: str | None) -> None:
    """Print a table for drawn faces, and one for a data set."""
    cv2.setNumThreads(1)
    table("drawn faces", list(map(compare, drawn(faces))))
    if dataset is not None:
        table(dataset.rstrip("/").rpartition("/")[2], list(map(compare, photographs(dataset))))


def drawn(count: int) -> Iterator[Known]:
    """The first faces of the test seeds."""
    head = load_head()
    for index in range(count):
        face = sample(face_seed("test", index), head)
        vertices = vertices_px(face, PICTURE_PX).astype(np.float64)
        yaw_deg = math.degrees(face.pose.yaw_rad)
        yield Known(render(face, PICTURE_PX, head), yaw_deg, vertices[head.model.landmarks], vertices)


def photographs(path: str) -> Iterator[Known]:
    """The photographs of a data set with 3D landmarks."""
    opened = open_dataset(path)
    for ref in opened.refs():
        photo = opened.load(ref, dense=False)
        if photo.truth.landmarks is not None and photo.yaw_deg is not None:
            yield Known(photo.image, photo.yaw_deg, photo.truth.landmarks.astype(np.float64))


def compare(known: Known) -> tuple[float, tuple[float | None, ...] | None]:
    """|yaw| and the figures of a picture, None where it was left out."""
    try:
        face = annotate(known.image)
    except SampleError:
        return abs(known.yaw_deg), None
    model = load_head().model
    crop = face.crop
    posed = face.head.pose.apply(face.head.vertices_mm, SOURCE_PX) * (crop.size / SOURCE_PX)
    posed[:, :2] += (crop.x0, crop.y0)
    size = float(np.sqrt(np.prod(np.ptp(known.landmarks[:, :2], axis=0))))
    found, true = posed[model.landmarks][INNER_LANDMARKS], known.landmarks[INNER_LANDMARKS]
    away = (found - true) / size
    depth = float(np.abs(away[:, 2] - np.median(away[:, 2])).mean())
    correlation = float(np.corrcoef(found[:, 2], true[:, 2])[0, 1])
    iou = None if known.vertices is None else overlap(posed, known.vertices, crop)
    return abs(known.yaw_deg), (float(np.linalg.norm(away[:, :2], axis=1).mean()), depth, correlation, iou)


def overlap(found: np.ndarray, true: np.ndarray, crop: Crop) -> float:
    """IoU of the face parts of two heads, each centred in depth."""
    solid = load_head().model.solid
    volumes = []
    for vertices in (found, true):
        z = vertices[np.unique(solid), 2]
        moved = crop.to_reference(vertices - (0, 0, (z.min() + z.max()) / 2))
        volumes.append(voxelise(moved, solid, VolumeGeometry(size=NETWORK_PX, z_zero=80.0)))
    return volume_iou(*volumes)


def table(title: str, rows: list[tuple[float, tuple[float | None, ...] | None]]) -> None:
    """Print the means of all and of ranges of yaw."""
    print(f"\n| {title}, yaw | faces | left out | " + " | ".join(COLUMNS) + " |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    for low, high in ((LIMITS[0], LIMITS[-1]), *pairwise(LIMITS)):
        chosen = [figures for yaw, figures in rows if low <= yaw < high]
        taken = [figures for figures in chosen if figures is not None]
        cells = []
        for column in zip(*taken, strict=True) if taken else [()] * len(COLUMNS):
            values = np.array([value for value in column if value is not None], float)
            cells.append(f"{mean_of(values).mean:.3f}" if len(values) else "")
        name = "all" if (low, high) == (LIMITS[0], LIMITS[-1]) else f"{low:.0f} to {high:.0f}"
        print(f"| {name} | {len(chosen)} | {len(chosen) - len(taken)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, sys.argv[2] if len(sys.argv) > 2 else None)
