"""One model for command line, file and flow."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from facepipe.config import BenchConfig, make_config, read_config_file
from facepipe.errors import UsageError


def test_lists_may_be_written_with_commas() -> None:
    config = make_config({"low_px": "16, 32,16", "methods": "nearest,bilinear"})
    assert config.low_px == (16, 32)
    assert config.methods == ("nearest", "bilinear")


def test_an_unknown_key_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown key 'degradation'.*did you mean 'degradations'"):
        make_config({"degradation": "area"})


def test_every_wrong_value_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        make_config({"low_px": "128", "limit": 0, "degradations": "areas"})
    message = str(caught.value)
    assert "128 px is not a low resolution" in message
    assert "limit" in message
    assert "did you mean 'area'" in message


def test_a_file_is_read_with_dashes_or_underscores(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("low-px: [32]\nshard_size: 4\n")
    assert make_config(read_config_file(path)).low_px == (32,)


@pytest.mark.parametrize(
    "text",
    ["- a\n- b\n", "a: [", "!!python/object/apply:os.system ['true']", "a: &a [*a, *a]\nb: \x00", "\x80\x81"],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"run\.yaml"):
        make_config(read_config_file(path))


def test_how_the_work_is_done_is_no_part_of_identity() -> None:
    one = make_config({"workers": 1, "out": "a", "keep": "scores", "shard_size": 3})
    two = make_config({"workers": 2, "out": "b"})
    assert one.identity() == two.identity()
    assert one.identity() != make_config({"seed": 1}).identity()


def test_the_default_folder_belongs_to_the_configuration() -> None:
    assert make_config({}).folder == make_config({"workers": 2}).folder
    assert make_config({}).folder != make_config({"limit": 3}).folder


def test_the_flow_has_exactly_these_parameters() -> None:
    from flows.sr_benchmark import sr_benchmark

    parameters = inspect.signature(sr_benchmark.fn).parameters
    assert list(parameters) == list(BenchConfig.model_fields)
    defaults = make_config({name: parameter.default for name, parameter in parameters.items()})
    assert defaults == BenchConfig()
