"""Voxelisers: the exact one, and the depth-map columns of 2019 against it."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import UsageError
from facepipe.core.truth import Topology
from facepipe.geometry.volume import front_depth
from facepipe.geometry.voxelisation import VOXELISERS, get_voxeliser
from facepipe.metrics.geometry import volume_iou

GEOMETRIES = (VolumeGeometry(), VolumeGeometry(192, 200, (0.5, 1.0, 1.0), 100.0))


def dome(height_px: float = 20.0, radius_px: float = 30.0) -> tuple[np.ndarray, Topology]:
    """A paraboloid toward the camera with its rim at z = -height / 2, as dense as a published mesh."""
    side = 231
    x, y = np.meshgrid(np.linspace(-radius_px, radius_px, side), np.linspace(-radius_px, radius_px, side))
    z = height_px * np.clip(1 - (x**2 + y**2) / radius_px**2, 0, None) - height_px / 2
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    triangles = np.concatenate(
        [
            np.stack([corner, corner + side, corner + 1], axis=1),
            np.stack([corner + 1, corner + side, corner + side + 1], axis=1),
        ]
    ).astype(np.int32)
    inside = (np.hypot(x, y) <= radius_px).ravel()
    triangles = triangles[inside[triangles].all(axis=1)]
    vertices = np.stack([x + 64, y + 64, z], axis=-1).reshape(-1, 3)
    return vertices, Topology(triangles, triangles, np.unique(triangles).astype(np.int32))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda geometry: geometry.key)
@pytest.mark.parametrize("name", VOXELISERS)
def test_a_dome_is_filled_from_its_rim_to_its_skin(name: str, geometry: VolumeGeometry) -> None:
    vertices, topology = dome()
    volume = get_voxeliser(name)(vertices, topology, geometry)
    assert volume.shape == geometry.shape
    assert set(np.unique(volume)) == {0, 255}
    depth = front_depth(volume, geometry)
    centres = (np.arange(geometry.size) + 0.5) * geometry.reference_px - 64
    x, y = np.meshgrid(centres, centres)
    expected = 20 * (1 - (x**2 + y**2) / 30**2) - 10
    well_inside = np.hypot(x, y) < 25
    np.testing.assert_allclose(depth[well_inside], expected[well_inside], atol=0.6)
    assert abs(np.mean(depth[well_inside] - expected[well_inside])) < 0.15
    # 20 px of depth under the top, down to the rim's plane and no farther.
    middle = geometry.size // 2
    filled_px = (volume[:, middle, middle] > 0).sum() * geometry.spacing[0] * geometry.reference_px
    assert filled_px == pytest.approx(20, abs=0.5)


def test_the_two_agree_on_a_smooth_surface() -> None:
    vertices, topology = dome()
    volumes = [fill(vertices, topology, VolumeGeometry()) for fill in VOXELISERS.values()]
    assert 0.93 < volume_iou(*volumes) < 1.0


def test_columns_smooth_what_is_sharp() -> None:
    vertices, topology = dome()
    vertices[len(vertices) // 2, 2] += 15
    fine = VolumeGeometry(450, 200, (1.2, 1.0, 1.0), 100.0)
    exact, columns = (front_depth(fill(vertices, topology, fine), fine) for fill in VOXELISERS.values())
    assert np.nanmax(columns) < np.nanmax(exact) - 3


def test_an_unknown_name_is_explained() -> None:
    with pytest.raises(UsageError, match="did you mean 'columns-2019'"):
        get_voxeliser("column-2019")
