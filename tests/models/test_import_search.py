"""The wanted network is found in checkpoints as training programs write them."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import compact, espcn, save
from safetensors.torch import save_file
from torch import nn

from facepipe.cli.models import import_weights
from facepipe.core.errors import WeightsError
from facepipe.models.superres.methods import get_method
from facepipe.models.weights import find_weights, load_tensors

STATE = compact(4)
VGG = {f"perceptual.vgg.{layer}.weight": torch.zeros(4, 3, 3, 3) for layer in range(12)}


def under(prefix: str, state: dict = STATE) -> dict:
    return {f"{prefix}{key}": value for key, value in state.items()}


FORMS = {
    "compiled": under("_orig_mod."),
    "parallel and compiled": under("module._orig_mod."),
    "lightning": {"epoch": 12, "state_dict": under("net_g.") | VGG, "optimizer_states": []},
    "averaged": {"n_averaged": torch.tensor(7), **under("module.")},
    "nested": {"ema": {"module": STATE, "updates": torch.tensor([3, 4])}},
    "BasicSR": {"params": compact(4, seed=1), "params_ema": STATE},
    "the same twice": {"model": STATE, "best": {"weights": {k: v.clone() for k, v in STATE.items()}}},
    "numbers of NumPy": {
        "best": np.float64(31.5),
        "steps": np.int64(3),
        "curve": [np.float32(1)],
        "net": STATE,
    },
    "options of the run": {"args": argparse.Namespace(lr=0.1, out=Path("a")), "net": STATE},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_network_is_found(tmp_path: Path, form: str) -> None:
    path = save(FORMS[form], tmp_path / "a.pth")
    tensors = load_tensors(import_weights(path, "found").path)
    assert tensors.keys() == STATE.keys()
    for key, value in STATE.items():
        np.testing.assert_array_equal(tensors[key], value.numpy())
    low = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    by_file = get_method(f"file:{path}").build(32)(low)
    assert np.abs(by_file.astype(int) - get_method("found").build(32)(low)).max() <= 1


def test_prefixed_safetensors(tmp_path: Path) -> None:
    save_file(under("model.net_g."), tmp_path / "a.safetensors")
    assert load_tensors(import_weights(tmp_path / "a.safetensors", "found").path).keys() == STATE.keys()


def test_several_networks_are_refused_by_their_places(tmp_path: Path) -> None:
    two = under("net_g.") | under("net_ema.", compact(4, seed=1))
    path = save({"epoch": 3, "state_dict": two}, tmp_path / "a.ckpt")
    with pytest.raises(
        WeightsError, match=r"a\.ckpt: several .*'state_dict: net_g\.', 'state_dict: net_ema\.'"
    ):
        import_weights(path, "found")
    assert find_weights("found", "superres") is None


def test_the_reason_is_that_of_the_main_part(tmp_path: Path) -> None:
    wrong = espcn(2).state_dict() | {"conv2.weight": torch.zeros(3)}
    with pytest.raises(WeightsError, match=r"conv2\.weight has shape \(3,\), an ESPCN has"):
        import_weights(save({"state_dict": under("net.", wrong) | VGG}, tmp_path / "a.pth"), "found")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_programs_are_not_run_and_the_way_out_is_named(tmp_path: Path) -> None:
    torch.jit.script(nn.Conv2d(1, 2, 3)).save(tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"a TorchScript file.*torch\.jit\.load\(FILE\)\.state_dict\(\)"):
        import_weights(tmp_path / "a.pt", "found")
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07\x12\x07pytorch")
    with pytest.raises(WeightsError, match=r"an ONNX file.*torch\.save\(network\.state_dict\(\)"):
        import_weights(tmp_path / "a.onnx", "found")


def test_nothing_claims_that_only_spandrel_knows_a_network(tmp_path: Path) -> None:
    path = save(nn.Linear(2, 3).state_dict(), tmp_path / "a.pth")
    for use in (lambda: import_weights(path, "found"), lambda: get_method(f"file:{path}").fits(32)):
        with pytest.raises(WeightsError, match=r"2 tensors \(bias, weight, \.\.\.\) belong to no network"):
            use()
