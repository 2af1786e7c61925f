"""The 2019 study's network under the names of its published checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save
from study_network import StudyNetwork, lively

from facepipe.cli.models_import import import_weights
from facepipe.core.errors import WeightsError
from facepipe.models.vrn.regressors import get_regressor
from facepipe.models.weights import load_tensors


def _network(**how: int | bool) -> StudyNetwork:
    torch.manual_seed(0)
    return lively(StudyNetwork(**how))


@pytest.mark.parametrize("how", [{}, {"landmarks": False}, {"modules": 1, "reductions": 3, "stacks": 3}])
def test_an_imported_network_computes_what_it_did(tmp_path: Path, how: dict) -> None:
    """BGR, (grey - 128) / 128, as the published scripts feed it; the landmark branch takes no part."""
    network = _network(**how)
    file = import_weights(save(network.state_dict(), tmp_path / "a.pth"), "study")
    assert file.info.architecture == "thirds"
    assert file.info.usage == {"input_range": "128ths", "channel_order": "bgr"}
    image = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3)).astype(np.uint8)
    inputs = (torch.from_numpy(image[..., ::-1].copy()).permute(0, 3, 1, 2).float() - 128) / 128
    with torch.inference_mode():
        expected = 255 * torch.sigmoid(network(inputs)).numpy()
    volume = get_regressor("study").build()(image)
    assert np.ptp(expected) > 20
    assert np.abs(volume - expected).max() < 0.51


def test_every_form_of_the_file_gives_the_same_weights(tmp_path: Path) -> None:
    network = _network()
    state = network.state_dict()
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    forms = {
        "plain": state,
        "parallel": {f"module.{key}": value for key, value in state.items()},
        "wrapped": {"epoch": 55, "state_dict": state},
        "old": old,
    }
    read = {}
    for name, form in forms.items():
        read[name] = load_tensors(import_weights(save(form, tmp_path / f"{name}.pth"), name).path)
    for name in ("parallel", "wrapped"):
        assert read[name].keys() == read["plain"].keys()
    for tensors in read.values():
        for key, tensor in tensors.items():
            np.testing.assert_array_equal(tensor, read["plain"][key])
    image = np.full((1, 128, 128, 3), 90, np.uint8)
    volumes = [get_regressor(name).build()(image) for name in ("plain", "old")]
    np.testing.assert_array_equal(*volumes)


def test_the_published_size_is_imported_whole(tmp_path: Path) -> None:
    """10,173,196 parameters in the file, less 330,998 for landmark maps and 95,424 handed on to nothing."""
    network = StudyNetwork(224, 2, 2, 4, 200)
    state = network.state_dict()
    assert sum(parameter.numel() for parameter in network.parameters()) == 10_173_196
    file = import_weights(save(state, tmp_path / "a.pth"), "study")
    trained = [
        tensor.size
        for key, tensor in load_tensors(file.path).items()
        if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))
    ]
    assert sum(trained) == 10_173_196 - 330_998 - 95_424
    assert file.info.geometry["spacing"][0] == pytest.approx(128 / 450)
    assert (file.info.geometry["z_zero"], file.info.assumed) == (80, ("z_zero",))


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = _network().state_dict()

    def refuse(changes: dict, message: str) -> None:
        changed = {key: value for key, value in {**state, **changes}.items() if value is not None}
        with pytest.raises(WeightsError, match=message):
            import_weights(save(changed, tmp_path / "a.pth"), "a", overwrite=True)

    refuse({"res2.cb.cbr2.conv.weight": None}, r"no tensor for stem\.1\.conv2\.weight")
    refuse(
        {"res2.cb.cbr2.conv.weight": torch.zeros(64, 64, 1, 1)}, r"stem\.1\.conv2\.weight.*\(64, 64, 3, 3\)"
    )
    refuse({"attention.weight": torch.zeros(3)}, r"attention\.weight.*none")
    refuse({"res_lands.cb.cbr1.conv.weight": torch.zeros(4, 5, 1, 1)}, "landmark maps has shape")
    refuse({"lands_lin.scale": torch.zeros(2)}, "none of that name")
    refuse({"lin2.1.weight": torch.zeros(8, 9, 1, 1)}, "what the last stage hands on")
    refuse({"jointstochan.1.bias": None}, "what the last stage hands on")
    refuse({"jointstochan.0.bias": None}, r"carry_volume\.bias")
    refuse({"chantojoints.0.weight": torch.zeros(5)}, "4 axes")


def test_a_network_that_needs_landmark_maps_is_refused(tmp_path: Path) -> None:
    """Its branch has seen data, so its volumes depend on an input that nobody gives."""
    network = _network()
    network.res_lands.train()(torch.rand(2, 68, 16, 16))
    with pytest.raises(WeightsError, match="trained with landmark maps"):
        import_weights(save(network.state_dict(), tmp_path / "a.pth"), "a")
