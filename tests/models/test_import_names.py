"""What files and names of weights are called in messages, and how imported weights go away again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoints import espcn, save
from click.testing import CliRunner

from facepipe.cli.models import models
from facepipe.cli.models_import import import_weights
from facepipe.cli.weights_names import named_weights
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.superres.methods import get_method
from facepipe.models.vrn.detect_architecture import detect_regressor
from facepipe.models.vrn.hourglass import HourglassNetwork
from facepipe.models.weights import (
    check_name,
    find_network,
    find_weights,
    imported_folder,
    read_third_party,
    remove_weights,
)


def test_a_torch7_file_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "x.t7"
    path.write_bytes(b"\x04\0\0\0" + bytes(40))
    with pytest.raises(WeightsError, match=r"a Torch7 file; .*a regressor.*facepipe models import .*x\.t7"):
        get_method(f"file:{path}").fits(32)


def test_keys_of_a_checkpoint_without_tensors_are_named(tmp_path: Path) -> None:
    path = save({"epoch": 1, "losses": [0.1]}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="it holds 'epoch', 'losses'; save the state dictionary"):
        read_third_party(path)


def test_the_users_own_family_is_not_facepipes(tmp_path: Path) -> None:
    path = save(espcn(4).state_dict(), tmp_path / "a.pth")
    import_weights(path, "espcn-2019-x4")
    with pytest.raises(UsageError, match="what espcn-2019-x4 are called together"):
        import_weights(path, "espcn-2019")
    for name in ("espcn", "compact-area", "espcn-x4"):
        with pytest.raises(UsageError, match="facepipe itself"):
            import_weights(path, name)


def test_checkpoints_are_to_be_imported_before_they_are_shown(tmp_path: Path) -> None:
    path = save(espcn(2).state_dict(), tmp_path / "a.pth")
    with pytest.raises(UsageError, match=r"import it first: facepipe models import .*a\.pth --as NAME"):
        named_weights(str(path))
    with pytest.raises(UsageError, match=r"b\.pth: no such file"):
        named_weights(str(tmp_path / "b.pth"))
    with pytest.raises(UsageError, match="did you mean 'vrn-compact'"):
        named_weights("vrn-compct")


def test_an_hourglass_that_was_trained_in_parallel_is_recognised(tmp_path: Path) -> None:
    network = HourglassNetwork(channels=8, stages=1, depth=2, slices=5)
    state = torch.nn.DataParallel(network).state_dict()
    assert all(key.startswith("module.") for key in state)
    tensors, _ = find_network(save(state, tmp_path / "a.pth"), [detect_regressor])
    assert tensors.keys() == network.state_dict().keys()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".t7", ".bin", ".ckpt"])
def test_names_that_look_like_files_are_refused(suffix: str) -> None:
    with pytest.raises(UsageError, match=f"a name, not a file: leave '{suffix}' away"):
        check_name(f"x{suffix}")
    assert check_name("x4.1") == "x4.1"


def test_imported_weights_are_removed_with_their_card(tmp_path: Path) -> None:
    path = save(espcn(2).state_dict(), tmp_path / "a.pth")
    kept, gone = import_weights(path, "kept"), import_weights(path, "gone")
    card = gone.path.with_suffix(".md")
    assert card.is_file()
    done = CliRunner().invoke(models, ["remove", "gone"])
    assert done.exit_code == 0, done.output
    assert done.output == f"gone: removed, {gone.path}\n"
    assert not gone.path.exists()
    assert not card.exists()
    assert find_weights("gone", "superres") is None
    assert find_weights("kept", "superres") == kept
    (imported_folder() / "broken.safetensors").write_bytes(b"x")
    remove_weights("broken")
    assert sorted(file.name for file in imported_folder().iterdir()) == ["kept.md", "kept.safetensors"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vrn-compact", "vrn-compact: comes with facepipe"),
        ("gone", "unknown imported weights 'gone'"),
        ("../kept", "unknown imported weights '../kept'"),
    ],
)
def test_nothing_else_is_removed(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        remove_weights(name)
    assert raised.value.exit_status == 2
