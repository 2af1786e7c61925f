"""Look up by name, with 'did you mean' for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Protocol, TypeVar

from facepipe.core.errors import UsageError


class Named(Protocol):
    """Anything that says what it is called."""

    @property
    def name(self) -> str:
        """What users call it."""


N = TypeVar("N", bound=Named)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for a near miss, else an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Build the error for an unknown ``name`` of a ``kind`` ('method', 'degradation', ...)."""
    names = sorted(known)
    return UsageError(f"unknown {kind} {name!r}{did_you_mean(name, names)}; known: {', '.join(names)}")


def named(kind: str, name: str, entries: Iterable[N]) -> N:
    """Return the entry of a name.

    Raises:
        UsageError: there is none of that name among the entries of this kind.
    """
    by_name = {entry.name: entry for entry in entries}
    if name not in by_name:
        raise unknown(kind, name, by_name)
    return by_name[name]
