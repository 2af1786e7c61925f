"""The constants of `facepipe.detect.framing`: `python benchmarks/face_framing.py [--faces N] [--photos DIR]`.

Faces of the factory are drawn in many poses, put into frames at sizes from 12 to 90 px between the eyes and
turned by up to 30 degrees; of those that are found, box and points are set against the 68 landmarks. The
constants are the median of the size's ratio and the least squares of the centre's position. Prints them, and
the errors that the ones in the code leave, by yaw and on photos that the fit has not seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from detection import YAWS_DEG, Face, drawn, is_of, photos, place, side_px

from facepipe.detect import face_crop, open_detector
from facepipe.detect.framing import DOWN_SHARE, FACE_PER_BOX, POINTS_SHARE, down
from facepipe.imaging.crop import FACE_PX, VRN_CROP_PX

SIZES_PX = (12.0, 90.0)
MAX_ROLL_DEG = 30.0


@dataclass(frozen=True, eq=False)
class Pair:
    """What was detected of a face and where its landmarks are, both in box sides from the box's centre.

    Attributes:
        ratio: side of the landmarks' box, the detector's being 1.
        target: (2,) mean of the landmarks.
        points: (2,) mean of the five points.
        down: (2,) unit vector down the face.
        size_error: of the crop that the code makes, as a share of the true size.
        centre_error: (2,) of its centre from the true one, in sides of the landmarks' box.
        yaw_deg: how far the head is turned.
    """

    ratio: float
    target: np.ndarray
    points: np.ndarray
    down: np.ndarray
    size_error: float
    centre_error: np.ndarray
    yaw_deg: float


def pair(face: Face, size_px: float, roll_deg: float, seed: int) -> Pair | None:
    """Detect a face in a frame; None if it is not found."""
    frame, landmarks = place(face, size_px, roll_deg, seed)
    found = next((each for each in open_detector()(frame) if is_of(each, landmarks)), None)
    if found is None:
        return None
    box = np.array(found.box)
    side = np.sqrt(found.width_px * found.height_px)
    centre = (box[:2] + box[2:]) / 2
    true_side, true_centre = side_px(landmarks), landmarks.mean(axis=0)
    crop = face_crop(found, frame.shape[1], frame.shape[0])
    return Pair(
        ratio=true_side / side,
        target=(true_centre - centre) / side,
        points=(found.points.mean(axis=0) - centre) / side,
        down=down(found.points.astype(np.float64)),
        size_error=crop.size * FACE_PX / VRN_CROP_PX / true_side - 1,
        centre_error=(np.array([crop.x0, crop.y0]) + crop.size / 2 - true_centre) / true_side,
        yaw_deg=face.yaw_deg,
    )


def pairs(faces: Sequence[Face], sizes_px: tuple[float, float], roll_deg: float) -> list[Pair]:
    """Detect each face once, at a size and a roll of its own."""
    rng = np.random.default_rng(0)
    found = [
        pair(face, float(np.exp(rng.uniform(*np.log(sizes_px)))), float(rng.uniform(-1, 1)) * roll_deg, seed)
        for seed, face in enumerate(faces)
    ]
    return [each for each in found if each is not None]


def fit(some: Sequence[Pair]) -> tuple[float, float, float]:
    """FACE_PER_BOX, POINTS_SHARE and DOWN_SHARE."""
    left = np.stack(
        [np.concatenate([each.points for each in some]), np.concatenate([each.down for each in some])]
    )
    right = np.concatenate([each.target for each in some])
    toward, below = np.linalg.lstsq(left.T, right, rcond=None)[0]
    return float(np.median([each.ratio for each in some])), float(toward), float(below)


def report(name: str, some: Sequence[Pair]) -> None:
    """Print what the constants in the code err, as a line of a Markdown table."""
    sizes = np.array([each.size_error for each in some])
    centres = np.array([each.centre_error for each in some])
    rms = lambda values: 100 * float(np.sqrt(np.mean(values**2)))  # noqa: E731
    print(
        f"| {name} ({len(some)}) "
        f"| {100 * sizes.mean():+.1f} | {rms(sizes):.1f} | {100 * np.abs(sizes).max():.0f} "
        f"| {rms(centres[:, 0]):.1f} | {rms(centres[:, 1]):.1f} | {100 * np.hypot(*centres.T).max():.0f} |"
    )


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=300, help="Drawn faces.")
    parser.add_argument("--photos", type=Path, help="Folder of a data set with landmarks.")
    options = parser.parse_args()
    some = pairs(drawn(options.faces), SIZES_PX, MAX_ROLL_DEG)
    names = "FACE_PER_BOX", "POINTS_SHARE", "DOWN_SHARE"
    in_code = FACE_PER_BOX, POINTS_SHARE, DOWN_SHARE
    for name, fitted, value in zip(names, fit(some), in_code, strict=True):
        print(f"{name} = {fitted:.3f} (in the code {value:g})")
    print("| faces | size: mean error % | rms % | largest % | centre: rms x % | rms y % | largest % |")
    print("|---|---|---|---|---|---|---|")
    for low, high in YAWS_DEG:
        report(f"drawn, yaw {low} to {high:.0f}", [each for each in some if low <= each.yaw_deg < high])
    if options.photos:
        report("photos", pairs(photos(options.photos), SIZES_PX, 0.0))


if __name__ == "__main__":
    main()
