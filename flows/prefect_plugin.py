"""Lets `prefect deployment run sr-benchmark` name a deployment by one word.

Prefect's command line wants FLOW/DEPLOYMENT. Where one of them says all, this plugin completes the word
before the arguments are parsed. It is enabled by `[tool.prefect.plugins]` in pyproject.toml, or by
PREFECT_PLUGINS_ENABLED=true elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from prefect.plugins import HookContext, register_hook

DEPLOYMENTS = {
    "sr-benchmark": "sr-benchmark/sr-benchmark",
    "surveillance": "surveillance/surveillance",
    "training": "train-regressor/training",
}
"""The deployments of deploy/prefect.yaml, with their flows."""

VERBS = ("run", "inspect")

FLAGS = ("--prompt", "--no-prompt", "--watch", "--no-watch", "--help", "-h", "--version")
"""The options that take no value."""


def complete(arguments: list[str]) -> list[str]:
    """Turn the name in the arguments of `prefect deployment run|inspect` into FLOW/DEPLOYMENT."""
    words = list(_words(arguments))
    if len(words) < 3 or arguments[words[0]] != "deployment" or arguments[words[1]] not in VERBS:
        return arguments
    name = words[2]
    named = DEPLOYMENTS.get(arguments[name], arguments[name])
    return [*arguments[:name], named, *arguments[name + 1 :]]


def _words(arguments: list[str]) -> Iterator[int]:
    """Where the arguments are that are neither options nor their values."""
    is_value = False
    for place, argument in enumerate(arguments):
        is_option = not is_value and argument.startswith("-")
        if not is_value and not is_option:
            yield place
        is_value = is_option and argument not in FLAGS and "=" not in argument


@register_hook
def setup_environment(*, ctx: HookContext) -> None:  # noqa: ARG001 - the hook's signature
    """Complete the command line of this process."""
    sys.argv[1:] = complete(sys.argv[1:])
