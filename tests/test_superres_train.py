"""Training: small, real, resumable to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from facepipe.cli.models import import_weights
from facepipe.cli.train import train
from facepipe.errors import UsageError, WeightsError
from facepipe.metrics.image import psnr_db
from facepipe.superres.material import (
    FREE_PHOTOGRAPHS,
    HELD_OUT_EVERY,
    Material,
    load_material,
    make_pair,
    read_folder,
)
from facepipe.superres.methods import get_method, resolve_methods
from facepipe.superres.train import Trainer, TrainingPlan, draw_batch, measure
from facepipe.weights import load_tensors

PLAN = TrainingPlan("toy-x4", scale=4, degradation="area", steps=6, batch=2, seed=3)


def _photo(seed: int, height: int = 160, width: int = 200) -> np.ndarray:
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (20, 25, 3)).astype(np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


MATERIAL = Material([_photo(0), _photo(1)], [_photo(2)], [_photo(3)])


def _nothing(_: int) -> None:
    return None


def _trained(plan: TrainingPlan, checkpoint: Path) -> Trainer:
    trainer = Trainer(plan, MATERIAL, checkpoint)
    trainer.run(_nothing)
    return trainer


def test_the_free_photographs_are_there_and_large_enough() -> None:
    material = load_material(None)
    assert len(material.photographs) == len(FREE_PHOTOGRAPHS)
    assert all(min(image.shape[:2]) >= 128 and image.shape[2] == 3 for image in material.photographs)
    assert not material.faces


def test_every_tenth_face_is_held_out(tmp_path: Path) -> None:
    for index in range(12):
        Image.new("RGB", (128, 128), (index, 0, 0)).save(tmp_path / f"{index:02}.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("not an image")
    material = load_material(tmp_path)
    assert [int(image[0, 0, 0]) for image in material.held_out] == [0, HELD_OUT_EVERY]
    assert len(material.faces) == 10


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no readable image"):
        read_folder(tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        read_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_patches_of_a_batch_show_the_same_place(scale: int) -> None:
    """The mean luma over each r x r block of a reference is the area-averaged patch, up to rounding."""
    plan = replace(PLAN, scale=scale)
    material = Material([_photo(0, 128, 128)])  # squares of 128 px, which are their own references
    low, high = draw_batch(plan, material, step=0)
    side = min(24, 128 // scale)
    assert low.shape == (2, 1, side, side)
    assert high.shape == (2, 1, scale * side, scale * side)
    blocks = torch.nn.functional.avg_pool2d(high, scale)
    assert (blocks - low).abs().max() < 2.5 / 255


def test_squares_lie_inside_and_come_in_every_orientation() -> None:
    image = np.zeros((130, 129, 3), np.uint8)
    image[:2] = 50  # a mark along one side
    generator = np.random.default_rng(0)
    marks = set()
    for _ in range(60):
        square = Material([image]).square(generator)
        assert square.shape[0] == square.shape[1] in (128, 129)
        marks |= {name for name, edge in (("top", square[0]), ("bottom", square[-1])) if (edge == 50).all()}
        marks |= {
            name for name, edge in (("left", square[:, 0]), ("right", square[:, -1])) if (edge == 50).all()
        }
    assert marks == {"top", "bottom", "left", "right"}


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    plan = replace(PLAN, steps=30)
    trainer = Trainer(plan, MATERIAL, tmp_path / "a.checkpoint")
    low, high = draw_batch(plan, MATERIAL, step=10**6)

    def loss() -> float:
        with torch.no_grad():
            return float((trainer.network(low) - high).abs().mean())

    before = loss()
    trainer.run(_nothing)
    assert loss() < 0.5 * before


def test_an_interrupted_training_gives_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    whole = _trained(PLAN, tmp_path / "a.checkpoint")
    monkeypatch.setattr("facepipe.superres.train.CHECKPOINT_EVERY", 2)

    class Killed(Exception):
        pass

    done = []

    def die_in_the_middle(steps: int) -> None:
        done.append(steps)
        if sum(done) == 3:
            raise Killed

    with pytest.raises(Killed):
        Trainer(PLAN, MATERIAL, tmp_path / "b.checkpoint").run(die_in_the_middle)
    resumed = Trainer(PLAN, MATERIAL, tmp_path / "b.checkpoint")
    assert resumed.step == 2
    resumed.run(_nothing)
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key])


def test_checkpoints_of_other_plans_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.checkpoint"
    _trained(PLAN, checkpoint)
    with pytest.raises(UsageError, match="another training"):
        Trainer(replace(PLAN, seed=4), MATERIAL, checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged"):
        Trainer(PLAN, MATERIAL, checkpoint)


@pytest.mark.parametrize(
    "changes",
    [{"scale": 3}, {"scale": 1}, {"steps": -1}, {"batch": 0}, {"learning_rate": 0.0}, {"name": "A b"}],
)
def test_senseless_plans_are_refused(changes: dict) -> None:
    with pytest.raises(UsageError):
        replace(PLAN, **changes)


def test_weights_that_saw_nothing_say_so(tmp_path: Path) -> None:
    trainer = _trained(replace(PLAN, steps=0), tmp_path / "a.checkpoint")
    file = trainer.save_weights(tmp_path, {}, {})
    assert not file.info.trained
    import_weights(file.path, "raw-x4")
    assert "raw" not in resolve_methods(["all"], [32])


def test_measure_is_the_mean_over_images(tmp_path: Path) -> None:
    file = _trained(PLAN, tmp_path / "a.checkpoint").save_weights(tmp_path, {}, {})
    images = [_photo(5), _photo(6)]
    one, two = (measure(file, [image]) for image in images)
    both = measure(file, images)
    assert both["images"] == 2
    for key in ("psnr_db", "bicubic_psnr_db"):
        assert both[key] == pytest.approx((one[key] + two[key]) / 2, abs=0.002)


@pytest.mark.parametrize("low_px", [16, 32, 64])
def test_shipped_networks_beat_bicubic_on_free_photographs(low_px: int) -> None:
    gains = []
    for photo in load_material(None).photographs:
        side = min(photo.shape[:2])
        low, reference = make_pair(np.ascontiguousarray(photo[:side, :side]), "area", low_px, 0, "")
        network, bicubic = (get_method(name).build(low_px)(low[None])[0] for name in ("espcn", "bicubic"))
        gains.append(psnr_db(reference, network) - psnr_db(reference, bicubic))
    assert np.mean(gains) > 0.1


def test_command(tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    faces.mkdir()
    for index in range(3):
        Image.fromarray(_photo(index)).save(faces / f"{index}.png")
    arguments = ["superres", "--scale", "8", "--steps", "3", "--batch", "2", "--faces", str(faces)]
    arguments += ["--evaluate", str(faces), "--out", str(tmp_path / "out"), "--as", "toy-x8"]
    done = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "held out faces (1)" in done.output
    assert "real photos not trained on (3)" in done.output
    file = import_weights(tmp_path / "out" / "toy-x8.safetensors", "toy-x8")
    assert file.info.training["command"].startswith("facepipe train superres --as toy-x8 --scale 8")
    assert file.info.training["rendered_faces"] == 2
    assert file.info.scale == 8
    assert set(load_tensors(file.path)) == {
        f"conv{k}.{part}" for k in range(1, 5) for part in ("weight", "bias")
    }
    assert (tmp_path / "out" / "toy-x8.md").read_text(encoding="utf-8").startswith("# toy-x8")
    assert resolve_methods(["toy"], [16]) == ["toy"]
