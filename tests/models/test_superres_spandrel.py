"""Networks that spandrel recognises, run for real from random weights."""

from __future__ import annotations

import importlib
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from checkpoints import compact, save
from click.testing import CliRunner
from safetensors.torch import save_file

from facepipe.cli.models import import_weights, models
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.superres.methods import get_method, resolve_methods
from facepipe.models.superres.spandrel_import import import_spandrel
from facepipe.models.weights import load_tensors


@pytest.fixture(autouse=True)
def _needs_spandrel() -> None:
    try:
        import_spandrel()
    except WeightsError as error:
        pytest.skip(str(error))


def _run(state: dict, path: Path, image: np.ndarray) -> np.ndarray:
    return get_method(f"file:{save(state, path)}").build(image.shape[0])(image[None])[0]


def _image(low_px: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (low_px, low_px, 3)).astype(np.uint8)


def _direct(state: dict, image: np.ndarray) -> np.ndarray:
    """What spandrel itself makes of an image, float32 RGB in [0, 1]."""
    network = import_spandrel().ModelLoader().load_from_state_dict(dict(state)).eval()
    with torch.inference_mode():
        return (
            network(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32)))[0]
            .permute(1, 2, 0)
            .numpy()
        )


def test_a_network_that_lands_on_network_size_is_used_as_it_is(tmp_path: Path) -> None:
    state, image = compact(4), _image(32)
    expected = np.rint(_direct(state, image / 255) * 255).astype(np.uint8)
    np.testing.assert_array_equal(_run({"params_ema": state}, tmp_path / "a.pth", image), expected)


def test_what_overshoots_is_averaged_by_area(tmp_path: Path) -> None:
    state, image = compact(4), _image(64)
    large = _direct(state, image / 255)
    assert large.shape == (256, 256, 3)
    blocks = large.reshape(128, 2, 128, 2, 3).mean((1, 3)) * 255
    restored = _run(state, tmp_path / "a.pth", image)
    assert np.abs(restored - blocks).max() <= 0.501


def test_what_undershoots_runs_again_on_its_output(tmp_path: Path) -> None:
    state, image = compact(2), _image(32)
    twice = _direct(state, _direct(state, image / 255))
    np.testing.assert_array_equal(
        _run(state, tmp_path / "a.pth", image), np.rint(twice * 255).astype(np.uint8)
    )


def test_safetensors_and_prefixes_give_the_same(tmp_path: Path) -> None:
    state, image = compact(4), _image(32)
    expected = _run(state, tmp_path / "a.pth", image)
    save_file(state, tmp_path / "b.safetensors")
    plain = get_method(f"file:{tmp_path / 'b.safetensors'}").build(32)(image[None])[0]
    np.testing.assert_array_equal(plain, expected)
    prefixed = {f"module.{key}": value for key, value in state.items()}
    np.testing.assert_array_equal(_run(prefixed, tmp_path / "c.pth", image), expected)


def test_it_fits_every_size_below_that_of_the_network(tmp_path: Path) -> None:
    name = f"file:{save(compact(2), tmp_path / 'a.pth')}"
    assert resolve_methods([name], [16, 33, 64, 127]) == [name]
    with pytest.raises(UsageError, match="fit low_px 128"):
        resolve_methods([name], [64, 128])
    odd = get_method(name).build(33)(_image(33)[None])
    assert odd.shape == (1, 128, 128, 3)


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    first = get_method(f"file:{save(compact(2), tmp_path / 'a.pth')}").fingerprint(64)
    (tmp_path / "b.pth").write_bytes((tmp_path / "a.pth").read_bytes())
    assert get_method(f"file:{tmp_path / 'b.pth'}").fingerprint(64) == first
    save(compact(2, seed=1), tmp_path / "b.pth")
    assert get_method(f"file:{tmp_path / 'b.pth'}").fingerprint(64) != first


def test_networks_that_do_not_enlarge_rgb_are_refused(tmp_path: Path) -> None:
    for name, state, message in (
        ("one", compact(1), "scale 1"),
        ("other", torch.nn.Linear(2, 2).state_dict(), "belong to no network"),
        ("broken", {**compact(2), "body.2.weight": torch.zeros(3)}, "do not fit"),
    ):
        with pytest.raises(WeightsError, match=message):
            get_method(f"file:{save(state, tmp_path / f'{name}.pth')}").build(32)


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"echo run > {self.target}",)


def test_a_payload_does_not_run(tmp_path: Path) -> None:
    path = save({**compact(2), "note": _Payload(tmp_path / "proof")}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="refused"):
        get_method(f"file:{path}").build(64)
    assert not (tmp_path / "proof").exists()


