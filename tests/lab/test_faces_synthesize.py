"""Data sets of rendered faces, and the sample set that ships."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner

from facepipe.cli.data import data
from facepipe.core.errors import UsageError
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.sample import SAMPLE_DIR, SampleDataset
from facepipe.datasets.synthetic_marker import MARKER_FILE, Marker
from facepipe.geometry.head import load_head
from facepipe.lab.faces.factory import render, sample, vertices_px
from facepipe.lab.faces.framing import LANDMARK_CENTRE_PX
from facepipe.lab.faces.seeds import part_of, synthesis_seed
from facepipe.lab.faces.synthesize import name_of, synthesize


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("faces")
    steps = []
    assert synthesize(out, 2, seed=7, workers=1, advance=steps.append) == 2
    assert sum(steps) == 2
    return out


def test_layout_is_that_of_300w_lp(folder):
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "FACES/face_7_000000.jpg",
        "FACES/face_7_000000.mat",
        "FACES/face_7_000001.jpg",
        "FACES/face_7_000001.mat",
        MARKER_FILE,
        "landmarks/FACES/face_7_000000_pts.mat",
        "landmarks/FACES/face_7_000001_pts.mat",
    ]
    stored = scipy.io.loadmat(folder / "FACES" / "face_7_000001.mat")
    assert stored["Pose_Para"].shape == (1, 7)
    assert stored["pt2d"].shape == (2, 68)
    assert stored["roi"].shape == (1, 4)
    assert stored["Shape_Para"].shape[1] == stored["Exp_Para"].shape[1] == 1
    points = scipy.io.loadmat(folder / "landmarks" / "FACES" / "face_7_000001_pts.mat")
    assert points["pts_2d"].shape == points["pts_3d"].shape == (68, 2)
    assert np.allclose(points["pts_3d"].T, stored["pt2d"])


def test_reads_back_with_exact_truth(folder):
    dataset = open_dataset(folder)
    assert dataset.kind == "synthetic"
    for index, ref in enumerate(dataset.refs()):
        face = sample(synthesis_seed(7, index))
        read = dataset.load(ref)
        assert read.image.shape == (450, 450, 3)
        assert read.skin_tone == pytest.approx(face.skin_tone)
        assert read.yaw_deg == pytest.approx(np.degrees(face.pose.yaw_rad))
        assert np.abs(read.truth.vertices - vertices_px(face)).max() < 1e-3
        # Stored once more as JPEG of high quality.
        assert np.abs(read.image.astype(float) - render(face)).mean() < 3


def test_landmarks_follow_matlab_pixels(folder):
    stored = scipy.io.loadmat(folder / "FACES" / "face_7_000000.mat")
    expected = vertices_px(sample(synthesis_seed(7, 0)))[load_head().model.landmarks, :2] + 0.5
    assert np.allclose(stored["pt2d"].T, expected, atol=1e-3)


def test_framing_is_that_of_300w_lp():
    """Boxes shrink from about 188 px in front to about 150 px in profile, as in the published sets."""
    faces = [sample(seed) for seed in range(250)]
    boxes = np.array([vertices_px(face)[load_head().model.landmarks, :2] for face in faces])
    low, high = boxes.min(1), boxes.max(1)
    size = np.sqrt((high - low).prod(1))
    yaw = np.abs(np.degrees([face.pose.yaw_rad for face in faces]))
    assert size[yaw < 15].mean() == pytest.approx(188, abs=8)
    assert size[yaw > 65].mean() == pytest.approx(150, abs=15)
    assert ((low + high) / 2).mean(0) == pytest.approx(LANDMARK_CENTRE_PX, abs=4)


def test_goes_on_where_it_stopped(folder):
    victim = folder / "FACES" / "face_7_000001.jpg"
    before, kept = victim.read_bytes(), (folder / "FACES" / "face_7_000000.jpg").stat().st_mtime_ns
    victim.unlink()
    assert synthesize(folder, 2, seed=7, workers=1) == 1
    assert victim.read_bytes() == before
    assert (folder / "FACES" / "face_7_000000.jpg").stat().st_mtime_ns == kept
    assert synthesize(folder, 2, seed=7, workers=1) == 0
    assert not list(folder.rglob(".*"))


def test_faces_of_another_head_are_not_mixed(tmp_path):
    (tmp_path / MARKER_FILE).write_text(Marker("another-head", 450).to_json())
    with pytest.raises(UsageError, match="another-head"):
        synthesize(tmp_path, 1, seed=0, workers=1)


def test_command(tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(
        data, ["synthesize", "--n", "5", "--seed", "3", "--out", str(out), "--workers", "2"]
    )
    assert result.exit_code == 0, result.output
    assert "5 of them made now" in result.output
    assert (out / "FACES" / f"{name_of(3, 4)}.jpg").exists()
    assert CliRunner().invoke(data, ["synthesize", "--n", "0", "--out", str(out)]).exit_code == 2


def test_sample_set_is_small_and_complete():
    dataset = SampleDataset()
    refs = dataset.refs()
    assert len(refs) == 64
    assert sum(path.stat().st_size for path in SAMPLE_DIR.iterdir()) <= 3_000_000
    assert [ref.sample_id for ref in refs] == sorted(ref.sample_id for ref in refs)
    topology, count = dataset.topology(), len(load_head().model.mean)
    read = pickle.loads(pickle.dumps(dataset)).load(refs[10])
    assert read.truth.kind == "dense"
    assert read.truth.vertices.shape == (count, 3)
    assert topology.solid.max() < count
    assert dataset.load(refs[10], dense=False).truth.vertices is None


def test_sample_set_is_balanced():
    samples = [SampleDataset().load(ref, dense=False) for ref in SampleDataset().refs()]
    yaw = np.array([s.yaw_deg for s in samples])
    tone = np.array([s.skin_tone for s in samples])
    assert np.histogram(np.abs(yaw), (0, 30, 60, 90.01))[0].tolist() == [32, 16, 16]
    assert abs((yaw > 0).sum() - 32) <= 4
    assert np.histogram(tone, (0, 0.15, 0.35, 0.6, 1.001))[0].min() >= 12
    with np.load(SAMPLE_DIR / "truth.npz") as stored:
        assert abs((stored["male"] > 0.5).sum() - 32) <= 4
        assert np.histogram(stored["age"], (0, 0.42, 0.65, 1.001))[0].min() >= 15


def test_sample_truth_is_what_the_seeds_give():
    """The pictures, drawn again from their seeds, are the shipped ones; z = 0 is the middle of the solid."""
    dataset = SampleDataset()
    with np.load(SAMPLE_DIR / "truth.npz") as stored:
        seeds = stored["seed"].tolist()
    solid = np.unique(dataset.topology().solid)
    for number in (3, 40):
        face = sample(seeds[number])
        assert part_of(seeds[number]) == "test"
        read = dataset.load(dataset.refs()[number])
        assert np.abs(read.truth.vertices - vertices_px(face)).max() < 1e-3
        z = read.truth.vertices[solid, 2]
        assert abs(z.min() + z.max()) < 1e-2
        assert np.abs(read.image.astype(float) - render(face)).mean() < 4
