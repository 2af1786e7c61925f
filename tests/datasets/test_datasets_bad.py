"""Bad data: each case has its reason code, and the samples beside it are not affected."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from published import (
    IMAGE_PX,
    Face,
    model_arrays,
    write_300w_lp,
    write_aflw2000,
    write_pair_model,
    write_sample,
)

from facepipe.core.errors import SampleError
from facepipe.datasets.catalog import open_dataset

SETS = "300W_LP/HELEN"


def reasons(root: Path, model: Path | None = None) -> dict[str, str]:
    """The reason for each sample of a data set, '' for sound ones."""
    dataset = open_dataset(root, model=model)
    found = {}
    for ref in dataset.refs():
        try:
            dataset.load(ref)
            found[ref.sample_id] = ""
        except SampleError as error:
            assert error.detail
            found[ref.sample_id] = error.reason
    return found


def _nan(shape: tuple[int, ...]) -> np.ndarray:
    values = np.ones(shape)
    values.flat[3] = np.nan
    return values


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"Pose_Para": None}, "mat-missing-key"),
        ({"Shape_Para": None}, "mat-missing-key"),
        ({"pt2d": None}, "mat-missing-key"),
        ({"Pose_Para": np.zeros((1, 6))}, "mat-wrong-shape"),
        ({"Pose_Para": np.zeros((1, 7))}, "bad-pose"),
        ({"Pose_Para": _nan((1, 7))}, "mat-not-finite"),
        ({"Exp_Para": np.zeros((29, 2))}, "mat-wrong-shape"),
        ({"Shape_Para": _nan((199, 1))}, "mat-not-finite"),
        ({"pt2d": np.zeros((2, 67))}, "mat-wrong-shape"),
        ({"pt2d": _nan((2, 68))}, "mat-not-finite"),
        ({"pt2d": np.full((2, 68), 600.0)}, "landmarks-outside"),
        ({"pt2d": np.where(np.arange(68) < 3, -1000.0, 200.0) * np.ones((2, 1))}, "landmarks-outside"),
        ({"Pose_Para": "text"}, "mat-wrong-type"),
        ({"Exp_Para": np.array([["a", 1]], object)}, "mat-wrong-type"),
    ],
)
def test_what_a_mat_can_say_wrongly(tmp_path: Path, variables: dict, reason: str) -> None:
    write_sample(tmp_path / SETS / "HELEN_100000_1_0", Face())
    write_sample(tmp_path / SETS / "HELEN_100001_1_0", Face(), **variables)
    assert reasons(tmp_path) == {"HELEN/HELEN_100000_1_0": "", "HELEN/HELEN_100001_1_0": reason}


def test_files_that_are_missing_or_broken(tmp_path: Path) -> None:
    names = [f"HELEN_{100000 + i}_1_0" for i in range(8)]
    folder = tmp_path / SETS
    for i, name in enumerate(names):
        write_sample(folder / name, Face(), i)
    (folder / f"{names[1]}.mat").unlink()
    (folder / f"{names[2]}.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
    (folder / f"{names[3]}.mat").write_bytes((folder / f"{names[0]}.mat").read_bytes()[:300])
    jpeg = (folder / f"{names[0]}.jpg").read_bytes()
    (folder / f"{names[4]}.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / f"{names[5]}.jpg").write_bytes(b"")
    (folder / f"{names[6]}.jpg").write_text("not an image")
    Image.new("RGB", (225, 225)).save(folder / f"{names[7]}.jpg")
    assert list(reasons(tmp_path).values()) == [
        "", "missing-mat", "mat-v7.3", "broken-mat", "truncated-image", "empty-file", "not-an-image",
        "image-size-mismatch",
    ]  # fmt: skip


def test_names_with_spaces_and_letters_of_any_script(tmp_path: Path) -> None:
    for name in ("Jürgen Müller_1_0", "顔 写真_1_0", "two  spaces_1_0"):
        write_sample(tmp_path / SETS / name, Face())
    assert set(reasons(tmp_path).values()) == {""}
    archive = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "300W_LP"))
    assert reasons(archive) == reasons(tmp_path)


def test_two_images_of_one_name(tmp_path: Path) -> None:
    write_sample(tmp_path / SETS / "HELEN_1_1_0", Face())
    Image.new("RGB", (IMAGE_PX, IMAGE_PX)).save(tmp_path / SETS / "HELEN_1_1_0.png")
    dataset = open_dataset(tmp_path)
    jpg, png = dataset.refs()
    assert dataset.load(jpg).yaw_deg == 0
    with pytest.raises(SampleError, match="duplicate-id"):
        dataset.load(png)


def test_corrupt_and_missing_members_of_a_zip(tmp_path: Path) -> None:
    write_300w_lp(tmp_path / "300W_LP", 1)
    archive = Path(shutil.make_archive(str(tmp_path / "lp"), "zip", tmp_path, "300W_LP"))
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo("300W_LP/AFW/AFW_134212_1_0.jpg")
        start = info.header_offset + 30 + len(info.filename.encode())
    data = bytearray(archive.read_bytes())
    data[start + 40 : start + 60] = bytes(20)
    archive.write_bytes(data)
    found = reasons(archive)
    assert found.pop("AFW/AFW_134212_1_0") == "corrupt-zip-member"
    assert set(found.values()) == {""}
    dataset = open_dataset(archive)
    with pytest.raises(SampleError, match="missing-file"):
        dataset.tree.read("AFW/gone.jpg")


def test_a_model_of_another_kind_is_told_by_the_parameters(tmp_path: Path) -> None:
    write_aflw2000(tmp_path / "AFLW2000", 1)
    write_pair_model(tmp_path / "model", model_arrays(n_shape=40))
    assert list(reasons(tmp_path / "AFLW2000", tmp_path / "model").values()) == ["wrong-parameters"]


def test_a_mesh_that_is_another_image_s(tmp_path: Path) -> None:
    write_sample(
        tmp_path / SETS / "HELEN_1_1_0", Face(), Pose_Para=np.array([[0, 0, 0, 2000, 2000, 0, 1.4e-3]])
    )
    write_pair_model(tmp_path / "model", model_arrays())
    assert list(reasons(tmp_path / "300W_LP", tmp_path / "model").values()) == ["landmarks-outside"]