def test_torchvision_is_the_real_one_and_refuses_operators_that_did_not_load() -> None:
    functional = importlib.import_module("torchvision.transforms.functional")
    image = torch.full((1, 3, 2, 2), 0.75)
    assert (functional.normalize(image, [0.5] * 3, [0.25] * 3) == 1).all()
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]])
    suppress = importlib.import_module("torchvision.ops").nms
    if importlib.import_module("torchvision.extension")._has_ops():
        assert suppress(boxes, torch.tensor([0.5, 0.9]), 0.5).tolist() == [1]
    else:
        with pytest.raises(RuntimeError, match="Couldn't load custom C\\+\\+ ops"):
            suppress(boxes, torch.tensor([0.5, 0.9]), 0.5)


def test_a_face_restorer_sees_the_size_it_was_made_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small random RestoreFormer, of scale 1; at 256 px instead of 512 to be quick."""
    monkeypatch.setattr("facepipe.models.superres.spandrel.FACE_RESTORER_PX", 256)
    restorer = importlib.import_module("spandrel.architectures.RestoreFormer").RestoreFormer
    torch.manual_seed(0)
    network = restorer(ch=32, ch_mult=(1,) * 6, num_res_blocks=1, z_channels=32, embed_dim=32, n_embed=16)
    state, image = network.state_dict(), _image(16)
    enlarged = cv2.resize(image, (256, 256), interpolation=cv2.INTER_CUBIC)
    large = _direct(state, enlarged / 255) * 255
    expected = large.reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(_run(state, tmp_path / "a.pth", image) - expected).max() <= 0.51


def test_what_spandrel_recognises_is_imported_under_a_name(tmp_path: Path) -> None:
    """It runs as the file itself does, is part of `all`, and needs neither the file nor torch to be asked."""
    state, image = compact(3), _image(32)
    path = save({"params_ema": state}, tmp_path / "theirs.pth")
    about = tmp_path / "about.json"
    about.write_text('{"licence": "CC0-1.0"}')
    done = CliRunner().invoke(
        models, ["import", str(path), "--as", "theirs-x3", "--describe", str(about), "--kind", "superres"]
    )
    assert done.exit_code == 0, done.output
    assert "theirs-x3: superres, spandrel x3, " in done.output
    expected = get_method(f"file:{path}").build(32)(image[None])
    path.unlink()
    file = get_method("theirs-x3").file
    assert file.info.arguments == {"network": "RealESRGAN Compact", "restores_faces": False}
    assert load_tensors(file.path).keys() == state.keys()
    for name in ("theirs-x3", "theirs", f"file:{file.path}"):
        method = get_method(name)
        resolver = pickle.loads(pickle.dumps(method)).build(32)
        np.testing.assert_array_equal(resolver(image[None]), expected)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(resolver))(image[None]), expected)
        assert method.fingerprint(32) == get_method("theirs").fingerprint(64)
        with pytest.raises(UsageError, match="128 px is not below it|128 px; it fits all below 128"):
            method.build(128)
    assert resolve_methods(["theirs-x3"], [16, 33, 127]) == ["theirs-x3"]
    assert "theirs" in resolve_methods(["all"], [33])
    listed = CliRunner().invoke(models, ["list"]).stdout
    line = next(line for line in listed.splitlines() if line.startswith("theirs-x3"))
    for part in ("superres", "spandrel", "x3", file.sha256[:12], "imported", "CC0-1.0"):
        assert part in line
    card = file.path.with_suffix(".md").read_text(encoding="utf-8")
    assert "network=RealESRGAN Compact" in card
    assert "`theirs.pth`, sha256 `" in card


def test_of_a_family_the_one_that_needs_one_run_is_used(tmp_path: Path) -> None:
    """Both members fit every size."""
    span = importlib.import_module("spandrel.architectures.SPAN").SPAN
    for scale in (2, 3, 4):
        torch.manual_seed(scale)
        network = span(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=scale)
        import_weights(save(network.state_dict(), tmp_path / "a.pth"), f"span-x{scale}")
    family = get_method("span")
    found = {px: family.fingerprint(px) for px in (32, 64, 50)}
    assert found[32] == get_method("span-x4").fingerprint(32)
    assert found[64] == get_method("span-x2").fingerprint(64)
    assert found[50] == get_method("span-x2").fingerprint(50)


def test_what_spandrel_does_not_take_is_not_imported(tmp_path: Path) -> None:
    for state, message in (
        (compact(1), "a RealESRGAN Compact of scale 1"),
        (torch.nn.Linear(2, 2).state_dict(), "belong to no network that facepipe or spandrel knows"),
    ):
        with pytest.raises(WeightsError, match=message):
            import_weights(save(state, tmp_path / "a.pth"), "theirs")
    with pytest.raises(WeightsError, match="spandrel, not a regressor"):
        import_weights(save(compact(3), tmp_path / "a.pth"), "theirs", kind="regressor")
