"""Importing checkpoints: what is in them is read, and nothing in them runs."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import compact, espcn, save, save_module
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from facepipe.cli.models import import_weights, models
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.superres.methods import get_method, known_methods
from facepipe.models.weights import find_weights, load_tensors, read_third_party, save_weights

MAGIC = 0x1950A86A20F9469CFC6C


def _same(tensors: dict, state: dict) -> None:
    assert tensors.keys() == state.keys()
    for key, value in state.items():
        expected = value.float() if value.dtype == torch.bfloat16 else value
        np.testing.assert_array_equal(tensors[key], expected.numpy())


@pytest.mark.parametrize("legacy", [True, False])
def test_pickled_modules_and_state_dictionaries_give_the_same_tensors(tmp_path: Path, legacy: bool) -> None:
    network = espcn(4)
    state = network.state_dict()
    _same(read_third_party(save_module(network, tmp_path / "module.pth", legacy=legacy))[""], state)
    _same(read_third_party(save(state, tmp_path / "state.pth", legacy=legacy))[""], state)
    wrapped = {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1, "moments": torch.ones(5)}}
    found = read_third_party(save(wrapped, tmp_path / "wrapped.pth", legacy=legacy))
    assert found.keys() == {"state_dict", "optimizer"}
    _same(found["state_dict"], state)


@pytest.mark.parametrize("legacy", [True, False])
def test_every_number_type_strides_and_shared_storages(tmp_path: Path, legacy: bool) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {
        "whole": base,
        "transposed": base.T,
        "corner": base[1:3, 2:5],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(5),
        "half": torch.tensor([0.5, -2.0], dtype=torch.float16),
        "brain": torch.tensor([1.5, -3.0], dtype=torch.bfloat16),
        "double": torch.tensor([1e300], dtype=torch.float64),
        "flags": torch.tensor([True, False]),
        "bytes": torch.tensor([0, 255], dtype=torch.uint8),
    }
    _same(read_third_party(save(state, tmp_path / "types.pth", legacy=legacy))[""], state)


def test_safetensors_of_others(tmp_path: Path) -> None:
    state = espcn(2).state_dict()
    save_file(state, tmp_path / "plain.safetensors")
    _same(read_third_party(tmp_path / "plain.safetensors")[""], state)


class Payload:
    """Unpickling this writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"echo run > {self.target}",)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("where", ["value", "key", "module"])
def test_a_payload_is_refused_and_does_not_run(tmp_path: Path, legacy: bool, where: str) -> None:
    target = tmp_path / "proof"
    payload = Payload(target)
    if where == "module":
        network = espcn(2)
        network.note = payload
        path = save_module(network, tmp_path / "evil.pth", legacy=legacy)
    else:
        state = dict(espcn(2).state_dict())
        path = save(
            {**state, "note": payload} if where == "value" else {**state, payload: 1},
            tmp_path / "evil.pth",
            legacy=legacy,
        )
    with pytest.raises(WeightsError, match="refused, the pickle asks for '.*system'"):
        import_weights(path, "evil")
    assert not target.exists()
    assert find_weights("evil", "superres") is None
    # The payload is real: Python's own unpickler would have run it.
    pickle.loads(pickle.dumps(payload))
    assert target.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins eval", "torch load", "torch._utils _import_dotted_name", "torch.nn Module"],
)
def test_only_listed_globals_are_allowed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "named.pth"
    module, attribute = name.split()
    prefix = pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    path.write_bytes(prefix + b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b".")
    with pytest.raises(WeightsError, match="refused"):
        read_third_party(path)


def _legacy(main: bytes, keys: bytes = b"\x80\x02].", tail: bytes = b"") -> bytes:
    header = pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    return header + main + keys + tail


