"""The material at each fragment, as lighting needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class Surface:
    """Fragments to be lit.

    Attributes:
        colour: (3, N), linear reflectance.
        normal: (3, N), picture frame.
        open_sky: (N,), share of the surroundings that reaches the point.
        shine, gloss: (N,), strength and exponent of the highlight.
        translucent: (N,), how far light bleeds into shadow.
    """

    colour: Any
    normal: Any
    open_sky: Any
    shine: Any
    gloss: Any
    translucent: Any
