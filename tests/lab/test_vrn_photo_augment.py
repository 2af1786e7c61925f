"""What happens to training pictures keeps the face where it is and does what its name says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from facepipe.geometry.head import load_head
from facepipe.lab.faces.factory import sample
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.vrn.photo_augment import (
    AUGMENTATIONS,
    AUGMENTED_SHARE,
    DARK_GLASSES_SHARE,
    LAUGHING_SHARE,
    add_dark_glasses,
    augment_picture,
    beyond_photograph,
    filtered,
    hair_across,
    laugh,
    misexposed,
    recoloured,
    retouched,
    thing_before,
    toned,
    uneven_light,
)

Picture = NDArray[np.uint8]
GREY = np.full((128, 128, 3), 120, np.uint8)
RAMP = np.repeat(np.repeat(np.arange(128, dtype=np.uint8)[None, :, None] * 2, 128, 0), 3, 2)


def _colourful() -> Picture:
    return np.random.default_rng(5).integers(0, 256, (128, 128, 3), np.uint8)


def _drawn(happen: Callable[..., Picture], picture: Picture, count: int = 40) -> list[Picture]:
    rng = np.random.default_rng(0)
    return [happen(picture, rng) for _ in range(count)]


@pytest.mark.parametrize("happen", [happen for happen, _ in AUGMENTATIONS])
def test_the_same_draw_gives_the_same_picture_and_leaves_its_input(happen: Callable[..., Picture]) -> None:
    picture = _colourful()
    kept = picture.copy()
    first, second = (happen(picture, np.random.default_rng(4)) for _ in range(2))
    assert first.shape == picture.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(picture, kept)
    assert not np.array_equal(first, picture)


def test_less_than_half_of_all_pictures_stay_as_drawn() -> None:
    picture = _colourful()
    untouched = np.mean(
        [np.array_equal(changed, picture) for changed in _drawn(augment_picture, picture, 1000)]
    )
    nothing_happens = np.prod([1 - share for _, share in AUGMENTATIONS])
    assert untouched == pytest.approx(1 - AUGMENTED_SHARE + AUGMENTED_SHARE * nothing_happens, abs=0.05)


def test_hair_covers_some_of_the_picture_in_one_colour() -> None:
    white = np.full((128, 128, 3), 255, np.uint8)
    shares = []
    for picture in _drawn(hair_across, white, 60):
        covered = (picture != white).any(2)
        shares.append(covered.mean())
        hair = picture[covered].astype(int)
        # Hair is never blue or green; white hair is not seen here.
        assert (hair[:, 0] >= hair[:, 2] - 3).sum() >= 0.9 * len(hair)
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


def test_new_colours_keep_grey_levels_in_order_and_black() -> None:
    """A channel of a grey picture is multiplied by one factor, mostly near 1."""
    factors = []
    for picture in _drawn(recoloured, RAMP, 60):
        assert picture[:, 0].max() == 0
        assert (np.diff(picture[0].astype(int), axis=0) >= 0).all()
        factors.append(picture[0, 64] / RAMP[0, 64])
    assert np.median(factors) == pytest.approx(1, abs=0.1)
    assert np.mean(np.ptp(factors, axis=1)) > 0.15
    red = np.zeros((128, 128, 3), np.uint8)
    red[..., 0] = 200
    assert max(picture[..., 2].max() for picture in _drawn(recoloured, red)) > 60


def test_filters_leave_edges_where_they_are() -> None:
    edge = np.full((128, 128, 3), 60, np.uint8)
    edge[:, 70:] = 180
    for picture in _drawn(filtered, edge, 60):
        steepest = np.abs(np.diff(picture[64].astype(int), axis=0)).max(1).argmax()
        assert abs(int(steepest) - 69) <= 2
    for picture in _drawn(filtered, GREY):
        np.testing.assert_array_equal(picture, GREY)


def test_filters_change_surfaces_and_colours_and_keep_contrast() -> None:
    """Noise that knows nothing of its neighbours does afterwards, unless the filter is a pixel wide."""
    noise = (_colourful() // 4 + 96).astype(np.uint8)
    likeness, mixed, contrasts = [], [], []
    for picture in _drawn(filtered, noise, 60):
        values = picture.astype(float)
        likeness.append(abs(np.corrcoef(values[:, :-2].ravel(), values[:, 2:].ravel())[0, 1]))
        mixed.append(abs(np.corrcoef(values[..., 0].ravel(), values[..., 2].ravel())[0, 1]))
        contrasts.append(values.std() / noise.std())
    assert np.mean(np.array(likeness) > 0.03) > 0.15
    assert np.mean(np.array(likeness) < 0.03) > 0.3
    assert np.median(mixed) > 0.05
    assert min(contrasts) > 0.3
    assert max(contrasts) < 1.3


def test_retouching_softens_and_sharpens_and_leaves_what_is_flat() -> None:
    picture = (_colourful() // 4 + 96).astype(np.uint8)
    contrasts = []
    for changed in _drawn(retouched, picture):
        assert changed.mean() == pytest.approx(picture.mean(), abs=1)
        contrasts.append(changed.std() / picture.std())
    assert min(contrasts) < 0.6
    assert max(contrasts) > 1.8
    for changed in _drawn(retouched, GREY):
        np.testing.assert_array_equal(changed, GREY)


def test_some_faces_laugh_where_they_are() -> None:
    """Mouth corners go apart and up, the lips part, and the upper face stays."""
    head = load_head()
    face = sample(face_seed("train", 0), head)
    face = replace(face, expression=head.expression({}), vertices_mm=head.model.mesh(face.shape))
    rng = np.random.default_rng(0)
    drawn = [laugh(face, head, rng) for _ in range(200)]
    laughing = [one for one in drawn if one is not face]
    assert len(laughing) / len(drawn) == pytest.approx(LAUGHING_SHARE, abs=0.08)
    before = face.vertices_mm[head.model.landmarks]
    for one in laughing:
        assert one.pose == face.pose
        after = one.vertices_mm[head.model.landmarks]
        np.testing.assert_array_equal(one.vertices_mm, head.model.mesh(one.shape, one.expression))
        assert np.ptp(after[[48, 54], 0]) > np.ptp(before[[48, 54], 0]) + 3
        assert (after[[48, 54], 1] > before[[48, 54], 1] + 2).all()
        assert after[62, 1] - after[66, 1] > before[62, 1] - before[66, 1] + 2
        np.testing.assert_allclose(after[27:29], before[27:29], atol=1.5)


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
    worn = [add_dark_glasses(look, rng) for _ in range(500)]
    changed = [one for one in worn if one != look]
    assert len(changed) / len(worn) == pytest.approx(DARK_GLASSES_SHARE, abs=0.03)
    assert all(one.glasses == one.dark_lenses == 1 for one in changed)
