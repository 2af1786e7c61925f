"""What a training takes over from the weights that it starts from, and what it refuses."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from facepipe.cli import facepipe
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import UsageError, WeightsError
from facepipe.lab.vrn.examples import Recipe, make_block
from facepipe.lab.vrn.initial_weights import initial_tensors, start_from
from facepipe.lab.vrn.regressor_plan import TrainingPlan
from facepipe.lab.vrn.train import Setting, Trainer
from facepipe.models.vrn import architectures
from facepipe.models.vrn.architectures import TrainableArchitecture
from facepipe.models.vrn.networks import build_network
from facepipe.models.vrn.preprocessing import OWN, Preprocessing
from facepipe.models.vrn.regressors import open_regressor
from facepipe.models.vrn.run_hourglass import to_cells, to_occupancy
from facepipe.models.weights import WeightsFile, WeightsInfo, load_tensors, save_weights

ARGUMENTS = {"channels": 8, "stages": 1, "depth": 1, "slices": 4}
GEOMETRY = VolumeGeometry(depth=4, z_zero=2.0)
SMALL = TrainableArchitecture("small", "vrn", ARGUMENTS, GEOMETRY)
PUBLISHED = Preprocessing("0..1", "bgr", "per-image", "corners")


def _weights(folder: Path, arguments: dict[str, Any] | None = None, **described: Any) -> WeightsFile:
    torch.manual_seed(0)
    arguments = arguments or {**ARGUMENTS, "nested": "fine"}
    tensors = {key: value.numpy() for key, value in build_network("vrn", arguments).state_dict().items()}
    geometry = asdict(replace(GEOMETRY, depth=arguments["slices"]))
    info = WeightsInfo("old", "regressor", "vrn", arguments, geometry=geometry)
    return save_weights(folder / "old.safetensors", tensors, replace(info, **described))


@pytest.mark.parametrize("usage", [OWN, PUBLISHED])
def test_a_training_without_a_step_gives_the_volumes_it_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usage: Preprocessing
) -> None:
    """Nesting, input, batch norm and enlargement of the weights are those of what is trained and saved."""
    monkeypatch.setattr(architectures, "TRAINABLE", (SMALL,))
    file = _weights(tmp_path, usage=usage.described())
    plan = TrainingPlan("new", "small", steps=2, batch=2, faces=2, views=2)
    trainer = Trainer(plan, Setting(tmp_path / "a.checkpoint", workers=0), start_from(file, SMALL))
    saved = trainer.save_weights(tmp_path, {}, {})
    assert saved.info.arguments == {**ARGUMENTS, "nested": "fine"}
    assert saved.info.usage == usage.described()
    old, new = (open_regressor(str(weights.path)).build() for weights in (file, saved))
    image = make_block(Recipe(3, GEOMETRY, 8, faces=1, views=1), 0).images
    np.testing.assert_array_equal(old(image), new(image))
    before = load_tensors(saved.path)
    trainer._next_step()
    changed = load_tensors(trainer.save_weights(tmp_path, {}, {}).path)
    assert changed.keys() == before.keys()
    assert (changed["predict.weight"] != before["predict.weight"]).any()


def test_a_training_feeds_the_network_what_it_is_run_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grey 51 is 0.2 of 0..1, and blue comes first."""
    monkeypatch.setattr(architectures, "TRAINABLE", (SMALL,))
    file = _weights(tmp_path, usage=PUBLISHED.described())
    plan = TrainingPlan("new", "small", steps=1, batch=2, faces=2, views=2, bf16=False)
    trainer = Trainer(plan, Setting(tmp_path / "a.checkpoint", workers=0), start_from(file, SMALL))
    seen = []
    trainer.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.zeros((2, 128, 128, 3), dtype=torch.uint8)
    images[..., 2] = 51
    trainer._one_step(images, torch.zeros((2, 4, 32, 32), dtype=torch.uint8))
    expected = torch.zeros(2, 3, 128, 128)
    expected[:, 0] = 0.2
    torch.testing.assert_close(seen[0].contiguous(), expected)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in trainer.network.modules())


def test_cells_are_means_of_what_the_volume_enlarges_to() -> None:
    logits = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    corners = Preprocessing(upsampling="corners")
    enlarged = nn.functional.interpolate(logits, size=(24, 24), mode="bilinear", align_corners=True)
    torch.testing.assert_close(to_cells(logits, 24, corners), nn.functional.avg_pool2d(enlarged, 4))
    assert to_cells(logits, 24) is logits
    occupancy = (enlarged.sigmoid() * 255).round().to(torch.uint8)
    assert torch.equal(to_occupancy(logits.clone(), 24, corners), occupancy)


def test_slices_of_every_network_move_with_the_origin(tmp_path: Path) -> None:
    """One slice nearer: new slice k is old slice k - 1, and the outermost stays."""
    file = _weights(tmp_path)
    moved = initial_tensors(file, replace(GEOMETRY, z_zero=3.0))
    old = load_tensors(file.path)
    for key in ("predict.weight", "predict.bias"):
        np.testing.assert_array_equal(moved[key], old[key][[0, 0, 1, 2]])


