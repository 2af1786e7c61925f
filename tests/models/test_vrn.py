"""What every regressor owes the rest of facepipe, and what the hourglass network computes."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy.io import loadmat

from facepipe.cli.models import import_weights, models
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import UsageError, WeightsError
from facepipe.imaging.degrade import make_reference
from facepipe.imaging.images import read_image
from facepipe.models.vrn.hourglass import Hourglass, HourglassNetwork, ResidualBlock
from facepipe.models.vrn.regressors import get_regressor, known_regressors, resolve_regressors
from facepipe.models.weights import imported_folder, list_weights, load_tensors, save_weights

SHIPPED = tuple(file.path.stem for file in list_weights("regressor") if file.shipped)
SMALL = {"channels": 8, "stages": 2, "depth": 2, "slices": 5}


def _small(seed: int = 0) -> HourglassNetwork:
    """A small network of two stages whose batch norms have statistics of their own."""
    torch.manual_seed(seed)
    network = HourglassNetwork(**SMALL)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def _import_small(tmp_path: Path, name: str = "small", seed: int = 0) -> None:
    import_weights(save(_small(seed).state_dict(), tmp_path / f"{name}.pth"), name)


def _images(count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 128, 128, 3)).astype(np.uint8)


@pytest.fixture(params=[*SHIPPED, "small"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "small":
        _import_small(tmp_path)
    return request.param


def test_shape_type_determinism_independence_and_pickling(name: str) -> None:
    regressor = get_regressor(name)
    images = _images()
    kept = images.copy()
    network = regressor.build()
    volumes = network(images)
    assert volumes.shape == (3, *regressor.geometry.shape)
    assert volumes.dtype == np.uint8
    assert volumes.flags.c_contiguous
    np.testing.assert_array_equal(images, kept)
    np.testing.assert_array_equal(network(images), volumes)
    np.testing.assert_array_equal(network(images[::-1])[::-1], volumes)
    np.testing.assert_array_equal(np.concatenate([network(image[None]) for image in images]), volumes)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(network))(images), volumes)
    again = pickle.loads(pickle.dumps(regressor))
    assert again.fingerprint() == regressor.fingerprint()
    assert again.geometry == regressor.geometry
    assert network(images[:0]).shape == (0, *regressor.geometry.shape)
    assert regressor.build() is network


def test_wrong_sizes_and_devices_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="128"):
        get_regressor(name).build()(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(UsageError, match="device 'abacus'"):
        get_regressor(name).build("abacus")


def test_names(tmp_path: Path) -> None:
    assert known_regressors() == list(SHIPPED)
    _import_small(tmp_path)
    assert known_regressors() == [*SHIPPED, "small"]
    assert resolve_regressors(["all"]) == [*SHIPPED, "small"]
    assert resolve_regressors(["none"]) == []
    assert resolve_regressors([]) == []
    assert resolve_regressors(["small", "all", "none"]) == ["small", *SHIPPED]
    with pytest.raises(UsageError, match="did you mean 'vrn-compact'"):
        resolve_regressors(["vrn-compcat"])


def test_untrained_weights_are_never_part_of_all(tmp_path: Path) -> None:
    _import_small(tmp_path)
    path = imported_folder() / "small.safetensors"
    file = next(file for file in list_weights("regressor") if file.path == path)
    save_weights(path, load_tensors(path), replace(file.info, trained=False))
    assert resolve_regressors(["all"]) == list(SHIPPED)
    assert resolve_regressors(["small"]) == ["small"]


@pytest.mark.parametrize(
    "geometry",
    [None, {}, {"spacing": [1, 1]}, {"spacing": [1, 1, 1], "size": 10**6}, {"spacing": "abc"}, {"x": 1}],
)
def test_weights_without_a_sensible_geometry_are_refused(tmp_path: Path, geometry: dict | None) -> None:
    _import_small(tmp_path)
    path = imported_folder() / "small.safetensors"
    file = next(file for file in list_weights("regressor") if file.path == path)
    save_weights(path, load_tensors(path), replace(file.info, geometry=geometry))
    with pytest.raises(WeightsError, match="geometry"):
        get_regressor("small")


def test_the_compact_regressor_has_the_geometry_of_the_conventions() -> None:
    assert get_regressor("vrn-compact").geometry == VolumeGeometry(128, 200, (1 / 3, 1.0, 1.0), 80.0)


def test_fingerprints_follow_weights_and_geometry(tmp_path: Path) -> None:
    _import_small(tmp_path, "one")
    _import_small(tmp_path, "two")
    _import_small(tmp_path, "three", seed=1)
    one, two, three = (get_regressor(name).fingerprint() for name in ("one", "two", "three"))
    assert one != three
    moved = asdict(VolumeGeometry(128, 5, z_zero=3.0))
    path = imported_folder() / "two.safetensors"
    file = next(file for file in list_weights("regressor") if file.path == path)
    save_weights(path, load_tensors(path), replace(file.info, geometry=moved))
    assert get_regressor("two").fingerprint() != two
    assert one == two


def test_measuring_a_network_leaves_its_fingerprint(tmp_path: Path) -> None:
    _import_small(tmp_path)
    regressor = get_regressor("small")
    before = regressor.fingerprint()
    measured = replace(regressor.file.info, figures={"faces, all": {"iou": 0.5}}, training={"seed": 1})
    save_weights(regressor.file.path, load_tensors(regressor.file.path), measured)
    assert get_regressor("small").file.info.figures
    assert get_regressor("small").fingerprint() == before


def test_slices_of_a_network_that_only_knows_its_bias(tmp_path: Path) -> None:
    """With a prediction of zero weight every column is round(255 sigmoid(bias))."""
    network = _small()
    network.stages[-1].predict.weight.data.zero_()
    network.stages[-1].predict.bias.data = torch.tensor([-30.0, -1.0986123, 0.0, 1.0986123, 30.0])
    import_weights(save(network.state_dict(), tmp_path / "a.pth"), "flat")
    volume = get_regressor("flat").build()(_images(1))[0]
    # sigmoid(-ln 3) = 1/4, so 63.75 -> 64; 127.5 -> 128 (to even); 191.25 -> 191
    np.testing.assert_array_equal(
        volume, np.broadcast_to(np.array([0, 64, 128, 191, 255])[:, None, None], volume.shape)
    )


def test_columns_lie_under_their_pixels(tmp_path: Path) -> None:
    """Logits that rise linearly along x of the coarse grid do so along x of the volume, at pixel centres."""
    _import_small(tmp_path)
    regressor = get_regressor("small").build()

    def ramp(images: torch.Tensor) -> list[torch.Tensor]:
        centres = (torch.arange(32) + 0.5) * 4 / 128
        return [centres.expand(len(images), 5, 32, 32)]

    regressor._network = ramp
    volume = regressor(_images(1))[0]
    centres = (np.arange(128) + 0.5) / 128
    expected = np.rint(255 / (1 + np.exp(-centres)))
    np.testing.assert_array_equal(volume[:, :, 2:-2], np.broadcast_to(expected[2:-2], (5, 128, 124)))


def test_images_reach_the_network_as_minus_one_to_one(tmp_path: Path) -> None:
    _import_small(tmp_path)
    regressor = get_regressor("small").build()
    seen = []

    def spy(images: torch.Tensor) -> list[torch.Tensor]:
        seen.append(images)
        return [torch.zeros(len(images), 5, 32, 32)]

    regressor._network = spy
    image = np.zeros((1, 128, 128, 3), np.uint8)
    image[0, 3, 7] = (255, 0, 51)
    regressor(image)
    assert seen[0].shape == (1, 3, 128, 128)
    torch.testing.assert_close(seen[0][0, :, 3, 7], torch.tensor([1.0, -1.0, -0.6]))


def test_blocks_with_silent_convolutions_are_their_shortcuts() -> None:
    features = torch.randn(2, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    block = ResidualBlock(6, 6).eval()
    block.conv3.weight.data.zero_()
    torch.testing.assert_close(block(features), features)
    # An hourglass of such blocks adds to each pixel the maximum around it, once for each level.
    hourglass = Hourglass(2, 6).eval()
    for module in hourglass.modules():
        if isinstance(module, ResidualBlock):
            module.conv3.weight.data.zero_()

    def spread(values: torch.Tensor, side: int) -> torch.Tensor:
        return (
            torch.nn.functional.max_pool2d(values, side).repeat_interleave(side, 2).repeat_interleave(side, 3)
        )

    torch.testing.assert_close(hourglass(features), features + spread(features, 2) + spread(features, 4))


def test_every_stage_predicts_and_hands_on() -> None:
    network = _small()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first, second = network(image)
    assert first.shape == second.shape == (1, 5, 16, 16)
    for carry in (network.stages[0].carry_features, network.stages[0].carry_volume):
        before = carry.weight.data.clone()
        carry.weight.data.zero_()
        same_first, other_second = network(image)
        torch.testing.assert_close(same_first, first)
        assert not torch.allclose(other_second, second)
        carry.weight.data = before
    assert network.stages[1].carry_features is None


ABBREVIATIONS = (
    ("stem.5.", "r.0."),
    ("stem.6.", "r.1."),
    (".up.", ".l3."),
    (".skip.", ".up."),
    (".down.", ".l1."),
    (".inner", ".l2"),
    (".norm", ".n"),
    (".conv", ".c"),
    (".shortcut.", ".sk."),
)


def _abbreviated(key: str) -> str:
    for full, short in ABBREVIATIONS:
        key = key.replace(full, short)
    for part, short in (
        ("hourglass", "h"),
        ("head", "f"),
        ("predict", "o"),
        ("carry_features", "b"),
        ("carry_volume", "ob"),
    ):
        for stage in range(2):
            key = key.replace(f"stages.{stage}.{part}.", f"{short}.{stage}.")
    return key


def test_checkpoints_with_abbreviated_names_are_the_same_network(tmp_path: Path) -> None:
    state = _small().state_dict()
    short = {_abbreviated(key): value for key, value in state.items()}
    assert {
        "h.0.l2.l2.n1.weight",
        "ob.0.bias",
        "f.1.3.bias",
        "stem.3.sk.weight",
        "r.0.c1.weight",
    } <= short.keys()
    file = import_weights(save(short, tmp_path / "short.pth"), "short")
    assert dict(file.info.arguments) == SMALL
    _import_small(tmp_path)
    images = _images(2)
    np.testing.assert_array_equal(
        get_regressor("short").build()(images), get_regressor("small").build()(images)
    )


def test_a_description_may_move_the_volume(tmp_path: Path) -> None:
    about = tmp_path / "about.json"
    about.write_text('{"geometry": {"z_zero": 2.5, "spacing": [0.5, 1, 1]}}')
    import_weights(save(_small().state_dict(), tmp_path / "a.pth"), "moved", describe=about)
    assert get_regressor("moved").geometry == VolumeGeometry(128, 5, (0.5, 1.0, 1.0), 2.5)


def test_hourglass_checkpoints_with_other_shapes_are_refused(tmp_path: Path) -> None:
    state = dict(_small().state_dict())
    state["stages.0.predict.weight"] = torch.zeros(5, 8)
    with pytest.raises(WeightsError, match="prediction has shape"):
        import_weights(save(state, tmp_path / "a.pth"), "a")
    del state["stem.0.weight"]
    with pytest.raises(WeightsError, match="no network"):
        import_weights(save(state, tmp_path / "b.pth"), "b")


def test_weights_that_miss_a_tensor_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    state = _small().state_dict()
    for change, message in (
        ({"stem.1.running_mean": None}, "no tensor for stem.1.running_mean"),
        ({"extra.weight": torch.zeros(2)}, "for extra.weight, where .* has none"),
        ({"stages.1.predict.bias": torch.zeros(6)}, "for stages.1.predict.bias, where .* has "),
    ):
        wrong = {key: value for key, value in {**state, **change}.items() if value is not None}
        with pytest.raises(WeightsError, match=message):
            import_weights(save(wrong, tmp_path / "a.pth"), "gap")
    assert not list(imported_folder().glob("gap*"))


def test_weights_that_miss_a_tensor_are_refused_when_built(tmp_path: Path) -> None:
    _import_small(tmp_path)
    file = get_regressor("small").file
    tensors = load_tensors(file.path)
    del tensors["stem.1.running_mean"]
    save_weights(file.path, tensors, file.info)
    with pytest.raises(WeightsError, match="do not fit"):
        get_regressor("small").build()
    with pytest.raises(WeightsError, match="no tensor for stem.1.running_mean"):
        import_weights(file.path, "again")


def test_bare_networks_lie_where_those_of_facepipe_do_and_that_is_said(tmp_path: Path) -> None:
    arguments = {"channels": 8, "stages": 1, "depth": 2, "slices": 200, "refinement": 4, "context": 6}
    full = HourglassNetwork(**arguments)
    path = save(full.state_dict(), tmp_path / "bare.pth")
    done = CliRunner().invoke(models, ["import", str(path), "--as", "bare"])
    assert done.exit_code == 0, done.output
    assert "regressor, hourglass, z_zero 80 (assumed), " in done.output
    file = get_regressor("bare").file
    assert get_regressor("bare").geometry == VolumeGeometry(128, 200, (1 / 3, 1.0, 1.0), 80.0)
    assert file.info.assumed == ("z_zero",)
    assert file.info.arguments == arguments
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.info.origin == {"file": "bare.pth", "sha256": digest}
    card = file.path.with_suffix(".md").read_text(encoding="utf-8")
    assert "z_zero=80 (assumed)" in card
    assert f"`bare.pth`, sha256 `{digest}`" in card

    done = CliRunner().invoke(models, ["import", str(path), "--as", "said", "--z-zero", "72.5"])
    assert done.exit_code == 0, done.output
    assert "regressor, hourglass, z_zero 72.5, " in done.output
    said = get_regressor("said").file
    assert said.info.assumed == ()
    assert get_regressor("said").geometry.z_zero == 72.5
    # What was measured or imported anew keeps what it is known of.
    again = import_weights(said.path, "again")
    assert again.info.origin == said.info.origin
    assert again.identity == said.identity != file.identity


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"zzero": 80}, "'zzero', which is none of size, depth, spacing, z_zero"),
        ({"z_zero": "80"}, "absurd z_zero '80'"),
        ({"spacing": [1, 0, 1]}, r"absurd spacing \[1, 0, 1\]"),
        ({"size": 2.5}, "absurd size 2.5"),
        ({"depth": 7}, "depth 7, and the network gives 5 slices"),
    ],
)
def test_geometries_that_cannot_be_are_refused(tmp_path: Path, geometry: dict, message: str) -> None:
    about = tmp_path / "about.json"
    about.write_text(json.dumps({"geometry": geometry}))
    path = save(_small().state_dict(), tmp_path / "a.pth")
    with pytest.raises(UsageError, match=f"--describe .*about.json: .*{message}"):
        import_weights(path, "odd", describe=about)
    assert not list(imported_folder().glob("odd*"))
    about.write_text(json.dumps({"geometry": {"z_zero": 3}}))
    info = import_weights(path, "odd", describe=about).info
    assert (info.geometry["z_zero"], info.assumed) == (3, ())


def test_solids_of_real_photos_lie_where_their_landmarks_do(real_data: Path) -> None:
    photos = sorted((real_data / "aflw2000").glob("*.jpg"))
    images = np.stack([make_reference(read_image(path)[0]) for path in photos])
    inside = get_regressor("vrn-compact").build()(images) >= 128
    assert not inside[:, :, :8].any()
    assert not inside[:, :, :, :8].any()
    front = 199 - inside[:, ::-1].argmax(1)
    covered, correlations = [], []
    for path, solid, depth in zip(photos, inside, front, strict=True):
        landmarks = loadmat(path.with_suffix(".mat"))["pt3d_68"].T[17:]  # without the jaw
        x, y = ((landmarks[:, :2].T - 0.5) * 128 / 450).astype(int)
        hit = solid.any(0)[y, x]
        covered.append(hit.mean())
        correlations.append(np.corrcoef(depth[y, x][hit], landmarks[hit, 2])[0, 1])
    assert np.median(covered) > 0.95
    assert np.median(correlations) > 0.7
