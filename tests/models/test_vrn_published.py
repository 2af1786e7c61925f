"""The networks at their published sizes."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import WeightsError
from facepipe.lab.vrn.regressor_plan import TrainingPlan
from facepipe.lab.vrn.train import Setting, Trainer
from facepipe.models.vrn import architectures
from facepipe.models.vrn.architectures import TrainableArchitecture, trainable
from facepipe.models.vrn.hourglass import ResidualBlock
from facepipe.models.vrn.networks import NETWORKS, build_network
from facepipe.models.vrn.published import ThirdsHourglass, ThirdsNetwork, VrnHourglass, VrnNetwork
from facepipe.models.vrn.regressors import ARCHITECTURES, open_regressor
from facepipe.models.weights import WeightsInfo, save_weights

SMALL = {
    "hourglass": {"channels": 8, "stages": 2, "depth": 2, "slices": 5},
    "thirds": {"channels": 8, "stages": 2, "modules": 1, "depth": 2, "slices": 5},
    "vrn": {"channels": 8, "stages": 2, "depth": 2, "slices": 5},
}
STRIDES = {"hourglass": 4, "thirds": 1, "vrn": 4}
REFINED = {**SMALL["hourglass"], "refinement": 4, "context": 6}


def _count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _number(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


def test_the_unguided_vrn_has_its_published_size() -> None:
    with torch.device("meta"):
        network = VrnNetwork()
    assert _count(network) == 19_184_968
    assert (_number(network, nn.Conv2d), _number(network, nn.BatchNorm2d)) == (276, 273)


def test_the_network_of_2019_has_its_published_size_with_what_it_never_used() -> None:
    """A block for 68 landmark maps, what read positions from them, and what the last stage would hand on."""
    with torch.device("meta"):
        network = ThirdsNetwork()
        landmarks = ResidualBlock(68, 224, bias=True), nn.Conv2d(224, 68, 3), nn.Linear(126 * 126, 2)
        handed_on = nn.Conv2d(224, 224, 1), nn.Conv2d(200, 224, 1)
    assert _count(*landmarks) == 330_998
    assert _count(*handed_on) == 95_424
    assert _count(network) == 9_746_774
    assert _count(network, *landmarks, *handed_on) == 10_173_196


@pytest.mark.parametrize("name", ["compact", "hourglass-128", "vrn-192"])
def test_trainable_networks_predict_the_grid_that_they_are_supervised_on(name: str) -> None:
    architecture = trainable(name)
    side = architecture.geometry.size
    with torch.device("meta"):
        network = build_network(architecture.architecture, architecture.arguments).eval()
        logits = network(torch.empty(1, 3, side, side))[-1]
    assert logits.shape == (1, 200, architecture.target_px, architecture.target_px)


def test_every_architecture_has_a_network() -> None:
    assert tuple(NETWORKS) == ARCHITECTURES
    with pytest.raises(WeightsError, match="'vrn' with"):
        build_network("vrn", {"colour": 3})


def _silence(network: nn.Module) -> None:
    """Turn residual blocks into their shortcuts."""
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.conv3.weight.data.zero_()
            module.conv3.bias.data.zero_()


def test_hourglasses_of_silent_blocks_add_maxima() -> None:
    """To each pixel the maximum of its cell, once for each level; zeros where thirds do not fill the side."""
    features = torch.rand(1, 4, 20, 20, generator=torch.Generator().manual_seed(0))
    thirds = ThirdsHourglass(1, 4, 2).eval()
    _silence(thirds)
    maxima = nn.functional.max_pool2d(features, 3).repeat_interleave(3, 2).repeat_interleave(3, 3)
    expected = features.clone()
    expected[:, :, 1:19, 1:19] += maxima
    torch.testing.assert_close(thirds(features), expected)

    halves = VrnHourglass(2, 4).eval()
    _silence(halves)
    spread = [
        nn.functional.max_pool2d(features, side).repeat_interleave(side, 2).repeat_interleave(side, 3)
        for side in (2, 4)
    ]
    torch.testing.assert_close(halves(features), features + spread[0] + spread[1])


def test_levels_nested_on_the_fine_side_halve_once_each() -> None:
    """Two levels add the maxima of 2 x 2 pixels twice, so that any even side will do."""
    features = torch.rand(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    network = VrnHourglass(2, 4, "fine").eval()
    _silence(network)
    maxima = nn.functional.max_pool2d(features, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(network(features), features + 2 * maxima)


def test_weights_to_be_run_in_unknown_ways_are_refused(tmp_path: Path) -> None:
    info = WeightsInfo("new", "regressor", "thirds", geometry=asdict(VolumeGeometry()))
    path = tmp_path / "new.safetensors"
    for usage in ({"input_range": "-2..2"}, {"flavour": "rgb"}):
        save_weights(path, {"a": np.zeros(1, np.float32)}, replace(info, usage=usage))
        with pytest.raises(WeightsError, match="which is unknown; it may need a newer facepipe"):
            open_regressor(str(path)).build()


@pytest.mark.parametrize(
    ("architecture", "arguments", "stride"),
    [*((name, SMALL[name], STRIDES[name]) for name in ARCHITECTURES), ("hourglass", REFINED, 2)],
    ids=[*ARCHITECTURES, "refined"],
)
def test_every_architecture_is_trained_saved_and_run(
    architecture: str,
    arguments: dict[str, int],
    stride: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One step; then the weights as written give a volume of the geometry, each image on its own."""
    geometry = VolumeGeometry(size=64, depth=5, spacing=(6.0, 1.0, 1.0), z_zero=2.5)
    small = TrainableArchitecture("small", architecture, arguments, geometry, stride)
    monkeypatch.setattr(architectures, "TRAINABLE", (small,))
    plan = TrainingPlan("tiny", "small", steps=1, batch=2, faces=2, views=1)
    trainer = Trainer(plan, Setting(tmp_path / "a.checkpoint", workers=0, validation_faces=1))
    before = [parameter.detach().clone() for parameter in trainer.network.parameters()]
    trainer.run(lambda _: None, lambda _: None)
    assert any(
        not torch.equal(old, new) for old, new in zip(before, trainer.network.parameters(), strict=True)
    )
    shift, score = trainer.calibrate()
    assert np.isfinite(shift)
    assert score.iou >= 0
    file = trainer.save_weights(tmp_path, {}, {})
    network = open_regressor(str(file.path)).build()
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3)).astype(np.uint8)
    volumes = network(images)
    assert volumes.shape == (2, 5, 64, 64)
    np.testing.assert_array_equal(network(images[1:])[0], volumes[1])


def test_weights_of_an_architecture_from_the_future_are_refused(tmp_path: Path) -> None:
    info = WeightsInfo("new", "regressor", "thirds", geometry=asdict(VolumeGeometry()))
    path = tmp_path / "new.safetensors"
    save_weights(path, {"a": np.zeros(1, np.float32)}, replace(info, architecture="fourths"))
    with pytest.raises(WeightsError, match="newer facepipe"):
        open_regressor(str(path))
