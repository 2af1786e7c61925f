"""Command-line options made from a pydantic model, so that no option is written down twice."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from facepipe.core.config_model import read_config_file, validated
from facepipe.core.path_option import PATH

M = TypeVar("M", bound=BaseModel)


def options_from(model: type[BaseModel], leave_out: Collection[str] = ()) -> Callable[[Callable], Callable]:
    """Decorate a command with one option for each field; options that are not given are None.

    Args:
        model: whose fields.
        leave_out: fields that the command takes in another way.
    """

    def decorate(command: Callable) -> Callable:
        for name, field in reversed(model.model_fields.items()):
            if name in leave_out:
                continue
            flag = field.annotation is bool
            command = click.option(
                f"--{name.replace('_', '-')}",
                name,
                is_flag=flag,
                type=bool if flag else _click_type(field.annotation),
                default=None,
                help=f"{field.description}{_shown_default(field)}",
            )(command)
        return command

    return decorate


def config_from(model: type[M], config_file: Path | None, options: dict[str, Any]) -> M:
    """The configuration that options and a file make together; options win.

    Args:
        model: its class.
        config_file: a YAML file of the same keys.
        options: by name, None where an option was not given.

    Raises:
        UsageError: a value or a key is wrong, or the file cannot be read.
    """
    given = {name: value for name, value in options.items() if value is not None}
    values = read_config_file(config_file) if config_file else {}
    return validated(model, values | given, str(config_file or "command line"), given)


def _click_type(annotation: Any) -> click.ParamType | type:
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return click.Choice([str(value) for value in get_args(annotation)])
    if annotation in (int, float):
        return annotation
    if annotation is Path:
        return PATH
    return str


def _shown_default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is False or value == () or field.is_required():
        return ""
    text = ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
    return f"  [default: {text}]"
