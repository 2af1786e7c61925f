"""How much of an error is the photograph's: `python docs/twins.py DATASET [REGRESSOR [TWINS]]`.

The factory's head is fitted to the 3D landmarks of each photograph and drawn there as other people, in other
light, before other backgrounds. What a regressor gets on these twins it could get on the photograph, if
photographs looked like drawings; what a volume of the fitted head gets is the floor of both. Each photograph
is also moved a little, as often: few photographs say little about a regressor, and differences between
regressors that such moves make as well say nothing.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from dataclasses import replace

import numpy as np

from facepipe.bench.stages import truth_in_crop
from facepipe.cli.evaluation_images import Images
from facepipe.core.conventions import VolumeGeometry
from facepipe.geometry.head import load_head
from facepipe.geometry.voxelise import voxelise
from facepipe.imaging.degrade import make_reference
from facepipe.lab.faces.factory import render, sample
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.vrn.augment import Similarity
from facepipe.lab.vrn.evaluate import Case, Figures, compare, fitted_head, summarise
from facepipe.metrics.intervals import text
from facepipe.models.vrn.base import VolumeRegressor
from facepipe.models.vrn.regressors import open_regressor

SCALE_SPREAD, ANGLE_SPREAD_RAD, SHIFT_SPREAD_PX = 0.04, 0.06, 2.0
"""Standard deviations of log scale, angle and shift by which photographs are moved."""

SHOWN = ("landmark_depth_error", "landmark_correlation", "hull_coverage")


def main(dataset: str, name: str, twins: int) -> None:
    """Print the figures of a data set's photographs, their twins and the fitted heads."""
    head = load_head()
    opened = open_regressor(name)
    regressor, geometry = opened.build(), opened.geometry
    people = [sample(face_seed("test", index), head) for index in range(twins)]
    rng = np.random.default_rng(0)
    moves = [_move(rng) for _ in range(twins)]
    rows: dict[str, list[Figures]] = defaultdict(list)
    print("| photograph | yaw | | " + " | ".join(SHOWN) + " |")
    print("|---" * (3 + len(SHOWN)) + "|")
    for sample_id, photo, crop in Images(dataset, None, "full", None).samples():
        truth = truth_in_crop(photo.truth, crop)
        fitted = fitted_head(truth)
        if fitted is None:
            print(f"left out: {sample_id}, no 3D landmarks", file=sys.stderr)
            continue
        case = Case(make_reference(crop.cut(photo.image)), truth)
        drawn = [
            render(
                replace(
                    person,
                    shape=fitted.shape,
                    expression=fitted.expression,
                    vertices_mm=fitted.vertices_mm,
                    pose=fitted.pose,
                ),
                case.image.shape[0],
                head,
            )
            for person in people
        ]
        found = {
            name: [compare(regressor(case.image[None])[0], geometry, case)],
            "moved": [_moved(case, move, regressor, geometry) for move in moves],
            "its twins": [compare(regressor(twin[None])[0], geometry, case) for twin in drawn],
            "fitted head": [
                compare(voxelise(fitted.vertices_px, head.model.solid, geometry), geometry, case)
            ],
        }
        for what, figures in found.items():
            rows[what].append(mean := _mean(figures))
            yaw = "" if photo.yaw_deg is None else f"{photo.yaw_deg:.0f}"
            print(f"| {sample_id} | {yaw} | {what} | {_text(mean)} |")
    for what, figures in rows.items():
        means = text(summarise(figures))
        print(f"| all | | {what} | " + " | ".join(means.get(key, "") for key in SHOWN) + " |")


def _move(rng: np.random.Generator) -> Similarity:
    x, y = rng.normal(0, SHIFT_SPREAD_PX, 2)
    scale, angle = math.exp(rng.normal(0, SCALE_SPREAD)), rng.normal(0, ANGLE_SPREAD_RAD)
    return Similarity(scale=scale, angle_rad=float(angle), shift_px=(float(x), float(y)))


def _moved(case: Case, move: Similarity, regressor: VolumeRegressor, geometry: VolumeGeometry) -> Figures:
    image = move.image(case.image)
    landmarks = None if case.truth.landmarks is None else move.points(case.truth.landmarks)
    moved = replace(case, image=image, truth=replace(case.truth, landmarks=landmarks))
    return compare(regressor(image[None])[0], geometry, moved)


def _mean(figures: list[Figures]) -> Figures:
    return Figures(**{name: mean.mean for name, mean in summarise(figures).items()})


def _text(figures: Figures) -> str:
    values = [getattr(figures, key) for key in SHOWN]
    return " | ".join("" if value is None else f"{value:.3f}" for value in values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("regressor", nargs="?", default="vrn-compact")
    parser.add_argument("twins", nargs="?", type=int, default=12)
    given = parser.parse_args()
    main(given.dataset, given.regressor, given.twins)
