"""What a regressor is trained on: changed examples, targets, the loss, and other weights to start from."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.geometry.head import load_head
from facepipe.geometry.voxelise import voxelise
from facepipe.lab.faces.factory import sample, vertices_px
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.vrn.augment import CENTRE_PX, Similarity, draw_similarity, lower, rephotograph
from facepipe.lab.vrn.examples import Recipe, make_block, target
from facepipe.lab.vrn.initial_weights import initial_tensors, slice_shares
from facepipe.lab.vrn.losses import SILHOUETTE, occupancy_loss, volume_loss
from facepipe.models.vrn.hourglass import HourglassNetwork
from facepipe.models.vrn.regressors import open_regressor
from facepipe.models.weights import save_weights

GEOMETRY = VolumeGeometry()


def test_targets_are_the_mean_of_the_volume(tmp_path: Path) -> None:
    """A box over x 10..14, y 20..26, z 0..10: at 64 cells of 2 px some cells are covered by half."""
    x, y, z = np.meshgrid([10.0, 14.0], [20.0, 25.0], [0.0, 10.0], indexing="ij")
    corners = np.stack([x.ravel(), y.ravel(), z.ravel()], 1)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    coarse = target(corners, triangles, GEOMETRY, 64)
    expected = np.zeros((200, 64, 64), np.uint8)
    expected[100:130, 10:12, 5:7] = 255
    expected[100:130, 12, 5:7] = 127
    np.testing.assert_array_equal(coarse, expected)


CHANGES = [
    Similarity(),
    Similarity(flip=True),
    Similarity(scale=1.15, angle_rad=0.3, shift_px=(6.0, -4.0)),
    Similarity(flip=True, scale=0.9, angle_rad=-0.25, shift_px=(-5.5, 3.25), black=False),
]


@pytest.mark.parametrize("change", CHANGES)
def test_points_stay_on_their_picture(change: Similarity) -> None:
    """A bright spot drawn at a point is found, by its centre of mass, where the point has gone."""
    y, x = np.mgrid[:NETWORK_PX, :NETWORK_PX] + 0.5
    points = np.array([[50.0, 60.0, 5.0], [81.3, 47.7, -8.0], [64.0, 90.0, 0.0]])
    moved = change.points(points)
    for point, expected in zip(points, moved, strict=True):
        spot = 250 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 18)
        picture = change.image(np.repeat(np.rint(spot)[..., None], 3, 2).astype(np.uint8))
        weight = picture[..., 0].astype(float)
        found = [(weight * axis).sum() / weight.sum() for axis in (x, y)]
        np.testing.assert_allclose(found, expected[:2], atol=0.1)
        assert expected[2] == pytest.approx(point[2] * change.scale)


def test_changes_by_hand() -> None:
    point = np.array([[10.0, 20.0, 3.0]])
    np.testing.assert_allclose(Similarity(flip=True).points(point), [[118, 20, 3]])
    np.testing.assert_allclose(Similarity(shift_px=(2, 3)).points(point), [[12, 23, 3]])
    centre = np.array([[*CENTRE_PX, 1.0]])
    turned = Similarity(scale=2.0, angle_rad=np.pi / 2)
    np.testing.assert_allclose(turned.points(centre), [[*CENTRE_PX, 2]], atol=1e-5)
    # One to the right goes down: y points down and the angle turns from x to y.
    np.testing.assert_allclose(turned.points(np.add(centre, [1, 0, 0])), np.add(centre, [0, 2, 1]), atol=1e-5)


def test_pictures_and_solids_of_faces_move_together() -> None:
    """The silhouette of the moved mesh is the moved silhouette of the mesh, but for its edge."""
    head = load_head()
    vertices = vertices_px(sample(face_seed("train", 1), head), NETWORK_PX)
    flat = VolumeGeometry(depth=200, spacing=(1.0, 1.0, 1.0))
    for change in CHANGES:
        before, after = (
            voxelise(mesh, head.model.solid, flat).max(0) for mesh in (vertices, change.points(vertices))
        )
        moved = change.image(np.repeat(before[..., None], 3, 2))[..., 0] >= 128
        both, either = moved & (after > 0), moved | (after > 0)
        assert both.sum() > 0.98 * either.sum()


def test_drawn_changes_are_moderate_and_cameras_keep_the_scene() -> None:
    rng = np.random.default_rng(0)
    changes = [draw_similarity(rng) for _ in range(400)]
    assert 0.4 < np.mean([change.flip for change in changes]) < 0.6
    assert abs(np.mean([np.log(change.scale) for change in changes])) < 0.02
    assert np.std([change.angle_rad for change in changes]) == pytest.approx(0.12, rel=0.15)
    grey = np.full((128, 128, 3), 120, np.uint8)
    pictures = [rephotograph(grey, rng) for _ in range(60)]
    unchanged = np.mean([np.array_equal(picture, grey) for picture in pictures])
    assert 0.2 < unchanged < 0.6
    assert np.median([np.abs(p[40:80, 40:80].mean() - 120) for p in pictures]) < 12


def test_lowered_pictures_keep_place_and_colour_and_lose_detail() -> None:
    """The centre of mass of a soft spot stays; stripes of one pixel fade to grey on average."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:NETWORK_PX, :NETWORK_PX] + 0.5
    spot = 240 * np.exp(-((x - 50) ** 2 + (y - 70) ** 2) / (2 * 18**2))
    soft = np.repeat(np.rint(spot)[..., None], 3, 2).astype(np.uint8)
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 200
    contrasts = []
    for _ in range(40):
        weight = lower(soft, rng)[..., 0].astype(float)
        weight[weight < 40] = 0
        found = [(weight * axis).sum() / weight.sum() for axis in (x, y)]
        np.testing.assert_allclose(found, [50, 70], atol=2.5)
        contrasts.append(lower(stripes, rng).astype(float).std())
    assert np.median(contrasts) < 0.4 * stripes.std()
    recipe = Recipe(3, GEOMETRY, 8, faces=1, views=1)
    sharp, low = make_block(recipe, 0), make_block(replace(recipe, low_resolution=True), 0)
    np.testing.assert_array_equal(sharp.targets, low.targets)
    assert not np.array_equal(sharp.images, low.images)


