"""How many faces are found: `python benchmarks/detection.py [--faces 40] [--photos DIR]`.

Faces are drawn by the factory, or taken from a folder in AFLW2000-3D's layout, shrunk or enlarged to a
distance between the eyes, turned in the picture's plane, and put on a background. Prints, for each
detector, the share that is found and what is found beside it, as the tables of docs/detection.md.

Turned heads have no distance between the eyes that says how large they are. So sizes are those of the box of
the 68 landmarks, in terms of the distance that an unturned face with such a box has.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facepipe.datasets.catalog import open_dataset
from facepipe.detect import DETECTORS, Detection, Detector, face_crop, open_detector
from facepipe.geometry.head import load_head
from facepipe.imaging.crop import FACE_PX, VRN_CROP_PX
from facepipe.lab.faces.background import background
from facepipe.lab.faces.factory import render, sample, vertices_px

SIZES_PX = (6, 8, 10, 12, 16, 24, 40, 80)
LARGE_SIZES_PX = (160, 320, 640)
LARGE_FACES = 5
ROLLS_DEG = (0, 30, 45, 60, 90, 135, 180)
ROLLED_SIZES_PX = (12, 24)
ROLLED_FACES = 12
YAWS_DEG = ((0, 30), (30, 60), (60, 90.1))
FIRST_SEED = 60_000

FRAME_PX = (352, 288)
FRAME_PER_SIZE = 2.5
"""Least side of the frame, in landmark boxes."""

EYES_PER_BOX = 0.44
"""Distance between the eyes of unturned faces of the factory over the side of their landmark box."""

NEAR, ALIKE = 0.3, 1.6
"""A detection is of the face if its square is centred within this share of the face's side from the face's
own and is larger or smaller by at most this factor."""


@dataclass(frozen=True, eq=False)
class Face:
    """A picture (S, S, 3) with one face; landmarks (68, 2) in its pixels."""

    image: np.ndarray
    landmarks: np.ndarray
    yaw_deg: float

    @property
    def side_px(self) -> float:
        """Square root of the area of the landmarks' box."""
        return side_px(self.landmarks)


def side_px(landmarks: np.ndarray) -> float:
    """Square root of the area of the box of landmarks (68, 2)."""
    return math.sqrt(np.prod(np.ptp(landmarks, axis=0)))


def drawn(count: int) -> list[Face]:
    """Faces of the factory, always the same ones."""
    head = load_head()
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        face = sample(seed, head)
        landmarks = vertices_px(face)[head.model.landmarks][:, :2]
        found.append(Face(render(face, head=head), landmarks, abs(math.degrees(face.pose.yaw_rad))))
    return found


def photos(folder: Path) -> list[Face]:
    """Photos of a data set with landmarks and poses."""
    dataset = open_dataset(folder, "auto")
    samples = [dataset.load(ref, dense=False) for ref in dataset.refs()]
    return [
        Face(s.image, s.truth.landmarks[:, :2], abs(s.yaw_deg or 0.0))
        for s in samples
        if s.truth.landmarks is not None
    ]


