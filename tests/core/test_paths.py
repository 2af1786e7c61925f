"""Paths: `~` and relative ones mean the same in every option, configuration key and flow parameter."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import click
import pytest
from pydantic import BaseModel

from facepipe.bench.config import BenchConfig, make_config
from facepipe.cli import facepipe
from facepipe.core.config_model import validated
from facepipe.core.path_option import PATH, PathOption
from facepipe.core.paths import UserPath, absolute
from facepipe.datasets.catalog import open_dataset
from facepipe.models.superres.methods import get_method, resolve_methods
from facepipe.pipeline.cluster.file import KubernetesFile, SlurmFile
from facepipe.surveil.config import SurveilConfig
from flows.sr_benchmark import sr_benchmark
from flows.surveillance import surveillance
from flows.training import training

MODELS = (BenchConfig, SurveilConfig, SlurmFile)
BESIDE_THE_FILE = (KubernetesFile, "manifest")
"""The one key that is relative to the file that it stands in."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home; the command's folder is another one."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    return home


def commands(command: click.Command, name: str = "facepipe") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            yield from commands(command.get_command(context, each), f"{name} {each}")
    else:
        yield name, command


def parameters() -> list[Any]:
    found = [(name, param) for name, command in commands(facepipe) for param in command.params]
    return [
        pytest.param(param, id=f"{name} {param.opts[0]}")
        for name, param in found
        if isinstance(param.type, click.Path | click.File)
    ]


def fields() -> list[Any]:
    return [
        pytest.param(model, name, id=f"{model.__name__} {name}")
        for model in (*MODELS, KubernetesFile)
        for name, field in model.model_fields.items()
        if "Path" in str(field.annotation) and (model, name) != BESIDE_THE_FILE
    ]


def test_absolute(home: Path) -> None:
    here = Path.cwd()
    assert absolute("~/a") == home / "a"
    assert absolute("a/../b") == here / "a/../b"
    assert absolute("/a") == Path("/a")
    assert absolute("~nobody-of-this-name/a") == here / "~nobody-of-this-name/a"


@pytest.mark.parametrize("param", parameters())
def test_every_option_and_argument(param: click.Parameter, home: Path) -> None:
    assert isinstance(param.type, PathOption)
    for folder in (home / "a", Path("a")):
        folder.mkdir()
    assert param.type.convert("~/a", param, None) == home / "a"
    assert param.type.convert("a", param, None) == Path.cwd() / "a"


def test_many_options_were_found() -> None:
    names = {value.id for value in parameters()}
    assert len(names) > 20
    assert {"facepipe bench --out", "facepipe surveil inbox", "facepipe reconstruct photos"} <= names


@pytest.mark.parametrize(("model", "name"), fields())
def test_every_key_of_a_configuration(model: type[BaseModel], name: str, home: Path) -> None:
    needed: dict[str, Any] = {"inbox": "/i", "out": "/o", "cpu": {}, "manifest": "m"}
    needed = {key: value for key, value in needed.items() if key in model.model_fields}
    for given, expected in (("~/a", home / "a"), ("a", Path.cwd() / "a")):
        config = validated(model, needed | {name: given}, "file")
        assert getattr(config, name) == expected


@pytest.mark.parametrize("flow", [sr_benchmark, surveillance, training], ids=lambda flow: flow.name)
def test_every_parameter_of_a_flow(flow: Any, home: Path) -> None:
    hints = get_type_hints(flow.fn, include_extras=True)
    paths = {name for name, hint in hints.items() if "Path" in str(hint)}
    assert "out" in paths
    for name in paths:
        kinds = [hints[name], *get_args(hints[name])]
        assert UserPath in kinds or Annotated in map(type, kinds), name
    required = {
        name: "needed"
        for name, parameter in inspect.signature(flow.fn).parameters.items()
        if parameter.default is inspect.Parameter.empty
    }
    given = flow.validate_parameters(required | dict.fromkeys(paths, "~/a"))
    assert {given[name] for name in paths} == {home / "a"}


def test_data_sets_and_weights_that_may_also_be_names(home: Path) -> None:
    assert make_config({"dataset": "~/faces"}).dataset == str(home / "faces")
    assert make_config({"dataset": "faces"}).dataset == str(Path.cwd() / "faces")
    assert make_config({"dataset": "sample"}).dataset == "sample"
    (home / "photos").mkdir()
    (home / "photos/a.png").touch()
    assert open_dataset("~/photos").refs()[0].source_path == "a.png"
    weights = next(Path(get_method("espcn-x4").file.path).parent.glob("espcn-x4.safetensors"))
    (home / "own.safetensors").symlink_to(weights)
    assert resolve_methods(["file:~/own.safetensors"], [32]) == [f"file:{weights.resolve()}"]


def test_a_run_s_own_folder_has_the_name_that_it_always_had(home: Path) -> None:
    """By the data set's path as seen from the command's folder."""
    (Path.cwd() / "faces").mkdir()
    relative = make_config({"dataset": "faces"}).folder
    assert relative == Path.cwd() / "runs" / relative.name
    identity = make_config({"dataset": "faces"}).identity() | {"dataset": "faces"}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    assert relative.name == f"faces-{digest[:8]}"
    assert make_config({"dataset": str(Path.cwd() / "faces")}).folder == relative


def test_path_is_what_help_calls_it() -> None:
    assert PATH.name == "path"
