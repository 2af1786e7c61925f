"""Lets `prefect deployment run sr-benchmark` name a deployment by one word.

Prefect's command line wants FLOW/DEPLOYMENT. Where both have the same name, saying it twice tells
nothing, so this plugin completes the word before the arguments are parsed. It is enabled by
`[tool.prefect.plugins]` in pyproject.toml, or by PREFECT_PLUGINS_ENABLED=true elsewhere.
"""

from __future__ import annotations

import sys

from prefect.plugins import HookContext, register_hook

DEPLOYMENTS = ("sr-benchmark", "surveillance")
"""Deployments that share their flow's name."""

VERBS = ("run", "inspect")


def complete(arguments: list[str]) -> list[str]:
    """Turn NAME into NAME/NAME in the arguments of `prefect deployment run|inspect`."""
    if arguments[:1] != ["deployment"] or len(arguments) < 3 or arguments[1] not in VERBS:
        return arguments
    return [f"{word}/{word}" if word in DEPLOYMENTS else word for word in arguments]


@register_hook
def setup_environment(*, ctx: HookContext) -> None:  # noqa: ARG001 - the hook's signature
    """Complete the command line of this process."""
    sys.argv[1:] = complete(sys.argv[1:])
