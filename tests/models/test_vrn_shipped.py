"""What the regressors that ship are worth, on faces that no training saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facepipe.geometry.head import load_head
from facepipe.lab.faces.factory import example, sample
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.vrn.evaluate import Case, Figures, evaluate, factory_cases
from facepipe.lab.vrn.photo_augment import recoloured
from facepipe.lab.vrn.proportions import reshaped
from facepipe.metrics.geometry import volume_iou
from facepipe.models.vrn.regressors import get_regressor
from facepipe.models.weights import list_weights

FACES = 16
LARGEST_BYTES = 10_000_000

SHARP, LOW = "vrn-compact", "vrn-compact-lowres"

Results = dict[str, list[tuple[Case, Figures]]]


@pytest.fixture(scope="module")
def results() -> Results:
    """Figures of both regressors on the same images, sharp and brought to 16 px."""
    geometry = get_regressor(SHARP).geometry
    assert get_regressor(LOW).geometry == geometry
    cases = list(factory_cases(FACES, geometry, [("area", 16)]))
    networks = {name: get_regressor(name).build() for name in (SHARP, LOW)}
    found = {name: evaluate(network, geometry, cases) for name, network in networks.items()}
    return {name: [row for row in rows if not row[0].perfect] for name, rows in found.items()}


def _ious(results: Results, name: str, low_px: int | None) -> np.ndarray:
    ious = [figures.iou for case, figures in results[name] if case.low_px == low_px]
    assert len(ious) == FACES
    return np.array(ious)


def test_shipped_regressors_are_small() -> None:
    shipped = [file for file in list_weights("regressor") if file.shipped]
    assert {file.path.stem for file in shipped} == {SHARP, LOW}
    assert all(file.path.stat().st_size <= LARGEST_BYTES for file in shipped)


@pytest.mark.parametrize(("name", "least"), [(SHARP, 0.86), (LOW, 0.85)])
def test_faces_without_loss(results: Results, name: str, least: float) -> None:
    assert _ious(results, name, None).mean() >= least
    covered = [figures.hull_coverage for case, figures in results[name] if case.low_px is None]
    assert np.mean(covered) > 0.96


def test_knowing_low_resolution_helps_there_and_costs_little_elsewhere(results: Results) -> None:
    gain = _ious(results, LOW, 16) - _ious(results, SHARP, 16)
    assert gain.mean() > 0.04
    assert (_ious(results, SHARP, None) - _ious(results, LOW, None)).mean() < 0.02


def test_profiles_have_depth_where_it_is_seen(results: Results) -> None:
    turned = [f for case, f in results[SHARP] if case.low_px is None and abs(case.yaw_deg) > 45]
    assert turned
    assert np.mean([figures.visible_correlation for figures in turned]) > 0.85


def test_skin_may_have_any_hue(results: Results) -> None:
    """Colours that are mixed anew cost next to nothing."""
    geometry = get_regressor(SHARP).geometry
    network = get_regressor(SHARP).build()
    rng = np.random.default_rng(0)
    cases = [replace(case, image=recoloured(case.image, rng)) for case in factory_cases(FACES, geometry)]
    ious = [figures.iou for case, figures in evaluate(network, geometry, cases) if not case.perfect]
    assert np.mean(ious) > _ious(results, SHARP, None).mean() - 0.015


def test_faces_may_have_other_proportions() -> None:
    """Noses and eyes as surveys found them, not as the head's own population has them."""
    regressor, head, rng = get_regressor(SHARP), load_head(), np.random.default_rng(0)
    network = regressor.build()
    ious = []
    for index in range(FACES):
        face = reshaped(sample(face_seed("test", index), head), head, rng)
        made = example(face, regressor.geometry, head)
        ious.append(volume_iou(network(made.image[None])[0], made.volume))
    assert np.mean(ious) > 0.86
