"""Crops of any size to network size."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe.core.errors import SampleError, UsageError
from facepipe.imaging.degrade import make_reference
from facepipe.models.superres.methods import get_method
from facepipe.models.superres.size_fit import fitting_px, to_network_size


class Doubler:
    name = "doubler"

    def fits(self, low_px):
        return low_px == 64

    def build(self, low_px, device="cpu"):
        return lambda lowres: lowres.repeat(2, axis=1).repeat(2, axis=2)


@pytest.mark.parametrize("side", [128, 300])
def test_large_crops_are_averaged(side):
    crop = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    assert np.array_equal(to_network_size(crop, "bicubic"), make_reference(crop))


def test_small_crops_are_restored_at_their_own_size():
    flat = np.full((40, 40, 3), 90, np.uint8)
    assert np.array_equal(to_network_size(flat, "bicubic"), np.full((128, 128, 3), 90, np.uint8))


@pytest.mark.parametrize(("side", "size_seen"), [(100, 64), (64, 64), (63, None)])
def test_a_method_gets_the_largest_size_that_it_fits(monkeypatch, side, size_seen):
    monkeypatch.setattr("facepipe.models.superres.size_fit.get_method", lambda name: Doubler())
    crop = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    if size_seen is None:
        with pytest.raises(SampleError, match="too-small: 63 px"):
            to_network_size(crop, "doubler")
    else:
        seen = to_network_size(crop, "doubler")[::2, ::2]
        assert seen.shape == (size_seen, size_seen, 3)
        assert abs(seen.mean() - crop.mean()) < 1


@pytest.mark.parametrize(("side", "px"), [(500, None), (128, None), (127, 64), (40, 32), (16, 16)])
def test_sizes_between_two_trained_ones_go_to_the_lower(side, px):
    assert fitting_px(side, get_method("espcn")) == px


def test_unknown_method():
    with pytest.raises(UsageError, match="did you mean 'bicubic'"):
        to_network_size(np.zeros((40, 40, 3), np.uint8), "bicubc")
