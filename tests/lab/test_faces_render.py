"""Drawing faces: rasteriser, noise, shading, camera, and that seeds determine everything."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import UsageError
from facepipe.geometry.head import load_head
from facepipe.lab.faces.background import background, natural_noise
from facepipe.lab.faces.camera import Camera, black_borders, photograph, tone
from facepipe.lab.faces.draw import draw
from facepipe.lab.faces.factory import example, render, sample
from facepipe.lab.faces.noise import TABLE, noise
from facepipe.lab.faces.raster import NOTHING, rasterise, vertex_normals
from facepipe.lab.faces.scene import build_scene
from facepipe.lab.faces.seeds import PARTS, RANGE, face_seed, part_of, synthesis_seed
from facepipe.lab.faces.shadow import ShadowMap

GEOMETRY = VolumeGeometry()
PLAIN = Camera((1.0, 1.0, 1.0), 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0, (0, 0, 0, 0), 0)


def scene_of(face, size=256, layers=4):
    return build_scene(load_head(), face.vertices_mm, face.pose, face.look, size, layers)


def test_rasteriser_by_hand():
    """A square of two triangles over pixels 1..2 of 4, in front of a larger one behind."""
    points = np.array(
        [[1, 1, 5], [3, 1, 5], [3, 3, 5], [1, 3, 5], [0, 0, 1], [4, 0, 1], [0, 4, 1]], np.float32
    )
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]], np.int32)
    seen = rasterise(points, triangles, 4)
    assert np.array_equal(seen.triangle[1:3, 1:3] < 2, np.ones((2, 2), bool))
    assert seen.triangle[0, 0] == 2
    assert seen.triangle[3, 3] == NOTHING
    assert np.allclose(seen.depth[1:3, 1:3], 5)
    assert seen.depth[0, 0] == 1
    assert seen.depth[3, 3] == -np.inf


def test_rasteriser_interpolates_linearly():
    points = np.array([[0, 0, 0], [8, 0, 8], [0, 8, 0]], np.float32)
    seen = rasterise(points, np.array([[0, 1, 2]], np.int32), 8)
    y, x = np.nonzero(seen.triangle == 0)
    assert np.allclose(seen.depth[y, x], x + 0.5, atol=1e-5)


def test_normals_point_to_the_camera_for_front_faces():
    """Counter-clockwise in (x, -y, z), as all meshes of the project."""
    points = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    assert np.allclose(vertex_normals(points, np.array([[0, 1, 2]], np.int32)), [[0, 0, 1]] * 3)


def test_noise_is_the_table_at_its_nodes_and_periodic():
    nodes = np.array([[0, 3, 31], [1, 4, 31], [2, 5, 31]], np.float32)
    assert np.allclose(noise(nodes), [TABLE[0, 1, 2], TABLE[3, 4, 5], TABLE[31, 31, 31]])
    points = np.random.default_rng(0).uniform(-50, 50, (3, 400)).astype(np.float32)
    assert np.allclose(noise(points), noise(points + 32), atol=2e-4)
    assert np.abs(noise(points)).max() <= 1


def test_a_ball_shades_the_wall_behind_it():
    """Light from the front left: the wall right of the ball is dark, left of it bright."""
    import trimesh

    ball = trimesh.creation.icosphere(3, 15.0)
    wall = np.array([[-80, -80, -40], [80, -80, -40], [80, 80, -40], [-80, 80, -40]], float)
    points = np.concatenate([ball.vertices, wall]).astype(np.float32) + np.float32([100, 100, 0])
    count = len(ball.vertices)
    triangles = np.concatenate([ball.faces, [[count, count + 1, count + 2], [count, count + 2, count + 3]]])
    light = (-0.6, 0.0, 0.8)
    shadows = ShadowMap(points, triangles.astype(np.int32), light, 1.0)
    shade_x = 100 + 40 * 0.6 / 0.8
    on_wall = np.array([[shade_x, 100, -40], [200 - shade_x, 100, -40], [100, 100, 15]], np.float32).T
    assert shadows.share(on_wall).tolist() == [0.0, 1.0, 1.0]


def test_a_seed_determines_every_byte():
    first, again, other = (example(sample(seed), GEOMETRY) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.volume, again.volume)
    assert np.array_equal(first.landmarks, again.landmarks)
    assert not np.array_equal(first.image, other.image)
    assert first.image.shape == (128, 128, 3)
    assert first.image.dtype == np.uint8


def test_the_volume_lies_under_the_picture():
    """The silhouette of the face part is covered by drawn triangles of the head, and landmarks lie in it."""
    for seed in range(4):
        face = sample(seed)
        made = example(face, GEOMETRY)
        silhouette = (made.volume > 0).any(0)
        drawn = draw(scene_of(face, 128), face.look, 128).triangle >= 0
        assert (silhouette & drawn).sum() >= 0.995 * silhouette.sum()
        x, y = made.landmarks[17:, :2].T
        inside = (x > 0) & (x < 127) & (y > 0) & (y < 127)
        # Landmarks of a profile lie on the outline: within a pixel of it.
        near = cv2.dilate(silhouette.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert near[y[inside].astype(int), x[inside].astype(int)].mean() > 0.97
        slices = np.flatnonzero((made.volume > 0).any((1, 2)))
        assert abs((slices[0] + slices[-1] + 1) / 2 - GEOMETRY.z_zero) <= 1.5


def test_the_whole_head_contains_the_face_part():
    face = sample(2)
    part, whole = (example(face, GEOMETRY, whole_head=flag).volume > 0 for flag in (False, True))
    assert (part & ~whole).sum() <= 0.01 * part.sum()
    assert whole.sum() > 1.4 * part.sum()


def test_darker_skin_gives_a_darker_picture():
    face = sample(44)
    levels = []
    for melanin in (0.05, 0.4, 0.9):
        look = replace(face.look, melanin=melanin, hat=0.0)
        drawing = draw(scene_of(replace(face, look=look)), look, 256)
        levels.append(drawing.face_level)
    assert levels[0] > 1.5 * levels[1] > 2.0 * levels[2]


def test_shadows_and_occlusion_darken():
    face = sample(44)
    dim = {"sky": (0.1,) * 3, "ground": (0.1,) * 3, "side": (0.0,) * 3, "fill": (0.0,) * 3, "rim": (0.0,) * 3}
    strong = replace(face.look, **dim, shadow=1.0, key_direction=(0.8, -0.4, 0.45), softness=1.0)
    none = replace(strong, shadow=0.0)
    dark, bright = (
        draw(scene_of(replace(face, look=look)), look, 256).light.sum() for look in (strong, none)
    )
    assert dark < 0.97 * bright


def test_hair_has_soft_edges():
    """At the outline of thick hair there are pixels between empty and covered, without oversampling."""
    face = sample(44)
    look = replace(
        face.look, hair_thickness_mm=18.0, hair_frizz=0.9, hat=0.0, hair_density=1.0, hair_recession=0.0
    )
    coverage = draw(scene_of(replace(face, look=look)), look, 256).coverage
    assert ((coverage > 0.1) & (coverage < 0.9)).sum() > 300


def test_tone_by_hand():
    assert tone(np.zeros((1, 1, 3), np.float32), PLAIN) == pytest.approx(0)
    assert tone(np.ones((1, 1, 3), np.float32), PLAIN) == pytest.approx(1)
    grey = tone(np.array([[[0.1, 0.4, 0.2]]], np.float32), replace(PLAIN, saturation=0.0))
    assert np.ptp(grey) < 1e-6
    linear = np.full((16, 16, 3), 0.5**2.2, np.float32)
    assert np.array_equal(photograph(linear, PLAIN), np.full((16, 16, 3), 128, np.uint8))


def test_borders_are_black_on_the_sides_asked_for():
    picture = black_borders(np.full((100, 100, 3), 200, np.uint8), (0.1, 0.2, 0, 0.3))
    assert (picture[:20] == 0).all()
    assert (picture[:, :10] == 0).all()
    assert (picture[-30:] == 0).all()
    assert (picture[20:70, 10:] == 200).all()


def test_background_noise_falls_with_frequency():
    picture = natural_noise(np.random.default_rng(0), 128, 2.0)
    power = np.abs(np.fft.fft2(picture)) ** 2
    assert power[0, 1:5].mean() > 20 * power[0, 20:40].mean()
    assert picture.std() == pytest.approx(1, abs=1e-3)


def test_backgrounds_differ_and_are_finite():
    pictures = [background(np.random.default_rng(seed), 64) for seed in range(12)]
    assert all(np.isfinite(p).all() and p.min() >= 0 and p.shape == (64, 64, 3) for p in pictures)
    assert np.std([p.mean() for p in pictures]) > 0.03


def test_poses_cover_the_range():
    angles = np.degrees(
        [[f.pose.yaw_rad, f.pose.pitch_rad, f.pose.roll_rad] for f in map(sample, range(400))]
    )
    assert np.abs(angles).max(0) == pytest.approx([90, 45, 45], abs=6)
    assert (np.abs(angles[:, 0]) > 60).mean() > 0.13
    assert (np.abs(angles[:, 0]) < 30).mean() > 0.4


def test_seed_ranges_never_meet():
    for number, part in enumerate(PARTS):
        assert face_seed(part, 0) == number * RANGE
        assert part_of(face_seed(part, RANGE - 1)) == part
        with pytest.raises(UsageError):
            face_seed(part, RANGE)
    assert synthesis_seed(1, 0) - synthesis_seed(0, 0) > 10**6 - 1
    with pytest.raises(UsageError, match="test"):
        face_seed("tset", 0)
    with pytest.raises(UsageError):
        part_of(-1)


def test_the_cpu_path_needs_no_torch():
    code = (
        "import sys; from facepipe.lab.faces.factory import example, sample; "
        "from facepipe.core.conventions import VolumeGeometry; example(sample(0), VolumeGeometry()); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_large_pictures_show_the_same_face():
    """The 450 px picture, averaged, is close to the one drawn at 128 px."""
    face = replace(sample(44), camera=PLAIN)
    small, large = render(face, 128), render(face, 450)
    averaged = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    drawn = draw(scene_of(face, 128), face.look, 128).triangle >= 0
    assert np.abs(small.astype(float) - averaged)[drawn].mean() < 9
