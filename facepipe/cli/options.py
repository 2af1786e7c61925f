"""Command-line options made from a pydantic model, so that no option is written down twice."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo


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


def _click_type(annotation: Any) -> click.ParamType | type:
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    if get_origin(annotation) is Literal:
        return click.Choice([str(value) for value in get_args(annotation)])
    if annotation in (int, float):
        return annotation
    if annotation is Path:
        return click.Path(path_type=Path)
    return str


def _shown_default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is False or value == () or field.is_required():
        return ""
    text = ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
    return f"  [default: {text}]"
