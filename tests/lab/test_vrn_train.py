"""Training a regressor: from seeds alone, resumable to the bit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from facepipe.cli import facepipe
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import EnvironmentTroubleError, UsageError, WeightsError
from facepipe.core.schema import TRAINING
from facepipe.lab.faces.factory import sample
from facepipe.lab.faces.seeds import part_of
from facepipe.lab.training.hardware import hardware
from facepipe.lab.training.trainer import Row
from facepipe.lab.vrn import examples
from facepipe.lab.vrn import regressor_plan as planning
from facepipe.lab.vrn import train as training
from facepipe.lab.vrn.examples import Block, Recipe, blocks, make_block
from facepipe.lab.vrn.regressor_plan import TrainingPlan
from facepipe.lab.vrn.train import Setting, Trainer
from facepipe.lab.vrn.validation import make_validation_faces
from facepipe.models.vrn.architectures import trainable
from facepipe.models.vrn.regressors import open_regressor
from facepipe.models.weights import load_tensors

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


@pytest.mark.usefixtures("asked_to_end")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_asked_to_end_finishes_its_step_and_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    """In the third step of four, between two validations: weights and curve are those of a whole training."""
    whole = _run(Trainer(PLAN, _setting(tmp_path / "whole", 4)))
    setting = _setting(tmp_path / "cut", 4)
    cut = Trainer(PLAN, setting)
    step = cut._one_step

    def asked_within_the_step(images: torch.Tensor, targets: torch.Tensor) -> float:
        if cut.step == 2:
            signal.raise_signal(number)
        return step(images, targets)

    cut._one_step = asked_within_the_step
    with pytest.raises(KeyboardInterrupt, match="the same command goes on from step 3"):
        _run(cut)
    assert signal.getsignal(number) is signal.default_int_handler
    assert not setting.history.exists()
    again = Trainer(PLAN, setting)
    assert again.step == 3
    _run(again)
    assert _same(again, whole)
    assert [row["loss"] for row in again.history] == [row["loss"] for row in whole.history]


@pytest.mark.usefixtures("asked_to_end")
def test_a_training_asked_to_end_in_its_last_step_validates_when_it_goes_on(tmp_path: Path) -> None:
    setting = _setting(tmp_path, 4)
    cut = Trainer(PLAN, setting)

    def ask(done: float) -> None:
        if done == 0.75:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="from step 4"):
        cut.run(ask, lambda _: None)
    again = _run(Trainer(PLAN, setting))
    assert (again.step, len(again.history)) == (4, 1)
    assert _same(again, cut)


def test_checkpoints_are_written_by_time_too(tmp_path: Path) -> None:
    setting = replace(_setting(tmp_path, 100), checkpoint_minutes=1e-9)

    def die(done: float) -> None:
        if done == 0.75:
            raise _Interruption

    with pytest.raises(_Interruption):
        Trainer(PLAN, setting).run(die, lambda _: None)
    again = Trainer(PLAN, setting)
    assert (again.step, len(again.losses), again.history) == (2, 2, [])
    _run(again)
    whole = _run(Trainer(PLAN, _setting(tmp_path / "whole", 100)))
    assert _same(again, whole)
    assert again.history[0]["loss"] == whole.history[0]["loss"]


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
    for trainer.step in (0, Trainer.schedule.warm_up_steps - 1, 500, 1000):
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
        {"batch": 8},
        {"learning_rate": 0.0},
        {"seed": -1},
        {"views": 0},
        {"name": "all"},
        {"arch": "compcat"},
    ):
        with pytest.raises(UsageError):
            replace(PLAN, **change)


def test_a_batch_of_more_than_a_block_names_the_way_out() -> None:
    with pytest.raises(UsageError, match="a power of 2 up to 256; larger batches need more --views"):
        TrainingPlan("a", steps=1, batch=512)
    TrainingPlan("a", steps=1, batch=512, views=8)


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


@pytest.mark.parametrize(("change", "other"), [("laugh", "reshape"), ("reshape", "laugh")])
def test_blocks_show_faces_and_pictures_after_what_happened_to_them(
    change: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faces change with their volume, pictures without it."""
    recipe = Recipe(3, GEOMETRY, 32, faces=2, views=1)
    monkeypatch.setattr(examples, other, lambda face, *_: face)

    def made(face: float, picture: int) -> Block:
        monkeypatch.setattr(
            examples, change, lambda f, *_: replace(f, vertices_mm=f.vertices_mm * np.float32(face))
        )
        monkeypatch.setattr(examples, "augment_picture", lambda p, _: (p // picture).astype(np.uint8))
        return make_block(recipe, 0)

    plain, smaller, darker = made(1.0, 1), made(0.8, 1), made(1.0, 2)
    assert smaller.targets.sum(dtype=float) < 0.7 * plain.targets.sum(dtype=float)
    assert darker.images.mean() < 0.7 * plain.images.mean()
    np.testing.assert_array_equal(darker.targets, plain.targets)


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
        [*command, str(script), str(tmp_path), "2", "0"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = Trainer(replace(PLAN, steps=2), _setting(tmp_path / "alone"))
    _run(alone)
    weights = [key for key, _ in alone.network.named_parameters()]
    # The one that writes has shifted its last logits, all alike.
    shifts = (first["stages.0.predict.bias"] - second["stages.0.predict.bias"]).numpy()
    np.testing.assert_allclose(shifts, shifts[0], atol=1e-6)
    assert all(torch.equal(first[key], second[key]) for key in weights if key != "stages.0.predict.bias")
    assert any(not torch.equal(first[key], value) for key, value in alone.network.named_parameters())
    assert pq.read_table(tmp_path / "a.history.parquet")["faces"].to_pylist() == [4]
    assert "rank 0 wrote" in done.stdout
    assert "rank 1 wrote" not in done.stdout


TOGETHER = """
import signal
import sys
from pathlib import Path
import torch
from facepipe.lab.vrn.regressor_plan import TrainingPlan
from facepipe.lab.vrn.ranks import join_ranks
from facepipe.lab.vrn.session import train_weights
from facepipe.lab.vrn.train import Setting, Trainer
import facepipe.lab.vrn.session as session

out, steps, asked = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
signal.signal(signal.SIGTERM, signal.default_int_handler)
kept = []
class Kept(Trainer):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        kept.append(self)
    def _one_step(self, images, targets):
        if self.step + 1 == asked and self.setting.ranks.rank == 1:
            signal.raise_signal(signal.SIGTERM)
        return super()._one_step(images, targets)
session.Trainer = Kept
with join_ranks("cpu") as (ranks, device):
    plan = TrainingPlan("small", steps=steps, batch=2, faces=2, views=2, seed=3, ranks=ranks.count)
    setting = Setting(out / "a.checkpoint", device, workers=0, validation_faces=1, ranks=ranks)
    try:
        file = train_weights(plan, setting, out, None, {}, lambda _: None, lambda _: None)
    except KeyboardInterrupt as error:
        print(f"rank {ranks.rank}: {error}", flush=True)
        file = None
    torch.save(kept[0].network.state_dict(), out / f"{ranks.rank}.pt")
    if file is not None:
        print(f"rank {ranks.rank} wrote {file.path}")
"""


@pytest.mark.slow
def test_two_processes_end_at_the_same_step(tmp_path: Path) -> None:
    """The second one alone is asked to end, in its second step; together they go on to the same weights."""
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for folder, asked, ends in (("whole", "0", False), ("cut", "2", True), ("cut", "0", False)):
        out = tmp_path / folder
        out.mkdir(exist_ok=True)
        done = subprocess.run(
            [*command, str(script), str(out), "4", asked],
            capture_output=True, text=True, env=environment, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for rank in (0, 1):
            assert (f"rank {rank}: the same command goes on from step 2" in done.stdout) == ends
    for rank in (0, 1):
        whole, cut = (
            torch.load(tmp_path / folder / f"{rank}.pt", weights_only=True) for folder in ("whole", "cut")
        )
        assert all(torch.equal(whole[key], value) for key, value in cut.items())


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


@pytest.mark.parametrize(
    ("what", "value", "message"),
    [
        ("SILHOUETTE", 0.5, r"silhouette 0\.1 instead of 0\.5"),
        ("shares", dict, r"pictures \{'hard': .* instead of \{\}"),
        ("trainable", lambda _: replace(trainable("compact"), stride=4), r"target_px 64 instead of 32"),
    ],
)
def test_checkpoints_of_other_code_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, value: object, message: str
) -> None:
    trainer = Trainer(PLAN, _setting(tmp_path))
    trainer._save()
    Trainer(PLAN, _setting(tmp_path))
    module = planning if what == "trainable" else training
    monkeypatch.setattr(module, what, value)
    with pytest.raises(UsageError, match=f"belongs to another training .{message}.; delete it"):
        Trainer(PLAN, _setting(tmp_path))


def test_regressors_of_low_resolutions_are_judged_at_low_resolutions(tmp_path: Path) -> None:
    """The same faces as the others, the same pictures each time, and each of its own sharpness."""
    sharp = Trainer(PLAN, _setting(tmp_path))._validation_faces()
    low = Trainer(replace(PLAN, low_resolution=True), _setting(tmp_path))._validation_faces()
    np.testing.assert_array_equal(low.vertices, sharp.vertices)
    np.testing.assert_array_equal(low.images, sharp.lowered().images)
    assert low.images.shape == sharp.images.shape
    twice = replace(sharp, images=np.repeat(sharp.images, 2, 0)).lowered().images
    np.testing.assert_array_equal(twice[0], low.images[0])
    assert (twice[1] != twice[0]).any()
    assert (low.images != sharp.images).any()


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "make_validation_faces", lambda _: make_validation_faces(1))
    runner = CliRunner()
    options = ["--batch", "2", "--views", "1", "--workers", "0", "--device", "cpu", "--init", "vrn-compact"]
    command = ["train", "vrn", "--steps", "1", *options, "--as", "tiny", "--out", str(tmp_path)]
    with pytest.raises(UsageError, match="either --steps or --minutes"):
        runner.invoke(facepipe, [*command, "--minutes", "1"], catch_exceptions=False)
    result = runner.invoke(facepipe, command, catch_exceptions=False)
    assert re.search(r"step 1, \d+ s: loss 0\.\d+ ▁ validation IoU 0", result.stderr)
    weights = tmp_path / "tiny.safetensors"
    card = weights.with_suffix(".md").read_text()
    assert "--init vrn-compact" in card
    info = open_regressor(str(weights)).file.info
    assert (info.training["steps"], info.training["faces"], info.training["samples_seen"]) == (1, 2, 2)
    assert 0 < info.figures["validation faces"]["iou"] < 1
    started = open_regressor("vrn-compact").file
    assert info.training["started_from"] == f"vrn-compact, identity {started.identity}"
    assert info.training["earlier"][:-1] == list(started.info.training.get("earlier", ()))
    assert info.training["earlier"][-1].startswith(started.info.training["command"])
    assert f"({started.info.training['samples_seen']} samples, " in info.training["earlier"][-1]
    assert re.fullmatch(r"logits shifted by [+-]\d\.\d+, .*", info.training["calibration"])
    assert info.training["device"] == hardware("cpu", 1)
    assert hardware("cpu", 2, 4) == hardware("cpu", 2) + ", 4 processes"
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
    assert "| faces for tests | 2 |" in card
    assert "| faces for tests, truth itself | 2 | 1.000 (1.000 to 1.000) |" in card
    assert "| faces for tests | area 32 px, bilinear | 2 |" in card
    judged_weights = weights.read_bytes()
    runner.invoke(facepipe, command, catch_exceptions=False)  # a finished training again
    assert weights.read_bytes() == judged_weights
    assert weights.with_suffix(".md").read_text() == card
    assert len(info.training["loss_curve"]) == 1
    assert "`▁` 0." in card
    for sizes in ("16,x", "2"):
        with pytest.raises(UsageError, match="--low-px"):
            runner.invoke(facepipe, [*judge, "--low-px", sizes], catch_exceptions=False)
    np.testing.assert_equal(load_tensors(weights), before)
    with pytest.raises(UsageError, match="ships with facepipe"):
        runner.invoke(facepipe, ["models", "evaluate", "vrn-compact", *judge[3:]], catch_exceptions=False)
    (tmp_path / "tiny.checkpoint").unlink()
    with pytest.raises(UsageError, match=r"tiny\.safetensors: there already, and no checkpoint"):
        runner.invoke(facepipe, command, catch_exceptions=False)
    assert weights.read_bytes() == judged_weights
    with pytest.raises(UsageError, match="either --dataset"):
        runner.invoke(facepipe, ["models", "evaluate", str(weights)], catch_exceptions=False)
