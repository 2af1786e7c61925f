"""Torch7 files: what is in them is read, nothing in them runs, and damage is told from another network."""

from __future__ import annotations

import math
import struct
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch7_files import Closure, Lua, Vrn, Writer, dump, run

from facepipe.cli.models_import import import_weights
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.vrn.image_norm import ImageNorm2d, use_image_statistics
from facepipe.models.vrn.networks import build_network
from facepipe.models.vrn.regressors import get_regressor
from facepipe.models.vrn.torch7 import detect_torch7
from facepipe.models.weights import TorchObject, load_tensors, read_torch7

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3)).astype(np.uint8)


@pytest.mark.parametrize("how", [{}, {"long_bytes": 4}, {"versions": False}, {"cuda": True}])
def test_every_type_of_value(tmp_path: Path, how: dict) -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    shared = {"deep": [1, 2.5]}
    value = {
        "nothing": {"is": None}, "yes": True, "no": False, "text": "\xe9t\xe9",
        "minus": -0.0, "nan": math.nan,
        "whole": base, "transposed": base.T, "corner": base[1:3, 2:5],
        "doubles": np.array([1e300]), "bytes": np.array([0, 255], np.uint8), "longs": np.array([-1, 7]),
        "shorts": np.array([-5], np.int16), "ints": np.array([2**31 - 1], np.int32),
        "a": shared, "b": shared, "object": Lua("nn.Thing", {"p": 0.25}),
        7: "seven", -0.0: "zero", 1.5: "half",
    }  # fmt: skip
    read = read_torch7(dump(value, tmp_path / "a.t7", **how))
    assert read["nothing"] == {"is": None}
    assert (read["yes"], read["no"], read["text"]) == (True, False, "\xe9t\xe9")
    assert math.copysign(1, read["minus"]) == -1
    assert math.isnan(read["nan"])
    for key, array in value.items():
        if isinstance(array, np.ndarray):
            np.testing.assert_array_equal(read[key], array)
    assert read["a"] is read["b"]
    assert read["a"]["deep"] == {1: 1.0, 2: 2.5}
    assert read["object"] == TorchObject("nn.Thing", {"p": 0.25})
    assert (read[7], read[0], read[1.5]) == ("seven", "zero", "half")


def test_values_may_contain_themselves(tmp_path: Path) -> None:
    loop: dict = {}
    loop["self"] = loop
    read = read_torch7(dump(loop, tmp_path / "a.t7"))
    assert read["self"] is read
    module = Lua("nn.Sequential")
    module.fields["modules"] = [module]
    path = dump(module, tmp_path / "b.t7")
    with pytest.raises(WeightsError, match=r"not of the unguided VRN.*1 modules in a row"):
        import_weights(path, "endless")


@pytest.mark.parametrize("prefix", ["nn.", "cudnn."])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("fine", [True, False])
def test_an_imported_vrn_computes_what_its_modules_do(
    tmp_path: Path, prefix: str, train: bool, fine: bool
) -> None:
    """Channels 0..1, each image alone, corners on corners: as its authors ran it."""
    tree = Vrn(1, prefix, train=train).network(fine=fine)
    file = import_weights(dump(tree, tmp_path / "vrn.t7", cuda=prefix == "cudnn."), "vrn-2017")
    assert file.info.usage == {"input_range": "0..1", "upsampling": "corners"} | (
        {"batch_norm": "per-image"} if train else {}
    )
    assert file.info.arguments["nested"] == ("fine" if fine else "coarse")
    assert (file.info.geometry["z_zero"], file.info.assumed) == (100, ("z_zero",))
    assert file.info.origin["file"] == "vrn.t7"
    network = get_regressor("vrn-2017").build()
    volumes = network(IMAGES)
    assert volumes.shape == (2, 5, 192, 192)
    for image, volume in zip(IMAGES, volumes, strict=True):
        inputs = functional.interpolate(
            torch.from_numpy(image).permute(2, 0, 1)[None] / 255,
            size=(192, 192), mode="bilinear", align_corners=False,
        )  # fmt: skip
        (expected,) = run(tree, inputs)
        grey = 255 * expected[0].numpy()
        assert np.ptp(grey) > 20
        assert np.abs(volume - grey).max() < 0.51  # rounded, and sums in another order
    np.testing.assert_array_equal(network(IMAGES[1:])[0], volumes[1])


def test_the_published_nesting_has_the_published_size(tmp_path: Path) -> None:
    """Four levels in each of two stacks are nested deeply in a file, and not too deeply for the reader."""
    file = import_weights(dump(Vrn(5).network(stages=2, depth=4), tmp_path / "vrn.t7"), "deep")
    assert file.info.arguments.items() >= {"stages": 2, "depth": 4, "nested": "fine"}.items()
    with torch.device("meta"):
        network = build_network("vrn", {"nested": "fine"})
    assert sum(parameter.numel() for parameter in network.parameters()) == 19_184_968


