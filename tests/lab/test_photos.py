"""Annotating photographs: drawn faces stand for them, since their truth is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from facepipe.cli import facepipe
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import SampleError, UsageError
from facepipe.datasets.annotated import INDEX_FILE, MARKER_FILE, split_of_person
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.dataset import SampleRef
from facepipe.geometry.head import load_head
from facepipe.geometry.head_fit import FittedHead
from facepipe.geometry.morphable import SOURCE_PX
from facepipe.lab.faces.factory import Face, render, sample, vertices_px
from facepipe.lab.faces.seeds import synthesis_seed
from facepipe.lab.photos.annotate import AnnotationJob, name_in_set, person_of
from facepipe.lab.photos.annotation import annotate, picture_crop, skin_tone
from facepipe.lab.photos.mesh_fit import fit_mesh, load_correspondence
from facepipe.lab.photos.profile import LARGEST_YAW_DEG, draw_turn, leaves_picture, turned
from facepipe.lab.vrn import photo_examples
from facepipe.lab.vrn.examples import Recipe, make_block
from facepipe.lab.vrn.photo_examples import Photograph, PhotoSet

PHOTO_PX = 256


def _faces(count: int, yaw_deg: float = 25.0) -> list[Face]:
    """The first drawn faces that look roughly into the camera."""
    every = (sample(synthesis_seed(5, index)) for index in range(1000))
    chosen = [
        face
        for _, face in zip(range(20), every, strict=False)
        if abs(face.pose.yaw_rad) < math.radians(yaw_deg)
    ]
    return chosen[:count]


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    return _faces(3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, faces: list[Face]) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "staff" / "old").mkdir(parents=True)
    for name, face in zip(("staff/a.png", "staff/old/a.png", "b.png"), faces, strict=True):
        Image.fromarray(render(face, PHOTO_PX)).save(folder / name)
    Image.fromarray(np.full((80, 80, 3), 127, np.uint8)).save(folder / "wall.png")
    return folder


@pytest.fixture(scope="module")
def made(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("set")
    command = ["data", "annotate", str(photos), "--out", str(out), "--profile", "1", "--workers", "1"]
    result = CliRunner().invoke(facepipe, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "3 of 4 photographs" in result.output
    assert "left out: 1 no-face-detected" in result.output
    return out


def test_a_set_has_300w_lps_layout_and_is_recognised(made: Path, photos: Path) -> None:
    rows = pq.read_table(made / INDEX_FILE).to_pylist()
    kept = {row["sample_id"] for row in rows if not row["reason"]}
    assert {"staff/a", "staff/old_a", "PHOTOS/b"} <= kept
    assert [row["photo"] for row in rows if row["reason"]] == ["wall.png"]
    opened = open_dataset(made)
    assert opened.kind == "annotated"
    assert {ref.sample_id for ref in opened.refs()} == kept
    for name in kept:
        assert (made / f"{name}.mat").is_file()
        assert (made / "landmarks" / f"{name}_pts.mat").is_file()


def test_its_truth_lies_on_the_faces(made: Path, faces: list[Face]) -> None:
    """Found landmarks are the true ones but for a shift: the picture may be a part of the photograph."""
    opened = open_dataset(made)
    head = load_head().model
    for ref in opened.refs():
        if ref.sample_id not in ("staff/a", "PHOTOS/b"):
            continue
        face = faces[0 if ref.sample_id == "staff/a" else 2]
        row = next(r for r in pq.read_table(made / INDEX_FILE).to_pylist() if r["sample_id"] == ref.sample_id)
        truth, found = vertices_px(face, PHOTO_PX)[head.landmarks], opened.load(ref).truth.landmarks
        assert found is not None
        scale = SOURCE_PX / row["photo_px"]
        size = math.sqrt(np.prod(np.ptp(truth[:, :2] * scale, axis=0)))
        away = (found[:, :2] - found[:, :2].mean(axis=0)) - (truth[:, :2] - truth[:, :2].mean(axis=0)) * scale
        assert np.linalg.norm(away, axis=1).mean() / size < 0.06
        assert abs(row["yaw_deg"] - math.degrees(face.pose.yaw_rad)) < 8


def test_what_is_done_is_not_done_again(made: Path, photos: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.jpg")}
    command = ["data", "annotate", str(photos), "--out", str(made), "--profile", "1", "--workers", "1"]
    assert CliRunner().invoke(facepipe, command).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*.jpg")} == before


def test_a_folder_of_other_files_is_refused(photos: Path) -> None:
    result = CliRunner().invoke(facepipe, ["data", "annotate", str(photos), "--out", str(photos / "staff")])
    assert isinstance(result.exception, UsageError)
    assert MARKER_FILE in str(result.exception)


def test_views_that_are_turned_further_know_by_how_much(made: Path) -> None:
    rows = {row["sample_id"]: row for row in pq.read_table(made / INDEX_FILE).to_pylist()}
    views = [row for row in rows.values() if row["turned_deg"]]
    assert views
    for view in views:
        whole = next(row for row in rows.values() if row["photo"] == view["photo"] and not row["turned_deg"])
        assert view["sample_id"].split("/")[0].endswith("_turned")
        assert view["split"] == whole["split"]
        assert 15 < abs(view["yaw_deg"]) <= LARGEST_YAW_DEG + 5


def _posed(face: Face) -> FittedHead:
    return FittedHead(face.shape, face.expression, face.vertices_mm, face.pose)


def test_turning_carries_the_photograph_with_the_head(faces: list[Face]) -> None:
    """A dot painted on the tip of the nose is on the tip of the nose of the turned view."""
    head, tip = _posed(faces[0]), int(load_head().model.landmarks[30])
    picture = np.zeros((SOURCE_PX, SOURCE_PX, 3), np.uint8)
    x, y = head.pose.apply(head.vertices_mm[[tip]], SOURCE_PX)[0, :2]
    cv2.circle(picture, (round(x), round(y)), 9, (255, 255, 255), -1)
    turn = draw_turn(head.pose.yaw_rad, np.random.default_rng(1))
    assert turn is not None
    view, after = turned(picture, head, turn)
    there = after.pose.apply(after.vertices_mm[[tip]], SOURCE_PX)[0, :2]
    bright = np.argwhere(view[..., 0] > 127)[:, ::-1].mean(axis=0) + 0.5
    assert abs(there[0] - x) > 15
    assert np.linalg.norm(bright - there) < 6


def test_turning_by_nothing_changes_nothing(faces: list[Face]) -> None:
    picture = cv2.GaussianBlur(render(faces[0], SOURCE_PX), (0, 0), 2)
    view, after = turned(picture, _posed(faces[0]), 0.0)
    assert np.abs(view.astype(int) - picture).mean() < 2
    assert np.allclose(after.pose.parameters(), faces[0].pose.parameters(), atol=1e-6)


def test_views_whose_head_left_the_picture_are_known(faces: list[Face]) -> None:
    head = _posed(faces[0])
    x, y, z = head.pose.translation_px
    beyond = replace(head, pose=replace(head.pose, translation_px=(x + 300, y, z)))
    assert not leaves_picture(head) and leaves_picture(beyond)


def test_a_head_turned_enough_is_not_turned_further() -> None:
    assert draw_turn(math.radians(70), np.random.default_rng(0)) is None
    turn = draw_turn(math.radians(-40), np.random.default_rng(0))
    assert turn is not None and -40 <= math.degrees(turn) <= -15


def _mesh(face: Face) -> np.ndarray:
    return load_correspondence().on(vertices_px(face, SOURCE_PX))


def test_a_head_is_fitted_to_its_own_points(faces: list[Face]) -> None:
    for face in faces:
        fit = fit_mesh(_mesh(face), SOURCE_PX)
        away = fit.head.pose.apply(fit.head.vertices_mm, SOURCE_PX) - vertices_px(face, SOURCE_PX)
        inner = away[load_head().model.region]
        assert np.linalg.norm(inner[:, :2], axis=1).mean() < 4  # of faces of about 180 px
        assert fit.residual < 0.02 and fit.outliers < 0.05


def test_outliers_hardly_move_a_fit(faces: list[Face]) -> None:
    points = _mesh(faces[0])
    moved = points.copy()
    moved[::12, :2] += 60
    before, after = fit_mesh(points, SOURCE_PX), fit_mesh(moved, SOURCE_PX)
    shift = before.head.pose.apply(before.head.vertices_mm, SOURCE_PX) - after.head.pose.apply(
        after.head.vertices_mm, SOURCE_PX
    )
    assert np.abs(shift[load_head().model.region, :2]).mean() < 5
    assert after.outliers > 0.05 > before.outliers


def test_points_of_no_face_are_left_out_by_name() -> None:
    with pytest.raises(SampleError) as error:
        annotate(np.full((90, 120, 3), 200, np.uint8))
    assert error.value.reason == "no-face-detected"
    scattered = np.random.default_rng(0).normal(200, 60, (468, 3))
    assert fit_mesh(scattered, SOURCE_PX).residual > 0.1


def test_pictures_keep_the_photograph_unless_the_face_is_small() -> None:
    points = np.array([[100.0, 100, 0], [200, 200, 0]])
    whole = picture_crop(points, 280, 260)
    assert (whole.x0, whole.y0, whole.size) == (0, -10, 280)
    around = picture_crop(points, 2000, 1500)
    assert around.size == 300 and (around.x0, around.y0) == (0, 0)


def test_skin_tone_follows_the_skin() -> None:
    points = np.full((468, 3), 60.0)
    tones = [
        skin_tone(np.full((120, 120, 3), colour, np.uint8), points)
        for colour in ((245, 222, 205), (196, 150, 120), (80, 52, 40))
    ]
    assert tones == sorted(tones) and tones[0] < 0.2 and tones[2] > 0.8


def test_people_are_held_out_together() -> None:
    pattern = r"(london)/\w+_(\d+)_"
    first, second = (person_of(f"london/{mood}_007_03.jpg", pattern) for mood in ("neutral", "smiling"))
    assert first == second == "london 007"
    assert person_of("other/x.jpg", pattern) == "other/x.jpg"
    parts = [split_of_person(share * 2**48) for share in (0.0, 0.76, 0.78, 0.81, 0.99)]
    assert parts == ["training", "training", "validation", "test", "test"]
    assert name_in_set(SampleRef("a/b/c", "a", "a/b/c.jpg", 1)) == "a/b_c"


def test_two_photographs_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/b_c.png", "a/b/c.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    with pytest.raises(UsageError, match="same name"):
        AnnotationJob(tmp_path, tmp_path / "out").units()


def test_views_of_a_photograph_keep_image_and_mesh_together(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dot painted on the nose is found at the mesh's nose, however the photograph is cut and moved."""
    monkeypatch.setattr(photo_examples, "rephotograph", lambda image, rng: image)
    monkeypatch.setattr(photo_examples, "augment_picture", lambda image, rng: image)
    opened = open_dataset(made)
    photo = opened.load(opened.refs()[0])
    tip = int(load_head().model.landmarks[30])
    assert photo.truth.vertices is not None
    photo.image[:] = 0
    cv2.circle(
        photo.image, [round(v) for v in photo.truth.vertices[tip, :2].tolist()], 12, (255, 255, 255), -1
    )
    rng = np.random.default_rng(4)
    sizes = []
    for _ in range(12):
        image, vertices = Photograph(photo).view(rng)
        spots = np.argwhere(image[..., 0] > 127)
        assert len(spots)
        nearest = np.linalg.norm(spots[:, ::-1] + 0.5 - vertices[tip, :2], axis=1).min()
        assert nearest < 1.5
        sizes.append(np.ptp(vertices[load_head().model.landmarks, 1]))
    assert max(sizes) / min(sizes) > 1.15


def test_blocks_mix_photographs_and_drawn_faces(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facepipe.datasets.annotated.TRAINING_SHARE", 1.0)
    rows = pq.read_table(made / INDEX_FILE)
    at = rows.schema.get_field_index("split")
    training = rows.set_column(
        at, "split", [["training" if split else None for split in rows["split"].to_pylist()]]
    )
    pq.write_table(training, made / INDEX_FILE)
    photo_examples._opened.cache_clear()
    recipe = Recipe(3, VolumeGeometry(), 64, faces=4, views=2, photos=PhotoSet(str(made)), photo_share=0.5)
    assert recipe.photographs == 2
    block, again = make_block(recipe, 1), make_block(recipe, 1)
    assert block.images.shape == (8, 128, 128, 3)
    assert np.array_equal(block.images, again.images) and np.array_equal(block.targets, again.targets)
    assert all(target.max() == 255 for target in block.targets)


def test_photographs_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="facepipe data annotate"):
        PhotoSet(str(tmp_path)).sha256()
