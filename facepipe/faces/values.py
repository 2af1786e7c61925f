"""Named arrays read as attributes: how looks and vertex masks reach the shading code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Values:
    """A mapping whose entries are attributes."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self._entries = entries

    def __getattr__(self, name: str) -> Any:
        try:
            return self._entries[name]
        except KeyError:
            raise AttributeError(name) from None
