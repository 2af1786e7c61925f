"""Named arrays read as attributes: how looks and vertex masks reach the shading code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Values:
    """A mapping whose entries are attributes."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self._entries = entries

    def subset(self, where: Any) -> Values:  # noqa: ARG002
        """The values for some of the fragments: the same, since they belong to one picture."""
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return self._entries[name]
        except KeyError:
            raise AttributeError(name) from None
