"""Format the figures of a weights file as tables.

Figures are stored under names that tell data and group apart: 'faces for tests, yaw to either side below 30'.
Every table holds figures of one kind, so that its columns mean the same in all rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TRUTH_ITSELF, FITTED_HEAD = "truth itself", "head fitted to the landmarks"
"""What is compared in place of a prediction, to say what a perfect volume would get: the true volume, or
where only 3D landmarks are known, the most probable head that has them (`facepipe.geometry.head_fit`)."""

COLUMNS = {
    "images": "images",
    "psnr_db": "PSNR, dB",
    "bicubic_psnr_db": "bicubic PSNR, dB",
    "gain_db": "gain over bicubic, dB",
    "ssim": "SSIM",
    "bicubic_ssim": "bicubic SSIM",
    "gain_ssim": "gain in SSIM",
    "iou": "IoU",
    "depth_rmse_px": "surface depth error, px",
    "landmark_depth_error": "landmark depth error",
    "visible_depth_error": "visible landmark depth error",
    "flat_depth_error": "error of a flat face",
    "landmark_correlation": "depth correlation",
    "visible_correlation": "visible depth correlation",
    "hull_coverage": "hull coverage",
    "landmarks_inside": "landmarks inside",
}
"""Headings, in the order of the columns; other figures follow under their own names."""

MEANINGS = {
    "gain_db": "mean of each image's difference to bicubic interpolation of the same low-resolution image",
    "iou": "of predicted and true occupancy volume",
    "depth_rmse_px": "root mean square over pixels where both front surfaces are, reference pixels",
    "landmark_depth_error": "mean |dz - median dz| at the inner 51 landmarks in the predicted silhouette, "
    "hidden ones included as in the published protocol, over the root of the area of the landmarks' box; a "
    "row 'head fitted to the landmarks' says what a good volume would get where only landmarks are known",
    "visible_depth_error": "the same at landmarks that no nearer part of the true surface hides; a row "
    "'truth itself' says what a perfect volume would get",
    "flat_depth_error": "landmark depth error of a surface without depth",
    "landmark_correlation": "Pearson's, of predicted and true depths of the same landmarks",
    "visible_correlation": "the same at landmarks that no nearer part of the true surface hides",
    "hull_coverage": "share of the landmarks' convex hull that lies in the predicted silhouette",
    "landmarks_inside": "share of the inner 51 landmarks there; who covers more of a turned face has more "
    "hidden ones counted in the landmark depth error",
}

COMMANDS = "commands"
"""Key in `WeightsInfo.figures` of the commands that measured, by title; no figures themselves."""

_OLD_NAMES = {"faces": "images", "depth_px": "depth_rmse_px"}

_GROUPS = (
    ("By head turn", "yaw, degrees", r"yaw to either side (.+)"),
    ("By skin tone", "skin tone, 0 lightest to 1 darkest", r"skin tone (.+)"),
    ("By colour", "picture", r"picture in (.+)"),
    ("By part", "part of the data", r"part (.+)"),
    ("At low resolution", "image", r"(\w+ \d+ px, \w+)"),
)
_WHOLE = r"(.+), all"


@dataclass(frozen=True)
class FigureTable:
    """Figures of one kind.

    Attributes:
        title: such as 'By skin tone'.
        labels: headings of the columns that say what a row is about.
        keys: names of the figures, one for each further column.
        rows: the labels of each row, and its figures by name.
    """

    title: str
    labels: tuple[str, ...]
    keys: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...]


def figure_tables(figures: Mapping[str, Any]) -> list[FigureTable]:
    """Sort figures into tables, those of whole data sets first.

    Args:
        figures: as in `WeightsInfo.figures`: a figure by its name, or figures of one kind by theirs.
    """
    rows_of: dict[tuple[str, tuple[str, ...]], list[tuple[tuple[str, ...], Mapping[str, Any]]]] = {}
    single = {}
    for name, value in figures.items():
        if name == COMMANDS:
            continue
        if not isinstance(value, Mapping):
            single[name] = value
            continue
        title, headings, labels = _place(name)
        row: dict[str, Any] = {_OLD_NAMES.get(str(key), str(key)): figure for key, figure in value.items()}
        rows_of.setdefault((title, headings), []).append((labels, row))
    order = ["On whole data sets", *(title for title, _, _ in _GROUPS)]
    tables = []
    for (title, headings), rows in sorted(rows_of.items(), key=lambda item: order.index(item[0][0])):
        rows.sort(key=lambda row: tuple(_natural(label) for label in row[0]))
        tables.append(FigureTable(title, headings, _keys([row for _, row in rows]), tuple(rows)))
    if single:
        tables.append(FigureTable("", (), _keys([single]), (((), single),)))
    return tables


def _place(name: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The table that a row of a name belongs to, its label columns and the row's labels."""
    for title, heading, pattern in _GROUPS:
        match = re.fullmatch(rf"(.+), {pattern}", name)
        if match:
            return title, ("data", heading), (match[1], match[2])
    whole = re.fullmatch(_WHOLE, name)
    label = name if whole is None else whole[1]
    return "On whole data sets", ("data",), (label.replace("_", " "),)


