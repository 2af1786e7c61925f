"""Meshes and volumes of other programs: what is right is scored, what is misplaced is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from click.testing import CliRunner
from numpy.typing import NDArray

from facepipe.bench.external_results import (
    ExternalResults,
    check_names,
    geometry_of,
    open_results,
    read_mesh,
    read_volume,
)
from facepipe.bench.result_checks import CheckedSample, check_results, checked_sample, misfit
from facepipe.bench.stages import make_truth_volume, truth_in_crop
from facepipe.cli import facepipe
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import SampleError, UsageError
from facepipe.core.tables import read_table
from facepipe.core.truth import Truth
from facepipe.datasets.crops import crop_for
from facepipe.datasets.sample import SampleDataset
from facepipe.imaging.crop import Crop

Change = Callable[[NDArray[np.float64], float], NDArray[np.float64]]

COUNT = 12


class Faces:
    """Some faces of the sample set, with their truth in the pixels of their pictures."""

    def __init__(self) -> None:
        data = SampleDataset()
        self.topology = data.topology()
        assert self.topology is not None
        self.ids, self.vertices, self.samples, self.truths = [], [], [], []
        for ref in data.refs()[:COUNT]:
            sample = data.load(ref)
            crop = crop_for(sample, "full")
            truth = truth_in_crop(sample.truth, crop)
            checked = checked_sample(ref.sample_id, crop, truth, self.topology)
            assert checked is not None and sample.truth.vertices is not None
            self.ids.append(ref.sample_id)
            self.vertices.append(sample.truth.vertices.astype(np.float64))
            self.truths.append(truth)
            self.samples.append(checked)
        self.size = self.samples[0].crop.size

    def write(self, folder: Path, change: Change, ids: list[str] | None = None, suffix: str = "ply") -> Path:
        """Write the true surfaces, changed: results of a program that makes no other mistake."""
        folder.mkdir()
        for name, vertices in zip(ids or self.ids, self.vertices, strict=True):
            moved = change(vertices.copy(), self.size)
            trimesh.Trimesh(moved, self.topology.surface, process=False).export(folder / f"{name}.{suffix}")
        return folder


@pytest.fixture(scope="module")
def faces() -> Faces:
    return Faces()


def results_in(folder: Path) -> ExternalResults:
    return ExternalResults("theirs", folder, "image", geometry_of(folder))


def as_it_is(points: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    return points


def into_file_frame(points: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    return (points - [size / 2, size / 2, 0]) / size * [1, -1, 1]


def deeper(points: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    return points + np.array([0, 0, 700.0])


@pytest.mark.parametrize(
    ("change", "frame"), [(as_it_is, "image"), (deeper, "image"), (into_file_frame, "file")]
)
def test_the_frame_that_fits_is_found(faces: Faces, tmp_path: Path, change: Change, frame: str) -> None:
    folder = faces.write(tmp_path / "theirs", change)
    assert check_results(results_in(folder), faces.samples, "auto").frame == frame


WRONG: dict[str, tuple[Change, str]] = {
    "another picture, mirrored": (lambda p, s: p * [-1, 1, 1] + [s, 0, 0], "mirrored: .*of the picture"),
    "mirrored where it stands": (lambda p, s: p * [-1, 1, 1] + [2 * np.median(p[:, 0]), 0, 0], "mirrored"),
    "y up": (lambda p, s: p * [1, -1, 1] + [0, s, 0], "mirrored: .*top and bottom"),
    "z away from the camera": (lambda p, s: p * [1, 1, -1], "mirrored: .*front and back"),
    "half as deep": (lambda p, s: p * [1, 1, 0.5], "wrongly scaled: .*twice their depth"),
    "a fifth smaller": (lambda p, s: (p - p.mean(0)) * 0.8 + p.mean(0), "wrongly scaled: .*enlarged"),
    "moved to the right": (lambda p, s: p + np.array([0.15 * s, 0, 0]), "misaligned: .*to the left"),
    "of a hundredth": (
        lambda p, s: (p - [s / 2, s / 2, 0]) * 0.01 + [s / 2, s / 2, 0],
        "wrongly scaled: .*wide",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_misplaced_is_refused_with_its_reason(faces: Faces, tmp_path: Path, what: str) -> None:
    change, reason = WRONG[what]
    folder = faces.write(tmp_path / "theirs", change)
    with pytest.raises(UsageError, match=reason):
        check_results(results_in(folder), faces.samples, "image")


def test_results_under_the_names_of_others_are_refused(faces: Faces, tmp_path: Path) -> None:
    folder = faces.write(tmp_path / "theirs", as_it_is, faces.ids[1:] + faces.ids[:1])
    with pytest.raises(UsageError, match="wrongly named: 1[0-2] of 12"):
        check_results(results_in(folder), faces.samples, "image")


def test_names_that_no_sample_has_are_refused_with_the_nearest(faces: Faces, tmp_path: Path) -> None:
    folder = faces.write(tmp_path / "theirs", as_it_is, [f"{name}_mesh" for name in faces.ids])
    with pytest.raises(UsageError, match="12 of 12 files are named as no sample is.*did you mean 'face-"):
        check_names(results_in(folder), faces.ids)
    check_names(results_in(faces.write(tmp_path / "right", as_it_is)), faces.ids)


def test_a_poor_result_is_scored_and_not_refused(faces: Faces, tmp_path: Path) -> None:
    def tilted(points: NDArray[np.float64], size: float) -> NDArray[np.float64]:
        points[:, 2] = 0.7 * points[:, 2] + 0.2 * (points[:, 0] - points[:, 0].mean())
        return points

    folder = faces.write(tmp_path / "theirs", tilted)
    assert check_results(results_in(folder), faces.samples, "auto").frame == "image"


def test_misfit_of_a_plane_by_hand() -> None:
    """Points 10 px apart in a plane at z = 0, below a surface that rises by 1 px each 10 px, d = 100 px."""
    x, y = np.meshgrid(np.arange(0, 50, 10.0), np.arange(0, 50, 10.0))
    truth = np.stack([x.ravel(), y.ravel(), np.zeros(25)], 1)
    sample = CheckedSample("a", Crop(0, 0, 128), truth, 100.0)
    risen = truth + np.array([0, 0, 1]) * (truth[:, :1] / 10)
    # Rises of 0, 1, 2, 3, 4 px about their median 2: the mean distance is (2 + 1 + 0 + 1 + 2) / 5 = 1.2 px.
    assert misfit(risen, sample) == pytest.approx(0.012)
    assert misfit(truth + np.array([1000.0, 0, 0]), sample) == 0.3  # nothing is covered
    assert misfit(truth, sample) == 0


def test_a_command_scores_true_surfaces_as_nearly_perfect(faces: Faces, tmp_path: Path) -> None:
    folder = faces.write(tmp_path / "theirs", deeper)
    (folder / f"{faces.ids[0]}.ply").write_bytes(b"ply\nthis is no mesh\n")
    (folder / f"{faces.ids[1]}.ply").unlink()
    out = tmp_path / "run"
    command = [
        "score",
        str(folder),
        "--dataset",
        "sample",
        "--out",
        str(out),
        "--limit",
        "12",
        "--workers",
        "1",
    ]
    done = CliRunner().invoke(facepipe, [*command, "--as", "perfect"])
    assert done.exit_code == 0, done.output
    rows = {row["sample_id"]: row for row in read_table(out / "scores.parquet").to_pylist()}
    assert sorted(rows) == sorted(faces.ids[2:])
    assert {(row["regressor"], row["method"], row["degradation"]) for row in rows.values()} == {
        ("perfect", "reference", "none")
    }
    # A voxelised true surface is off by less than a voxel: 1 px in the picture, a third along z.
    assert max(row["landmark_depth_nme"] for row in rows.values()) < 0.12
    assert np.median([row["nme"] for row in rows.values()]) < 0.04
    assert np.median([row["normal_deg"] for row in rows.values()]) < 18
    failures = read_table(out / "failures.parquet").to_pylist()
    found = {row["sample_id"]: row["reason"] for row in failures}
    assert found[faces.ids[0]] == "damaged-result" and found[faces.ids[1]] == "missing-result"
    again = CliRunner().invoke(facepipe, [*command, "--as", "perfect"])
    assert again.exit_code == 0, again.output


def test_volumes_are_scored_in_their_own_geometry(faces: Faces, tmp_path: Path) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    geometry = VolumeGeometry(128, 200, (0.5, 1.0, 1.0), 100.0)
    for name, truth in zip(faces.ids, faces.truths, strict=True):
        np.save(folder / f"{name}.npy", make_truth_volume(truth, faces.topology, geometry))
    assert geometry_of(folder) == geometry
    found = check_results(results_in(folder), faces.samples, "auto")
    crop = faces.samples[0].crop
    volume = found.volume(faces.ids[0], crop, lambda *_: 0.0)
    assert (volume == make_truth_volume(faces.truths[0], faces.topology, geometry)).all()
    np.save(folder / f"{faces.ids[0]}.npy", np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(SampleError, match="damaged-result"):
        found.volume(faces.ids[0], crop, lambda *_: 0.0)
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 this is no archive")
    with pytest.raises(SampleError, match="damaged-result"):
        read_volume(tmp_path / "a.npz")


def test_without_depth_nothing_can_be_checked(faces: Faces, tmp_path: Path) -> None:
    folder = faces.write(tmp_path / "theirs", as_it_is)
    assert checked_sample("a", Crop(0, 0, 128), Truth(), None) is None
    with pytest.raises(UsageError, match="dense truth or landmarks in 3D"):
        check_results(results_in(folder), [], "auto")


@pytest.mark.parametrize("suffix", ["obj", "ply", "glb", "stl", "off"])
def test_formats(faces: Faces, tmp_path: Path, suffix: str) -> None:
    one = replace_faces(faces)
    folder = one.write(tmp_path / "theirs", as_it_is, suffix=suffix)
    mesh = read_mesh(folder / f"{one.ids[0]}.{suffix}")
    assert len(mesh.triangles) == len(faces.topology.surface)
    corners = mesh.vertices[mesh.triangles].reshape(-1, 3)
    expected = faces.vertices[0][faces.topology.surface].reshape(-1, 3)
    assert np.abs(corners - expected).max() < 1e-3


def replace_faces(faces: Faces) -> Faces:
    one = object.__new__(Faces)
    one.__dict__.update(faces.__dict__)
    one.ids, one.vertices = faces.ids[:1], faces.vertices[:1]
    return one


def test_names_of_folders(tmp_path: Path) -> None:
    (tmp_path / "deca").mkdir()
    with pytest.raises(UsageError, match="no result in it"):
        open_results(str(tmp_path / "deca"))
    (tmp_path / "deca" / "a.obj").write_text("v 0 0 0\n")
    assert open_results(str(tmp_path / "deca")) == ("deca", tmp_path / "deca")
    assert open_results(f"other={tmp_path / 'deca'}") == ("other", tmp_path / "deca")
    with pytest.raises(UsageError, match="no such folder"):
        open_results("x=nowhere")
    with pytest.raises(SampleError, match="empty-result"):
        read_mesh(tmp_path / "deca" / "a.obj")
    assert replace(results_in(tmp_path / "deca"), frame="crop").as_json()["frame"] == "crop"
