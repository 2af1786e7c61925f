"""Colour and label of each method, the same in every chart, table and caption."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

# Colours of the methods that every run has come first, so that two reports can be laid side by side.
_USUAL = ("nearest", "bilinear", "bicubic", "lanczos", "espcn")

N_COLOURS = 10
"""Colours of methods in the style sheet, --m0 to --m9; more methods than that take them again."""


@dataclass(frozen=True)
class MethodStyle:
    """How a method appears.

    Attributes:
        name: as in the tables.
        label: short; a `file:` method is called by its file.
        colour: class of the style sheet, `m0` to `m9`, or `mref` for the reference.
    """

    name: str
    label: str
    colour: str


def method_styles(methods: Iterable[str]) -> dict[str, MethodStyle]:
    """Name -> style for the methods of a run; the reference and the truth are always among them."""
    names = [name for name in dict.fromkeys(methods) if name != "reference"]
    others = [name for name in names if name not in _USUAL]
    styles = {"reference": MethodStyle("reference", "reference", "mref")}
    for name in names:
        place = _USUAL.index(name) if name in _USUAL else len(_USUAL) + others.index(name)
        styles[name] = MethodStyle(name, _label(name), f"m{place % N_COLOURS}")
    return styles


def _label(name: str) -> str:
    return PurePath(name.removeprefix("file:")).stem if name.startswith("file:") else name


def number(value: float, unit: str = "") -> str:
    """A value at the precision that its unit deserves: two digits for px, dB and degrees, else three."""
    text = f"{value:.2f}" if unit else f"{value:.3f}"
    return text.replace("-", "\N{MINUS SIGN}")
