"""Basel-type models: real parameters against real landmarks, the published size, the face part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from published import (
    IMAGE_PX,
    Face,
    ModelArrays,
    model_arrays,
    write_aflw2000,
    write_bfm_model,
    write_pair_model,
)

from facepipe.core.conventions import VolumeGeometry
from facepipe.datasets.basel import build_model, find_model
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.crops import crop_for
from facepipe.datasets.facepart import face_part
from facepipe.datasets.parameters import read_parameters, read_points
from facepipe.geometry.morphable import MorphableModel
from facepipe.geometry.volume import front_depth
from facepipe.geometry.voxelise import voxelise
from facepipe.metrics.faces import depth_at

PUBLISHED_VERTICES = 53_215
PUBLISHED_TRIANGLES = 105_840


def test_posed_landmarks_of_real_faces(real_data: Path) -> None:
    """The formula against AFLW2000-3D's own landmarks, by the 68 landmark rows of the Basel basis."""
    folder = real_data / "bfm68"
    if not folder.is_dir():
        pytest.skip("no bfm68 there")
    mean = np.loadtxt(folder / "u_base.txt")
    shape, expression = np.loadtxt(folder / "w_shp_base.txt"), np.loadtxt(folder / "w_exp_base.txt")
    dataset = open_dataset(real_data / "aflw2000")
    differences = []
    for ref in dataset.refs():
        arrays = dataset.mat(ref)
        face = read_parameters(arrays, ref.sample_id)
        offsets = shape @ face.shape[: shape.shape[1]] + expression @ face.expression[: expression.shape[1]]
        posed = face.pose.apply((mean + offsets).reshape(-1, 3), IMAGE_PX)
        difference = posed - read_points(arrays, "pt3d_68", 3, ref.sample_id)
        assert np.abs(difference).mean() <= 1.2
        differences.append(difference)
    assert len(differences) >= 8
    bias_px = np.concatenate(differences).mean(axis=0)
    assert np.abs(bias_px).max() <= 0.15


def published_size() -> ModelArrays:
    """A model of the full published shapes; the 85 vertices that no grid fits lie far behind."""
    small = model_arrays(side=231, n_shape=1, n_expression=1)
    n_grid = 231 * 230
    mean = np.concatenate(
        [small.mean.reshape(-1, 3)[:n_grid], np.full((PUBLISHED_VERTICES - n_grid, 3), -9e5)]
    )
    triangles = small.triangles[(small.triangles < n_grid).all(axis=1)]
    extra = triangles[: PUBLISHED_TRIANGLES - len(triangles)]
    rng = np.random.default_rng(1)
    return ModelArrays(
        mean.ravel(),
        rng.random((mean.size, 199), np.float32).astype(np.float64),
        rng.random((mean.size, 29), np.float32).astype(np.float64),
        np.concatenate([triangles, extra]),
        small.landmarks,
    )


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_pair_model, write_bfm_model])
def test_models_of_the_published_size(tmp_path: Path, write) -> None:
    arrays = published_size()
    assert arrays.triangles.shape == (PUBLISHED_TRIANGLES, 3)
    write(tmp_path / "model", arrays)
    model, numbers = find_model(tmp_path / "model").load_numbered()
    assert 0.2 < len(model.mean) / PUBLISHED_VERTICES < 0.9
    assert model.shape_basis.shape == (3 * len(numbers), 199)
    assert model.expression_basis.shape == (3 * len(numbers), 29)
    np.testing.assert_array_equal(numbers[model.landmarks], arrays.landmarks)
    np.testing.assert_allclose(model.mean, arrays.mean.reshape(-1, 3)[numbers], rtol=1e-6)
    rows = (3 * numbers[:, None] + np.arange(3)).ravel()
    np.testing.assert_array_equal(model.shape_basis, arrays.shape_basis[rows].astype(np.float32))
    write_aflw2000(tmp_path / "AFLW2000", 1)
    dataset = open_dataset(tmp_path / "AFLW2000", model=tmp_path / "model")
    truth = dataset.load(dataset.refs()[0]).truth
    assert truth.kind == "dense"
    assert truth.vertices.shape == model.mean.shape


