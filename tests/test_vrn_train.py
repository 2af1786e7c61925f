"""Training a regressor, and judging one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from facepipe.cli import facepipe
from facepipe.conventions import NETWORK_PX, VolumeGeometry
from facepipe.errors import EnvironmentTroubleError, UsageError, WeightsError
from facepipe.faces.factory import sample, vertices_px
from facepipe.faces.head import load_head
from facepipe.faces.seeds import face_seed, part_of
from facepipe.schema import TRAINING
from facepipe.truth import Truth
from facepipe.voxelise import voxelise
from facepipe.vrn import examples
from facepipe.vrn import train as training
from facepipe.vrn.augment import CENTRE_PX, Similarity, draw_similarity, lower, rephotograph
from facepipe.vrn.evaluate import Case, Figures, compare, factory_cases, groups, mean_of, summarise
from facepipe.vrn.examples import Recipe, blocks, make_block, target
from facepipe.vrn.hourglass import HourglassNetwork
from facepipe.vrn.initial import initial_tensors, slice_shares
from facepipe.vrn.losses import volume_loss
from facepipe.vrn.plan import WARM_UP_STEPS, TrainingPlan
from facepipe.vrn.regressors import open_regressor
from facepipe.vrn.train import Row, Setting, Trainer
from facepipe.vrn.validation import make_validation_faces
from facepipe.weights import load_tensors, save_weights

PLAN = TrainingPlan("small", steps=4, batch=2, faces=2, views=2, seed=3)
GEOMETRY = VolumeGeometry()


def _setting(folder: Path, report_every: int = 2) -> Setting:
    return Setting(folder / "a.checkpoint", workers=0, validation_faces=1, report_every=report_every)


def _run(trainer: Trainer) -> Trainer:
    trainer.run(lambda _: None, lambda _: None)
    return trainer


class _Interruption(Exception):
    pass


def _same(first: Trainer, second: Trainer) -> bool:
    states = first.network.state_dict(), second.network.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_an_interrupted_training_gives_the_same_weights(tmp_path: Path) -> None:
    """Interrupted within a block: the first checkpoint is written after step 3 of 2 steps a block."""
    whole = _run(Trainer(PLAN, _setting(tmp_path / "whole", 3)))

    def interrupt(row: Row) -> None:
        raise _Interruption

    setting = _setting(tmp_path / "cut", 3)
    cut = Trainer(PLAN, setting)
    with pytest.raises(_Interruption):
        cut.run(lambda _: None, interrupt)
    assert cut.step == 3
    again = Trainer(PLAN, setting)
    assert again.step == 3
    assert not _same(again, whole)
    _run(again)
    assert again.step == 4
    assert _same(again, whole)
    table = pq.read_table(setting.history)
    assert table.schema.equals(TRAINING)
    assert table["step"].to_pylist() == [3, 4]
    assert table["faces"].to_pylist() == [3, 4]
    for name in ("loss", "validation_iou"):
        np.testing.assert_array_equal([row[name] for row in whole.history], table[name].to_pylist())


def test_a_checkpoint_of_another_plan_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    plan = replace(PLAN, steps=1)
    setting = _setting(tmp_path, 1)
    _run(Trainer(plan, setting))
    with pytest.raises(UsageError, match="seed 3 instead of 4"):
        Trainer(replace(plan, seed=4), setting)
    setting.checkpoint.write_bytes(setting.checkpoint.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged"):
        Trainer(plan, setting)


def test_the_loss_falls_on_a_batch_seen_again_and_again(tmp_path: Path) -> None:
    plan = replace(PLAN, learning_rate=3e-3, steps=10_000)
    trainer = Trainer(plan, _setting(tmp_path))
    block = make_block(plan.recipe, 0)
    batch = torch.from_numpy(block.images[:2]), torch.from_numpy(block.targets[:2])
    losses = [trainer._one_step(*batch) for _ in range(30)]
    assert losses[-1] < 0.6 * losses[0]


def test_the_rate_rises_then_falls(tmp_path: Path) -> None:
    trainer = Trainer(replace(PLAN, steps=1000, learning_rate=1.0), _setting(tmp_path))
    rates = []
    for trainer.step in (0, WARM_UP_STEPS - 1, 500, 1000):
        rates.append(trainer.rate())
    falling = 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * 0.099))
    np.testing.assert_allclose(rates, [0.01, falling, 0.51, 0.02], rtol=1e-6)


def test_plans_that_cannot_be_trained_are_refused() -> None:
    for change in (
        {"steps": 0},
        {"minutes": 1.0},
        {"steps": -1},
        {"batch": 1},
        {"batch": 3},
        {"learning_rate": 0.0},
        {"seed": -1},
        {"views": 0},
        {"name": "all"},
        {"arch": "compcat"},
    ):
        with pytest.raises(UsageError):
            replace(PLAN, **change)


def test_trainings_of_so_many_minutes_end_by_the_clock() -> None:
    plan = replace(PLAN, steps=0, minutes=2.0)
    assert plan.share_done(10**6, 30.0) == 0.25
    assert plan.share_done(0, 500.0) == 1.0


def test_blocks_depend_on_their_number_only_and_hold_each_face_in_every_view() -> None:
    recipe = Recipe(3, GEOMETRY, 32, faces=2, views=2)
    stream = blocks(recipe, 0, 0)
    first, second = next(stream), next(stream)
    again = next(blocks(recipe, 1, 0))
    np.testing.assert_array_equal(second.images, again.images)
    np.testing.assert_array_equal(second.targets, again.targets)
    assert first.images.shape == (4, 128, 128, 3)
    assert first.targets.shape == (4, 200, 32, 32)
    assert not np.array_equal(first.images, second.images)
    assert len({image.tobytes() for image in first.images}) == 4


def test_blocks_of_other_processes_are_the_same_and_come_in_order() -> None:
    recipe = Recipe(3, GEOMETRY, 8, faces=1, views=1)
    stream = blocks(recipe, 5, 1)
    try:
        made = [next(stream) for _ in range(2)]
    finally:
        stream.close()
    for number, block in enumerate(made, 5):
        np.testing.assert_array_equal(block.images, make_block(recipe, number).images)


def test_ranks_share_the_blocks_among_them() -> None:
    recipe = Recipe(3, GEOMETRY, 8, faces=1, views=1)
    second = blocks(recipe, 1, 0, 2)
    made = [next(second).images for _ in range(2)]
    for images, number in zip(made, (1, 3), strict=True):
        np.testing.assert_array_equal(images, make_block(recipe, number).images)
    ahead = blocks(recipe, 1, 1, 2)
    try:
        np.testing.assert_array_equal([next(ahead).images for _ in range(2)], made)
    finally:
        ahead.close()


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    """Both end with the same weights, which differ from those of one process, and only one writes."""
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(tmp_path)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = Trainer(replace(PLAN, steps=2), _setting(tmp_path / "alone"))
    _run(alone)
    weights = [key for key, _ in alone.network.named_parameters()]
    assert all(torch.equal(first[key], second[key]) for key in weights)
    assert any(not torch.equal(first[key], value) for key, value in alone.network.named_parameters())
    assert pq.read_table(tmp_path / "a.history.parquet")["faces"].to_pylist() == [4]
    assert "rank 0 wrote" in done.stdout
    assert "rank 1 wrote" not in done.stdout


TOGETHER = """
import sys
from pathlib import Path
import torch
from facepipe.vrn.plan import TrainingPlan
from facepipe.vrn.ranks import join_ranks
from facepipe.vrn.session import train_weights
from facepipe.vrn.train import Setting, Trainer
import facepipe.vrn.session as session