def place(face: Face, size_px: float, roll_deg: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame with the face in its middle, `size_px` from eye to eye, and the landmarks in it."""
    scale = size_px / (EYES_PER_BOX * face.side_px)
    side = max(1, round(face.image.shape[0] * scale))
    scale = side / face.image.shape[0]
    least = FRAME_PER_SIZE * size_px / EYES_PER_BOX
    width, height = (math.ceil(max(least, px)) for px in FRAME_PX)
    behind = background(np.random.default_rng(seed), max(width, height))[:height, :width]
    frame = np.clip(255 * behind ** (1 / 2.2), 0, 255).astype(np.uint8)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(face.image, (side, side), interpolation=method)
    turn = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -roll_deg, 1.0)
    centre = turn[:, :2] @ (face.landmarks.mean(axis=0) * scale - 0.5) + turn[:, 2]
    turn[:, 2] += np.array([width, height]) / 2 - centre
    cv2.warpAffine(small, turn, (width, height), dst=frame, borderMode=cv2.BORDER_TRANSPARENT)
    return frame, (face.landmarks * scale - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5


def is_of(detection: Detection, landmarks: np.ndarray) -> bool:
    """Whether a detection is of the face with these landmarks."""
    crop = face_crop(detection, 10**6, 10**6)
    side = side_px(landmarks)
    off = np.hypot(*(landmarks.mean(axis=0) - (crop.x0 + crop.size / 2, crop.y0 + crop.size / 2)))
    ratio = crop.size * FACE_PX / VRN_CROP_PX / side
    return bool(off <= NEAR * side and 1 / ALIKE <= ratio <= ALIKE)


def tally(
    detector: Detector, faces: Sequence[Face], size_px: float, roll_deg: float = 0.0
) -> tuple[int, int]:
    """How many faces are found, and how many things beside them."""
    found = beside = 0
    for seed, face in enumerate(faces):
        frame, landmarks = place(face, size_px, roll_deg, seed)
        hits = [is_of(detection, landmarks) for detection in detector(frame)]
        found += any(hits)
        beside += hits.count(False)
    return found, beside


def row(name: str, cells: Iterable[str]) -> None:
    """Print a line of a Markdown table."""
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def cell(counts: tuple[int, int], total: int) -> str:
    """Share found; what was found beside, where there was any."""
    found, beside = counts
    return f"{100 * found / total:.0f}" + (f" (+{beside})" if beside else "")


def by_size(detector: Detector, groups: dict[str, list[Face]], sizes_px: Sequence[int]) -> None:
    """Print the share found by size, for each group of faces."""
    row(f"{detector.name}: % found at px between the eyes", map(str, sizes_px))
    row("---", ["---"] * len(sizes_px))
    for name, faces in groups.items():
        row(f"{name} ({len(faces)})", (cell(tally(detector, faces, px), len(faces)) for px in sizes_px))


def by_roll(detector: Detector, groups: dict[str, list[Face]]) -> None:
    """Print the share found by how far the picture is turned, for each size and group."""
    row(f"{detector.name}: % found at roll, degrees", map(str, ROLLS_DEG))
    row("---", ["---"] * len(ROLLS_DEG))
    for size in ROLLED_SIZES_PX:
        for name, faces in groups.items():
            cells = (cell(tally(detector, faces, size, roll), len(faces)) for roll in ROLLS_DEG)
            row(f"{name}, {size} px ({len(faces)})", cells)


def seconds(detector: Detector, width: int, height: int) -> float:
    """Median processor time of three frames: one thread does all."""
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    times = []
    for _ in range(3):
        started = time.process_time()
        detector(frame)
        times.append(time.process_time() - started)
    return sorted(times)[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=40, help="Drawn faces.")
    parser.add_argument("--photos", type=Path, help="Folder of a data set with landmarks.")
    options = parser.parse_args()
    faces = {"drawn": drawn(options.faces)} | ({"photos": photos(options.photos)} if options.photos else {})
    groups = {
        f"{name}, yaw {low} to {high:.0f}": [face for face in some if low <= face.yaw_deg < high]
        for name, some in faces.items()
        for low, high in YAWS_DEG
    }
    groups = {name: some for name, some in groups.items() if some}
    plain = open_detector("centerface")
    by_size(plain, groups, SIZES_PX)
    by_size(plain, {name: some[:LARGE_FACES] for name, some in groups.items()}, LARGE_SIZES_PX)
    for name in DETECTORS:
        by_roll(open_detector(name), {kind: some[:ROLLED_FACES] for kind, some in faces.items()})
    for name in DETECTORS:
        for width, height in ((640, 480), (1920, 1080)):
            print(
                f"{name}, {width} x {height}: {seconds(open_detector(name), width, height):.2f} s of one core"
            )


if __name__ == "__main__":
    main()
