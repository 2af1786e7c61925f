"""Readers of published layouts: recognised, listed, read, filtered, split; folder and zip alike."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from published import (
    Face,
    model_arrays,
    write_300w_lp,
    write_aflw2000,
    write_bfm_model,
    write_pair_model,
    write_sample,
)

from facepipe.core.errors import UsageError
from facepipe.datasets import w300_3d
from facepipe.datasets.basel import find_model, models_folder
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.inspection import as_text, inspect_dataset
from facepipe.datasets.split import photo_of, split_of


@pytest.fixture(scope="session")
def lp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lp") / "300W_LP"
    write_300w_lp(root)
    return root


@pytest.fixture(scope="session")
def aflw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("aflw") / "AFLW2000"
    write_aflw2000(root)
    return root


# -- recognition and listing ----------------------------------------------------------------------------


def test_300w_lp_is_recognised_at_its_root_and_above(lp: Path) -> None:
    at_root, above = open_dataset(lp), open_dataset(lp.parent)
    assert at_root.kind == above.kind == "300w-lp"
    refs = at_root.refs()
    assert [ref.sample_id for ref in refs] == sorted(ref.sample_id for ref in refs)
    assert refs == above.refs()
    assert len(refs) == 13
    assert {ref.subset for ref in refs} == {"AFW", "AFW_Flip", "IBUG"}


def test_aflw2000_and_photos_are_recognised(aflw: Path, tmp_path: Path) -> None:
    assert open_dataset(aflw).kind == open_dataset(aflw.parent).kind == "aflw2000-3d"
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    assert open_dataset(tmp_path).kind == "photos"


def moved(source: Path, below: Path, zipped: bool) -> Path:
    """A copy of a data set in a folder, with an unrelated photo beside it; perhaps as an archive."""
    shutil.copytree(source, below)
    top = next(folder for folder in below.parents if folder.name == "given")
    Image.new("RGB", (9, 9)).save(top / "cover.png")
    return Path(shutil.make_archive(str(top.parent / "made"), "zip", top)) if zipped else top


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("place", ["aflw2000", "AFLW2000-3D/AFLW2000", "a/b/c/d/faces"])
def test_aflw2000_is_found_deeper_and_by_any_name(
    aflw: Path, tmp_path: Path, place: str, zipped: bool
) -> None:
    given = moved(aflw, tmp_path / "given" / place, zipped)
    for dataset in (open_dataset(given), open_dataset(given, "aflw2000-3d")):
        assert dataset.kind == "aflw2000-3d"
        assert dataset.refs() == open_dataset(aflw).refs()
        assert dataset.load(dataset.refs()[0]).truth.kind == "landmarks3d"


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("place", ["300W-LP", "300w_lp", "data/300W_LP", "a/b/c/faces"])
def test_300w_lp_is_found_deeper_and_by_any_name(lp: Path, tmp_path: Path, place: str, zipped: bool) -> None:
    given = moved(lp, tmp_path / "given" / place, zipped)
    for dataset in (open_dataset(given), open_dataset(given, "300w-lp")):
        assert dataset.kind == "300w-lp"
        assert dataset.refs() == open_dataset(lp).refs()


def test_what_lies_as_published_comes_before_what_lies_deeper(aflw: Path, lp: Path, tmp_path: Path) -> None:
    shutil.copytree(aflw, tmp_path / "z" / "AFLW2000-3D")
    shutil.copytree(aflw, tmp_path / "AFLW2000-new")
    shutil.copytree(lp, tmp_path / "300W-LP")
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, dataset.tree.below) == ("aflw2000-3d", "AFLW2000-new")
    shutil.rmtree(tmp_path / "AFLW2000-new")
    assert (open_dataset(tmp_path).kind, open_dataset(tmp_path).tree.below) == ("300w-lp", "300W-LP")
    assert open_dataset(tmp_path, "aflw2000-3d").tree.below == "z/AFLW2000-3D"
    shutil.copytree(lp, tmp_path / "200W-LP")
    assert open_dataset(tmp_path).tree.below == "200W-LP"


def test_a_data_set_too_deep_is_photos_and_what_is_not_read_is_said(aflw: Path, tmp_path: Path) -> None:
    given = moved(aflw, tmp_path / "given" / "1/2/3/4/5/6", zipped=False)
    dataset = open_dataset(given)
    assert (dataset.kind, len(dataset.refs())) == ("photos", 3)
    notice = dataset.truth_source().notice
    assert "2 .mat files beside the photos are not read, such as 1/2/3/4/5/6/image00002.mat" in notice
    assert f"note: {notice}" in as_text(inspect_dataset(dataset, dataset.refs(), 1))
    with pytest.raises(UsageError, match="image00002.mat, at most 5 folders down"):
        open_dataset(given, "aflw2000-3d")
    for mat in given.rglob("*.mat"):
        mat.rename(mat.with_name(f"other {mat.name}"))
    assert open_dataset(given).truth_source().notice == ""


def test_a_wrong_kind_and_a_wrong_folder_are_explained(aflw: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected folders AFW, HELEN"):
        open_dataset(aflw, "300w-lp")
    with pytest.raises(UsageError, match="did you mean 'aflw2000-3d'"):
        open_dataset(aflw, "aflw2000")
    with pytest.raises(UsageError, match="no such folder"):
        open_dataset(tmp_path / "missing")
    with pytest.raises(UsageError, match="no photos there"):
        open_dataset(tmp_path).refs()
    with pytest.raises(UsageError, match="no readable zip"):
        open_dataset(_text_file(tmp_path))


def _text_file(folder: Path) -> Path:
    path = folder / "notes.txt"
    path.write_text("no archive")
    return path


def test_a_zip_is_read_in_place_like_its_folder(lp: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "300W-LP"), "zip", lp.parent, lp.name))
    folder, zipped = open_dataset(lp), open_dataset(archive)
    assert zipped.kind == "300w-lp"
    assert zipped.refs() == folder.refs()
    for ref in folder.refs():
        a, b = folder.load(ref), pickle.loads(pickle.dumps(zipped)).load(ref)
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.truth.landmarks, b.truth.landmarks)
        assert (a.sha256, a.yaw_deg, a.truth.kind) == (b.sha256, b.yaw_deg, b.truth.kind)
    assert sorted(path.name for path in tmp_path.iterdir()) == [archive.name]


# -- truth without a model ------------------------------------------------------------------------------


def test_300w_lp_without_a_model_has_2d_landmarks_from_its_landmarks_folder(lp: Path) -> None:
    dataset = open_dataset(lp)
    ref = next(ref for ref in dataset.refs() if ref.subset == "AFW")
    sample = dataset.load(ref)
    stored = scipy.io.loadmat(lp / "landmarks" / f"{ref.sample_id}_pts.mat")["pts_3d"]
    assert sample.truth.kind == "landmarks2d"
    np.testing.assert_allclose(sample.truth.landmarks, stored - 0.5, atol=1e-4)
    assert sample.yaw_deg == pytest.approx(5, abs=1e-4)
    assert dataset.topology() is None


def test_300w_lp_without_landmarks_folder_uses_pt2d(lp: Path) -> None:
    dataset = open_dataset(lp, subsets=["IBUG"])
    (ref,) = dataset.refs()
    stored = scipy.io.loadmat(lp / f"{ref.sample_id}.mat")["pt2d"]
    np.testing.assert_allclose(dataset.load(ref).truth.landmarks, stored.T - 0.5, atol=1e-4)


def test_aflw2000_without_a_model_has_3d_landmarks(aflw: Path) -> None:
    dataset = open_dataset(aflw)
    truth = dataset.load(dataset.refs()[0]).truth
    assert truth.kind == "landmarks3d"
    assert truth.landmarks.shape == (68, 3)
    assert truth.landmarks[:, 2].min() == -truth.landmarks[:, 2].max()
    notice = dataset.truth_source().notice
    assert str(models_folder()) in notice
    assert "Model_Shape.mat" in notice
    assert "BFM.mat" in notice


# -- truth with a model ---------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_pair_model, write_bfm_model])
def test_a_model_gives_dense_truth_by_the_published_formula(lp: Path, tmp_path: Path, write) -> None:
    arrays = model_arrays()
    write(tmp_path, arrays)
    dataset = open_dataset(lp, model=tmp_path)
    ref = next(ref for ref in dataset.refs() if ref.sample_id == "AFW/AFW_134212_1_1")
    truth = dataset.load(ref).truth
    assert truth.kind == "dense"
    # The formula of 3DDFA, written out: V = f R S + t, x = Vx, y = 450 + 1 - Vy in 1-based pixels.
    mat = scipy.io.loadmat(lp / f"{ref.sample_id}.mat")
    pitch, yaw, roll, tx, ty, tz, scale = mat["Pose_Para"].ravel().astype(float)
    rx = [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
    ry = [[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]]
    rz = [[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    flat = arrays.mean + arrays.shape_basis @ mat["Shape_Para"].ravel()
    flat += arrays.expression_basis @ mat["Exp_Para"].ravel()
    posed = scale * np.array(rx) @ np.array(ry) @ np.array(rz) @ flat.reshape(3, -1, order="F")
    posed += np.array([[tx], [ty], [tz]])
    expected = np.stack([posed[0] - 0.5, 450 + 1 - posed[1] - 0.5], axis=1)
    np.testing.assert_allclose(truth.landmarks[:, :2], expected[arrays.landmarks], atol=2e-3)
    z = truth.vertices[np.unique(dataset.topology().solid), 2]
    assert z.min() == pytest.approx(-z.max(), abs=1e-3)
    difference = truth.landmarks[:, 2] - posed[2][arrays.landmarks]
    np.testing.assert_allclose(difference, difference[0], atol=2e-3)


def test_without_the_mesh_the_landmarks_are_the_same(aflw: Path, tmp_path: Path) -> None:
    write_pair_model(tmp_path, model_arrays(), "Model_Expression.mat")
    dataset = open_dataset(aflw, model=tmp_path / "Model_Shape.mat")
    for ref in dataset.refs():
        full, light = dataset.load(ref), dataset.load(ref, dense=False)
        assert light.truth.vertices is None
        assert (light.truth.kind, light.sha256) == ("dense", full.sha256)
        np.testing.assert_allclose(light.truth.landmarks[:, :2], full.truth.landmarks[:, :2], atol=1e-3)


def test_a_model_in_facepipes_home_is_found_and_described(aflw: Path) -> None:
    assert find_model() is None
    write_pair_model(models_folder(), model_arrays())
    source = open_dataset(aflw).truth_source()
    assert source.notice == ""
    assert len(source.fingerprint) == 64
    topology = open_dataset(aflw).topology()
    assert f"{len(topology.region)} in the region" in source.description
    assert topology.n_vertices <= len(open_dataset(aflw).load(open_dataset(aflw).refs()[0]).truth.vertices)


def test_a_missing_or_broken_model_is_explained(aflw: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected Model_Shape.mat"):
        open_dataset(aflw, model=tmp_path)
    arrays = model_arrays()
    write_pair_model(tmp_path, arrays)
    scipy.io.savemat(tmp_path / "Model_Exp.mat", {"mu_exp": np.zeros((3, 1)), "w_exp": np.zeros((3, 29))})
    dataset = open_dataset(aflw, model=tmp_path)
    with pytest.raises(UsageError, match="mean of expression is"):
        dataset.topology()
    (tmp_path / "Model_Shape.mat").write_bytes(b"MATLAB 5.0 but not for long")
    with pytest.raises(UsageError, match="cannot use the face model"):
        dataset.topology()


# -- 300W-3D --------------------------------------------------------------------------------------------


@pytest.fixture
def w300(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """300W-3D with meshes of a smaller model, one of them counted from the image's bottom."""
    arrays = model_arrays(side=33)
    monkeypatch.setattr(w300_3d, "N_VERTICES", arrays.mean.size // 3)
    monkeypatch.setattr(w300_3d, "LANDMARK_VERTICES", arrays.landmarks)
    mesh = arrays.mean.reshape(-1, 3) * 1.4e-3 * np.array([1, -1, 1]) + np.array([225.5, 225.5, 7])
    for i, name in enumerate(("LFPW_image_test_0001", "LFPW_image_test_0002")):
        write_sample(tmp_path / "300W-3D" / "LFPW" / name, Face(), i)
        fitted = mesh.copy()
        if i:
            fitted[:, 1] = 451 - fitted[:, 1]
        folder = tmp_path / "300W-3D-Face" / "LFPW"
        folder.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(folder / f"{name}.mat", {"Fitted_Face": fitted.T})
    return tmp_path


def test_300w_3d_is_recognised_with_its_meshes(w300: Path) -> None:
    for place in (w300, w300 / "300W-3D"):
        dataset = open_dataset(place)
        assert dataset.kind == "300w-3d"
        assert [dataset.load(ref).truth.kind for ref in dataset.refs()] == ["landmarks3d"] * 2


def test_300w_3d_is_found_deeper_however_it_is_spelled(w300: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    for name, spelled in (("300W-3D", "300w_3d"), ("300W-3D-Face", "300W_3D_face")):
        shutil.move(w300 / name, given / "data" / spelled)
    for place in (given, Path(shutil.make_archive(str(tmp_path / "made"), "zip", given))):
        dataset = open_dataset(place)
        assert dataset.kind == "300w-3d"
        assert [ref.sample_id for ref in dataset.refs()] == [f"LFPW/LFPW_image_test_000{i}" for i in (1, 2)]
        assert [dataset.load(ref).truth.kind for ref in dataset.refs()] == ["landmarks3d"] * 2
        with pytest.raises(UsageError, match="no 300w-lp data set there"):
            open_dataset(place, "300w-lp")


def test_300w_3d_meshes_are_upright_and_dense_with_a_model(w300: Path, tmp_path: Path) -> None:
    write_pair_model(tmp_path / "model", model_arrays(side=33))
    dataset = open_dataset(w300, model=tmp_path / "model")
    upright, flipped = (dataset.load(ref).truth for ref in dataset.refs())
    assert upright.kind == flipped.kind == "dense"
    np.testing.assert_allclose(upright.vertices, flipped.vertices, atol=1e-3)
    # The brows are above the mouth.
    assert upright.landmarks[17:27, 1].mean() < upright.landmarks[48:68, 1].mean()
    np.testing.assert_allclose(upright.landmarks[30, :2], [225, 225 - 105 * -0.2], atol=5)


def test_300w_3d_without_meshes_falls_back(w300: Path) -> None:
    shutil.rmtree(w300 / "300W-3D-Face")
    dataset = open_dataset(w300 / "300W-3D")
    assert dataset.load(dataset.refs()[0]).truth.kind == "landmarks2d"
    assert "not beside it" in dataset.truth_source().description


# -- filters and split ----------------------------------------------------------------------------------


def test_subset_and_yaw_filters(lp: Path) -> None:
    assert len(open_dataset(lp, subsets=["AFW_Flip", "IBUG"]).refs()) == 7
    with pytest.raises(UsageError, match="did you mean 'IBUG'"):
        open_dataset(lp, subsets=["IBUGS"]).refs()
    assert {ref.sample_id[-1] for ref in open_dataset(lp, max_yaw_deg=30).refs() if "AFW" in ref.subset} == {
        "0"
    }
    assert [ref.subset for ref in open_dataset(lp, min_yaw_deg=60).refs()] == ["IBUG"]
    assert len(open_dataset(lp, min_yaw_deg=30, max_yaw_deg=60).refs()) == 6
    with pytest.raises(UsageError, match="none of 13 samples passes"):
        open_dataset(lp, min_yaw_deg=89).refs()


def test_a_yaw_filter_lets_broken_files_through_to_be_quarantined(tmp_path: Path) -> None:
    write_300w_lp(tmp_path / "300W_LP", 1)
    broken = tmp_path / "300W_LP" / "AFW" / "AFW_134212_1_1.mat"
    broken.write_bytes(b"nothing")
    ids = {ref.sample_id for ref in open_dataset(tmp_path, max_yaw_deg=10).refs()}
    assert "AFW/AFW_134212_1_1" in ids
    assert "IBUG/IBUG_image_003_1_0" not in ids


def test_photos_have_no_yaw_to_filter_by(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="does not tell yaw"):
        open_dataset(tmp_path, max_yaw_deg=30).refs()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("AFW/AFW_134212_1_0", "AFW_Flip/AFW_134212_1_12", True),
        ("AFW/AFW_134212_1_0", "AFW/AFW_134212_2_3", True),
        ("AFW/AFW_134212_1_0", "AFW/AFW_134213_1_0", False),
        ("LFPW/LFPW_image_test_0001_0", "LFPW_Flip/LFPW_image_test_0001_9", True),
        ("LFPW/LFPW_image_test_0001_0", "LFPW/LFPW_image_test_0002_0", False),
        ("IBUG/IBUG_image_003_1_0", "IBUG/IBUG_image_004_1_0", False),
        ("HELEN/HELEN_232194_1_0", "HELEN_Flip/HELEN_232194_1_7", True),
        ("AFW/AFW_134212_1", "300W/AFW_134212_1_5", True),
        ("image00050", "image00051", False),
    ],
)
def test_poses_flips_and_faces_of_a_photo_stay_together(first: str, second: str, same: bool) -> None:
    assert (photo_of(first) == photo_of(second)) is same
    if same:
        assert split_of(first) == split_of(second)


def test_the_split_is_fixed_and_has_its_shares(lp: Path) -> None:
    parts = [split_of(f"HELEN/HELEN_{i}_1_0") for i in range(100_000, 120_000)]
    shares = [parts.count(part) / len(parts) for part in ("training", "validation", "test")]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.01)
    assert [split_of(f"AFW/AFW_{i}_1_0") for i in (134212, 261068, 1051618982)] == [
        split_of(f"x/AFW_{i}") for i in (134212, 261068, 1051618982)
    ]
    assert split_of("image00050", "aflw2000-3d") == "test"
    ids = [
        {ref.sample_id for ref in open_dataset(lp, split=part).refs()}
        for part in sorted({split_of(ref.sample_id) for ref in open_dataset(lp).refs()})
    ]
    assert sum(map(len, ids)) == len(set().union(*ids)) == 13
