"""The network that others can load: its start, its tensors, its figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from facepipe.cli.models_evaluate import evaluate
from facepipe.core.errors import UsageError, WeightsError
from facepipe.lab.superres.evaluate import DRAWS, Pair, Source, compare
from facepipe.models.superres.build import build_resolver
from facepipe.models.superres.compact import Compact, start_as_bilinear
from facepipe.models.superres.interpolate import Interpolator
from facepipe.models.superres.methods import open_network
from facepipe.models.superres.spandrel_import import import_spandrel
from facepipe.models.weights import WeightsFile, WeightsInfo, save_weights

ARGUMENTS = {"scale": 4, "features": 8, "convolutions": 2}


def _saved(path: Path, network: Compact, name: str = "toy-x4", **fields: object) -> WeightsFile:
    info = WeightsInfo(name, "superres", "compact", ARGUMENTS, scale=4, degradation="area", **fields)
    tensors = {key: value.numpy() for key, value in network.state_dict().items()}
    return save_weights(path / f"{name}.safetensors", tensors, info)


def _random() -> Compact:
    torch.manual_seed(0)
    network = Compact(**ARGUMENTS)
    torch.nn.init.normal_(network.body[-1].weight, std=0.02)
    return network


def _images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_it_starts_as_bilinear_interpolation(scale: int) -> None:
    torch.manual_seed(1)
    network = Compact(scale, features=12, convolutions=3)
    start_as_bilinear(network)
    image = torch.rand(1, 3, 9, 9)
    with torch.no_grad():
        made = network(image)
    expected = torch.nn.functional.interpolate(image, scale_factor=scale, mode="bilinear")
    # Padding by zeros differs from repetition along the border.
    inner = slice(scale * 4, -scale * 4)
    torch.testing.assert_close(made[:, :, inner, inner], expected[:, :, inner, inner])


@pytest.mark.parametrize("shipped", ["", "compact-area-x4", "compact-camera-x4"])
def test_spandrel_loads_the_file_and_gives_the_same(tmp_path: Path, shipped: str) -> None:
    try:
        spandrel = import_spandrel()
    except WeightsError as error:
        pytest.skip(str(error))
    file = open_network(shipped).file if shipped else _saved(tmp_path, _random())
    descriptor = spandrel.ModelLoader().load_from_file(file.path)
    assert descriptor.architecture.id == "Compact"
    assert descriptor.scale == 4
    images = _images()
    with torch.inference_mode():
        made = descriptor(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    expected = (made.permute(0, 2, 3, 1).numpy() * 255).round().clip(0, 255)
    restored = build_resolver(file, "cpu")(images)
    assert np.abs(restored - expected).max() <= 1  # sums in another order may round the other way
    assert np.mean(restored == expected) > 0.999


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    resolver = build_resolver(_saved(tmp_path, _random()), "cpu")
    with pytest.raises(UsageError, match="images of 32 px"):
        resolver(np.zeros((1, 16, 16, 3), np.uint8))


def test_figures_of_bicubic_itself_show_no_gain() -> None:
    image = np.asarray(Image.fromarray(_images(1)[0]).resize((128, 128), Image.Resampling.BICUBIC))
    pair = Pair((cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA),), image)
    figures = compare(Interpolator(cv2.INTER_CUBIC), [pair, pair])
    assert figures["gain_db"].mean == figures["gain_ssim"].mean == 0
    assert figures["psnr_db"].mean == figures["bicubic_psnr_db"].mean > 0
    assert figures["psnr_db"].n == 2


def test_what_is_drawn_is_measured_over_several_draws() -> None:
    """What makes one grey of everything has the same PSNR at each draw; bicubic interpolation has not."""
    source = Source(_images(1)[0].repeat(4, 0).repeat(4, 1), "a")
    assert len(source.pair("area", 32).lows) == 1
    pair = source.pair("camera", 32)
    assert len({low.tobytes() for low in pair.lows}) == len(pair.lows) == DRAWS
    grey = np.full((1, 128, 128, 3), 127, np.uint8)
    single = [compare(lambda _: grey, [replace(pair, lows=(low,))]) for low in pair.lows]
    whole = compare(lambda _: grey, [pair])
    assert whole["psnr_db"].mean == pytest.approx(single[0]["psnr_db"].mean)
    gains = [figures["gain_db"].mean for figures in single]
    assert whole["gain_db"].mean == pytest.approx(np.mean(gains))
    assert max(gains) > min(gains)
    assert whole["gain_db"].n == 1


def test_psnr_of_one_grey_level_in_one_pixel() -> None:
    image = np.full((128, 128, 3), 90, np.uint8)
    near = image.copy()
    near[5, 7, 1] += 1
    image[:, 64:] = 120  # so that bicubic interpolation errs, too
    near[:, 64:] = 120
    pair = Pair((cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA),), image)
    figures = compare(lambda low: near[None], [pair])
    assert figures["psnr_db"].mean == pytest.approx(10 * np.log10(255**2 * 128 * 128 * 3))
    assert figures["ssim"].mean == pytest.approx(1, abs=1e-3)
    assert figures["gain_ssim"].mean == pytest.approx(figures["ssim"].mean - figures["bicubic_ssim"].mean)


def test_evaluate_command(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, image in enumerate(_images()):
        Image.fromarray(image).resize((150, 150), Image.Resampling.BICUBIC).save(photos / f"{index}.png")
    file = _saved(tmp_path, _random())
    call = [str(file.path), "--dataset", str(photos), "--json", "--record", "Toys"]
    done = CliRunner().invoke(evaluate, call, catch_exceptions=False)
    assert done.exit_code == 0
    figures = json.loads(done.stdout)["area 32 px"]
    assert figures["psnr_db"]["images"] == 2
    gain = figures["psnr_db"]["value"] - figures["bicubic_psnr_db"]["value"]
    assert figures["gain_db"]["value"] == pytest.approx(gain, abs=2e-4)
    card = file.path.with_suffix(".md").read_text(encoding="utf-8")
    assert "| Toys, area 32 px |" in card
    assert f"- Toys: `facepipe models evaluate {file.info.name} --dataset photos (facepipe " in card
    assert str(tmp_path) not in card


def test_super_resolvers_are_judged_by_yaw_and_skin_tone(tmp_path: Path) -> None:
    """Five faces for tests under two degradations: the groups hold each face once."""
    file = _saved(tmp_path, _random())
    call = [str(file.path), "--faces", "5", "--degradations", "area,camera", "--json"]
    done = CliRunner().invoke(evaluate, call, catch_exceptions=False)
    tables = json.loads(done.stdout)
    for degradation in ("area", "camera"):
        whole = tables[f"{degradation} 32 px"]["psnr_db"]
        assert whole["images"] == 5
        for what in ("yaw to either side", "skin tone"):
            parts = [t["psnr_db"] for name, t in tables.items() if f"{degradation} 32 px, {what}" in name]
            assert sum(part["images"] for part in parts) == 5
            mean = sum(part["images"] * part["value"] for part in parts) / 5
            assert mean == pytest.approx(whole["value"], abs=1e-3)
    assert (
        tables["area 32 px"]["bicubic_psnr_db"]["value"] > tables["camera 32 px"]["bicubic_psnr_db"]["value"]
    )


def test_evaluate_command_refuses_what_is_not_for_super_resolvers(tmp_path: Path) -> None:
    file = _saved(tmp_path, _random())
    for arguments in (
        [],
        ["--dataset", str(tmp_path), "--low-px", "16"],
        ["--faces", "2", "--degradations", "aera"],
    ):
        done = CliRunner().invoke(evaluate, [str(file.path), *arguments])
        assert isinstance(done.exception, UsageError)
    done = CliRunner().invoke(evaluate, ["espcn", "--dataset", "sample"])
    assert "weights of one scale are needed here" in str(done.exception)
    done = CliRunner().invoke(evaluate, ["espcn-x4", "--dataset", "sample", "--record", "Title"])
    assert isinstance(done.exception, UsageError)
    assert "ships with facepipe" in str(done.exception)