out = Path(sys.argv[1])
kept = []
class Kept(Trainer):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        kept.append(self)
session.Trainer = Kept
with join_ranks("cpu") as (ranks, device):
    plan = TrainingPlan("small", steps=2, batch=2, faces=2, views=2, seed=3, ranks=ranks.count)
    setting = Setting(out / "a.checkpoint", device, workers=0, validation_faces=1, ranks=ranks)
    file = train_weights(plan, setting, out, None, {}, lambda _: None, lambda _: None)
    torch.save(kept[0].network.state_dict(), out / f"{ranks.rank}.pt")
    if file is not None:
        print(f"rank {ranks.rank} wrote {file.path}")
"""


def _die(recipe: Recipe, number: int) -> None:
    import os

    os._exit(9)


def test_a_killed_process_is_trouble_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "make_block", _die)
    with pytest.raises(EnvironmentTroubleError, match="goes on from the last checkpoint"):
        next(blocks(Recipe(3, GEOMETRY, 8, faces=1, views=1), 0, 1))


def test_training_faces_are_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(seed: int, head: object) -> object:
        seen.append(seed)
        return sample(seed)

    monkeypatch.setattr(examples, "sample", spy)
    make_block(Recipe(2**20 - 1, GEOMETRY, 8, faces=2, views=1), 7)
    assert {part_of(seed) for seed in seen} == {"train"}
    assert len(set(seen)) == 2


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
    expected = (-np.log(0.75) - np.log(0.25)) / 2
    assert float(volume_loss([logits], targets)) == pytest.approx(expected)
    assert float(volume_loss([logits, logits], targets)) == pytest.approx(1.5 * expected)


def test_every_stage_is_supervised() -> None:
    network = HourglassNetwork(channels=8, stages=2, depth=2, slices=3)
    targets = torch.zeros((1, 3, 8, 8), dtype=torch.uint8)
    volume_loss(network(torch.randn(1, 3, 32, 32)), targets).backward()
    for stage in network.stages:
        assert stage.predict.weight.grad.abs().sum() > 0


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
    with pytest.raises(WeightsError, match="cannot be read"):
        open_regressor(str(tmp_path / "none.safetensors"))


def _slab(landmarks: NDArray[np.float32] | None) -> tuple[NDArray[np.uint8], Case]:
    """A prediction 20 slices thick over x 20..100, y 30..110; the truth's front is 6 slices = 2 px nearer."""
    predicted, true = np.zeros((2, *GEOMETRY.shape), np.uint8)
    predicted[80:100, 30:110, 20:100] = 255
    true[80:106, 30:110, 20:100] = 255
    return predicted, Case(np.zeros((128, 128, 3), np.uint8), Truth("landmarks3d", None, landmarks), true)