def test_options_replace_what_the_file_suggests_and_are_part_of_the_identity(tmp_path: Path) -> None:
    path = dump(Vrn(2).network(stages=1, depth=1), tmp_path / "vrn.t7")
    prints, volumes = set(), []
    for usage in (
        {}, {"input_range": "0..255"}, {"input_range": "128ths"}, {"input_range": "-1..1"},
        {"channel_order": "bgr"}, {"batch_norm": "running"},
    ):  # fmt: skip
        file = import_weights(path, "one", overwrite=True, usage=usage)
        by_default = ("-1..1", "running")  # not told apart from weights that say nothing
        assert file.info.usage.items() >= {k: v for k, v in usage.items() if v not in by_default}.items()
        regressor = get_regressor("one")
        prints.add(regressor.fingerprint())
        volumes.append(regressor.build()(IMAGES[:1]))
    assert len(prints) == 6
    assert all(not np.array_equal(volumes[0], other) for other in volumes[1:])
    again = import_weights(file.path, "two", usage={"batch_norm": "per-image"})
    assert again.info.usage["batch_norm"] == "per-image"
    np.testing.assert_array_equal(get_regressor("two").build()(IMAGES[:1]), volumes[0])


def test_options_of_regressors_are_not_for_others(tmp_path: Path) -> None:
    from checkpoints import espcn, save

    with pytest.raises(UsageError, match="--batch-norm: for regressors only"):
        import_weights(
            save(espcn(2).state_dict(), tmp_path / "a.pth"), "a", usage={"batch_norm": "per-image"}
        )


def test_statistics_of_an_image_do_not_depend_on_its_neighbours() -> None:
    """A batch of one in training mode is the definition; more of them are that, one by one."""
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(4)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.normal_()
    images = torch.randn(3, 4, 5, 7) * torch.tensor([1.0, 10, 0.1])[:, None, None, None] + 3
    alone = torch.cat([norm.train()(image[None]) for image in images])
    torch.testing.assert_close(ImageNorm2d(norm)(images), alone)
    assert not torch.allclose(norm(images), alone, atol=0.1)
    network = build_network("vrn", {"channels": 8, "stages": 1, "depth": 1, "slices": 3})
    use_image_statistics(network.eval())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    batch = torch.randn(3, 3, 32, 32) * torch.tensor([1.0, 5, 0.2])[:, None, None, None]
    with torch.inference_mode():
        together = network(batch)[0]
        one = torch.cat([network(image[None])[0] for image in batch])
    torch.testing.assert_close(together, one, rtol=1e-4, atol=1e-4)


def test_old_forms_of_batch_norm_and_convolution(tmp_path: Path) -> None:
    tree = Vrn(3).network(stages=1, depth=1)
    new = import_weights(dump(tree, tmp_path / "new.t7"), "new")
    norm, convolution = tree.fields["modules"][1], tree.fields["modules"][0]
    norm.fields["running_std"] = (norm.fields.pop("running_var") + np.float32(1e-5)) ** np.float32(-0.5)
    convolution.cls = "nn.SpatialConvolutionMM"
    convolution.fields["weight"] = convolution.fields["weight"].reshape(64, -1)
    old = import_weights(dump({"model": tree}, tmp_path / "old.t7"), "old")
    for key, tensor in load_tensors(new.path).items():
        np.testing.assert_allclose(load_tensors(old.path)[key], tensor, rtol=1e-5)


def _spoiled(tree: Lua, what: str) -> Lua:
    parts = tree.fields["modules"]
    end = parts[-1].fields["modules"][0].fields["modules"]
    if what == "a stride":
        parts[0].fields["dW"] = 1
    elif what == "eps":
        parts[1].fields["eps"] = 1e-3
    elif what == "a pooling":
        parts[4].fields["kW"] = 3
    elif what == "nearest":
        end[2].cls = "nn.SpatialUpSamplingNearest"
    elif what == "a field":
        del parts[0].fields["weight"]
    elif what == "a shape":
        parts[0].fields["weight"] = parts[0].fields["weight"][:, :2].copy()
    elif what == "a graph":
        tree.cls = "nn.gModule"
    elif what == "no number":
        parts[0].fields["bias"][3] = np.nan
    elif what == "one more":
        parts.insert(7, parts[6])
    elif what == "a function":
        parts[0].fields["hook"] = Closure()
    elif what == "too wide":
        end[1].fields["nInputPlane"] = 2
        end[1].fields["weight"] = end[1].fields["weight"][:, :2].copy()
    return tree


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("a stride", r"at stem\.0: a convolution with .*'dW': 1"),
        ("eps", "eps is 0.001"),
        ("a pooling", "not 2x2"),
        ("nearest", "SpatialUpSamplingNearest instead of SpatialUpSamplingBilinear"),
        ("a field", "without the field 'weight'"),
        ("a shape", r"shape \(64, 2, 7, 7\)"),
        ("a graph", "gModule instead of Sequential"),
        ("no number", r"'stem\.0\.bias' holds values that are not finite"),
        ("one more", "11 modules in a row"),
        ("a function", "a Lua function"),
        ("too wide", r"predict\.weight|for .*architecture 'vrn'"),
    ],
)
def test_other_networks_are_refused_and_the_place_is_named(tmp_path: Path, what: str, message: str) -> None:
    tree = _spoiled(Vrn(4).network(stages=1, depth=1), what)
    with pytest.raises(WeightsError, match=message) as caught:
        import_weights(dump(tree, tmp_path / "a.t7"), "a")
    assert "a.t7" in str(caught.value)


