"""What is checked of weights and of what users say of them before an import writes anything."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from checkpoints import espcn, save
from study_network import StudyNetwork

from facepipe.cli.models_import import import_weights
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.vrn.networks import random_tensors
from facepipe.models.weights import WeightsFile, WeightsInfo, imported_folder, list_text, listed, save_weights

SMALL = {"channels": 8, "stages": 1, "depth": 2, "slices": 5}
GEOMETRY = VolumeGeometry(depth=5, z_zero=2.0)


def _own(folder: Path, **fields: object) -> WeightsFile:
    """A regressor of facepipe's own that was measured."""
    info = WeightsInfo(
        "own", "regressor", "hourglass", SMALL, geometry=asdict(GEOMETRY), colour="RGB scaled to -1..1",
        figures={"Toys, all": {"iou": "0.888 (0.880 to 0.896)", "images": "9"}},
    )  # fmt: skip
    tensors = random_tensors("hourglass", SMALL, 0)
    return save_weights(folder / "own.safetensors", tensors, replace(info, **fields))


def _described(folder: Path, values: object) -> Path:
    path = folder / "about.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return path


@pytest.mark.parametrize(
    ("said", "colour"),
    [
        ({"usage": {"input_range": "0..255"}}, "RGB scaled to 0..255"),
        ({"usage": {"channel_order": "bgr"}}, "BGR scaled to -1..1"),
        ({"usage": {"batch_norm": "per-image"}}, "RGB scaled to -1..1"),
        ({"z_zero": 3.0}, "RGB scaled to -1..1"),
    ],
)
def test_figures_are_of_a_network_as_it_was_run(tmp_path: Path, said: dict, colour: str) -> None:
    file = import_weights(_own(tmp_path).path, "other", **said)
    assert file.info.figures == {}
    assert file.info.colour == colour
    assert "0.888" not in list_text([listed(file)])
    assert "0.888" not in file.path.with_suffix(".md").read_text(encoding="utf-8")


def test_figures_stay_where_nothing_changes(tmp_path: Path) -> None:
    own = _own(tmp_path)
    for name, said in (
        ("plain", {}),
        ("same", {"usage": {"input_range": "-1..1", "channel_order": "rgb"}, "z_zero": 2.0}),
    ):
        file = import_weights(own.path, name, **said)
        assert file.info.figures == own.info.figures
        assert file.identity == own.identity
    given = _described(tmp_path, {"figures": {"iou": 0.5}, "geometry": {"z_zero": 1}})
    assert import_weights(own.path, "measured", describe=given).info.figures == {"iou": 0.5}


@pytest.mark.parametrize("size", [1, 2, 60])
def test_sizes_at_which_a_network_does_not_run_are_refused(tmp_path: Path, size: int) -> None:
    """Two levels halve a quarter of the side twice, and 15 has no half."""
    about = _described(tmp_path, {"geometry": {"size": size}})
    with pytest.raises(UsageError, match=rf"--describe .*does not run on images of {size} px"):
        import_weights(_own(tmp_path).path, "odd", describe=about)
    wrong = _own(tmp_path, geometry=asdict(replace(GEOMETRY, size=size)))
    with pytest.raises(WeightsError, match=rf"own.safetensors: .*does not run on images of {size} px"):
        import_weights(wrong.path, "odd")
    assert not list(imported_folder().glob("odd*"))
    about = _described(tmp_path, {"geometry": {"size": 64}})
    assert import_weights(wrong.path, "right", describe=about).info.geometry["size"] == 64


def test_a_study_network_with_five_reductions_needs_243_px(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = save(StudyNetwork(modules=1, reductions=5, stacks=1).state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="does not run on images of 128 px"):
        import_weights(path, "five")
    assert not list(imported_folder().glob("five*"))
    about = _described(tmp_path, {"geometry": {"size": 243}})
    assert import_weights(path, "five", describe=about).info.geometry["size"] == 243


@pytest.mark.parametrize("z_zero", [1e300, 5.01, -0.1])
def test_where_z_is_0_lies_in_the_volume(tmp_path: Path, z_zero: float) -> None:
    own = _own(tmp_path).path
    with pytest.raises(UsageError, match="--z-zero: a z_zero of .*expected 0 to 5"):
        import_weights(own, "odd", z_zero=z_zero)
    with pytest.raises(UsageError, match="--describe .*expected 0 to 5"):
        import_weights(own, "odd", describe=_described(tmp_path, {"geometry": {"z_zero": z_zero}}))
    assert not list(imported_folder().glob("odd*"))
    for edge in (0.0, 5.0):
        assert import_weights(own, "edge", z_zero=edge, overwrite=True).info.geometry["z_zero"] == edge


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training": {"loss_curve": ["a", "b"]}}, "loss_curve"),
        ({"training": {"loss_curve": [1, 2, None]}}, "loss_curve"),
        ({"training": {"loss_curve": 3}}, "loss_curve"),
        ('{"training": {"loss_curve": [1, NaN]}}', "loss_curve"),
        ({"degradation": "nosuch"}, "unknown degradation 'nosuch'"),
        ({"figures": {"psnr_db": "abc"}}, "figure psnr_db = 'abc'"),
        ({"figures": {"Toys, all": {"iou": None}}}, "figure iou = None"),
        ('{"figures": {"oddness": 1e999}}', "figure oddness = inf"),
        ({"figures": {"commands": "facepipe"}}, "commands"),
        ({"figures": {"toys, yaw to either side ²": {"iou": 1}}}, "no card"),
        ('{"licence": "\\ud800"}', "not readable as JSON"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(tmp_path: Path, values: object, message: str) -> None:
    path = save(espcn(2).state_dict(), tmp_path / "a.pth")
    with pytest.raises(UsageError, match=f"--describe .*about.json: .*{message}"):
        import_weights(path, "odd", describe=_described(tmp_path, values))
    assert not list(imported_folder().glob("odd*"))


def test_descriptions_that_can_be_are_taken(tmp_path: Path) -> None:
    values = {
        "degradation": "camera",
        "training": {"loss_curve": [0.3, 0.2, 0.1], "hours": None},
        "figures": {"psnr_db": "30.5 (29 to 31)", "Toys, all": {"ssim": 0.9, "note": "by hand"}},
    }
    path = save(espcn(2).state_dict(), tmp_path / "a.pth")
    file = import_weights(path, "good", describe=_described(tmp_path, values))
    assert {key: getattr(file.info, key) for key in values} == values
    assert "30.5 (29 to 31)" in file.path.with_suffix(".md").read_text(encoding="utf-8")


def test_own_weights_with_a_damaged_description_are_refused(tmp_path: Path) -> None:
    for change, message in (
        ({"training": {"loss_curve": ["a"]}}, "loss_curve"),
        ({"figures": {"iou": "high"}}, "figure iou = 'high'"),
        ({"usage": {"flavour": "sweet"}}, "flavour = 'sweet', which is unknown"),
    ):
        with pytest.raises(WeightsError, match=f"own.safetensors: .*{message}"):
            import_weights(_own(tmp_path, **change).path, "odd")
    assert not list(imported_folder().glob("odd*"))
