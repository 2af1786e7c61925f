"""Reshaped faces: nearer to what people measure, symmetric, whole, and framed anew."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.geometry.head import load_head
from facepipe.geometry.voxelise import voxelise
from facepipe.lab.faces.factory import Face, sample, vertices_px
from facepipe.lab.faces.raster import vertex_normals
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.vrn.proportions import RESHAPED_SHARE, displacements, reshape, reshaped

MALE_NOSE, FEMALE_NOSE = 21.1 / 122.7, 19.8 / 113.4
"""Nose protrusion over the length from menton to sellion, Zhuang and Bradtmiller 2005."""


def _people(count: int) -> list[Face]:
    return [sample(face_seed("validation", index)) for index in range(count)]


def _nose(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[33] - points[30]) / np.linalg.norm(points[8] - points[27]))


@pytest.mark.parametrize(("male", "wanted"), [(True, MALE_NOSE), (False, FEMALE_NOSE)])
def test_noses_stand_out_as_far_as_surveys_found(male: bool, wanted: float) -> None:
    model, rng = load_head().model, np.random.default_rng(0)
    adults = [face for face in _people(300) if face.who.age > 0.45 and (face.who.male > 0.5) is male]
    at_rest = [model.mesh(face.shape) for face in adults]
    before = np.mean([_nose(mesh[model.landmarks]) for mesh in at_rest])
    after = np.mean([_nose((mesh + displacements(model.mean, rng))[model.landmarks]) for mesh in at_rest])
    assert before < wanted * 0.88
    assert after == pytest.approx(wanted, rel=0.1)


def test_proportions_are_drawn_wider_than_people_have_them() -> None:
    """A survey's standard deviation of noses is an eighth of their mean."""
    model, rng = load_head().model, np.random.default_rng(1)
    meshes = [model.mesh(face.shape) + displacements(model.mean, rng) for face in _people(150)]
    drawn = [_nose(mesh[model.landmarks]) for mesh in meshes]
    assert np.std(drawn) / np.mean(drawn) > 1.2 * 2.7 / 21.1
    assert min(drawn) > 0.02


def test_both_sides_move_alike_and_what_lies_behind_stays() -> None:
    place = load_head().model.mean
    mirrored = place * np.array([-1, 1, 1], np.float32)
    there, here = (displacements(points, np.random.default_rng(3)) for points in (mirrored, place))
    np.testing.assert_allclose(there * (-1, 1, 1), here, atol=1e-4)
    behind = place[:, 2] < -75
    assert behind.any()
    assert not here[behind].any()
    assert np.abs(here[~behind]).max() > 1


def test_no_part_of_the_skin_turns_over() -> None:
    model, rng = load_head().model, np.random.default_rng(4)
    corners = model.mean[model.surface]
    before = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    turned = []
    for _ in range(40):
        corners = (model.mean + displacements(model.mean, rng))[model.surface]
        after = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        turned.append(float(((before * after).sum(1) < 0).mean()))
    assert np.mean(turned) < 0.002
    assert max(turned) < 0.01


def test_a_share_of_faces_is_reshaped_and_the_others_are_left_alone() -> None:
    face, head, rng = sample(face_seed("validation", 0)), load_head(), np.random.default_rng(5)
    drawn = [reshape(face, head, rng) for _ in range(400)]
    assert np.mean([other is not face for other in drawn]) == pytest.approx(RESHAPED_SHARE, abs=0.08)


def test_a_reshaped_face_is_the_same_for_the_same_draw_and_framed_like_any_other() -> None:
    head, geometry = load_head(), VolumeGeometry()
    for face in _people(12):
        first, second = (reshaped(face, head, np.random.default_rng(face.seed)) for _ in range(2))
        np.testing.assert_array_equal(first.vertices_mm, second.vertices_mm)
        assert first.pose == second.pose
        points = vertices_px(first, NETWORK_PX)
        solid = points[np.unique(head.model.solid)]
        assert abs(solid[:, 2].min() + solid[:, 2].max()) < 0.01
        assert np.isfinite(vertex_normals(points, head.triangles)).all()
        assert voxelise(points, head.model.solid, geometry).any()
        assert (first.look, first.camera, first.who) == (face.look, face.camera, face.who)
