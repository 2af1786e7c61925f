"""Training: small, real, resumable to the bit."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from facepipe.cli.models import import_weights
from facepipe.cli.train_group import train
from facepipe.core.errors import UsageError, WeightsError
from facepipe.core.schema import SUPERRES_TRAINING
from facepipe.lab.superres.batches import PATCHES_PER_SQUARE, STEPS_PER_BLOCK, Batches
from facepipe.lab.superres.evaluate import make_pairs
from facepipe.lab.superres.session import initial_tensors
from facepipe.lab.superres.superres_plan import TrainingPlan
from facepipe.lab.superres.train import Trainer
from facepipe.lab.superres.training_data import (
    FREE_PHOTOGRAPHS,
    HELD_OUT_EVERY,
    TrainingData,
    load_training_data,
    read_folder,
)
from facepipe.lab.training.trainer import Setting
from facepipe.metrics.image import psnr_db
from facepipe.models.superres.build import build_resolver
from facepipe.models.superres.methods import resolve_methods
from facepipe.models.weights import load_tensors, open_weights, save_weights

PLAN = TrainingPlan("toy-x4", "compact", scale=4, degradation="area", steps=6, batch=2, seed=3)


def _photo(seed: int, height: int = 160, width: int = 200) -> np.ndarray:
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (20, 25, 3)).astype(np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


DATA = TrainingData([_photo(0), _photo(1)], [_photo(2)], [_photo(3)])


def _nothing(_: object) -> None:
    return None


def _trained(plan: TrainingPlan, checkpoint: Path) -> Trainer:
    trainer = Trainer(plan, DATA, Setting(checkpoint))
    trainer.run(_nothing, _nothing)
    return trainer


def _folder(path: Path, indices: Iterable[int]) -> Path:
    """A folder of photos as PNG files, named by their indices."""
    path.mkdir()
    for index in indices:
        Image.fromarray(_photo(index)).save(path / f"{index}.png")
    return path


def test_the_free_photographs_are_there_and_large_enough() -> None:
    training_data = load_training_data(None)
    assert len(training_data.photographs) == len(FREE_PHOTOGRAPHS)
    assert all(min(image.shape[:2]) >= 128 and image.shape[2] == 3 for image in training_data.photographs)
    assert not training_data.faces


def test_every_tenth_face_is_held_out(tmp_path: Path) -> None:
    for index in range(12):
        Image.new("RGB", (128, 128), (index, 0, 0)).save(tmp_path / f"{index:02}.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("not an image")
    training_data = load_training_data(tmp_path)
    assert [int(image[0, 0, 0]) for image in training_data.held_out] == [0, HELD_OUT_EVERY]
    assert len(training_data.faces) == 10
    alone = tmp_path / "alone"
    alone.mkdir()
    Image.new("RGB", (128, 128)).save(alone / "one.png")
    with pytest.raises(UsageError, match="one image, which is held out"):
        load_training_data(alone)


def test_images_that_are_trained_on_are_not_measured_on() -> None:
    a, b, c, d = (_photo(index) for index in range(4))
    unseen = TrainingData([a], [b], held_out=[c]).unseen([d, a.copy(), b, c, d.copy(), a[:, ::-1]])
    assert [any(np.array_equal(image, known) for known in (c, d, a[:, ::-1])) for image in unseen] == [
        True
    ] * 3


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no readable image"):
        read_folder(tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        read_folder(tmp_path / "nowhere")


def test_more_photographs_come_from_a_folder(tmp_path: Path) -> None:
    Image.new("RGB", (130, 140), (7, 8, 9)).save(tmp_path / "one.png")
    training_data = load_training_data(None, tmp_path)
    assert len(training_data.photographs) == len(FREE_PHOTOGRAPHS) + 1
    assert sum((image == [7, 8, 9]).all() for image in training_data.photographs) == 1
    assert training_data.provenance[:2] == [
        "one.png (author and licence are not stated)",
        "astronaut.png (public domain, NASA)",
    ]
    table = (
        "| file | package | author | licence |\n|---|---|---|---|\n| one.png | a | Ann Onymous | CC0-1.0 |\n"
    )
    (tmp_path / "SOURCES.md").write_text(f"# Photographs\n\n{table}", encoding="utf-8")
    assert load_training_data(None, tmp_path).provenance[0] == "one.png (Ann Onymous, CC0-1.0)"
    assert load_training_data(None, tmp_path).sha256 == training_data.sha256


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_patches_of_a_batch_show_the_same_place(scale: int) -> None:
    """The mean over each r x r block of a reference is the area-averaged patch, up to rounding."""
    plan = replace(PLAN, scale=scale)
    training_data = TrainingData([_photo(0, 128, 128)])  # squares of 128 px, which are their own references
    low, high = Batches(plan, training_data).draw(0)
    side = min(24, 128 // scale)
    assert low.shape == (2, side, side, 3)
    assert high.shape == (2, scale * side, scale * side, 3)
    blocks = high.reshape(2, side, scale, side, scale, 3).mean(axis=(2, 4))
    assert np.abs(blocks - low).max() <= 0.51


def test_batches_depend_on_seed_and_step_alone() -> None:
    plan = replace(PLAN, batch=4)
    batches = Batches(plan, DATA)
    later = [batches.draw(step) for step in (0, STEPS_PER_BLOCK, 1)][-1]
    for drawn, again in zip(later, Batches(plan, DATA).draw(1), strict=True):
        np.testing.assert_array_equal(drawn, again)
    other = Batches(replace(plan, seed=4), DATA).draw(1)
    assert (other[0] != later[0]).any()
    assert STEPS_PER_BLOCK * plan.batch % PATCHES_PER_SQUARE == 0


def test_patches_come_in_every_orientation() -> None:
    image = np.zeros((128, 128, 3), np.uint8)
    image[:64, :64] = 50  # one dark and one light corner, told apart after mirroring by what is beside them
    image[:64, 64:] = 100
    plan = replace(PLAN, scale=8, batch=64)
    low, _ = Batches(plan, TrainingData([image])).draw(0)
    corners = {(patch[0, 0, 0], patch[0, -1, 0], patch[-1, 0, 0], patch[-1, -1, 0]) for patch in low}
    assert len(corners) == 8


def test_squares_lie_inside() -> None:
    image = np.zeros((130, 129, 3), np.uint8)
    generator = np.random.default_rng(0)
    for _ in range(60):
        square = TrainingData([image]).square(generator)
        assert square.shape[0] == square.shape[1] in (128, 129)


@pytest.mark.parametrize("arch", ["espcn", "compact"])
def test_training_lowers_the_loss_and_leaves_a_curve(tmp_path: Path, arch: str) -> None:
    setting = Setting(tmp_path / "a.checkpoint", report_every=15)
    trainer = Trainer(replace(PLAN, arch=arch, steps=30), DATA, setting)
    rows = []
    trainer.run(_nothing, rows.append)
    assert rows[1]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[1]["validation_psnr_db"] > rows[0]["validation_psnr_db"]
    table = pq.read_table(setting.history)
    assert table.schema == SUPERRES_TRAINING
    assert table.to_pylist() == rows
    assert [row["patches"] for row in rows] == [30, 60]


def test_validation_is_that_of_the_resolver(tmp_path: Path) -> None:
    """On the network's own scale, without rounding, the figure differs from the method's by little."""
    trainer = _trained(PLAN, tmp_path / "a.checkpoint")
    resolver = build_resolver(trainer.save_weights(tmp_path, {}, {}), "cpu")
    (pair,) = make_pairs(DATA.held_out, "area", 4)
    expected = psnr_db(pair.reference, resolver(pair.lows[0][None])[0])
    assert trainer.history[-1]["validation_psnr_db"] == pytest.approx(expected, abs=0.02)


def test_without_held_out_faces_there_is_no_validation(tmp_path: Path) -> None:
    trainer = Trainer(PLAN, TrainingData([_photo(0)]), Setting(tmp_path / "a.checkpoint"))
    trainer.run(_nothing, _nothing)
    assert trainer.history[-1]["validation_psnr_db"] is None


def test_an_interrupted_training_gives_the_same_weights(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = _trained(PLAN, tmp_path / "a.checkpoint")
    setting = Setting(tmp_path / "b.checkpoint", report_every=2)

    class Killed(Exception):
        pass

    def die_in_the_middle(done: float) -> None:
        if done == 0.5:
            raise Killed

    with pytest.raises(Killed):
        Trainer(PLAN, DATA, setting).run(die_in_the_middle, _nothing)
    resumed = Trainer(PLAN, DATA, setting)
    assert resumed.step == 2
    assert len(resumed.history) == 1
    resumed.run(_nothing, _nothing)
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key])


def test_minutes_decide_where_no_steps_are_given(tmp_path: Path) -> None:
    plan = replace(PLAN, steps=0, minutes=0.02)
    trainer = _trained(plan, tmp_path / "a.checkpoint")
    assert trainer.step >= 1
    assert trainer.seconds >= 60 * plan.minutes
    assert trainer.history[-1]["learning_rate"] < 0.02 * plan.learning_rate


def test_checkpoints_of_other_plans_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.checkpoint"
    _trained(PLAN, checkpoint)
    with pytest.raises(UsageError, match="another training"):
        Trainer(replace(PLAN, seed=4), DATA, Setting(checkpoint))
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged"):
        Trainer(PLAN, DATA, Setting(checkpoint))


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 3},
        {"scale": 1},
        {"steps": -1},
        {"steps": 0},
        {"minutes": 1.0},
        {"minutes": math.nan},
        {"steps": 0, "minutes": math.inf},
        {"batch": 0},
        {"patch_px": 4},
        {"learning_rate": 0.0},
        {"name": "A b"},
        {"arch": "transformer"},
        {"degradation": "rain"},
    ],
)
def test_senseless_plans_are_refused(changes: dict) -> None:
    with pytest.raises(UsageError):
        replace(PLAN, **changes)


def test_weights_that_saw_nothing_say_so(tmp_path: Path) -> None:
    trainer = Trainer(PLAN, DATA, Setting(tmp_path / "a.checkpoint"))
    file = trainer.save_weights(tmp_path, {}, {})
    assert not file.info.trained
    import_weights(file.path, "raw-x4")
    assert "raw" not in resolve_methods(["all"], [32])


@pytest.mark.parametrize("arch", ["espcn", "compact"])
def test_a_training_starts_where_other_weights_of_its_scale_ended(tmp_path: Path, arch: str) -> None:
    first = _trained(replace(PLAN, arch=arch), tmp_path / "a.checkpoint").save_weights(tmp_path, {}, {})
    plan = replace(PLAN, arch=arch, degradation="camera", name="next-x4")
    second = Trainer(plan, DATA, Setting(tmp_path / "b.checkpoint"), initial_tensors(first, plan))
    for key, value in load_tensors(first.path).items():
        np.testing.assert_array_equal(second.network.state_dict()[key].numpy(), value)


@pytest.mark.parametrize("arch", ["espcn", "compact"])
def test_weights_of_half_the_scale_start_as_their_output_repeated(tmp_path: Path, arch: str) -> None:
    half = replace(PLAN, arch=arch, scale=2, name="toy-x2")
    trainer = _trained(half, tmp_path / "a.checkpoint")
    first = trainer.save_weights(tmp_path, {}, {})
    plan = replace(PLAN, arch=arch)
    second = Trainer(plan, DATA, Setting(tmp_path / "b.checkpoint"), initial_tensors(first, plan))
    image = torch.rand(1, 1 if arch == "espcn" else 3, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        repeated = torch.nn.functional.interpolate(trainer.network(image), scale_factor=2, mode="nearest")
        torch.testing.assert_close(second.network(image), repeated)


def test_initial_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = _trained(replace(PLAN, arch="espcn"), tmp_path / "a.checkpoint").save_weights(tmp_path, {}, {})
    with pytest.raises(UsageError, match=r"--init .*toy-x4\.safetensors: architecture espcn"):
        initial_tensors(file, PLAN)


def test_how_output_becomes_bytes_has_no_part_in_training(tmp_path: Path) -> None:
    """The published ESPCN truncates, those that are trained here round."""
    plan = replace(PLAN, arch="espcn")
    trainer = Trainer(plan, DATA, Setting(tmp_path / "a.checkpoint"))
    file = trainer.save_weights(tmp_path, {}, {})
    arguments = {**file.info.arguments, "quantise": "truncate"}
    truncating = save_weights(file.path, load_tensors(file.path), replace(file.info, arguments=arguments))
    for key, value in initial_tensors(truncating, plan).items():
        np.testing.assert_array_equal(trainer.network.state_dict()[key].numpy(), value)


def test_the_digest_of_material_tells_images_and_what_they_serve_for_apart() -> None:
    photo, other = _photo(0), _photo(1)
    sets = [
        TrainingData([photo, other]),
        TrainingData([other, photo]),
        TrainingData([photo], [other]),
        TrainingData([photo], (), [other]),
        TrainingData([photo.reshape(200, 160, 3), other]),
    ]
    assert len({training_data.sha256 for training_data in sets}) == len(sets)
    assert TrainingData([photo.copy(), other]).sha256 == sets[0].sha256


@pytest.mark.usefixtures("asked_to_end")
def test_a_training_that_is_asked_to_end_finishes_its_step_and_goes_on(tmp_path: Path) -> None:
    whole = _trained(PLAN, tmp_path / "a.checkpoint")
    setting = Setting(tmp_path / "b.checkpoint")

    def ask(done: float) -> None:
        if done == 0.5:
            signal.raise_signal(signal.SIGINT)

    cut = Trainer(PLAN, DATA, setting)
    with pytest.raises(KeyboardInterrupt, match="from step 4"):
        cut.run(ask, _nothing)
    resumed = _trained(PLAN, setting.checkpoint)
    assert resumed.history[0]["loss"] == whole.history[0]["loss"]
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key])


def test_command(tmp_path: Path) -> None:
    faces = _folder(tmp_path / "faces", range(3))
    arguments = ["superres", "--scale", "8", "--steps", "3", "--batch", "2", "--faces", str(faces)]
    photos = _folder(tmp_path / "photos", (2, 5, 6))
    Image.fromarray(_photo(6)).save(photos / "6 again.png")
    arguments += ["--photographs", str(faces), "--out", str(tmp_path / "out")]
    with pytest.raises(UsageError, match="all images there are trained on"):
        CliRunner().invoke(train, [*arguments, "--evaluate", str(faces)], catch_exceptions=False)
    arguments += ["--evaluate", str(photos)]
    done = CliRunner().invoke(train, [*arguments, "--as", "toy-x8"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "faces held out: PSNR" in done.output
    assert "photos not trained on (photos): PSNR" in done.output
    assert "left out: 2 images of --evaluate are trained on or come twice" in done.stderr
    file = import_weights(tmp_path / "out" / "toy-x8.safetensors", "toy-x8")
    command = file.info.training["command"]
    assert command.startswith("facepipe train superres --as toy-x8 --arch espcn --scale 8")
    assert command.endswith("--photographs PHOTOGRAPHS --faces FACES")
    assert file.info.training["rendered_faces"] == 2
    assert len(file.info.training["photographs"]) == len(FREE_PHOTOGRAPHS) + 3
    card = (tmp_path / "out" / "toy-x8.md").read_text(encoding="utf-8")
    assert "chelsea.png (CC0, Stefan van der Walt)" in card
    assert file.info.scale == 8
    assert set(load_tensors(file.path)) == {
        f"conv{k}.{part}" for k in range(1, 5) for part in ("weight", "bias")
    }
    assert (tmp_path / "out" / "toy-x8.md").read_text(encoding="utf-8").startswith("# toy-x8")
    assert resolve_methods(["toy"], [16]) == ["toy"]
    again = ["superres", "--scale", "4", "--steps", "1", "--init", "toy-x8", "--out", str(tmp_path / "next")]
    done = CliRunner().invoke(train, again, catch_exceptions=False)
    assert done.exit_code == 0
    (next_one,) = (tmp_path / "next").glob("*.safetensors")
    (earlier,) = open_weights(next_one).info.training["earlier"]
    assert earlier.startswith(f"{command} (6 samples")
    started = open_weights(tmp_path / "next" / "espcn-area-x4.safetensors").info.training["started_from"]
    assert started == f"toy-x8, identity {file.identity}"
    trained = tmp_path / "out" / "toy-x8.safetensors"
    info = open_weights(trained).info
    recorded = replace(info, figures={**info.figures, "measured later": {"iou": 1.0}})
    save_weights(trained, load_tensors(trained), recorded)
    kept = trained.read_bytes()
    done = CliRunner().invoke(train, [*arguments, "--as", "toy-x8"], catch_exceptions=False)
    assert done.exit_code == 0
    assert trained.read_bytes() == kept
    (tmp_path / "out" / "toy-x8.checkpoint").unlink()
    with pytest.raises(UsageError, match=r"toy-x8\.safetensors: there already, and no checkpoint"):
        CliRunner().invoke(train, [*arguments, "--as", "toy-x8"], catch_exceptions=False)
    assert trained.read_bytes() == kept


def test_a_checkpoint_of_other_material_is_refused(tmp_path: Path) -> None:
    faces = _folder(tmp_path / "faces", range(2))
    arguments = ["superres", "--scale", "8", "--steps", "1", "--batch", "2", "--faces", str(faces)]
    arguments += ["--out", str(tmp_path / "out")]
    CliRunner().invoke(train, [*arguments, "--as", "toy-x8"], catch_exceptions=False)
    Image.fromarray(_photo(7)).save(faces / "7.png")
    with pytest.raises(UsageError, match="belongs to another training .material_sha256"):
        CliRunner().invoke(train, [*arguments, "--as", "toy-x8"], catch_exceptions=False)


def test_the_command_that_is_asked_to_end_says_from_where_it_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "facepipe", "train", "superres", "--scale", "8", "--batch", "2"]
    command += [
        "--steps",
        "1000000",
        "--checkpoint-minutes",
        "0.0001",
        "--out",
        str(tmp_path),
        "--as",
        "toy-x8",
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    checkpoint = tmp_path / "toy-x8.checkpoint"
    try:
        limit = time.monotonic() + 300
        while not checkpoint.exists() and time.monotonic() < limit:
            time.sleep(0.05)
        running.terminate()  # SIGTERM, as Slurm sends it
        _, errors = running.communicate(timeout=300)
    finally:
        running.kill()
    step = torch.load(checkpoint, weights_only=True)["step"]
    assert step > 0
    assert errors.strip().endswith(f"interrupted; the same command goes on from step {step}")
    assert running.returncode == 1
