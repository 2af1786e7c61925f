"""What every super-resolution method owes the rest of facepipe."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from checkpoints import compact, espcn, save
from numpy.typing import NDArray
from PIL import Image

from facepipe.cli.models import import_weights
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.superres.base import Method
from facepipe.models.superres.methods import get_method, known_methods, resolve_methods
from facepipe.models.weights import imported_folder, list_weights, load_tensors, open_weights, save_weights

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
WEIGHTS = [file for file in list_weights("superres") if file.shipped]
FAMILIES = tuple(dict.fromkeys(file.path.stem.removesuffix(f"-x{file.info.scale}") for file in WEIGHTS))
SHIPPED = (*FAMILIES, *(file.path.stem for file in WEIGHTS))
SIZES = (16, 32, 64)


@pytest.fixture(params=[*INTERPOLATIONS, *SHIPPED, "imported", "file", "spandrel"])
def method(request: pytest.FixtureRequest, tmp_path: Path) -> Method:
    if request.param == "imported":
        import_weights(save(espcn(2).state_dict(), tmp_path / "a.pth"), "imported")
    elif request.param == "file":
        path = save(espcn(4).state_dict(), tmp_path / "a.pth")
        return get_method(f"file:{import_weights(path, 'own', out=tmp_path).path}")
    elif request.param == "spandrel":
        if importlib.util.find_spec("spandrel") is None:
            pytest.skip("the extra 'spandrel' is not installed")
        return get_method(f"file:{save(compact(4), tmp_path / 'theirs.pth')}")
    return get_method(request.param)


def _images(low_px: int, count: int = 3) -> NDArray[np.uint8]:
    generator = np.random.default_rng(low_px)
    coarse = generator.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    return np.stack([cv2.resize(image, (low_px, low_px)) for image in coarse])


def test_shape_type_determinism_independence_and_pickling(method: Method) -> None:
    sizes = [px for px in SIZES if method.fits(px)]
    assert sizes
    for low_px in sizes:
        images = _images(low_px)
        kept = images.copy()
        resolver = method.build(low_px)
        restored = resolver(images)
        assert restored.shape == (3, 128, 128, 3)
        assert restored.dtype == np.uint8
        np.testing.assert_array_equal(images, kept)
        np.testing.assert_array_equal(resolver(images), restored)
        np.testing.assert_array_equal(resolver(images[::-1])[::-1], restored)
        np.testing.assert_array_equal(np.concatenate([resolver(image[None]) for image in images]), restored)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(resolver))(images), restored)
        again = pickle.loads(pickle.dumps(method))
        assert again.name == method.name
        assert again.fingerprint(low_px) == method.fingerprint(low_px)
        assert resolver(images[:0]).shape == (0, 128, 128, 3)


def test_what_does_not_fit_is_refused(method: Method) -> None:
    misfits = [px for px in (48, 128, 200) if not method.fits(px)]
    for low_px in misfits:
        with pytest.raises(UsageError, match=str(low_px)):
            method.build(low_px)


@pytest.mark.parametrize("name", INTERPOLATIONS)
@pytest.mark.parametrize("low_px", [1, 7, *SIZES, 128])
def test_interpolations_keep_a_constant_image_and_fit_any_size(name: str, low_px: int) -> None:
    colour = np.array([3, 127, 250], np.uint8)
    image = np.broadcast_to(colour, (1, low_px, low_px, 3)).copy()
    assert (get_method(name).build(low_px)(image) == colour).all()


def test_interpolations_at_network_size_change_nothing() -> None:
    image = _images(128, 1)
    for name in INTERPOLATIONS:
        np.testing.assert_array_equal(get_method(name).build(128)(image), image)


def test_nearest_repeats_pixels_and_bilinear_mixes_neighbours() -> None:
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[0, :, 1::2] = 200
    repeated = get_method("nearest").build(64)(image)
    np.testing.assert_array_equal(repeated[0, 0, :4, 0], [0, 0, 200, 200])
    mixed = get_method("bilinear").build(64)(image)
    # Centres of the small pixels lie at 1/4 and 3/4 between those of the large ones.
    np.testing.assert_array_equal(mixed[0, 0, 1:5, 0], [50, 150, 150, 50])


def test_fingerprints_differ_between_methods_and_sizes_of_a_family() -> None:
    found = [get_method(name).fingerprint(64) for name in INTERPOLATIONS]
    found += [get_method("espcn").fingerprint(px) for px in SIZES]
    assert len(set(found)) == len(found)


def test_a_built_network_is_loaded_once() -> None:
    assert get_method("espcn").build(32) is get_method("espcn-x4").build(32)


@pytest.mark.parametrize(("name", "hint"), [("bicubik", "'bicubic'"), ("espcnn", "'espcn'"), ("", "known:")])
def test_unknown_names_get_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        get_method(name)


def test_all_is_every_trained_method_that_fits_a_size(tmp_path: Path) -> None:
    assert resolve_methods(["all"], SIZES) == [*INTERPOLATIONS, *FAMILIES]
    assert resolve_methods(["all"], [48]) == list(INTERPOLATIONS)
    path = import_weights(save(espcn(2).state_dict(), tmp_path / "a.pth"), "single").path
    import_weights(path, "study-x2")
    assert resolve_methods(["all"], SIZES) == [*INTERPOLATIONS, *FAMILIES, "study", "single"]
    assert resolve_methods(["all"], [32]) == [*INTERPOLATIONS, *FAMILIES]
    assert resolve_methods(["bicubic", "all", "bicubic"], [32])[:2] == ["bicubic", "nearest"]


def test_untrained_weights_are_never_part_of_all(tmp_path: Path) -> None:
    file = import_weights(save(espcn(2).state_dict(), tmp_path / "a.pth"), "raw-x2")
    save_weights(file.path, load_tensors(file.path), replace(file.info, trained=False))
    assert {"raw", "raw-x2"} <= set(known_methods())
    assert "raw" not in resolve_methods(["all"], SIZES)
    assert resolve_methods(["raw"], [64]) == ["raw"]


def test_naming_a_method_that_does_not_fit_every_size_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fit low_px 16, 32 \(it fits 64\)"):
        resolve_methods(["bicubic", "espcn-x2"], SIZES)
    with pytest.raises(UsageError, match="fit low_px 48: name other sizes"):
        resolve_methods(["espcn"], [48])
    assert resolve_methods(["espcn-x2"], [64]) == ["espcn-x2"]


def test_paths_of_files_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = import_weights(save(espcn(2).state_dict(), tmp_path / "a.pth"), "own", out=tmp_path).path
    monkeypatch.chdir(tmp_path)
    assert resolve_methods([f"file:{path.name}"], [64]) == [f"file:{path}"]
    with pytest.raises(UsageError, match="no file"):
        resolve_methods(["file:nowhere.pth"], [64])


def test_damaged_and_unknown_weights_are_refused_when_built(tmp_path: Path) -> None:
    file = import_weights(save(espcn(2).state_dict(), tmp_path / "a.pth"), "mine")
    wrong = replace(file.info, arguments={"scale": 4}, scale=4)
    save_weights(file.path, load_tensors(file.path), wrong)
    with pytest.raises(WeightsError, match="do not fit"):
        get_method("mine").build(32)
    save_weights(file.path, load_tensors(file.path), replace(file.info, architecture="transformer"))
    with pytest.raises(WeightsError, match="'transformer'"):
        get_method("mine")


def test_an_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="device 'abacus'"):
        get_method("espcn").build(64, "abacus")


def test_wrong_image_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="64 px"):
        get_method("espcn").build(64)(_images(32))


def test_measuring_a_network_leaves_its_fingerprint(tmp_path: Path) -> None:
    file = import_weights(save(espcn(2).state_dict(), tmp_path / "a.pth"), "mine-x2")
    before = get_method("mine-x2").fingerprint(64)
    save_weights(file.path, load_tensors(file.path), replace(file.info, figures={"psnr_db": 30.0}))
    assert get_method("mine-x2").fingerprint(64) == before
    other = {"scale": 2, "quantise": "round"}
    save_weights(file.path, load_tensors(file.path), replace(file.info, arguments=other))
    assert get_method("mine-x2").fingerprint(64) != before


def test_asking_needs_no_torch() -> None:
    script = (
        "import sys\n"
        "from facepipe.models.superres.methods import *\n"
        "from facepipe.models.vrn.regressors import *\n"
        "assert resolve_methods(['all'], [32]) and resolve_regressors(['all'])\n"
        "get_method('espcn').fingerprint(32); get_regressor('vrn-compact').fingerprint()\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_espcn_copies_luma_when_its_convolutions_do(tmp_path: Path) -> None:
    """An ESPCN whose kernels pass the middle pixel on is nearest-neighbour on luma."""
    network = espcn(2)
    for layer in (network.conv1, network.conv2, network.conv3, network.conv4):
        layer.weight.data.zero_()
        layer.bias.data.zero_()
    for layer in (network.conv1, network.conv2, network.conv3):
        layer.weight.data[0, 0, layer.weight.shape[2] // 2, layer.weight.shape[3] // 2] = 1
    network.conv4.weight.data[:, 0, 1, 1] = 1
    file = import_weights(save(network.state_dict(), tmp_path / "a.pth"), "copy-x2")
    rounding = replace(file.info, arguments={"scale": 2, "quantise": "round"})
    save_weights(file.path, load_tensors(file.path), rounding)
    assert open_weights(imported_folder() / "copy-x2.safetensors").info.scale == 2
    grey = np.repeat(_images(64, 1)[..., :1], 3, axis=3)
    restored = get_method("copy").build(64)(grey)
    nearest = get_method("nearest").build(64)(grey)[0]
    # Pillow's conversion to YCbCr and back is not the identity on every grey.
    there_and_back = np.asarray(Image.fromarray(nearest).convert("YCbCr").convert("RGB"))
    np.testing.assert_array_equal(restored[0], there_and_back)
