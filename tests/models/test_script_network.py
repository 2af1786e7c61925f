"""Networks in the layout of super-resolution challenges, written here: a class and its checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from facepipe.core.errors import PluginError, WeightsError
from facepipe.core.plugins import load_plugin
from facepipe.models.superres.methods import get_method
from facepipe.models.superres.script_network import ScriptNetwork

SOURCE = '''
import torch
from torch import nn
from utils.blocks import repeated

class Nearest(nn.Module):
    """Repeats pixels `upscale` times, as a network with weights that say so; for one image at a time."""

    def __init__(self, channels, upscale=4, gain=1.0):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels * upscale**2, 1, bias=False)
        self.gain, self.deployed, self.shuffle = gain, False, nn.PixelShuffle(upscale)
        self.cuda()(torch.zeros(1, channels, 8, 8).cuda())

    def switch_deploy(self):
        self.deployed = True

    def forward(self, x):
        assert len(x) == 1
        out = self.shuffle(self.conv(repeated(x))) * self.gain
        return (out, x) if self.deployed else out
'''


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """models/team07_nearest.py, model_zoo/team07_nearest.pth and a helper of the whole repository."""
    for folder in ("models", "model_zoo", "utils"):
        (tmp_path / folder).mkdir()
    (tmp_path / "utils" / "__init__.py").touch()
    (tmp_path / "utils" / "blocks.py").write_text("def repeated(x):\n    return x\n")
    (tmp_path / "models" / "team07_nearest.py").write_text(SOURCE)
    weight = torch.eye(3).repeat_interleave(16, 0).reshape(48, 3, 1, 1)
    worse = {"conv.weight": torch.zeros(48, 3, 1, 1)}
    checkpoint = {"params": worse, "params_ema": {"conv.weight": weight}}
    torch.save(checkpoint, tmp_path / "model_zoo" / "team07_nearest.pth")
    return tmp_path


def network(repository: Path, **more: object) -> ScriptNetwork:
    arguments = {"channels": 3, **more.pop("arguments", {})}
    source = repository / "models" / "team07_nearest.py"
    weights = repository / "model_zoo" / "team07_nearest.pth"
    return ScriptNetwork(source, "Nearest", weights, arguments, **more)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def test_what_a_network_of_a_file_restores(repository: Path, images: np.ndarray):
    restored = network(repository).build(32, "cpu")(images)
    np.testing.assert_array_equal(restored, images.repeat(4, 1).repeat(4, 2))
    halves = network(repository, data_range=255.0, arguments={"gain": 0.5}).build(32, "cpu")(images)
    np.testing.assert_array_equal(halves, (restored / 2 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("px", [16, 64])
def test_other_sizes_run_again_or_are_averaged(repository: Path, px: int):
    images = np.random.default_rng(0).integers(0, 256, (1, px, px, 3), dtype=np.uint8)
    restored = network(repository, prepare=lambda loaded: loaded.switch_deploy()).build(px, "cpu")(images)
    np.testing.assert_array_equal(restored, images.repeat(128 // px, 1).repeat(128 // px, 2))


def test_it_is_a_method_by_name(repository: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    (repository / "my_networks.py").write_text(
        "from facepipe import ScriptNetwork\n"
        "team07 = ScriptNetwork('models/team07_nearest.py', 'Nearest', 'model_zoo/team07_nearest.pth',\n"
        "                       {'channels': 3})\n"
    )
    monkeypatch.chdir(repository)
    monkeypatch.syspath_prepend(repository)
    load_plugin.cache_clear()
    method = get_method("my_networks:team07")
    np.testing.assert_array_equal(method.build(32)(images), images.repeat(4, 1).repeat(4, 2))
    before = method.fingerprint(32)
    torch.save({"conv.weight": torch.zeros(48, 3, 1, 1)}, repository / "model_zoo" / "team07_nearest.pth")
    assert get_method("my_networks:team07").fingerprint(32) != before


def test_what_is_wrong_is_named(repository: Path):
    with pytest.raises(PluginError, match=r"team07_nearest\.py: no class 'Farthest' in it"):
        ScriptNetwork(
            repository / "models" / "team07_nearest.py", "Farthest", repository / "model_zoo" / "x.pth"
        ).build(32, "cpu")
    torch.save({"conv.bias": torch.zeros(48)}, repository / "model_zoo" / "team07_nearest.pth")
    with pytest.raises(WeightsError, match="its tensors do not fit Nearest"):
        network(repository).build(32, "cpu")
    (repository / "model_zoo" / "team07_nearest.pth").unlink()
    with pytest.raises(PluginError, match="is no file"):
        network(repository).build(32, "cpu")
