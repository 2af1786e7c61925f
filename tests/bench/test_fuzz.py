"""A thousand damaged files for each reader: what comes out is a value or one of the project's own errors."""

from __future__ import annotations

import io
import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save_file

from facepipe.bench.config import make_config
from facepipe.core.config_model import read_config_file
from facepipe.core.errors import SampleError, UsageError, WeightsError
from facepipe.datasets.matfile import read_mat
from facepipe.imaging.images import decode_image
from facepipe.models.weights import WeightsInfo, load_tensors, open_weights, read_third_party, save_weights

CASES = 1000
MAX_GROWTH_MB = 800
"""More than the largest image that is decoded, 64 megapixels, takes with its copies."""


def mutate(sound: bytes, rng: random.Random) -> bytes:
    """Damage of every kind that disks, networks and enemies do."""
    data = bytearray(sound)
    for _ in range(rng.randint(1, 4)):
        # Headers are where lies matter most.
        reach = len(data) if rng.random() < 0.5 else min(len(data), 200)
        place = rng.randrange(max(1, reach))
        kind = rng.randrange(6)
        if kind == 0:
            data[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[place : place + 4] = rng.choice(
                [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80"]
            )
        elif kind == 2:
            del data[place : place + rng.randint(1, 64)]
        elif kind == 3:
            data[place:place] = rng.randbytes(rng.randint(1, 64))
        elif kind == 4:
            data[place:place] = data[place : place + rng.randint(1, 400)]
        else:
            del data[place:]
    return bytes(data)


def cases(originals: list[bytes]) -> Iterator[bytes]:
    rng = random.Random(7)
    for number in range(CASES):
        yield mutate(originals[number % len(originals)], rng)


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """Whatever a file promises, reading it takes no more memory than a sound one may."""
    peak_mb = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # noqa: E731
    before = peak_mb()
    yield
    assert peak_mb() - before < MAX_GROWTH_MB


def outcomes(
    originals: list[bytes], read: Callable[[bytes], object], error: type[Exception]
) -> tuple[int, int]:
    """How many damaged files were read all the same, and how many were refused; the rest would fail."""
    good = bad = 0
    for original in originals:
        read(original)
    for data in cases(originals):
        try:
            read(data)
            good += 1
        except error:
            bad += 1
    assert good + bad == CASES
    return good, bad


def test_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 4), np.uint8)
    originals = []
    for mode, form in (("RGB", "JPEG"), ("L", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG")):
        originals.append((mode, form, {}))
    originals += [
        ("RGB", "WEBP", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("RGB", "BMP", {}),
        ("L", "BMP", {}),
    ]
    originals += [("RGB", "TIFF", {}), ("RGB", "TIFF", {"compression": "tiff_lzw"}), ("I;16", "TIFF", {})]
    encoded = []
    for mode, form, options in originals:
        image = Image.fromarray(pixels).convert("RGB" if mode == "P" else mode.split(";")[0])
        file = io.BytesIO()
        image.convert(mode).save(file, form, **options)
        encoded.append(file.getvalue())

    def read(data: bytes) -> None:
        image = decode_image(data, "fuzzed")
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3

    _, bad = outcomes(encoded, read, SampleError)
    assert bad > CASES / 5


def test_mat_files() -> None:
    variables = {"Pose_Para": np.ones((1, 7)), "pt2d": np.zeros((2, 68)), "roi": np.array([[1, 2]], np.int16)}
    originals = []
    for compressed in (True, False):
        file = io.BytesIO()
        scipy.io.savemat(file, {**variables, "model": {"tri": np.ones((3, 4))}}, do_compression=compressed)
        originals.append(file.getvalue())
    wanted = [*variables, "model.tri"]
    _, bad = outcomes(originals, lambda data: read_mat(data, "fuzzed.mat", wanted), SampleError)
    assert bad > CASES / 5


def test_checkpoints(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    originals = []
    for name, value, legacy in (
        ("module.pth", layer, True),
        ("module-zip.pth", layer, False),
        ("state.pth", layer.state_dict(), True),
        ("state-zip.pth", layer.state_dict(), False),
    ):
        torch.save(value, tmp_path / name, _use_new_zipfile_serialization=not legacy)
        originals.append((tmp_path / name).read_bytes())
    save_file(layer.state_dict(), tmp_path / "plain.safetensors")
    originals.append((tmp_path / "plain.safetensors").read_bytes())
    path = tmp_path / "fuzzed"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        states = read_third_party(path)
        assert all(isinstance(value, np.ndarray) for state in states.values() for value in state.values())

    _, bad = outcomes(originals, read, WeightsError)
    assert bad > CASES / 5


def test_an_odd_escape_in_a_damaged_pickle_is_an_error_and_no_warning(tmp_path: Path) -> None:
    """Protocol 0 writes strings with escapes, and Python warns of those that it does not know."""
    path = tmp_path / "odd.pth"
    path.write_bytes(b"\x80\x02S'\\c torch.nn.modules.'\n.")
    with pytest.raises(WeightsError, match=r"odd\.pth: a damaged or truncated PyTorch checkpoint"):
        read_third_party(path)


def test_weights(tmp_path: Path) -> None:
    info = WeightsInfo("toy", "superres", "espcn", {"scale": 2}, scale=2, figures={"psnr_db": 1.5})
    tensors = {"a": np.arange(12, dtype=np.float32), "b": np.ones((2, 3), np.int64)}
    sound = save_weights(tmp_path / "toy.safetensors", tensors, info).path.read_bytes()
    path = tmp_path / "fuzzed.safetensors"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        open_weights(path)
        load_tensors(path)

    _, bad = outcomes([sound], read, WeightsError)
    assert bad > CASES * 0.5


def test_configurations(tmp_path: Path) -> None:
    originals = [
        b"dataset: sample\nlow-px: [16, 32]\nmethods: bilinear,espcn\nlimit: 5\nkeep: scores\ndisk_gb: 1.5\n",
        b"{dataset: photos, seed: 3, crop: full, degradations: [area, camera], regressors: none}\n",
        b"subsets:\n- AFW\n- &x HELEN\nsplit: test\nmin_yaw_deg: 10\nout: 'runs/a'\nfilling: exact\n",
    ]
    path = tmp_path / "fuzzed.yaml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        make_config(read_config_file(path), "fuzzed.yaml")

    _, bad = outcomes(originals, read, UsageError)
    assert bad > CASES / 5