def test_other_networks_are_refused_with_what_differs(tmp_path: Path) -> None:
    wider = _weights(tmp_path, {**ARGUMENTS, "channels": 12})
    with pytest.raises(UsageError, match=r"old\.safetensors \('vrn'\): channels 12, and --arch small has 8"):
        start_from(wider, SMALL)
    deeper = replace(SMALL, arguments={**ARGUMENTS, "depth": 2})
    with pytest.raises(UsageError, match=r"depth 1, and --arch small has 2"):
        start_from(_weights(tmp_path), deeper)
    with pytest.raises(UsageError, match=r"old\.safetensors \('vrn'\): --arch compact trains 'hourglass'"):
        start_from(_weights(tmp_path), architectures.trainable("compact"))
    larger = replace(SMALL, geometry=replace(GEOMETRY, size=192))
    with pytest.raises(UsageError, match="reads images of 128 px, and --arch small has 192 px"):
        start_from(_weights(tmp_path), larger)
    with pytest.raises(WeightsError, match="slices 4, and 5 in its geometry"):
        start_from(_weights(tmp_path, geometry=asdict(replace(GEOMETRY, depth=5))), SMALL)
    with pytest.raises(WeightsError, match="input_range = '0..7'"):
        start_from(_weights(tmp_path, usage={"input_range": "0..7"}), SMALL)


def test_damaged_weights_are_called_by_their_own_name(tmp_path: Path) -> None:
    file = _weights(tmp_path)
    tensors = {key: value for key, value in load_tensors(file.path).items() if key != "predict.bias"}
    file = save_weights(file.path, tensors, file.info)
    with pytest.raises(WeightsError, match=r"--init .*old\.safetensors \('vrn'\).*predict\.bias"):
        start_from(file, SMALL)


def test_checkpoints_of_others_are_to_be_imported_first(tmp_path: Path) -> None:
    named = str(tmp_path / "x.pth")
    words = ["--steps", "1", "--out", str(tmp_path / "out"), "--init", named]
    for command in (["train", "vrn"], ["train", "superres", "--scale", "4"]):
        with pytest.raises(UsageError, match=f"import it first: facepipe models import {named} --as NAME"):
            CliRunner().invoke(facepipe, [*command, *words], catch_exceptions=False)


def test_a_training_adds_context_that_weights_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It changes nothing until it has learned, and sits on the coarse side of every level but the first."""
    narrow = {**ARGUMENTS, "depth": 3}
    wide = TrainableArchitecture("wide", "hourglass", {**narrow, "context": 6}, GEOMETRY)
    monkeypatch.setattr(architectures, "TRAINABLE", (wide,))
    torch.manual_seed(0)
    network = build_network("hourglass", narrow)
    tensors = {key: value.numpy() for key, value in network.state_dict().items()}
    info = WeightsInfo("old", "regressor", "hourglass", narrow, geometry=asdict(GEOMETRY))
    begun = start_from(save_weights(tmp_path / "old.safetensors", tensors, info), wide)
    added = {key.rsplit(".", 2)[0] for key in begun.tensors.keys() - tensors.keys()}
    assert added == {"stages.0.hourglass.inner.context", "stages.0.hourglass.inner.inner.context"}
    plan = TrainingPlan("new", "wide", steps=2, batch=2, faces=2, views=2)
    trainer = Trainer(plan, Setting(tmp_path / "a.checkpoint", workers=0), begun)
    image = torch.randn(1, 3, 128, 128)
    trainer.network.eval()
    torch.testing.assert_close(trainer.network(image)[-1], network.eval()(image)[-1])
    trainer.network.train()
    trainer._next_step()
    saved = trainer.save_weights(tmp_path, {}, {})
    assert saved.info.arguments == {**narrow, "context": 6}
    assert all(np.abs(load_tensors(saved.path)[f"{block}.conv3.weight"]).max() > 0 for block in added)


def test_a_training_adds_a_refinement_that_weights_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has learned, it enlarges logits in two steps in place of one; it starts from the seed."""
    refined = TrainableArchitecture("refined", "hourglass", {**ARGUMENTS, "refinement": 4}, GEOMETRY, 2)
    monkeypatch.setattr(architectures, "TRAINABLE", (refined,))
    torch.manual_seed(0)
    network = build_network("hourglass", ARGUMENTS)
    tensors = {key: value.numpy() for key, value in network.state_dict().items()}
    info = WeightsInfo("old", "regressor", "hourglass", ARGUMENTS, geometry=asdict(GEOMETRY))
    file = save_weights(tmp_path / "old.safetensors", tensors, info)
    plan = TrainingPlan("new", "refined", steps=2, batch=2, faces=2, views=2)
    begun, other = (start_from(file, refined, seed).tensors["refinement.near.weight"] for seed in (3, 4))
    assert (begun != other).any()
    np.testing.assert_array_equal(begun, start_from(file, refined, 3).tensors["refinement.near.weight"])
    trainer = Trainer(plan, Setting(tmp_path / "a.checkpoint", workers=0), start_from(file, refined))
    image = torch.randn(1, 3, 128, 128)
    trainer.network.eval()
    coarse, fine = network.eval()(image)[-1], trainer.network(image)[-1]
    doubled = nn.functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(fine, doubled)
    trainer._next_step()
    saved = trainer.save_weights(tmp_path, {}, {})
    assert saved.info.arguments == {**ARGUMENTS, "refinement": 4}
    assert np.abs(load_tensors(saved.path)["refinement.predict.weight"]).max() > 0
    # What has one goes on with it, and is not started from by what has none.
    again = start_from(saved, refined).tensors["refinement.predict.weight"]
    np.testing.assert_array_equal(again, load_tensors(saved.path)["refinement.predict.weight"])
    plain = replace(refined, arguments=ARGUMENTS, stride=4)
    with pytest.raises(UsageError, match="refinement 4, and --arch refined has 0"):
        start_from(saved, plain)
