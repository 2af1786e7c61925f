"""Weights files: what is written is what is read, and damage is noticed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facepipe.cli.weights_names import named_weights
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.superres.methods import open_network
from facepipe.models.vrn.regressors import open_regressor
from facepipe.models.weights import (
    WeightsInfo,
    broken_weights,
    check_name,
    find_weights,
    imported_folder,
    list_weights,
    load_tensors,
    model_card,
    open_weights,
    save_weights,
    shipped_folder,
)

INFO = WeightsInfo(
    name="toy-x2",
    kind="superres",
    architecture="espcn",
    arguments={"scale": 2, "quantise": "round"},
    scale=2,
    degradation="area",
    licence="MIT",
    training={"command": "facepipe train superres --scale 2", "seconds": 12.5},
    figures={"psnr_db": 31.25},
)
TENSORS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(7, np.int64)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "toy-x2.safetensors"
    save_weights(path, TENSORS, INFO)
    return path


def test_round_trip(file: Path) -> None:
    assert open_weights(file).info == INFO
    tensors = load_tensors(file)
    assert tensors.keys() == TENSORS.keys()
    for key, value in TENSORS.items():
        assert tensors[key].dtype == value.dtype
        np.testing.assert_array_equal(tensors[key], value)


def test_equal_input_gives_equal_bytes_in_any_process(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    script = (
        "import sys; from pathlib import Path\n"
        "from facepipe.models.weights import load_tensors, open_weights, save_weights\n"
        "a, b = map(Path, sys.argv[1:])\n"
        "save_weights(b, dict(reversed(load_tensors(a).items())), open_weights(a).info)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(file), str(other)], check=True)
    assert other.read_bytes() == file.read_bytes()


def test_every_flipped_byte_of_the_tensors_is_noticed(file: Path) -> None:
    good = file.read_bytes()
    start = 8 + int.from_bytes(good[:8], "little")
    for place in range(start, len(good)):
        file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(WeightsError, match="damaged"):
            load_tensors(file)


def test_every_truncation_is_noticed(file: Path) -> None:
    good = file.read_bytes()
    for length in range(len(good)):
        file.write_bytes(good[:length])
        with pytest.raises(WeightsError):
            load_tensors(file)
        with pytest.raises(WeightsError):
            open_weights(file)
    file.write_bytes(good + b"x")
    with pytest.raises(WeightsError, match=f"damaged, .* {len(good)} bytes .* has {len(good) + 1}"):
        open_weights(file)


@pytest.mark.parametrize("place", [None, "far", [0], [0, "24"], [0, 24.0], [0, True]])
def test_tensors_without_a_place_are_refused(file: Path, place: object) -> None:
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["b"]["data_offsets"] = place
    encoded = json.dumps(header).encode()
    file.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data[8 + length :])
    with pytest.raises(WeightsError, match="tensor 'b' has no place"):
        open_weights(file)


def test_header_with_absurd_length_is_refused(file: Path) -> None:
    file.write_bytes((2**60).to_bytes(8, "little") + file.read_bytes()[8:])
    with pytest.raises(WeightsError, match="truncated"):
        open_weights(file)


def _with_description(path: Path, text: str | None) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if text is None:
        del header["__metadata__"]["facepipe"]
    else:
        header["__metadata__"]["facepipe"] = text
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data[8 + length :])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "models import"),
        ("{", "no JSON"),
        ("[]", "incomplete"),
        ('{"name": "a"}', "incomplete"),
        ('{"name": "a", "kind": "superres", "architecture": "espcn", "flavour": 1}', "newer version"),
        ('{"name": "a", "kind": "voice", "architecture": "espcn"}', "wrong type"),
        ('{"name": "a", "kind": "superres", "architecture": "espcn", "scale": "2"}', "wrong type"),
        ('{"name": "a", "kind": "superres", "architecture": "espcn", "arguments": []}', "wrong type"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(file: Path, text: str | None, message: str) -> None:
    _with_description(file, text)
    with pytest.raises(WeightsError, match=message) as caught:
        open_weights(file)
    assert str(file) in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        open_weights(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("open_it", [open_regressor, open_network, named_weights])
def test_a_file_that_a_user_names_and_that_is_not_there_is_an_error_of_use(
    tmp_path: Path, open_it: Callable[[str], object]
) -> None:
    path = tmp_path / "nowhere.safetensors"
    with pytest.raises(UsageError, match=r"nowhere\.safetensors: no such file"):
        open_it(str(path))
    path.write_bytes(b"12345678")
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        open_it(str(path))


def test_sha256_follows_the_file(file: Path) -> None:
    before = open_weights(file).sha256
    save_weights(file, TENSORS, replace(INFO, licence="CC0-1.0"))
    assert open_weights(file).sha256 != before
    assert open_weights(file).info.licence == "CC0-1.0"


def test_identity_is_what_a_network_gives_not_what_is_told_of_it(file: Path) -> None:
    before = open_weights(file).identity
    assert len(before) == 64
    about = {
        "name": "other",
        "degradation": "camera",
        "colour": "RGB",
        "licence": "CC0-1.0",
        "source": "a shelf",
        "training": {"seconds": 3},
        "figures": {"psnr_db": 30.0},
    }
    for key, value in about.items():
        save_weights(file, TENSORS, replace(INFO, **{key: value}))
        assert open_weights(file).identity == before, key
    seen = {before}
    works = {
        "kind": "regressor",
        "architecture": "compact",
        "arguments": {"scale": 2, "quantise": "truncate"},
        "scale": 4,
        "geometry": {"z_zero": 80.0},
        "usage": {"channel_order": "bgr"},
    }
    for key, value in works.items():
        save_weights(file, TENSORS, replace(INFO, **{key: value}))
        seen.add(open_weights(file).identity)
    for other in ({**TENSORS, "a": np.array(8, np.int64)}, {"c": TENSORS["b"], "a": TENSORS["a"]}):
        save_weights(file, other, INFO)
        seen.add(open_weights(file).identity)
    assert len(seen) == 1 + len(works) + 2


def test_identity_of_a_file_without_a_digest_is_that_of_its_tensors(file: Path) -> None:
    before = open_weights(file).identity
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    del header["__metadata__"]["tensors_sha256"]
    encoded = json.dumps(header).encode()
    file.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data[8 + length :])
    assert open_weights(file).identity == before


def test_imported_weights_are_listed_behind_shipped_ones(facepipe_home: Path) -> None:
    assert imported_folder() == facepipe_home / "weights"
    shipped = list_weights()
    assert shipped
    assert all(file.shipped for file in shipped)
    save_weights(imported_folder() / "aaa.safetensors", TENSORS, replace(INFO, name="aaa"))
    assert [file.path.stem for file in list_weights()][-1] == "aaa"
    found = find_weights("aaa", "superres")
    assert found is not None
    assert not found.shipped
    assert find_weights("aaa", "regressor") is None


def test_broken_imports_do_not_hide_the_others() -> None:
    folder = imported_folder()
    folder.mkdir(parents=True)
    (folder / "bad.safetensors").write_bytes(b"not weights")
    save_weights(folder / "good.safetensors", TENSORS, replace(INFO, name="good"))
    assert "good" in [file.path.stem for file in list_weights("superres")]
    assert list(broken_weights()) == [folder / "bad.safetensors"]
    with pytest.raises(WeightsError, match=r"bad\.safetensors"):
        find_weights("bad", "superres")


@pytest.mark.parametrize("name", ["", "all", "none", "reference", "A", "a b", "../a", "a/b", ".a", "x" * 65])
def test_names_that_would_confuse_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        check_name(name)


def test_card_tells_what_the_metadata_tell(file: Path) -> None:
    card = model_card(open_weights(file))
    assert card.startswith("# toy-x2\n")
    for part in (
        "x2",
        "`area`",
        "MIT",
        "31.25",
        "facepipe train superres --scale 2",
        open_weights(file).sha256,
    ):
        assert part in card


def test_shipped_weights_are_whole_small_and_have_their_cards() -> None:
    files = list_weights()
    assert not broken_weights()
    assert sum(file.path.stat().st_size for file in files) < 25e6
    # Nothing of a training but the weights and their cards, such as a checkpoint.
    assert {path.suffix for path in shipped_folder().iterdir() if path.name != "NOTICE"} == {
        ".safetensors",
        ".md",
    }
    notice = (shipped_folder() / "NOTICE").read_text(encoding="utf-8")
    for file in files:
        load_tensors(file.path)
        assert file.info.trained
        assert file.info.licence
        assert file.path.with_suffix(".md").read_text(encoding="utf-8") == model_card(file)
        assert file.path.stem in notice