def test_figures_by_hand() -> None:
    """51 landmarks in a plane whose z rises by 0.1 px per px from left to right, over a flat prediction."""
    landmarks = np.zeros((68, 3), np.float32)
    landmarks[17:, 0] = np.arange(51) + 30
    landmarks[17:, 1] = 70
    landmarks[17:, 2] = 0.1 * np.arange(51)
    landmarks[:17] = [20, 70, 0]
    landmarks[0], landmarks[1] = (10, 30, 0), (110, 130, 0)  # a box of 100 x 100 px
    figures = compare(*_swap(_slab(landmarks)))
    assert figures.iou == pytest.approx(20 / 26)
    assert figures.depth_rmse_px == pytest.approx(2.0)
    # |dz - median dz| = 0.1 |i - 25|, whose mean is 0.1 * 2 * (1 + ... + 25) / 51.
    expected = 0.1 * 650 / 51 / 100
    assert figures.landmark_depth_error == pytest.approx(expected, rel=1e-5)
    assert figures.flat_depth_error == pytest.approx(expected, rel=1e-5)
    assert figures.landmark_correlation is None  # a flat surface has none


def _swap(pair: tuple[NDArray[np.uint8], Case]) -> tuple[NDArray[np.uint8], VolumeGeometry, Case]:
    return pair[0], GEOMETRY, pair[1]


def test_correlation_and_landmarks_outside_by_hand() -> None:
    """A staircase whose front follows the landmarks exactly, and half of the landmarks beside it."""
    volume = np.zeros(GEOMETRY.shape, np.uint8)
    for column in range(30, 60):
        volume[50 : 100 + column, 40:100, column] = 255
    landmarks = np.zeros((68, 3), np.float32)
    landmarks[:, 0] = np.arange(68) + 0.5
    landmarks[:, 1] = 70.5
    landmarks[0, 1], landmarks[1, 1] = 40.5, 107.5
    landmarks[:, 2] = np.arange(68) / 3
    landmarks[62:, 2] = 1000  # outside of the silhouette: no matter
    case = Case(np.zeros((128, 128, 3), np.uint8), Truth("landmarks3d", None, landmarks))
    figures = compare(volume, GEOMETRY, case)
    assert figures.landmark_correlation == pytest.approx(1.0)
    assert figures.landmark_depth_error == pytest.approx(0.0, abs=1e-6)
    # z of landmarks 30..59 is i / 3; mean |i - median| of 30 numbers is 7.5; the box is 67 x 67 px.
    assert figures.flat_depth_error == pytest.approx(7.5 / 3 / 67)
    assert figures.iou is None
    few = np.array(landmarks)
    few[:, 0] += 60
    assert compare(volume, GEOMETRY, replace(case, truth=Truth("landmarks3d", None, few))) == Figures(
        hull_coverage=0.0
    )


def test_hull_coverage_by_hand() -> None:
    """The hull is the square x 10..60, y 40..90; the silhouette begins at x = 20 and covers 4/5 of it."""
    corners = np.array([[10, 40], [60, 40], [60, 90], [10, 90]], np.float32)
    landmarks = np.tile(corners, (17, 1))
    _, case = _slab(None)
    figures = compare(case.volume, GEOMETRY, replace(case, truth=Truth("landmarks2d", None, landmarks)))
    assert figures.hull_coverage == pytest.approx(0.8, abs=0.02)
    assert figures.iou == 1.0
    assert figures.landmark_depth_error is None


def test_means_and_intervals() -> None:
    mean = mean_of(np.array([1.0, 2.0, 3.0]))
    assert mean.value == 2.0
    assert 1.0 <= mean.low < 2.0 < mean.high <= 3.0
    same = mean_of(np.full(5, 0.25))
    assert (same.low, same.high, same.images) == (0.25, 0.25, 5)
    rng = np.random.default_rng(1)
    wide = mean_of(rng.normal(0, 1, 400))
    assert (wide.high - wide.low) == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert list(summarise([Figures(iou=0.5), Figures(iou=0.7, hull_coverage=1.0)])) == [
        "iou",
        "hull_coverage",
    ]


