"""The detector's parts by hand-derived answers: decoding, suppression, views, framing, the file format."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facepipe.core.errors import WeightsError
from facepipe.detect import Detection, face_crop
from facepipe.detect.centerface import Candidates, decode
from facepipe.detect.detector import best_of_overlapping
from facepipe.detect.framing import DOWN_SHARE, FACE_PER_BOX, POINTS_SHARE
from facepipe.detect.onnx_file import without_shapes
from facepipe.detect.views import Look, look_at


class TestDecode:
    def maps(self):
        """A grid of 8 x 6 cells (h x w) of which one, row 2 and column 3, holds a face."""
        heat = np.zeros((1, 8, 6), np.float32)
        log_size, offset, points = (np.zeros((n, 8, 6), np.float32) for n in (2, 2, 10))
        heat[0, 2, 3] = 0.75
        log_size[:, 2, 3] = np.log([5, 3])  # height and width in cells
        offset[:, 2, 3] = 0.25, -0.25  # y and x in cells
        points[:, 2, 3] = [0.25, 0.0, 0.25, 1.0, 0.5, 0.5, 0.75, 0.25, 0.75, 0.75]  # y, x of the five
        return heat, log_size, offset, points

    def test_one_cell(self):
        found = decode(*self.maps(), 0.5)
        # Centre: x = (3 - 0.25 + 0.5) * 4 = 13, y = (2 + 0.25 + 0.5) * 4 = 11; 12 wide, 20 high.
        np.testing.assert_allclose(found.boxes, [[7, 1, 19, 21]], atol=1e-5)
        np.testing.assert_allclose(found.scores, [0.75])
        np.testing.assert_allclose(found.points, [[[7, 6], [19, 6], [13, 11], [10, 16], [16, 16]]], atol=1e-5)

    def test_the_least_score_is_no_face(self):
        found = decode(*self.maps(), 0.75)
        assert (found.boxes.shape, found.scores.shape, found.points.shape) == ((0, 4), (0,), (0, 5, 2))


def iou(box, boxes):
    """Intersection over union of a box (4,) with boxes (N, 4)."""
    box, boxes = box.astype(float), boxes.astype(float)
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    return shared / (np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared)


class TestOverlappingBoxes:
    def test_chain(self):
        """The middle one goes for the first; the last overlaps only the middle one and stays."""
        boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
        assert best_of_overlapping(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.3).tolist() == [0, 2]
        assert best_of_overlapping(boxes, np.array([0.7, 0.8, 0.9], np.float32), 0.3).tolist() == [2, 0]

    def test_equal_scores_keep_their_order(self):
        boxes = np.array([[20, 0, 30, 10], [0, 0, 10, 10], [21, 0, 31, 10]], np.float32)
        assert best_of_overlapping(boxes, np.full(3, 0.5, np.float32), 0.3).tolist() == [0, 1]

    def test_none(self):
        assert best_of_overlapping(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.3).size == 0

    @given(st.integers(0, 2**32 - 1), st.integers(1, 30))
    def test_what_stays_does_not_overlap_and_what_goes_does(self, seed, count):
        rng = np.random.default_rng(seed)
        low = rng.uniform(0, 40, (count, 2))
        boxes = np.hstack([low, low + rng.uniform(1, 20, (count, 2))]).astype(np.float32)
        scores = rng.random(count).astype(np.float32)
        kept = best_of_overlapping(boxes, scores, 0.3)
        for place, index in enumerate(kept):
            assert (iou(boxes[index], boxes[kept[place + 1 :]]) <= 0.3).all()
        for gone in set(range(count)) - set(kept.tolist()):
            better = [index for index in kept if scores[index] >= scores[gone]]
            assert (iou(boxes[gone], boxes[better]) > 0.3).any()


class TestViews:
    image = np.random.default_rng(0).integers(0, 256, (37, 52, 3), np.uint8)

    def test_small_pictures_are_seen_as_they_are(self):
        view = look_at(self.image, Look(52))
        assert view.image is self.image
        assert np.array_equal(view.to_source, np.eye(2, 3))

    def test_large_ones_are_averaged(self):
        view = look_at(np.repeat(np.repeat(self.image, 3, axis=0), 3, axis=1), Look(52))
        assert np.array_equal(view.image, self.image)
        np.testing.assert_allclose(view.to_source @ (10, 20, 1), (30, 60))

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_right_angles_lose_nothing(self, turns):
        view = look_at(self.image, Look(100, 90.0 * turns))
        assert np.array_equal(view.image, np.rot90(self.image, turns))
        x, y = view.to_source @ (3.5, 7.5, 1)
        assert np.array_equal(self.image[int(y), int(x)], view.image[7, 3])

    @given(st.floats(-180, 180), st.integers(1, 60), st.integers(1, 60))
    def test_the_canvas_holds_every_pixel(self, turn_deg, height, width):
        view = look_at(np.full((height, width, 3), 9, np.uint8), Look(100, turn_deg))
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
        linear, shift = view.to_source[:, :2], view.to_source[:, 2]
        seen = (corners - shift) @ np.linalg.inv(linear).T
        assert seen.min() >= -0.51
        assert (seen <= np.array(view.image.shape[1::-1]) + 0.51).all()

    @pytest.mark.parametrize("turn_deg", [0, 30, 45, 90, -120])
    def test_round_faces_keep_their_box(self, turn_deg):
        """A box comes back as that of its ellipse: a circle's is the same however it is turned."""
        view = look_at(self.image, Look(26, turn_deg))
        box = np.array([[4, 6, 10, 12]], np.float32)
        found = view.back(Candidates(box, np.ones(1, np.float32), np.full((1, 5, 2), (7, 9), np.float32)))
        sides = (found.boxes[:, 2:] - found.boxes[:, :2])[0]
        # Half the picture's 37 px of height round to 18.
        np.testing.assert_allclose(sides, [12, 12], rtol=0.03)
        centre = (found.boxes[:, :2] + found.boxes[:, 2:])[0] / 2
        np.testing.assert_allclose(found.points[0], np.tile(centre, (5, 1)), atol=1e-3)

    def test_lying_boxes_stand_up(self):
        view = look_at(self.image, Look(100, 90.0))
        box = np.array([[0, 0, 10, 20]], np.float32)  # upper left of the turned picture: its upper right
        found = view.back(Candidates(box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32)))
        np.testing.assert_allclose(found.boxes, [[32, 0, 52, 10]], atol=1e-4)


