"""Flows take the fields of a configuration as their parameters, without a copy of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

from facepipe.core.config_model import validated

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")


def takes_fields_of(model: type[M]) -> Callable[[Callable[[M], R]], Callable[..., R]]:
    """Turn a function of a configuration into one of its fields, for Prefect's form and `-p name=value`.

    A field that is a list may also be given as text, `32,64`.

    Args:
        model: the configuration's class.
    """
    parameters = [_parameter(name, field) for name, field in model.model_fields.items()]

    def taking(function: Callable[[M], R]) -> Callable[..., R]:
        returns = inspect.signature(function, eval_str=True).return_annotation
        signature = inspect.Signature(parameters, return_annotation=returns)

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> R:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            return function(validated(model, given.arguments, "parameters"))

        # Prefect asks for these; the function's own would say that there is one parameter.
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": returns}
        del run.__wrapped__  # type: ignore[attr-defined]
        return run

    return taking


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    annotation: Any = field.annotation
    if any(isinstance(rule, AfterValidator) for rule in field.metadata):  # of a path: `~`, and absolute
        annotation = Annotated[annotation, *field.metadata]
    default = inspect.Parameter.empty if field.is_required() else field.default
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        annotation, default = list[item] | item | str, ",".join(map(str, field.default))  # type: ignore[valid-type]
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation
    )
