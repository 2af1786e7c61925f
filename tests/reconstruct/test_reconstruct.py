"""Photo to mesh, with the shipped network on the shipped faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from click.testing import CliRunner

from facepipe.cli import facepipe
from facepipe.core.conventions import VOLUME_DEPTH, VolumeGeometry
from facepipe.core.errors import UsageError
from facepipe.datasets.catalog import open_dataset
from facepipe.reconstruct.face import mm_per_px, reconstruct_image
from facepipe.reconstruct.photos import ReconstructOptions, reconstruct_photos


@pytest.fixture(scope="module")
def face():
    """A shipped face that looks at the camera."""
    dataset = open_dataset("sample", "auto")
    samples = [dataset.load(ref) for ref in dataset.refs()[:16]]
    return min(samples, key=lambda sample: abs(sample.yaw_deg or 0) + abs(sample.pitch_deg or 0)).image


def save(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image[:, :, ::-1])
    return path


def test_the_mesh_is_closed_one_part_and_over_the_face(face):
    made = reconstruct_image(face)
    solid = trimesh.Trimesh(made.mesh.vertices, made.mesh.triangles, process=False)
    assert solid.is_watertight and solid.body_count == 1
    low, high = made.mesh.vertices.min(axis=0), made.mesh.vertices.max(axis=0)
    centre = (low + high)[:2] / 2
    assert np.abs(centre - 64).max() < 24
    assert 30 < (high - low)[1] < 128
    depth_px = VOLUME_DEPTH * VolumeGeometry().spacing[0]
    assert (high - low)[2] <= depth_px


def test_colours_come_from_the_full_resolution(face):
    made = reconstruct_image(face)
    assert made.crop.shape == face.shape
    front = made.mesh.normals[:, 2] > 0.9
    at = np.floor(made.mesh.vertices[front, :2] * face.shape[0] / 128).astype(int)
    direct = face[at[:, 1], at[:, 0]].astype(int)
    assert np.median(np.abs(direct - made.colours[front])) <= 3


def test_a_photo_that_is_not_square_is_padded(face):
    wide = np.concatenate([face, face[:, :200]], axis=1)
    assert reconstruct_image(wide).crop.shape == (wide.shape[1], wide.shape[1], 3)


def test_life_size_is_that_of_the_distance_of_the_eyes():
    dataset = open_dataset("sample", "auto")
    samples = [dataset.load(ref) for ref in dataset.refs()[:8]]
    distances_mm = []
    for sample in samples:
        eyes = sample.truth.landmarks[[*range(36, 48)]].reshape(2, 6, 3).mean(axis=1)
        true_px = np.linalg.norm(eyes[0] - eyes[1]) * 128 / len(sample.image)
        distances_mm.append(mm_per_px(reconstruct_image(sample.image)) * true_px)
    assert np.median(distances_mm) == pytest.approx(63, rel=0.1)
    assert distances_mm == pytest.approx([63] * 8, rel=0.25)


class TestCommand:
    def test_all_formats_and_preview(self, face, tmp_path):
        photo = save(tmp_path / "my face.png", face)
        arguments = ["reconstruct", str(photo), "--out", str(tmp_path / "out"), "--format", "glb,ply,obj,stl"]
        result = CliRunner().invoke(facepipe, arguments)
        assert result.exit_code == 0, result.output
        written = sorted(path.name for path in (tmp_path / "out").iterdir())
        assert written == [f"my face{end}" for end in (".glb", ".obj", ".ply", ".stl", "_preview.png")]
        mesh = trimesh.load(tmp_path / "out" / "my face.glb", force="mesh", process=False)
        assert 0.2 < mesh.extents[1] < 1.0
        picture = cv2.imread(str(tmp_path / "out" / "my face_preview.png"))
        assert picture.shape == (320, 1280, 3)

    def test_one_bad_photo_does_not_stop_the_others(self, face, tmp_path):
        good = save(tmp_path / "good.png", face)
        bad = tmp_path / "bad.jpg"
        bad.write_text("no image")
        missing = tmp_path / "missing.jpg"
        photos = [str(path) for path in (bad, missing, tmp_path, good)]
        arguments = ["reconstruct", *photos, "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(facepipe, arguments)
        assert result.exit_code == 1
        assert f"{bad}: not used: not-an-image" in result.stderr
        assert f"{missing}: not used: missing-file" in result.stderr
        assert f"{tmp_path}: not used: folder: {tmp_path}: photos are expected" in result.stderr
        assert "3 of 4 photos" in result.stderr
        assert (tmp_path / "out" / "good.glb").exists()

    def test_a_picture_as_long_as_a_street(self, face, tmp_path):
        street = save(tmp_path / "street.png", np.full((100, 200_000, 3), 90, np.uint8))
        arguments = ["reconstruct", str(street), "--crop", "full", "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(facepipe, arguments)
        assert result.exit_code == 1
        assert "street.png: not used: crop-too-large: a square of 200000 px" in result.stderr

    @pytest.mark.parametrize(
        ("option", "value", "message"),
        [
            ("--format", "gbl", "did you mean 'glb'"),
            ("--format", ",", "at least one"),
            ("--regressor", "vrn-compct", "did you mean 'vrn-compact'"),
            ("--regressor", "none", "a mesh needs one; choose one of"),
            ("--method", "bilinaer", "did you mean 'bilinear'"),
        ],
    )
    def test_wrong_usage_writes_nothing(self, face, tmp_path, option, value, message):
        photo = save(tmp_path / "a.png", face)
        arguments = ["reconstruct", str(photo), "--out", str(tmp_path / "out"), option, value]
        result = CliRunner().invoke(facepipe, arguments)
        assert message in result.stderr + str(result.exception)
        assert getattr(result.exception, "exit_status", result.exit_code) == 2
        assert not (tmp_path / "out").exists()


def test_a_mesh_in_millimetres(face, tmp_path):
    command = ["reconstruct", str(save(tmp_path / "a.png", face)), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(facepipe, [*command, "--unit", "mm", "--format", "obj,glb"]).exit_code == 0
    assert (tmp_path / "out/a.obj").read_text().startswith("# facepipe; unit: mm")
    tall_mm = trimesh.load(tmp_path / "out/a.obj", process=False).extents[1]
    assert 100 < tall_mm < 300
    metres = trimesh.load(tmp_path / "out/a.glb", process=False, force="mesh")
    assert metres.extents[1] == pytest.approx(tall_mm / 1000, rel=1e-4)


def test_photos_that_are_not_there_are_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match=r"no such file: .*a\.jpg, .*b\.jpg"):
        reconstruct_photos([tmp_path / "a.jpg", tmp_path / "b.jpg"], tmp_path / "out")


def test_none_is_no_regressor_for_a_mesh(face, tmp_path):
    photo = save(tmp_path / "a.png", face)
    with pytest.raises(UsageError, match="unknown regressor 'vrn'.*known: ") as caught:
        reconstruct_photos([photo], tmp_path / "out", ReconstructOptions(regressor="vrn"))
    assert "none" not in str(caught.value)


def test_a_file_of_weights_in_place_of_a_name_says_how_to_import_it(face, tmp_path):
    photo = save(tmp_path / "a.png", face)
    with pytest.raises(UsageError, match=r"facepipe models import weights/net\.pth --as NAME"):
        reconstruct_photos([photo], tmp_path / "out", ReconstructOptions(regressor="weights/net.pth"))


def test_photos_of_one_name_do_not_overwrite_each_other(face, tmp_path):
    (tmp_path / "b").mkdir()
    photos = [save(tmp_path / "a.png", face), save(tmp_path / "b" / "a.png", face[:, ::-1])]
    outcomes = list(reconstruct_photos(photos, tmp_path / "out"))
    names = [[path.name for path in outcome.files] for outcome in outcomes]
    assert names == [["a.glb", "a_preview.png"], ["a-2.glb", "a-2_preview.png"]]


def test_out_is_a_file(face, tmp_path):
    photo = save(tmp_path / "a.png", face)
    with pytest.raises(UsageError, match="is a file"):
        reconstruct_photos([photo], photo)


def test_a_real_photo(real_data):
    image = cv2.imread(str(real_data / "afw" / "AFW_134212_1.jpg"))[:, :, ::-1]
    mesh = reconstruct_image(image).mesh
    # The face fills the middle of the photo.
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert np.abs((low + high)[:2] / 2 - 64).max() < 20
    assert trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).is_watertight