POINTS = np.array([[40, 50], [60, 50], [50, 60], [42, 70], [58, 70]], np.float32)


def crop_centre(crop):
    return crop.x0 + crop.size / 2, crop.y0 + crop.size / 2


class TestFaceCrop:
    def test_size_and_centre(self):
        """Box 32 x 50, area 40 x 40, centre (50, 55); the points' mean is (50, 60), down is y."""
        crop = face_crop(Detection((34, 30, 66, 80), 0.9, POINTS), 200, 200)
        assert crop.size == pytest.approx(192 / 90 * FACE_PER_BOX * 40)
        assert crop_centre(crop) == pytest.approx((50, 55 + 5 * POINTS_SHARE + 40 * DOWN_SHARE))

    def test_landmarks_get_their_share(self):
        crop = face_crop(Detection((34, 30, 66, 80), 0.9, POINTS), 200, 200)
        landmark_side = FACE_PER_BOX * 40
        assert landmark_side / crop.size == pytest.approx(90 / 192)

    @given(
        st.floats(0.2, 30),
        st.floats(-50, 900),
        st.floats(-50, 900),
        st.booleans(),
    )
    def test_moves_scales_and_mirrors_with_the_face(self, scale, x, y, mirrored):
        turn = np.array([-scale if mirrored else scale, scale])
        move = np.array([x + 100 * scale if mirrored else x, y])
        points = (POINTS * turn + move).astype(np.float32)
        points = points[[1, 0, 2, 4, 3]] if mirrored else points
        corners = np.array([[34.0, 30], [66, 80]]) * turn + move
        box = (*corners.min(axis=0), *corners.max(axis=0))
        plain = face_crop(Detection((34, 30, 66, 80), 0.9, POINTS), 10**6, 10**6)
        moved = face_crop(Detection(box, 0.9, points), 10**6, 10**6)
        expected = np.clip(np.array(crop_centre(plain)) * turn + move, 0, 10**6)
        assert moved.size == pytest.approx(plain.size * scale, rel=1e-4)
        assert crop_centre(moved) == pytest.approx(expected, abs=0.02 * max(scale, 1))

    def test_turns_with_the_face(self):
        """By a right angle, (x, y) -> (100 - y, x): down becomes left."""
        points = np.stack([100 - POINTS[:, 1], POINTS[:, 0]], axis=1)
        crop = face_crop(Detection((20, 34, 70, 66), 0.9, points), 200, 200)
        upright = face_crop(Detection((34, 30, 66, 80), 0.9, POINTS), 200, 200)
        x, y = crop_centre(upright)
        assert crop_centre(crop) == pytest.approx((100 - y, x), abs=1e-4)

    def test_never_outside_the_image(self):
        crop = face_crop(Detection((-90, -90, -10, -20), 0.5, POINTS - 120), 64, 48)
        assert crop_centre(crop) == pytest.approx((0, 0))

    def test_points_in_one_place_and_a_flat_box(self):
        detection = Detection((10, 10, 10, 30), 0.5, np.full((5, 2), 20, np.float32))
        crop = face_crop(detection, 100, 100)
        assert crop.size > 0 and math.isfinite(crop.x0 + crop.y0)
        assert detection.interocular_px == 0


def message(*fields):
    """Encode (number, value) pairs as a protobuf message; values below 128 bytes or 128."""
    parts = b""
    for number, value in fields:
        if isinstance(value, int):
            parts += bytes([number << 3, value])
        else:
            parts += bytes([number << 3 | 2, len(value)]) + value
    return parts


class TestOnnxFile:
    shape = message((1, message((1, 32))))
    tensor = message((1, 1), (2, shape))  # element type, shape
    free = message((1, 1))

    def value(self, name, tensor):
        return message((1, name), (2, message((1, tensor))))

    def test_shapes_and_listed_parameters_go_and_all_else_stays(self):
        node = message((1, b"x"), (2, b"y"), (4, b"Relu"))
        weight = message((1, 3), (8, b"w"))
        graph = message(
            (1, node),
            (5, weight),
            (11, self.value(b"x", self.tensor)),
            (11, self.value(b"w", self.tensor)),
            (12, self.value(b"y", self.tensor)),
            (13, self.value(b"z", self.tensor)),
        )
        expected = message(
            (1, node), (5, weight), (11, self.value(b"x", self.free)), (12, self.value(b"y", self.free))
        )
        assert without_shapes(message((1, 8), (2, b"me"), (7, graph))) == message(
            (1, 8), (2, b"me"), (7, expected)
        )

    def test_numbers_of_fixed_width_pass(self):
        data = bytes([3 << 3 | 5]) + b"abcd" + bytes([4 << 3 | 1]) + b"abcdefgh"
        assert without_shapes(data) == data

    @pytest.mark.parametrize("data", [b"\x3a\x05abc", b"\x3a", b"\x80" * 12, b"\x0b", b"\x3a\x02\x0a\x09"])
    def test_bytes_that_are_no_message(self, data):
        with pytest.raises(WeightsError, match="ONNX file"):
            without_shapes(data)
