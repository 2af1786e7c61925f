"""Validate configurations, with errors that say what was expected."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from facepipe.core.errors import UsageError
from facepipe.core.names import did_you_mean

MAX_CONFIG_BYTES = 1 << 20

M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "string_pattern_mismatch": "text of the form {pattern}",
    "path_type": "a path",
    "tuple_type": "a list",
    "dict_type": "'key: value' lines",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
}
"""What was expected, by pydantic's type of the error."""


def validated(model: type[M], values: dict[str, Any], where: str, options: Collection[str] = ()) -> M:
    """Build a configuration from plain values.

    Args:
        model: its class.
        values: by key.
        where: what they came from, for messages.
        options: keys whose values came from options of the command line instead.

    Raises:
        UsageError: an unknown key (with a suggestion) or a value out of range, all of them named.
    """
    try:
        return model(**values)
    except ValidationError as error:
        explained = [f"{_subject(item, options)}{_explain(item, model)}" for item in error.errors()]
        of_options = all(text.startswith("--") for text in explained)
        raise UsageError(("" if of_options else f"{where}: ") + "; ".join(explained)) from error


def _subject(item: Any, options: Collection[str]) -> str:
    """The option or key whose value is wrong, where it is one value."""
    if not item["loc"] or item["type"] in ("extra_forbidden", "missing"):
        return ""
    key = str(item["loc"][0])
    return f"--{key.replace('_', '-')}: " if key in options else f"{key}: "


def _explain(item: Any, model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        key = str(item["loc"][-1])
        return f"unknown key {key!r}{did_you_mean(key, model.model_fields)}"
    if item["type"] == "missing":
        return f"{item['loc'][-1]} is needed"
    if item["type"] == "value_error":
        return str(item["msg"].removeprefix("Value error, "))
    if item["type"] not in _EXPECTED:
        return f"{item['msg']}, got {item['input']!r}"
    return f"expected {_EXPECTED[item['type']].format(**item.get('ctx', {}))}, got {item['input']!r}"


class _OnceEachLoader(yaml.SafeLoader):
    """YAML's plain values only; a key that stands twice is an error, and not the last one's victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, Hashable) or keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_config_file(path: Path) -> dict[str, Any]:
    """Read the keys of a YAML configuration.

    Raises:
        UsageError: the file is missing, not YAML, or not a mapping.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UsageError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes, that is no configuration")
        values = yaml.load(path.read_text(encoding="utf-8"), _OnceEachLoader)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the configuration: {error.strerror or error}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected 'key: value' lines, got {type(values).__name__}")
    named = {str(key).replace("-", "_"): value for key, value in values.items()}
    if len(named) < len(values):
        raise UsageError(f"{path}: a key stands there twice, once with '-' and once with '_'")
    return named