def _keys(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    present = list(dict.fromkeys(key for row in rows for key in row))
    return (*(key for key in COLUMNS if key in present), *(key for key in present if key not in COLUMNS))


def _natural(label: str) -> tuple[tuple[int, float, str], ...]:
    """Sorts 'below 30' before '30 to 60' before 'from 60', and 16 px before 128 px."""
    return tuple(
        (1, float(part), "") if part[0].isdigit() else (0 if part == "below " else 2, 0.0, part)
        for part in re.findall(r"\d+(?:\.\d+)?|[^\d]+", label)
    )


def wrong_figure(figures: Mapping[str, Any]) -> str | None:
    """What among figures is none, and what is expected; None if all are.

    Those with a heading in `COLUMNS` are numbers, or text that begins with one; others may be any text.
    """
    commands = figures.get(COMMANDS, {})
    if not isinstance(commands, Mapping) or not all(isinstance(one, str) for one in commands.values()):
        return f"figures with {COMMANDS} {commands!r}: expected texts by title"
    for name, value in figures.items():
        if name == COMMANDS:
            continue
        for key, figure in (value if isinstance(value, Mapping) else {name: value}).items():
            known = _OLD_NAMES.get(key, key) in COLUMNS
            if isinstance(figure, str):
                right = not known or _NUMBER.fullmatch(figure) is not None
            else:
                right = type(figure) in (int, float) and math.isfinite(figure)
            if not right:
                also = "text that begins with one" if known else "text"
                return f"figure {key} = {figure!r}: expected a finite number or {also}"
    return None


_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?(\s.*)?|[-+]?(inf|nan)\b.*")


def telling_figures(figures: Mapping[str, Any]) -> str:
    """The one or two figures that say most about weights, without intervals; '' where there are none.

    Those of photographs where there are any: what was measured on rendered faces flatters.
    """
    rows = [(labels, row) for table in figure_tables(figures) for labels, row in table.rows]
    rows = [
        row for row in rows if not any(perfect in "".join(row[0]) for perfect in (TRUTH_ITSELF, FITTED_HEAD))
    ]
    rows.sort(key=lambda row: "photo" not in "".join(row[0]))
    told = []
    for key, phrase in _PHRASES.items():
        values = [row[key] for _, row in rows if key in row]
        if values:
            told.append(phrase.format(figure_text(values[0]).split(" (")[0]))
    return ", ".join(told[:2])


_PHRASES = {
    "psnr_db": "{} dB",
    "bicubic_psnr_db": "bicubic {}",
    "landmark_depth_error": "depth error {}",
    "iou": "IoU {}",
}


def figure_text(value: Any) -> str:
    """A figure as a cell of a table."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.6g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(figure_text(part) for part in value) + "]"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={figure_text(part)}" for key, part in value.items())
    return str(value).replace("|", "\\|").replace("\n", " ")
