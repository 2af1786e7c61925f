"""What reshaping faces changes: `python docs/proportions.py [REGRESSOR [FACES]]`.

First, distances on the adults of the head's own population and on the same ones reshaped, beside those of
a survey. Then what a regressor makes of faces for tests, as they are and reshaped: IoU, and how far the nose
stands out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from itertools import count as count_up
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.geometry.head import Head, load_head
from facepipe.geometry.head_attributes import YOUNG_AGE
from facepipe.geometry.volume import front_depth
from facepipe.lab.faces.factory import Face, example, sample
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.vrn.proportions import displacements, reshaped
from facepipe.metrics.faces import depth_at
from facepipe.metrics.geometry import volume_iou
from facepipe.metrics.intervals import mean_of, text
from facepipe.models.vrn.regressors import open_regressor

PEOPLE = 1500
YOUNGEST = YOUNG_AGE - 0.05
MOST_TURNED_RAD = math.radians(30)

DISTANCES = {
    "menton to sellion": (8, 27, 122.7, 113.4),
    "subnasale to sellion": (33, 27, 52.0, 48.2),
    "nose: subnasale to tip": (33, 30, 21.1, 19.8),
    "lips": (48, 54, 51.1, 48.0),
    "inner corners of the eyes": (39, 42, None, None),
    "outer corners of the eyes": (36, 45, None, None),
}
"""iBUG points, and the means of men and women in Zhuang and Bradtmiller's survey (2005), mm."""

TIP, CORNERS = 30, (36, 39, 42, 45)
"""iBUG points of the tip of the nose, and of the corners of the eyes."""


def measure() -> None:
    """Print distances of adults, brought to the survey's height from menton to sellion."""
    head = load_head()
    people = [sample(face_seed("validation", index), head) for index in range(PEOPLE)]
    adults = [person for person in people if person.who.age >= YOUNGEST]
    rng = np.random.default_rng(0)
    columns = []
    for change in (False, True):
        for male in (True, False):
            found = []
            for person in adults:
                if (person.who.male > 0.5) is male:
                    moved = displacements(head.model.mean, rng) if change else np.float32(0)
                    found.append(_distances((head.model.mesh(person.shape) + moved)[head.model.landmarks]))
            mean = np.mean(found, axis=0)
            height = DISTANCES["menton to sellion"][2 if male else 3] or 0.0
            columns.append(mean * height / mean[0])
    print(f"{len(adults)} adults\n")
    print("| mm | survey, men | women | head, men | women | reshaped, men | women |")
    print("|---" * 7 + "|")
    for row, (name, (_, _, men, women)) in enumerate(DISTANCES.items()):
        cells = [men, women, *(float(column[row]) for column in columns)]
        print(f"| {name} | " + " | ".join("" if cell is None else f"{cell:.1f}" for cell in cells) + " |")


def _distances(points: NDArray[np.float32]) -> list[float]:
    return [float(np.linalg.norm(points[a] - points[b])) for a, b, _, _ in DISTANCES.values()]


def regress(name: str, count: int) -> None:
    """Print what a regressor makes of faces for tests that are turned by less than 30 degrees."""
    head = load_head()
    opened = open_regressor(name)
    regressor, geometry = opened.build(), opened.geometry
    rng = np.random.default_rng(0)
    print(f"\n| {name}, {count} faces | IoU | nose stands out, px | in its volumes |")
    print("|---" * 4 + "|")
    for what, other in (("as they are", False), ("reshaped", True)):
        overlaps, noses = [], []
        for face in islice(_faces(head, rng if other else None), count):
            made = example(face, geometry, head)
            volume = regressor(made.image[None])[0]
            overlaps.append(volume_iou(volume, made.volume))
            noses.append([_nose(each, geometry, made.landmarks) for each in (made.volume, volume)])
        means = {"iou": mean_of(np.array(overlaps))}
        known = np.array([nose for nose in noses if np.isfinite(nose).all()])
        means |= {"true": mean_of(known[:, 0]), "found": mean_of(known[:, 1])}
        print(f"| {what} | " + " | ".join(text(means)[key] for key in means) + " |")


def _faces(head: Head, rng: np.random.Generator | None) -> Iterator[Face]:
    for index in count_up():
        face = sample(face_seed("test", index), head)
        if rng is not None:
            face = reshaped(face, head, rng)
        if abs(face.pose.yaw_rad) < MOST_TURNED_RAD:
            yield face


def _nose(volume: NDArray[np.uint8], geometry: VolumeGeometry, landmarks: NDArray[np.float32]) -> float:
    """How far the surface at the nose's tip lies before that at the corners of the eyes, pixels."""
    depth = depth_at(front_depth(volume, geometry), landmarks / geometry.reference_px)
    return float(depth[TIP] - np.mean(depth[list(CORNERS)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("regressor", nargs="?", default="vrn-compact")
    parser.add_argument("faces", nargs="?", type=int, default=100)
    given = parser.parse_args()
    measure()
    regress(given.regressor, given.faces)
