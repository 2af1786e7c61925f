"""How wide pixels are beside their height, for recorders whose files do not say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

LARGEST = 10
"""Pixels that are wider, or higher, are a mistake."""

_RULE = re.compile(r"(?:(\d+)x(\d+)=)?(\d+):(\d+)")


@dataclass(frozen=True)
class PixelAspects:
    """Pixel aspect ratios by the size of frames.

    Attributes:
        rules: (width, height, ratio); sizes in px, None for every other size; ratio = width / height of a
        pixel.
    """

    rules: tuple[tuple[int | None, int | None, Fraction], ...] = ()

    def of(self, width: int, height: int) -> Fraction | None:
        """The ratio for frames of a size, None where no rule speaks of it."""
        ratios = {(w, h): ratio for w, h, ratio in self.rules}
        return ratios.get((width, height), ratios.get((None, None)))


def parse_pixel_aspects(text: str) -> PixelAspects:
    """Parse '2:1', '352x576=2:1' or a list of these with commas between them.

    Raises:
        ValueError: it is none.
    """
    rules = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _RULE.fullmatch(part)
        if not match or not int(match[3]) or not int(match[4]):
            raise ValueError(f"{part!r}: expected WIDTH:HEIGHT of a pixel, as 2:1, or 352x576=2:1")
        ratio = Fraction(int(match[3]), int(match[4]))
        if not 1 / LARGEST <= ratio <= LARGEST:
            raise ValueError(f"{part!r}: pixels are at most {LARGEST} times as long in one direction")
        size = (int(match[1]), int(match[2])) if match[1] else (None, None)
        rules.append((*size, ratio))
    return PixelAspects(tuple(rules))