def test_counts_that_the_file_cannot_hold(tmp_path: Path) -> None:
    big = 2**31 - 1
    table = struct.pack("<iii", 3, 1, big)
    text = struct.pack("<iii", 3, 1, 1) + struct.pack("<ii", 2, big)
    negative = struct.pack("<iii", 3, 1, 1) + struct.pack("<ii", 2, -5)
    deep = b"".join(struct.pack("<iii", 3, index, 1) + struct.pack("<id", 1, 1.0) for index in range(1, 5000))
    storage = Writer()
    storage.value([np.zeros(3, np.float32)])
    at = storage.out.rindex(struct.pack("<q", 3))
    huge = bytes(storage.out[:at]) + struct.pack("<q", 2**62) + bytes(storage.out[at + 8 :])
    reaching = Writer()
    reaching.value([np.arange(6, dtype=np.float32).reshape(2, 3)])
    axes = reaching.out.index(struct.pack("<qq", 2, 3))
    far = bytes(reaching.out[:axes]) + struct.pack("<qq", 2, 30) + bytes(reaching.out[axes + 16 :])
    for index, data in enumerate((table, text, negative, deep, huge, far, b"\x04\0\0\0")):
        path = tmp_path / f"{index}.t7"
        path.write_bytes(data)
        started = time.thread_time()
        with pytest.raises(WeightsError, match="damaged or truncated Torch7"):
            read_torch7(path)
        assert time.thread_time() - started < 1


def _mutations(data: bytes, count: int) -> Iterator[bytes]:
    rng = np.random.default_rng(5)
    odd = [struct.pack("<i", value) for value in (0, -1, 1, 3, 4, 6, 2**31 - 1, -(2**31), 255)]
    odd += [struct.pack("<q", value) for value in (-1, 0, 2**40, 2**62, -(2**63))]
    odd += [struct.pack("<d", value) for value in (-0.0, math.nan, math.inf, 1e308)]
    for index in range(count):
        changed = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(changed)))
            kind = index % 5
            if kind == 0:
                changed = changed[: at + 1]
            elif kind == 1:
                changed[at] ^= 1 << int(rng.integers(8))
            elif kind == 2:
                value = odd[int(rng.integers(len(odd)))]
                changed[at : at + len(value)] = value
            elif kind == 3:
                other = int(rng.integers(len(changed)))
                changed[at : at + 16] = changed[other : other + 16]
            else:
                del changed[at : at + int(rng.integers(1, 9))]
        yield bytes(changed)


def test_damage_gives_a_weights_error_or_values(tmp_path: Path) -> None:
    """1,500 changed files: nothing but a WeightsError comes out, soon and within a few times the file."""
    path = dump({"block": Vrn(6).residual(2, 4), "base": np.arange(6.0).reshape(2, 3).T}, tmp_path / "a.t7")
    data = path.read_bytes()
    refused, slowest, peak = 0, 0.0, 0
    for index, changed in enumerate(_mutations(data, 1500)):
        path.write_bytes(changed)
        if index % 10 == 0:  # it makes everything slow
            tracemalloc.start()
        started = time.thread_time()
        try:
            read_torch7(path)
        except WeightsError:
            refused += 1
        slowest = max(slowest, time.thread_time() - started)
        if tracemalloc.is_tracing():
            peak = max(peak, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert 300 < refused < 1500
    assert slowest < 1
    assert peak < 60 * len(data)


def test_every_kind_of_damage_to_a_whole_network(tmp_path: Path) -> None:
    path = dump(Vrn(7).network(channels=8, stages=1, depth=1, slices=2), tmp_path / "a.t7")
    accepted = 0
    for changed in _mutations(path.read_bytes(), 60):
        path.write_bytes(changed)
        try:
            tensors, _ = detect_torch7(read_torch7(path), "a.t7")
        except WeightsError:
            continue
        accepted += 1
        assert all(tensor.dtype == np.float32 for tensor in tensors.values())
    assert 0 < accepted < 60  # most bytes are weights, whose damage nothing can tell