def test_the_loss_by_hand() -> None:
    """Cross-entropy is -ln p where full, -ln(1 - p) where empty; an earlier stage counts half."""
    targets = torch.tensor([255, 0], dtype=torch.uint8).reshape(1, 2, 1, 1)
    logits = torch.tensor([np.log(3.0), np.log(3.0)], dtype=torch.float32).reshape(1, 2, 1, 1)
    voxels, column = (-np.log(0.75) - np.log(0.25)) / 2, -np.log(0.75)
    assert float(occupancy_loss(logits, targets, 0.0)) == pytest.approx(voxels)
    assert float(occupancy_loss(logits, targets, 0.5)) == pytest.approx(voxels + column / 2)
    expected = voxels + SILHOUETTE * column
    assert float(volume_loss([logits], targets)) == pytest.approx(expected)
    assert float(volume_loss([logits, logits], targets)) == pytest.approx(1.5 * expected)


def test_the_loss_of_an_earlier_stage_on_a_coarser_grid_by_hand() -> None:
    """One cell in four is full: p = 0.25 loses its entropy, and half of that counts."""
    targets = torch.tensor([255, 0, 0, 0], dtype=torch.uint8).reshape(1, 1, 2, 2)
    coarse = torch.full((1, 1, 1, 1), float(np.log(1 / 3)))
    fine = torch.where(targets > 0, 80.0, -80.0)
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    expected = (1 + SILHOUETTE) * entropy / 2
    assert float(volume_loss([coarse, fine], targets)) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_are_those_of_torch(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    # No two voxels of a column are equal: the fullest ones would share the gradient in another way.
    order = torch.rand(3, 5, 4, 6, generator=generator).argsort(1)
    logits = order.mul(4.0).sub_(8.0).to(dtype).requires_grad_()
    targets = torch.randint(0, 256, logits.shape, generator=generator).to(torch.uint8)
    (3 * occupancy_loss(logits, targets, 0.3)).backward()
    reference = logits.detach().clone().requires_grad_()
    values, occupancy = reference.float(), targets.float() / 255
    voxels = binary_cross_entropy_with_logits(values, occupancy)
    columns = binary_cross_entropy_with_logits(values.amax(1), occupancy.amax(1))
    expected = voxels + 0.3 * columns
    (3 * expected).backward()
    found = float(occupancy_loss(logits.detach(), targets, 0.3))
    assert found == pytest.approx(float(expected.detach()), rel=1e-6)
    torch.testing.assert_close(logits.grad, reference.grad)


def test_a_silhouette_is_learned_where_depth_is_uncertain() -> None:
    """Three faces of one slice each, at other depths: no voxel is mostly full, the column always is."""
    targets = (torch.eye(3, 5, dtype=torch.uint8) * 255).reshape(3, 5, 1, 1)
    largest = []
    for silhouette in (0.0, SILHOUETTE):
        logits = torch.zeros(1, 5, 1, 1, requires_grad=True)
        optimiser = torch.optim.Adam([logits], 0.05)
        for _ in range(500):
            optimiser.zero_grad()
            occupancy_loss(logits.expand(3, -1, -1, -1), targets, silhouette).backward()
            optimiser.step()
        largest.append(float(logits.detach().sigmoid().max()))
    assert largest[0] < 0.4
    assert largest[1] > 0.5


@pytest.mark.parametrize("refinement", [0, 4])
def test_every_stage_is_supervised(refinement: int) -> None:
    network = HourglassNetwork(channels=8, stages=2, depth=2, slices=3, refinement=refinement)
    targets = torch.zeros((1, 3, 16, 16) if refinement else (1, 3, 8, 8), dtype=torch.uint8)
    volume_loss(network(torch.randn(1, 3, 32, 32)), targets).backward()
    for stage in network.stages:
        assert stage.predict.weight.grad.abs().sum() > 0
    if network.refinement is not None:
        assert network.refinement.predict.weight.grad.abs().sum() > 0


def test_slices_move_with_the_origin() -> None:
    old, new = VolumeGeometry(depth=4, z_zero=1.0), VolumeGeometry(depth=4, z_zero=3.0)
    expected = [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    np.testing.assert_allclose(slice_shares(old, new), expected)
    np.testing.assert_allclose(slice_shares(old, old), np.eye(4))
    # Slices of half the thickness: centres at quarters between the old ones.
    halved = VolumeGeometry(depth=4, spacing=(1 / 6, 1, 1), z_zero=2.0)
    expected = [[0.75, 0.25, 0, 0], [0.25, 0.75, 0, 0], [0, 0.75, 0.25, 0], [0, 0.25, 0.75, 0]]
    np.testing.assert_allclose(slice_shares(VolumeGeometry(depth=4, z_zero=1.5), halved), expected, atol=1e-6)


def test_a_network_started_with_another_origin_gives_the_same_solid(tmp_path: Path) -> None:
    shipped = open_regressor("vrn-compact")
    elsewhere = replace(shipped.geometry, z_zero=shipped.geometry.z_zero + 20)
    info = replace(shipped.file.info, name="moved", geometry=asdict(elsewhere))
    save_weights(tmp_path / "moved.safetensors", initial_tensors(shipped.file, elsewhere), info)
    moved = open_regressor(str(tmp_path / "moved.safetensors"))
    image = make_block(Recipe(3, GEOMETRY, 8, faces=1, views=1), 0).images
    before, after = shipped.build()(image), moved.build()(image)
    np.testing.assert_array_equal(after[:, 20:], before[:, :-20])