def _tensor_pickle(numel: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    storage += pickle.dumps(numel, 2)[2:-1] + b"NtQ"
    parts = (offset, size, stride, False)
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = b"(" + storage + b"".join(pickle.dumps(part, 2)[2:-1] for part in parts) + hooks + b"t"
    return b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"Rs."


KEYS = pickle.dumps(["0"], 2)


def test_the_hand_written_checkpoint_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "hand.pth"
    tail = struct.pack("<q4f", 4, 1, 2, 3, 4)
    path.write_bytes(_legacy(_tensor_pickle(4, (2, 2), (1, 2)), KEYS, tail))
    np.testing.assert_array_equal(read_third_party(path)[""]["w"], [[1, 3], [2, 4]])


@pytest.mark.parametrize(
    "main",
    [
        _tensor_pickle(4, (5,), (1,)),
        _tensor_pickle(4, (2, 2), (1, 3)),
        _tensor_pickle(4, (2,), (1,), offset=3),
        _tensor_pickle(4, (10**9, 10**9), (0, 0)),
        _tensor_pickle(4, (2**62,), (1,)),
        _tensor_pickle(4, (2, 2), (1,)),
        _tensor_pickle(4, (-2, -2), (1, 1)),
        _tensor_pickle(2**39, (2,), (1,)),
        b"\x80\x02}r\xff\xff\xff\x7f.",  # an absurd memo index makes Python's unpickler allocate gigabytes
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a text of 2^63 bytes
        b"\x80\x02" + b"(" * 10_000 + b"l" * 9_000 + b".",
        b"\x80\x02K\x01K\x02R.",
        b"\x80\x02" + b"}q\x00" + b"h\x00X\x01\x00\x00\x00ah\x00s.",
        b"\x80\x02.",
        b"\x80\x02N",
    ],
)
def test_absurd_checkpoints_are_refused_without_harm(tmp_path: Path, main: bytes) -> None:
    path = tmp_path / "absurd.pth"
    path.write_bytes(_legacy(main, KEYS, struct.pack("<q4f", 4, 1, 2, 3, 4)))
    with pytest.raises(WeightsError, match=r"absurd\.pth"):
        read_third_party(path)


def test_modules_that_contain_each_other_end(tmp_path: Path) -> None:
    network = torch.nn.Module()
    inner = network
    for _ in range(40):  # each module holds the next twice: 2^40 paths
        child = torch.nn.ReLU()
        inner.add_module("a", child)
        inner.add_module("b", child)
        inner = child
    path = save(network.a, tmp_path / "bomb.pth")
    with pytest.raises(WeightsError, match="contain themselves"):
        read_third_party(path)


def _rezipped(source: Path, target: Path, compression: int, extra: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        for name, data in extra.items():
            new.writestr(name, data)
    return target


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    good = save(espcn(2).state_dict(), tmp_path / "good.pth")
    bomb = _rezipped(good, tmp_path / "bomb.pth", zipfile.ZIP_DEFLATED, {"good/data/99": bytes(10**7)})
    assert bomb.stat().st_size < 10**6
    with pytest.raises(WeightsError, match="compressed"):
        read_third_party(bomb)


def test_tensors_far_larger_than_the_file_are_refused(tmp_path: Path) -> None:
    base = torch.zeros(10_000)
    state = {f"view{index}": base[index:] for index in range(100)}
    with pytest.raises(WeightsError, match="larger than the file"):
        read_third_party(save(state, tmp_path / "views.pth"))


def test_big_endian_and_other_archives_are_refused(tmp_path: Path) -> None:
    good = save(espcn(2).state_dict(), tmp_path / "good.pth")
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match="not a PyTorch checkpoint"):
        read_third_party(other)
    data = good.read_bytes().replace(b"little", b"bigbig")
    swapped = tmp_path / "swapped.pth"
    swapped.write_bytes(data)
    with pytest.raises(WeightsError):
        read_third_party(swapped)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("originals")
    layer = torch.nn.Conv2d(1, 2, 3)
    save_file(layer.state_dict(), folder / "plain.safetensors")
    return [
        save(layer, folder / "a.pth", legacy=True).read_bytes(),
        save(layer, folder / "b.pth").read_bytes(),
        save(layer.state_dict(), folder / "c.pth").read_bytes(),
        (folder / "plain.safetensors").read_bytes(),
    ]


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    which=st.integers(0, 3),
    cut=st.floats(0, 1),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
)
@example(which=0, cut=1.0, edits=[])
@example(which=1, cut=1.0, edits=[])
def test_damage_gives_a_weights_error_or_arrays(
    originals: list[bytes], tmp_path: Path, which: int, cut: float, edits: list[tuple[float, int]]
) -> None:
    data = bytearray(originals[which])
    for place, value in edits:
        # The first half kilobyte holds the instructions: damage there is what matters most.
        data[int(place * min(512, len(data) - 1))] = value
    path = tmp_path / "fuzzed"
    path.write_bytes(data[: int(cut * len(data))])
    try:
        states = read_third_party(path)
    except WeightsError as error:
        assert str(path) in str(error)
        return
    assert all(isinstance(value, np.ndarray) for state in states.values() for value in state.values())


