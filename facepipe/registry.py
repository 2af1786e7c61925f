"""Look-up by name with a helpful answer for a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from facepipe.errors import UsageError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for a near miss, else an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Build the error for an unknown ``name`` of a ``kind`` ('method', 'degradation', ...)."""
    names = sorted(known)
    return UsageError(f"unknown {kind} {name!r}{did_you_mean(name, names)}; known: {', '.join(names)}")