def small_model() -> MorphableModel:
    arrays = model_arrays(side=65)
    return build_model(
        "small", (arrays.mean[:, None], np.zeros((arrays.mean.size, 1))), arrays.shape_basis,
        arrays.expression_basis, arrays.triangles.T + 1, None, arrays.landmarks + 1,
    )  # fmt: skip


def test_the_face_part_is_between_forehead_chin_and_ears() -> None:
    whole = small_model()
    part, numbers = face_part(whole)
    np.testing.assert_array_equal(part.mean, whole.mean[numbers])
    np.testing.assert_array_equal(part.mean[part.landmarks], whole.mean[whole.landmarks])
    brows_y, chin_y = whole.mean[whole.landmarks[17:27], 1].mean(), whole.mean[whole.landmarks[8], 1]
    inside = part.mean[part.region]
    assert inside[:, 1].max() <= brows_y + 0.6 * (brows_y - chin_y)
    assert inside[:, 1].min() > chin_y - 0.1 * (brows_y - chin_y)
    ears_x = np.abs(whole.mean[whole.landmarks[[0, 16]], 0]).max()
    assert np.abs(inside[:, 0]).max() < 1.15 * ears_x
    assert np.isin(part.landmarks[17:], part.region).all()
    # Triangles keep their corners.
    kept = whole.surface[np.isin(whole.surface, numbers[part.region]).all(axis=1)]
    np.testing.assert_array_equal(numbers[part.surface], kept)


def test_a_mean_without_a_face_is_taken_whole() -> None:
    whole = small_model()
    flat = MorphableModel(
        whole.name, np.zeros_like(whole.mean), whole.shape_basis, whole.expression_basis, whole.surface,
        whole.solid, whole.region, whole.landmarks,
    )  # fmt: skip
    part, numbers = face_part(flat)
    assert part is flat
    assert len(numbers) == len(flat.mean)


@pytest.mark.parametrize("yaw_deg", [0, 35, -60])
def test_an_open_face_is_filled_behind_its_skin(tmp_path: Path, yaw_deg: float) -> None:
    """The volume's front is the posed skin, and behind it there is no hole down to the mesh's back."""
    write_pair_model(tmp_path / "model", model_arrays(side=65))
    write_aflw2000(tmp_path / "AFLW2000", 1)
    dataset = open_dataset(tmp_path / "AFLW2000", model=tmp_path / "model")
    model = dataset.model.load()
    pose = Face(yaw_rad=np.radians(yaw_deg)).variables(np.random.default_rng(0))["Pose_Para"]
    face = read_parameters(
        {"Pose_Para": pose, "Shape_Para": np.zeros((1, 199)), "Exp_Para": np.zeros((1, 29))}, "face"
    )
    crop = crop_for(dataset.load(dataset.refs()[0]), "full")
    vertices = crop.to_reference(face.pose.apply(model.mesh(), IMAGE_PX))
    used = np.unique(model.solid)
    vertices[:, 2] -= (vertices[used, 2].min() + vertices[used, 2].max()) / 2
    geometry = VolumeGeometry()
    volume = voxelise(vertices, model.solid, geometry)
    depth = front_depth(volume, geometry)
    in_front = depth_at(depth, vertices[model.region]) - vertices[model.region, 2]
    in_front = in_front[np.isfinite(in_front)]
    assert len(in_front) > 0.9 * len(model.region)
    assert (in_front > -1).mean() > 0.97
    assert (in_front < 1).mean() > 0.6
    filled = np.isfinite(depth)
    assert filled.sum() > 1000
    back = geometry.depth - 1 - np.argmax((volume > 0)[::-1], axis=0)
    runs = np.abs(np.diff((volume > 0).astype(np.int8), axis=0)).sum(axis=0)
    assert (runs[filled & (back < geometry.depth - 1)] <= 2).mean() > 0.95
