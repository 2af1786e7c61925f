"""What the networks that ship are worth, each under the degradation that it was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from facepipe.lab.superres.evaluate import compare, make_pairs
from facepipe.lab.superres.training_data import load_training_data, read_folder
from facepipe.models.superres.build import build_resolver
from facepipe.models.weights import WeightsFile, list_weights

SHIPPED = [file for file in list_weights("superres") if file.shipped]

LEAST_GAIN_DB = {
    "espcn-x2": 1.1,
    "espcn-x4": 0.7,
    "espcn-x8": 0.7,
    "compact-area-x2": 1.8,
    "compact-area-x4": 1.4,
    "compact-camera-x2": 1.0,
    "compact-camera-x4": 1.0,
    "compact-camera-x8": 1.0,
}
"""How far above bicubic a network is on photos of faces that it did not see; others are at least 0.5 dB."""


@pytest.fixture(params=SHIPPED, ids=lambda file: file.path.stem)
def file(request: pytest.FixtureRequest) -> WeightsFile:
    return request.param


def test_it_is_trained_and_says_how(file: WeightsFile) -> None:
    assert file.info.trained
    assert file.info.licence == "MIT"
    assert file.info.training["command"].startswith(f"facepipe train superres --as {file.path.stem} ")
    card = file.path.with_suffix(".md").read_text(encoding="utf-8")
    assert file.sha256 in card


def test_it_beats_bicubic_on_free_photographs(file: WeightsFile) -> None:
    pairs = make_pairs(load_training_data(None).photographs, file.info.degradation, file.info.scale)
    assert compare(build_resolver(file, "cpu"), pairs)["gain_db"].mean > 0.1


def test_it_is_as_good_as_it_says_on_photos_of_faces(file: WeightsFile, real_data: Path) -> None:
    photos = [image for folder in ("afw", "aflw2000") for image in read_folder(real_data / folder)]
    pairs = make_pairs(photos, file.info.degradation, file.info.scale)
    figures = compare(build_resolver(file, "cpu"), pairs)
    assert figures["psnr_db"].n == 11
    assert figures["gain_db"].mean >= LEAST_GAIN_DB.get(file.path.stem, 0.5)
    assert figures["gain_ssim"].mean >= 0
