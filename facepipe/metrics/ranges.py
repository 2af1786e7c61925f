"""Group the figures of images by ranges of yaw, skin tone and resolution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

T = TypeVar("T")


class Described(Protocol):
    """What may be known about the face in an image; None where it is not."""

    @property
    def yaw_deg(self) -> float | None:
        """Turn of the head to the side, degrees."""

    @property
    def skin_tone(self) -> float | None:
        """0 (lightest) to 1 (darkest)."""


YAW = "yaw to either side"
TONE = "skin tone"
LIMITS: Mapping[str, Sequence[float]] = {
    YAW: (0.0, 30.0, 60.0, math.inf),
    TONE: (0.0, 0.33, 0.67, math.inf),
}


def by_range(what: str, rows: Iterable[tuple[Described, T]]) -> dict[str, list[T]]:
    """Sort figures by |yaw| or skin tone.

    Args:
        what: `YAW` or `TONE`.
        rows: an image's description with its figures.

    Returns:
        The figures in each range that has any, by its name, such as 'yaw to either side 30 to 60'. Images of
        which nothing is known are in no range.
    """
    limits = LIMITS[what]
    values = [(_value(what, described), figures) for described, figures in rows]
    found = {}
    for low, high in pairwise(limits):
        chosen = [figures for value, figures in values if value is not None and low <= value < high]
        if chosen:
            found[f"{what} {_range(low, high, limits)}"] = chosen
    return found


def _value(what: str, described: Described) -> float | None:
    if what == TONE:
        return described.skin_tone
    return None if described.yaw_deg is None else abs(described.yaw_deg)


def _range(low: float, high: float, limits: Sequence[float]) -> str:
    if low == limits[0]:
        return f"below {high:g}"
    return f"from {low:g}" if high == limits[-1] else f"{low:g} to {high:g}"
