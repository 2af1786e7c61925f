"""Which part of a photo is reconstructed: the most prominent face, all faces, or all of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from frames import grey, put, shipped

from facepipe.cli import facepipe
from facepipe.core.errors import SampleError, UsageError
from facepipe.imaging.crop import Crop
from facepipe.reconstruct.face import find_crops
from facepipe.reconstruct.photos import ReconstructOptions, reconstruct_photos


def save(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image[:, :, ::-1])
    return path


@pytest.fixture(scope="module")
def two_faces():
    """A wide picture: a large face on the left, a small one on the right."""
    frame = grey(700, 320)
    put(frame, shipped(1)[0], 60, (180, 170))
    put(frame, shipped(2)[1], 24, (560, 160))
    return frame


def test_auto_takes_the_most_prominent_face(two_faces):
    (crop,) = find_crops(two_faces)
    assert 200 < crop.size < 400
    assert crop.x0 < 180 < crop.x0 + crop.size < 560


def test_all_faces_from_left_to_right(two_faces):
    large, small = find_crops(two_faces, all_faces=True)
    assert large.x0 < small.x0
    assert large.size == pytest.approx(small.size * 60 / 24, rel=0.25)


def test_without_a_face():
    assert find_crops(grey(300, 200)) == []
    assert find_crops(grey(300, 200), "full") == [Crop(0, -50, 300)]
    with pytest.raises(SampleError, match="no-face-detected: no face found in 300 x 200 px"):
        find_crops(grey(300, 200), "face")


def test_each_face_gets_a_mesh_and_no_name_twice(two_faces, tmp_path):
    photos = [save(tmp_path / name, two_faces) for name in ("a.png", "a-face2.png")]
    arguments = ["reconstruct", *map(str, photos), "--out", str(tmp_path / "out"), "--all-faces"]
    result = CliRunner().invoke(facepipe, arguments)
    assert result.exit_code == 0, result.output
    names = sorted(path.stem for path in (tmp_path / "out").glob("*.glb"))
    assert names == ["a-face1", "a-face2", "a-face2-2-face1", "a-face2-2-face2"]


def test_no_face_is_said(tmp_path):
    noise = np.random.default_rng(0).integers(100, 140, (150, 150, 3), np.uint8)
    photo = save(tmp_path / "a.png", noise)
    arguments = ["reconstruct", str(photo), "--out", str(tmp_path)]
    result = CliRunner().invoke(facepipe, [*arguments, "--crop", "face"])
    assert result.exit_code == 1
    assert "a.png: not used: no-face-detected" in result.stderr


def test_auto_says_when_it_takes_the_whole_picture(tmp_path):
    """A face too small for the detector, in a picture of its own size."""
    small = cv2.resize(shipped(1)[0].image, (18, 18), interpolation=cv2.INTER_AREA)
    photo = save(tmp_path / "a.png", small)
    result = CliRunner().invoke(facepipe, ["reconstruct", str(photo), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("a_preview.png (no face found, the whole picture was taken)\n")


def test_all_faces_of_the_full_picture_is_refused(two_faces, tmp_path):
    photo = save(tmp_path / "a.png", two_faces)
    with pytest.raises(UsageError, match="choose one of them"):
        reconstruct_photos([photo], tmp_path / "out", ReconstructOptions(crop="full", all_faces=True))