def test_groups() -> None:
    blank = Case(np.zeros((128, 128, 3), np.uint8), Truth())
    results = [
        (replace(blank, yaw_deg=yaw, skin_tone=tone), Figures(iou=iou))
        for yaw, tone, iou in (
            (-10.0, 0.0, 0.9), (29.0, 1.0, 0.7), (-30.0, None, 0.6), (180.0, 0.32, 0.4), (None, 0.5, 0.1)
        )
    ]  # fmt: skip
    tables = {name: table["iou"].value for name, table in groups(results).items()}
    assert tables == pytest.approx(
        {
            "all": 0.54,
            "|yaw| below 30": 0.8,
            "|yaw| 30 to 60": 0.6,
            "|yaw| from 60": 0.4,
            "skin tone below 0.33": 0.65,
            "skin tone 0.33 to 0.67": 0.1,
            "skin tone from 0.67": 0.7,
        }
    )
    assert list(groups([(blank, Figures(iou=1.0))])) == ["all"]
    low = [(blank, Figures(iou=1.0)), (replace(blank, low_px=16), Figures(iou=0.5))]
    tables = {name: table["iou"].value for name, table in groups(low).items()}
    assert tables == {"all": 1.0, "area 16 px, bilinear": 0.5}


def test_faces_for_tests_agree_with_their_own_volume() -> None:
    case = next(factory_cases(1, GEOMETRY))
    assert case.volume is not None
    figures = compare(case.volume, GEOMETRY, case)
    assert figures.iou == 1.0
    assert figures.depth_rmse_px == 0.0
    assert figures.landmark_depth_error < 0.03
    assert figures.hull_coverage > 0.95


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "make_validation_faces", lambda _: make_validation_faces(1))
    runner = CliRunner()
    options = ["--batch", "2", "--views", "1", "--workers", "0", "--device", "cpu", "--init", "vrn-compact"]
    command = ["train", "vrn", "--steps", "1", *options, "--as", "tiny", "--out", str(tmp_path)]
    with pytest.raises(UsageError, match="either --steps or --minutes"):
        runner.invoke(facepipe, [*command, "--minutes", "1"], catch_exceptions=False)
    result = runner.invoke(facepipe, command, catch_exceptions=False)
    assert "step 1," in result.stderr
    weights = tmp_path / "tiny.safetensors"
    card = weights.with_suffix(".md").read_text()
    assert "--init vrn-compact" in card
    info = open_regressor(str(weights)).file.info
    assert (info.training["steps"], info.training["faces"], info.training["samples_seen"]) == (1, 2, 2)
    assert 0 < info.figures["validation_faces"]["iou"] < 1
    before = load_tensors(weights)
    judge = [
        "models",
        "evaluate",
        str(weights),
        "--faces",
        "2",
        "--low-px",
        "16,32",
        "--record",
        "faces for tests",
    ]
    judged = runner.invoke(facepipe, judge, catch_exceptions=False)
    assert "2 images" in judged.stdout
    card = weights.with_suffix(".md").read_text()
    assert "faces for tests, all" in card
    assert "faces for tests, area 32 px, bilinear" in card
    for sizes in ("16,x", "2"):
        with pytest.raises(UsageError, match="--low-px"):
            runner.invoke(facepipe, [*judge, "--low-px", sizes], catch_exceptions=False)
    np.testing.assert_equal(load_tensors(weights), before)
    with pytest.raises(UsageError, match="ships with facepipe"):
        runner.invoke(facepipe, ["models", "evaluate", "vrn-compact", *judge[3:]], catch_exceptions=False)
    with pytest.raises(UsageError, match="either --dataset"):
        runner.invoke(facepipe, ["models", "evaluate", str(weights)], catch_exceptions=False)


def test_the_shipped_regressor_on_real_photos(real_data: Path) -> None:
    """Better than a flat face, and the whole face is there."""
    arguments = ["models", "evaluate", "vrn-compact", "--dataset", str(real_data / "aflw2000"), "--json"]
    result = CliRunner().invoke(facepipe, arguments, catch_exceptions=False)
    figures = json.loads(result.stdout)["all"]
    assert figures["landmark_depth_error"]["images"] == 8
    assert figures["landmark_depth_error"]["value"] < 0.85 * figures["flat_depth_error"]["value"]
    assert figures["landmark_correlation"]["value"] > 0.6
    assert figures["hull_coverage"]["value"] > 0.9
