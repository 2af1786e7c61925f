"""The benchmarks: the usual ways give what ours give. Nothing here is timed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from surfaces import bumpy

from benchmarks.inputs import case, fine_face
from benchmarks.measure import Row, compare, require, table
from benchmarks.meshes import our_mesh, usual_file, usual_vertices
from benchmarks.scoring import point_to_point
from benchmarks.voxelising import study_loop
from facepipe.geometry.volume import front_depth
from facepipe.geometry.voxelisation import STUDY_PX


def test_a_table_says_what_was_missed() -> None:
    rows = [
        Row("a", "b", 30.0, 2.0, 10, "yes"),
        Row("c", "d", 30.0, 20.0, 2, "yes"),
        Row("e", "f", 1, 4, None, ""),
    ]
    lines = table(rows).splitlines()[2:]
    assert "| 15.0 | 10 |" in lines[0]
    assert "| 1.5 (missed) | 2 |" in lines[1]
    assert "| 0.2 |  |" in lines[2]


def test_both_ways_are_called_equally_often() -> None:
    calls = {"usual": 0, "ours": 0}

    def count(name: str) -> None:
        calls[name] += 1

    row = compare("", "", lambda: count("usual"), lambda: count("ours"), target=None, check="", runs=4)
    assert calls == {"usual": 5, "ours": 5}
    assert row.usual_ms > 0


def test_ways_that_differ_stop_the_benchmark() -> None:
    require(True, "nothing")
    with pytest.raises(RuntimeError, match="do not agree: 3 voxels"):
        require(False, "3 voxels")


def test_the_loop_of_2019_fills_from_the_back_to_the_skin() -> None:
    # A plane that slants from z = 0 to 20 px: 70 pixels of 450 at its far side.
    x, y = np.meshgrid(np.arange(20, 100, 0.2), np.arange(20, 100, 0.2))
    vertices = np.stack([x, y, (x - 20) / 4], axis=-1).reshape(-1, 3)
    filled = (study_loop(vertices) > 0).sum(axis=0) * (128 / STUDY_PX)
    np.testing.assert_allclose(filled[60, 25:95], (np.arange(25, 95) + 0.5 - 20) / 4, atol=0.6)
    assert not filled[:, :15].any()


def test_point_to_point_undoes_a_small_motion() -> None:
    vertices = np.asarray(bumpy().vertices)
    moved = vertices @ Rotation.from_rotvec([0.01, -0.02, 0.01]).as_matrix().T + [0.1, 0.2, -0.1]
    before, after = point_to_point(moved, vertices)
    assert after < 0.1 * before


def test_the_usual_mesh_is_the_same_surface(tmp_path) -> None:
    vertices, triangles = usual_vertices(case().volume)
    mesh = our_mesh()
    assert (len(vertices), len(triangles)) == (len(mesh.vertices), len(mesh.triangles))
    usual_file(case().volume, case().reference, tmp_path / "face.obj")
    lines = (tmp_path / "face.obj").read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == len(vertices)
    assert sum(line.startswith("f ") for line in lines) == len(triangles)


def test_the_fine_face_is_the_sample_s() -> None:
    vertices, triangles = fine_face()
    assert triangles.max() == len(vertices) - 1
    true = case().truth.vertices[np.unique(case().topology.solid)]
    np.testing.assert_allclose(vertices[: len(true)], true)
    depth = front_depth(case().truth_volume, case().geometry)
    assert abs(np.nanmax(depth) - vertices[:, 2].max()) < 1.0
