"""Coloured meshes: colours, files read back by an independent library, pictures."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import trimesh

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import UsageError
from facepipe.geometry.mesh import FORMATS, encode, photo_colours, preview, render, upright
from facepipe.geometry.mesh_colour import srgb_to_linear
from facepipe.geometry.mesh_preview import BACKGROUND
from facepipe.geometry.volume import SurfaceMesh, surface, vertex_normals


@pytest.fixture(scope="module")
def nosed_ball():
    """A ball with a bump toward the camera and one above: front and up can be told apart."""
    geometry = VolumeGeometry(size=64, depth=100, spacing=(0.5, 1.0, 1.0), z_zero=50.0)
    z = ((np.arange(100) + 0.5 - 50) * 1.0)[:, None, None]
    y = ((np.arange(64) + 0.5) * 2)[None, :, None]
    x = ((np.arange(64) + 0.5) * 2)[None, None, :]
    solid = (x - 64) ** 2 + (y - 64) ** 2 + z**2 < 30**2
    solid |= (x - 64) ** 2 + (y - 64) ** 2 + (z - 30) ** 2 < 8**2
    solid |= (x - 64) ** 2 + (y - 34) ** 2 + z**2 < 12**2
    return surface(np.where(solid, 255, 0).astype(np.uint8), geometry)


def ramp_image(side):
    """Red grows with x, green with y; values at pixel centres."""
    at = (np.arange(side) + 0.5) / side * 200
    image = np.zeros((side, side, 3), np.uint8)
    image[..., 0], image[..., 1] = np.rint(at)[None, :], np.rint(at)[:, None]
    return image


class TestColours:
    @pytest.mark.parametrize("side", [64, 100, 128, 450, 1000])
    def test_image_of_any_size_covers_the_crop(self, side):
        points = np.random.default_rng(0).uniform(4, 124, (500, 3))
        expected = points[:, :2] / 128 * 200
        assert np.abs(photo_colours(points, ramp_image(side))[:, :2] - expected).max() < 1.6

    def test_bilinear_by_hand(self):
        image = np.zeros((128, 128, 3), np.uint8)
        image[10, 20] = [100, 0, 0]
        image[10, 21] = [200, 0, 0]
        points = np.array([[20.5, 10.5, 0], [21.0, 10.5, 9], [21.0, 11.0, 0], [-50.0, 500.0, 0]])
        assert photo_colours(points, image)[:, 0].tolist() == [100, 150, 75, 0]

    def test_one_pixel_and_wrong_shapes(self):
        assert photo_colours(np.zeros((2, 3)), np.full((1, 1, 3), 7, np.uint8)).tolist() == [[7] * 3] * 2
        with pytest.raises(ValueError, match="square crop"):
            photo_colours(np.zeros((1, 3)), np.zeros((4, 5, 3), np.uint8))

    def test_srgb_to_linear_by_the_standard(self):
        values = srgb_to_linear(np.array([0, 10, 128, 188, 255], np.uint8))
        assert values == pytest.approx([0, 10 / 255 / 12.92, 0.215861, 0.502886, 1.0], abs=1e-5)


def test_upright_by_hand():
    points = np.array([[64, 64, 0], [128, 64, 0], [64, 0, 0], [64, 64, 64.0]])
    assert upright(points) == pytest.approx(np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]))


class TestFiles:
    @pytest.mark.parametrize("file_format", FORMATS)
    def test_read_back(self, nosed_ball, file_format):
        colours = photo_colours(nosed_ball.vertices, ramp_image(128))
        data = encode(nosed_ball, colours, file_format)
        read = trimesh.load(io.BytesIO(data), file_type=file_format, process=False, force="mesh")
        merged = read.copy()
        merged.merge_vertices(merge_norm=True, merge_tex=True)
        assert merged.is_watertight
        assert merged.volume == pytest.approx(4 / 3 * np.pi * (30 / 128) ** 3, rel=0.1)
        # The bump above is up (+y), the one toward the camera is in front (+z).
        assert read.bounds[1][1] == pytest.approx(42 / 128, abs=0.02)
        assert read.bounds[1][2] == pytest.approx(38 / 128, abs=0.02)
        assert read.bounds[0] == pytest.approx([-30 / 128] * 3, abs=0.02)
        if file_format == "stl":
            return
        if file_format != "glb":
            assert np.array_equal(read.visual.vertex_colors[:, :3], colours)
        outward = upright(nosed_ball.vertices)
        cosine = (read.vertex_normals * outward).sum(1) / np.linalg.norm(outward, axis=1)
        assert np.median(cosine) > 0.95

    def test_glb_by_the_specification(self, nosed_ball):
        colours = photo_colours(nosed_ball.vertices, ramp_image(128))
        data = encode(nosed_ball, colours, "glb")
        magic, version, total, json_length, json_type = struct.unpack("<4sIIII", data[:20])
        assert (magic, version, total, json_type) == (b"glTF", 2, len(data), 0x4E4F534A)
        document = json.loads(data[20 : 20 + json_length])
        binary = data[28 + json_length :]
        assert document["buffers"][0]["byteLength"] == len(binary)
        assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])
        attributes = document["meshes"][0]["primitives"][0]["attributes"]
        accessor = document["accessors"][attributes["COLOR_0"]]
        assert accessor["type"] == "VEC3" and accessor["componentType"] == 5126
        view = document["bufferViews"][accessor["bufferView"]]
        linear = np.frombuffer(binary, np.float32, accessor["count"] * 3, view["byteOffset"]).reshape(-1, 3)
        # What a viewer shows: linear light, encoded as sRGB again.
        shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        assert np.abs(shown * 255 - colours).max() < 0.5

    def test_a_glb_is_no_metal_and_shows_the_photo_s_colours(self, nosed_ball):
        """What viewers without an environment show: (1 - metalness) x base colour x vertex colour x light."""
        colours = np.tile(np.array([[200, 120, 90]], np.uint8), (len(nosed_ball.vertices), 1))
        data = encode(nosed_ball, colours, "glb")
        document = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
        (primitive,) = document["meshes"][0]["primitives"]
        material = document["materials"][primitive["material"]]
        rough = material["pbrMetallicRoughness"]
        assert rough["metallicFactor"] == 0
        assert "baseColorFactor" not in rough and not material["doubleSided"]
        # Nobody sees a closed surface from inside: its triangles turn outward.
        read = trimesh.load(io.BytesIO(data), file_type="glb", process=False, force="mesh")
        assert read.volume > 0

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_files_say_their_unit_and_have_life_size(self, nosed_ball, file_format):
        colours = np.zeros((len(nosed_ball.vertices), 3), np.uint8)
        of_crop = encode(nosed_ball, colours, file_format)
        of_life = encode(nosed_ball, colours, file_format, mm_per_px=2.5)
        for data, words in ((of_crop, b"side of the crop"), (of_life, b"estimated from the distance of")):
            assert words in (data[:80] if file_format == "stl" else data[:2000])
        small, large = (
            trimesh.load(io.BytesIO(data), file_type=file_format, process=False, force="mesh")
            for data in (of_crop, of_life)
        )
        expected = 2.5 * 128 / (1000 if file_format == "glb" else 1)
        assert large.extents / small.extents == pytest.approx([expected] * 3, rel=1e-5)

    def test_trimesh_shows_the_colours_of_a_glb(self, nosed_ball):
        colours = photo_colours(nosed_ball.vertices, ramp_image(128))
        data = encode(nosed_ball, colours, "glb")
        loaded = trimesh.load(io.BytesIO(data), file_type="glb", skip_materials=True)
        (read,) = loaded.geometry.values()
        assert read.visual.kind == "vertex"
        linear = srgb_to_linear(colours) * 255  # trimesh keeps the file's linear light
        assert np.abs(read.visual.vertex_colors[:, :3] - linear).max() <= 0.51
        assert (read.visual.vertex_colors[:, 3] == 255).all()
        assert "vertex_normals" in read._cache
        expected = nosed_ball.normals * [1, -1, 1]
        assert np.abs(read.vertex_normals - expected).max() < 1e-5

    def test_many_vertices_need_wide_indices(self):
        n = 70_000
        vertices = np.random.default_rng(0).uniform(0, 128, (n, 3)).astype(np.float32)
        triangles = np.arange(n - n % 3, dtype=np.int32).reshape(-1, 3)
        mesh = SurfaceMesh(vertices, triangles, vertex_normals(vertices, triangles))
        data = encode(mesh, np.zeros((n, 3), np.uint8), "glb")
        read = trimesh.load(io.BytesIO(data), file_type="glb", process=False, force="mesh")
        assert np.array_equal(read.faces, triangles)

    def test_unknown_format(self, nosed_ball):
        with pytest.raises(UsageError, match="did you mean 'glb'"):
            encode(nosed_ball, np.zeros((len(nosed_ball.vertices), 3), np.uint8), "gltb")


class TestPictures:
    def test_front_view_of_a_ball(self, nosed_ball):
        picture = render(nosed_ball, 200)
        drawn = (picture != np.array(BACKGROUND)).any(axis=2)
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        # Taller than wide by the bump above: 72 to 60 px, as it reaches from -30 to +42.
        assert (rows[-1] - rows[0] + 1) / (columns[-1] - columns[0] + 1) == pytest.approx(72 / 60, rel=0.03)
        assert abs(columns.mean() - 99.5) < 1.0
        # The narrow end is on top.
        assert drawn[rows[0] + 4].sum() < drawn[rows[-1] - 4].sum()

    def test_turning_shows_the_bump_at_the_side(self, nosed_ball):
        right = (render(nosed_ball, 200, 90.0) != np.array(BACKGROUND)).any(axis=2)
        left = (render(nosed_ball, 200, -90.0) != np.array(BACKGROUND)).any(axis=2)
        middle = [np.flatnonzero(view.any(0)) for view in (right, left)]
        at_height = [np.flatnonzero(view[110]) for view in (right, left)]
        assert at_height[0][-1] == middle[0][-1]  # the bump toward the camera went right
        assert at_height[1][0] == middle[1][0]
        assert np.array_equal(right, left[:, ::-1])

    def test_colours_are_the_photos(self, nosed_ball):
        red = np.tile(np.array([[200, 10, 10]], np.uint8), (len(nosed_ball.vertices), 1))
        centre = render(nosed_ball, 100, colours=red)[55, 50].astype(int)
        assert centre[0] > 140 and centre[1] < 15 and centre[2] < 15

    def test_preview_is_photo_and_three_views(self, nosed_ball):
        colours = photo_colours(nosed_ball.vertices, ramp_image(128))
        picture = preview(nosed_ball, colours, ramp_image(450), size_px=90)
        assert picture.shape == (90, 360, 3) and picture.dtype == np.uint8
        assert np.abs(picture[:, :90].astype(int) - ramp_image(90)).max() <= 2
        assert all((picture[:, 90 * i : 90 * (i + 1)] != np.array(BACKGROUND)).any() for i in (1, 2, 3))
