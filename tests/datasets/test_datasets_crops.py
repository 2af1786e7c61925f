"""Crops: VRN's normalisation by hand-derived numbers, and the way back to source pixels."""

from __future__ import annotations

import numpy as np
import pytest
from frames import grey, put, shipped
from hypothesis import given
from hypothesis import strategies as st

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import SampleError, UsageError
from facepipe.datasets.crops import crop_for
from facepipe.datasets.dataset import Sample, Truth


def sample(landmarks: np.ndarray | None, width: int = 300, height: int = 200) -> Sample:
    kind = "none" if landmarks is None else f"landmarks{landmarks.shape[1]}d"
    return Sample(np.zeros((height, width, 3), np.uint8), "", Truth(kind, None, landmarks))


def face(x0: float, y0: float, width: float, height: float, dims: int = 2) -> np.ndarray:
    """68 points whose box and mean are known: corners and centres."""
    points = np.zeros((68, dims), np.float32)
    points[:, :2] = [x0 + width / 2, y0 + height / 2]
    points[0, :2] = [x0, y0]
    points[1, :2] = [x0 + width, y0 + height]
    return points


def test_full_is_the_image_centred_in_a_square() -> None:
    crop = crop_for(sample(None), "full")
    assert (crop.x0, crop.y0, crop.size) == (0.0, -50.0, 300.0)


@pytest.mark.parametrize("dims", [2, 3])
def test_landmarks_crop_is_vrn_normalisation(dims: int) -> None:
    crop = crop_for(sample(face(100, 60, 80, 45, dims)), "landmarks")
    # sqrt(80 * 45) = 60 source px become 90 px of 192.
    assert crop.size == pytest.approx(192 / 90 * 60)
    assert crop.x0 + crop.size / 2 == pytest.approx(140)
    assert crop.y0 + crop.size / 2 == pytest.approx(82.5)


def test_landmarks_are_where_the_network_expects_them() -> None:
    landmarks = face(31, 57, 120, 160)
    inside = crop_for(sample(landmarks), "landmarks").to_reference(landmarks)
    box = np.ptp(inside, axis=0) * 192 / NETWORK_PX
    assert np.sqrt(box.prod()) == pytest.approx(90, rel=1e-5)
    np.testing.assert_allclose(inside.mean(axis=0), NETWORK_PX / 2, atol=1e-3)


@given(
    st.floats(-200, 500), st.floats(-200, 500), st.floats(5, 2000), st.floats(5, 2000),
    st.sampled_from(["full", "landmarks"]), st.integers(0, 1000),
)  # fmt: skip
def test_round_trip_to_source_pixels(x0, y0, width, height, mode, seed) -> None:
    crop = crop_for(sample(face(x0, y0, width, height)), mode)
    points = np.random.default_rng(seed).uniform(-500, 3000, (50, 3))
    np.testing.assert_allclose(crop.to_source(crop.to_reference(points)), points, atol=1e-4)


def test_what_cannot_be_cropped() -> None:
    with pytest.raises(SampleError, match="no-landmarks"):
        crop_for(sample(None), "landmarks")
    with pytest.raises(SampleError, match="landmarks-degenerate"):
        crop_for(sample(face(10, 10, 0, 50)), "landmarks")
    with pytest.raises(UsageError, match="did you mean 'landmarks'"):
        crop_for(sample(None), "landmark")


class TestFace:
    def test_a_detected_face_is_cut_as_its_landmarks_would_be(self) -> None:
        frame = grey(640, 480)
        landmarks = put(frame, shipped(1)[0], 60, (420, 230))
        placed = Sample(frame, "", Truth("landmarks2d", None, landmarks.astype(np.float32)))
        found, true = crop_for(placed, "face"), crop_for(placed, "landmarks")
        assert found.size == pytest.approx(true.size, rel=0.2)
        assert (found.x0 + found.size / 2, found.y0 + found.size / 2) == pytest.approx(
            (true.x0 + true.size / 2, true.y0 + true.size / 2), abs=0.06 * true.size
        )

    def test_the_largest_of_several_is_taken(self) -> None:
        frame = grey(640, 400)
        put(frame, shipped(1)[0], 20, (120, 200))
        landmarks = put(frame, shipped(2)[1], 50, (430, 200))
        crop = crop_for(Sample(frame, ""), "face")
        assert crop.x0 < landmarks[:, 0].min() and crop.x0 + crop.size > landmarks[:, 0].max()

    def test_no_face(self) -> None:
        with pytest.raises(SampleError, match="no-face-detected: --crop face: no face found in 300 x 200 px"):
            crop_for(sample(None), "face")
