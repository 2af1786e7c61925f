"""What happens to training pictures keeps the face where it is and does what its name says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from facepipe.faces.factory import sample
from facepipe.faces.seeds import face_seed
from facepipe.vrn.hardship import (
    DARK_GLASSES_SHARE,
    HARD_SHARE,
    HARDSHIPS,
    beyond_photograph,
    hair_across,
    harden,
    misexposed,
    thing_before,
    toned,
    uneven_light,
    wear,
)

Picture = NDArray[np.uint8]
GREY = np.full((128, 128, 3), 120, np.uint8)
RAMP = np.repeat(np.repeat(np.arange(128, dtype=np.uint8)[None, :, None] * 2, 128, 0), 3, 2)


def _colourful() -> Picture:
    return np.random.default_rng(5).integers(0, 256, (128, 128, 3), np.uint8)


def _drawn(happen: Callable[..., Picture], picture: Picture, count: int = 40) -> list[Picture]:
    rng = np.random.default_rng(0)
    return [happen(picture, rng) for _ in range(count)]


@pytest.mark.parametrize("happen", [happen for happen, _ in HARDSHIPS])
def test_the_same_draw_gives_the_same_picture_and_leaves_its_input(happen: Callable[..., Picture]) -> None:
    picture = _colourful()
    kept = picture.copy()
    first, second = (happen(picture, np.random.default_rng(4)) for _ in range(2))
    assert first.shape == picture.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(picture, kept)
    assert not np.array_equal(first, picture)


def test_about_half_of_all_pictures_stay_as_drawn() -> None:
    untouched = np.mean([np.array_equal(picture, GREY) for picture in _drawn(harden, GREY, 600)])
    nothing_happens = np.prod([1 - share for _, share in HARDSHIPS])
    # A grey picture does not show that its colours were taken away.
    assert untouched == pytest.approx(1 - HARD_SHARE + HARD_SHARE * nothing_happens, abs=0.07)


def test_hair_covers_some_of_the_picture_in_one_colour() -> None:
    white = np.full((128, 128, 3), 255, np.uint8)
    shares = []
    for picture in _drawn(hair_across, white, 60):
        covered = (picture != white).any(2)
        shares.append(covered.mean())
        hair = picture[covered].astype(int)
        # Hair is never blue or green.
        assert (hair[:, 0] >= hair[:, 2] - 3).mean() > 0.9
    assert 0.01 < np.median(shares) < 0.35
    assert max(shares) < 0.75


def test_a_thing_hides_a_part_and_leaves_the_rest() -> None:
    picture = _colourful()
    shares = [(changed != picture).any(2).mean() for changed in _drawn(thing_before, picture, 60)]
    assert 0.02 < np.median(shares) < 0.3
    assert max(shares) < 0.6


def test_light_keeps_hue_and_black() -> None:
    for picture in _drawn(uneven_light, RAMP):
        assert np.ptp(picture.astype(int), axis=2).max() == 0
        assert picture[:, 0].max() == 0
    spreads = [np.ptp(picture[..., 0].astype(int)) for picture in _drawn(uneven_light, GREY)]
    assert np.median(spreads) > 20


def test_exposure_keeps_the_order_of_brightness() -> None:
    levels = []
    for picture in _drawn(misexposed, RAMP):
        assert (np.diff(picture[0, :, 0].astype(int)) >= 0).all()
        levels.append(picture.mean())
    assert min(levels) < 0.6 * RAMP.mean()
    assert max(levels) > 1.2 * RAMP.mean()


def test_tones_lose_colour_and_keep_brightness() -> None:
    picture = _colourful()
    before = np.ptp(picture.astype(int), axis=2).mean()
    after = [np.ptp(changed.astype(int), axis=2).mean() for changed in _drawn(toned, picture)]
    assert max(after) < 0.6 * before
    assert np.mean(np.array(after) == 0) > 0.2
    levels = [(changed @ (0.299, 0.587, 0.114)).mean() for changed in _drawn(toned, picture)]
    np.testing.assert_allclose(levels, (picture @ (0.299, 0.587, 0.114)).mean(), rtol=0.15)


def test_borders_are_black_and_the_middle_is_whole() -> None:
    picture = np.maximum(_colourful(), 1)
    for changed in _drawn(beyond_photograph, picture):
        outside = (changed == 0).all(2)
        assert outside.any()
        np.testing.assert_array_equal(changed[~outside], picture[~outside])
        assert not outside[42:86, 42:86].any()


def test_some_faces_wear_dark_glasses() -> None:
    rng = np.random.default_rng(0)
    look = sample(face_seed("train", 0)).look
    worn = [wear(look, rng) for _ in range(500)]
    changed = [one for one in worn if one != look]
    assert len(changed) / len(worn) == pytest.approx(DARK_GLASSES_SHARE, abs=0.03)
    assert all(one.glasses == one.dark_lenses == 1 for one in changed)
