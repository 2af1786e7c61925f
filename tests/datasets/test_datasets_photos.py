"""Folders of photos: what is listed, what is read, what is rejected."""

from __future__ import annotations

import errno
import os
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facepipe.core.errors import EnvironmentTroubleError, SampleError, UsageError
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.file_tree import FileTree
from facepipe.datasets.inspection import as_text, inspect_dataset
from facepipe.datasets.photos import PhotosDataset
from facepipe.imaging import passed_over


def save(path: Path, grey: int = 100, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), (grey, grey, grey)).save(path, **options)


def test_nested_photos_in_the_order_of_their_ids(tmp_path: Path) -> None:
    for name in ("b/x.png", "a.jpg", "b/a/y.WEBP", "b.jpeg", ".hidden/z.jpg", "b/.z.png"):
        save(tmp_path / name, format="PNG")
    (tmp_path / "notes.txt").write_text("left out")
    refs = PhotosDataset(tmp_path).refs()
    assert [(ref.sample_id, ref.subset) for ref in refs] == [
        ("a", ""),
        ("b", ""),
        ("b/a/y", "b"),
        ("b/x", "b"),
    ]
    assert refs[0].size_bytes == (tmp_path / "a.jpg").stat().st_size


def test_a_photo_is_read_without_truth(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 77)
    dataset = pickle.loads(pickle.dumps(open_dataset(tmp_path, "photos")))
    sample = dataset.load(dataset.refs()[0])
    assert sample.image.shape == (8, 12, 3)
    assert np.unique(sample.image).tolist() == [77]
    assert sample.truth.kind == "none"
    assert dataset.topology() is None
    assert len(sample.sha256) == 64


def test_the_first_of_several_with_one_id_is_used(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.JPG", "b.png"):
        save(tmp_path / name)
    dataset = PhotosDataset(tmp_path)
    used = []
    for ref in dataset.refs():
        try:
            dataset.load(ref)
            used.append(ref.source_path)
        except SampleError as error:
            assert error.reason == "duplicate-id"
    assert used == ["a.JPG", "b.png"]


def test_a_photo_that_went_away(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    dataset = PhotosDataset(tmp_path)
    (ref,) = dataset.refs()
    (tmp_path / "a.png").unlink()
    with pytest.raises(SampleError, match="missing-file"):
        dataset.load(ref)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's answer is made up: whoever runs this as root may read everything."""
    for name in ("a.png", "locked/b.png"):
        save(tmp_path / name)
    scan = os.scandir

    def refuse(path: str, code: int) -> Any:
        if Path(path).name == "locked":
            raise OSError(code, os.strerror(code), str(path))
        return scan(path)

    for code, error in ((errno.EACCES, UsageError), (errno.ESTALE, EnvironmentTroubleError)):
        monkeypatch.setattr(os, "scandir", partial(refuse, code=code))
        with pytest.raises(error, match=f"{tmp_path / 'locked'}: cannot be listed: {os.strerror(code)}"):
            PhotosDataset(tmp_path).refs()
        with pytest.raises(error, match="locked: cannot be listed"):
            FileTree(tmp_path).folders("locked")
    monkeypatch.undo()
    assert [ref.sample_id for ref in PhotosDataset(tmp_path).refs()] == ["a", "locked/b"]


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


class TestWhatIsToldByContent:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(passed_over, "can_read_heic", lambda: False)
        for name, kind in (("a.jpg", "JPEG"), ("b", "PNG"), ("c.dat", "AVIF"), ("d.jfif", "JPEG")):
            save(tmp_path / name, format=kind)
        (tmp_path / "IMG_1.HEIC").write_bytes(HEIC)
        (tmp_path / "IMG_2.MOV").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(20))
        (tmp_path / "notes.txt").write_text("no photo")
        return tmp_path

    def test_any_name_will_do(self, folder: Path) -> None:
        dataset = PhotosDataset(folder)
        refs = dataset.refs()
        assert [ref.sample_id for ref in refs] == ["a", "b", "c.dat", "d"]
        assert {dataset.load(ref).image.shape for ref in refs} == {(8, 12, 3)}

    def test_what_is_passed_over_is_named(self, folder: Path) -> None:
        said = {passed.extensions: passed.why for passed in PhotosDataset(folder).truth_source().passed_over}
        assert set(said) == {"1 .heic", "1 .mov", "1 .txt"}
        assert "facepipe[heic]" in said["1 .heic"]
        assert "surveil" in said["1 .mov"]
        found = as_text(inspect_dataset(PhotosDataset(folder), PhotosDataset(folder).refs(), 1))
        assert "no problems" not in found
        assert "1 .heic: HEIC is read with the extra" in found

    def test_nothing_but_what_is_passed_over(self, tmp_path: Path, folder: Path) -> None:
        for name in ("a.jpg", "b", "c.dat", "d.jfif"):
            (folder / name).unlink()
        with pytest.raises(UsageError, match=r"1 \.heic: HEIC is read with"):
            PhotosDataset(folder).refs()

    def test_ids_stay_apart(self, tmp_path: Path) -> None:
        save(tmp_path / "c.dat", format="PNG")
        save(tmp_path / "c.dat.png")
        save(tmp_path / "c.png")
        dataset = PhotosDataset(tmp_path)
        reasons = {}
        for ref in dataset.refs():
            try:
                dataset.load(ref)
            except SampleError as error:
                reasons[ref.source_path] = error.reason
        assert reasons == {"c.dat.png": "duplicate-id"}
