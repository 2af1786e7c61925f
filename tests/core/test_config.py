"""One model for command line, file and flow."""

from __future__ import annotations

import inspect
import threading
from pathlib import Path

import pytest

from facepipe.bench.config import MAX_TIMEOUT_S, BenchConfig, make_config
from facepipe.core.config_model import read_config_file, validated
from facepipe.core.errors import UsageError
from facepipe.surveil.config import SurveilConfig


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


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("low_px", "16,abc", "expected a whole number, got 'abc'"),
        ("limit", 0, "expected 1 or more, got 0"),
        ("max_yaw_deg", 0, "expected more than 0, got 0"),
        ("shard_size", 257, "expected 256 or less, got 257"),
        ("disk_gb", "much", "expected a number, got 'much'"),
        ("disk_gb", float("inf"), "expected a finite number, got inf"),
        ("disk_gb", 1e300, "expected 1e+09 or less, got 1e+300"),
        ("worker_memory_gb", float("inf"), "expected a finite number, got inf"),
        ("worker_memory_gb", 1e300, "expected 1e+06 or less, got 1e+300"),
        ("unit_timeout_s", float("inf"), "expected a finite number, got inf"),
        ("unit_timeout_s", 1e10, "expected 1e+06 or less, got 10000000000.0"),
        ("min_yaw_deg", float("nan"), "expected a finite number, got nan"),
        ("crop", "head", "expected 'full', 'face' or 'landmarks', got 'head'"),
        ("out", 3, "expected a path, got 3"),
        ("dataset", 3, "expected text, got 3"),
        ("methods", {}, "expected a list, got {}"),
    ],
)
def test_wrong_values_are_told_what_was_expected(key: str, value: object, expected: str) -> None:
    option = f"--{key.replace('_', '-')}"
    for given, place in (((), f"run.yaml: {key}"), ((key,), option)):
        with pytest.raises(UsageError) as caught:
            validated(BenchConfig, {key: value}, "run.yaml", given)
        assert str(caught.value) == f"{place}: {expected}"


def test_the_longest_time_limit_is_one_that_timers_take() -> None:
    assert MAX_TIMEOUT_S < threading.TIMEOUT_MAX
    for value, expected in ((1e10, "1e\\+06 or less"), (float("inf"), "a finite number")):
        with pytest.raises(UsageError, match=f"unit_timeout_s: expected {expected}"):
            validated(SurveilConfig, {"inbox": "a", "out": "b", "unit_timeout_s": value}, "night.yaml")


def test_what_is_missing_and_contradicts_is_named_once_with_its_place() -> None:
    with pytest.raises(UsageError, match=r"^command line: inbox is needed; out is needed$"):
        validated(SurveilConfig, {}, "command line")
    values = {"inbox": "a", "out": "b", "every": 2, "per_second": 1}
    with pytest.raises(UsageError, match=r"^command line: every and per_second exclude each other"):
        validated(SurveilConfig, values, "command line", values)


@pytest.mark.parametrize("model", [BenchConfig, SurveilConfig])
@pytest.mark.parametrize(
    "value", ["~", -1, 1e9, 0.5, float("inf"), float("nan"), [], {}, [{}], None, b"\xff"]
)
def test_no_error_is_in_the_words_of_the_library(model: type, value: object) -> None:
    for key in model.model_fields:
        try:
            validated(model, {"inbox": "inbox", "out": "out", key: value}, "run.yaml")
        except UsageError as error:
            assert " should " not in str(error), (key, error)


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