def test_every_truncation_gives_a_weights_error(originals: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "cut"
    for data in originals:
        for length in range(0, len(data) - 1, 7):
            path.write_bytes(data[:length])
            with pytest.raises(WeightsError):
                read_third_party(path)


def test_import_finds_the_scale_and_makes_methods_and_a_family(tmp_path: Path) -> None:
    for scale in (2, 4):
        path = save_module(espcn(scale), tmp_path / f"{scale}.pth", legacy=True)
        file = import_weights(path, f"study-x{scale}")
        assert file.info.scale == scale
        assert file.path.with_suffix(".md").read_text(encoding="utf-8").startswith(f"# study-x{scale}")
        _same(load_tensors(file.path), espcn(scale).state_dict())
    assert {"study", "study-x2", "study-x4"} <= set(known_methods())
    family = get_method("study")
    assert [px for px in (16, 32, 64) if family.fits(px)] == [32, 64]
    assert family.fingerprint(32) == get_method("study-x4").fingerprint(32)
    assert family.fingerprint(64) == get_method("study-x2").fingerprint(64)


def test_import_refuses_names_that_are_taken(tmp_path: Path) -> None:
    path = save(espcn(2).state_dict(), tmp_path / "a.pth")
    for name in ("bicubic", "vrn-compact"):
        with pytest.raises(UsageError, match="facepipe itself"):
            import_weights(path, name)
    import_weights(path, "mine")
    with pytest.raises(UsageError, match="--replace"):
        import_weights(path, "mine")
    other = save(espcn(2, seed=1).state_dict(), tmp_path / "b.pth")
    before = get_method("mine").fingerprint(64)
    import_weights(other, "mine", overwrite=True)
    assert get_method("mine").fingerprint(64) != before


def test_import_refuses_other_networks_kinds_and_values(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no network that facepipe or spandrel knows"):
        import_weights(save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "a.pth"), "a")
    state = espcn(2).state_dict()
    path = save(state, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="not a regressor"):
        import_weights(path, "b", kind="regressor")
    with pytest.raises(WeightsError, match="has shape"):
        import_weights(save({**state, "conv2.weight": torch.zeros(3)}, tmp_path / "c.pth"), "c")
    with pytest.raises(WeightsError, match="not finite"):
        import_weights(save({**state, "conv1.bias": torch.full((64,), torch.nan)}, tmp_path / "d.pth"), "d")


def test_own_weights_are_imported_with_their_description(tmp_path: Path) -> None:
    description = tmp_path / "about.json"
    description.write_text('{"licence": "CC0-1.0", "figures": {"psnr_db": 30.5}}')
    path = save(espcn(2).state_dict(), tmp_path / "a.pth")
    first = import_weights(path, "first", describe=description, out=tmp_path / "elsewhere")
    second = import_weights(first.path, "second")
    assert second.info.licence == "CC0-1.0"
    assert second.info.figures == {"psnr_db": 30.5}
    assert second.info.name == "second"


@pytest.mark.parametrize("text", ["{", "[]", '{"flavour": 1}', '{"licence": 1}', '{"figures": "good"}'])
def test_descriptions_are_checked(tmp_path: Path, text: str) -> None:
    description = tmp_path / "about.json"
    description.write_text(text)
    with pytest.raises(UsageError, match="--describe"):
        import_weights(save(espcn(2).state_dict(), tmp_path / "a.pth"), "a", describe=description)


def test_a_file_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.pth: no such file"):
        import_weights(tmp_path / "nowhere.pth", "a")


def test_commands(tmp_path: Path, facepipe_home: Path) -> None:
    path = save_module(espcn(4), tmp_path / "a.pth", legacy=True)
    done = CliRunner().invoke(models, ["import", str(path), "--as", "mine-x4"])
    assert done.exit_code == 0, done.output
    assert "superres, espcn x4" in done.output
    (facepipe_home / "weights" / "bad.safetensors").write_bytes(b"x")
    listed = CliRunner().invoke(models, ["list"])
    assert listed.exit_code == 0
    lines = listed.output.splitlines()
    assert any(line.split()[:4] == ["mine-x4", "superres", "espcn", "x4"] for line in lines)
    assert any("bad.safetensors" in line for line in lines)


def test_one_truncated_import_does_not_hide_the_others(tmp_path: Path) -> None:
    path = save(espcn(2).state_dict(), tmp_path / "a.pth")
    import_weights(path, "good-x2")
    cut = import_weights(path, "cut-x2").path
    cut.write_bytes(cut.read_bytes()[:-5])
    # The header agrees with the file, and what it says of a tensor is nothing that can be read.
    odd = import_weights(path, "odd-x2").path
    odd.write_bytes(odd.read_bytes().replace(b'"shape":[64,1,5,5]', b'"shape":[64,9,5,5]', 1))
    done = CliRunner().invoke(models, ["list"])
    assert done.exit_code == 0, done.output
    assert "good-x2" in [line.split()[0] for line in done.stdout.splitlines()]
    assert "cut-x2" not in done.stdout
    assert "odd-x2" not in done.stdout
    told = done.stderr.splitlines()
    assert any(line.startswith(f"unusable: {cut}: truncated, ") for line in told)
    assert any(line.startswith(f"unusable: {odd}: ") for line in told)
    assert "cut-x2" not in known_methods()


def test_safetensors_in_bfloat16_are_read(tmp_path: Path) -> None:
    state = {key: value.bfloat16() for key, value in espcn(2).state_dict().items()}
    save_file(state, tmp_path / "brain.safetensors")
    _same(read_third_party(tmp_path / "brain.safetensors")[""], state)
    file = import_weights(tmp_path / "brain.safetensors", "brain-x2")
    _same(load_tensors(file.path), state)
    save_file({"a": torch.zeros(2, dtype=torch.float8_e4m3fn)}, tmp_path / "eight.safetensors")
    with pytest.raises(WeightsError, match="'a' is of type F8_E4M3"):
        read_third_party(tmp_path / "eight.safetensors")


@pytest.mark.parametrize(("scale", "prefix"), [(2, ""), (4, "module."), (8, "")])
def test_spandrels_compact_is_facepipes(tmp_path: Path, scale: int, prefix: str) -> None:
    state = compact(scale)
    path = save({"params": {f"{prefix}{key}": value for key, value in state.items()}}, tmp_path / "a.pth")
    file = import_weights(path, "theirs")
    assert file.info.architecture == "compact"
    assert file.info.arguments == {"scale": scale, "features": 8, "convolutions": 2}
    assert file.info.scale == scale
    assert file.info.origin["file"] == "a.pth"
    _same(load_tensors(file.path), state)
    low = np.random.default_rng(0).integers(0, 256, (1, 128 // scale, 128 // scale, 3)).astype(np.uint8)
    image = torch.from_numpy(low).permute(0, 3, 1, 2) / 255
    hidden = image
    for layer in (0, 2, 4):
        hidden = torch.conv2d(hidden, state[f"body.{layer}.weight"], state[f"body.{layer}.bias"], padding=1)
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
    hidden = torch.conv2d(hidden, state["body.6.weight"], state["body.6.bias"], padding=1)
    expected = torch.pixel_shuffle(hidden, scale)
    expected += image.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    restored = get_method("theirs").build(128 // scale)(low)
    assert np.abs(restored - (255 * expected).clamp(0, 255).permute(0, 2, 3, 1).numpy()).max() < 0.51


def test_a_compact_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    state = compact(4)
    for change, message in (
        ({"body.2.weight": torch.zeros(8, 8, 5, 5)}, "for body.2.weight, where .* has "),
        ({"body.3.weight": torch.zeros(1)}, "for body.3.weight, where .* has "),
        ({"body.4.bias": None}, "no tensor for body.4.bias"),
    ):
        wrong = {key: value for key, value in {**state, **change}.items() if value is not None}
        with pytest.raises(WeightsError, match=message):
            import_weights(save(wrong, tmp_path / "a.pth"), "wrong")


def test_without_spandrel_a_message_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    path = save(compact(3), tmp_path / "a.pth")
    with pytest.raises(
        WeightsError, match=r"facepipe itself knows no network .*pip install 'facepipe\[spandrel"
    ):
        import_weights(path, "theirs")


def test_own_weights_that_cannot_run_are_refused(tmp_path: Path) -> None:
    good = import_weights(save(espcn(2).state_dict(), tmp_path / "a.pth"), "good", out=tmp_path)
    tensors, path = load_tensors(good.path), tmp_path / "wrong.safetensors"
    for change, message in (
        ({"architecture": "transformer"}, "'transformer'"),
        ({"arguments": {"scale": 2, "flavour": 1}}, "cannot be built"),
        ({"scale": 4}, "scale 4"),
        ({"arguments": {"scale": 4}, "scale": 4}, r"for conv4.bias, where .* has \(16,\)"),
    ):
        save_weights(path, tensors, replace(good.info, **change))
        with pytest.raises(WeightsError, match=message):
            import_weights(path, "wrong")
    about = tmp_path / "about.json"
    about.write_text('{"geometry": {"z_zero": 80}}')
    for option in ({"describe": about}, {"z_zero": 80.0}):
        with pytest.raises(UsageError, match="for regressors, and this is a espcn"):
            import_weights(good.path, "wrong", **option)
    assert find_weights("wrong", "superres") is None
