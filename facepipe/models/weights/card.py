"""Write model cards: the description of a weights file as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from facepipe.models.weights.figures import COLUMNS, COMMANDS, MEANINGS, figure_tables, figure_text
from facepipe.models.weights.info import WeightsInfo
from facepipe.models.weights.weights_file import WeightsFile

CURVE = "loss_curve"
"""Key in `WeightsInfo.training` of the losses of a training, evenly spaced; a card draws them."""

_BARS = "▁▂▃▄▅▆▇█"


def model_card(file: WeightsFile) -> str:
    """Write the model card of a weights file in Markdown, from its metadata alone."""
    return card_text(file.info, file.path.name, file.path.stat().st_size, file.sha256)


def card_text(info: WeightsInfo, file_name: str, size_bytes: int, sha256: str) -> str:
    """The model card of weights that need not be written yet.

    Args:
        info: their description.
        file_name: of the file, without its folder.
        size_bytes: of the file.
        sha256: of the file.
    """
    facts = {
        "Kind": {"superres": "super-resolution", "regressor": "volumetric regression"}[info.kind],
        "Architecture": f"`{info.architecture}`{_call(info.arguments)}",
        "Enlargement": f"x{info.scale}" if info.scale else "",
        "Degradation it was trained on": f"`{info.degradation}`" if info.degradation else "",
        "Colour": info.colour,
        "Volume geometry": _call(_geometry(info)),
        "Run with": figure_text({key.replace("_", " "): value for key, value in info.usage.items()}),
        "Licence": info.licence,
        "Source": info.source,
        "Imported from": _origin(info.origin),
        "Trained": "" if info.trained else "no: random values, never part of `all`",
        "File": f"`{file_name}`, {size_bytes:,} bytes",
        "sha256": f"`{sha256}`",
    }
    lines = [f"# {info.name}", "", *_facts(facts)]
    if info.training:
        training = {key.replace("_", " "): value for key, value in info.training.items() if key != CURVE}
        curve = info.training.get(CURVE)
        if curve and is_curve(curve):
            training["loss"] = (
                f"{training.get('loss', '')} `{sparkline(curve)}` {curve[0]:.3g} to {curve[-1]:.3g}"
            )
        lines += ["", "## Training", "", *_facts(training)]
    if info.figures:
        lines += ["", "## Measured", *_measured(info.figures)]
    return "\n".join(lines) + "\n"


def write_card(file: WeightsFile) -> None:
    """Write the model card beside the weights."""
    file.path.with_suffix(".md").write_text(model_card(file), encoding="utf-8")


def is_curve(values: Any) -> bool:
    """Whether this is what a `CURVE` should be: a list of finite numbers."""
    return isinstance(values, list) and all(
        type(value) in (int, float) and math.isfinite(value) for value in values
    )


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Draw values as a row of bars, from the least (lowest bar) to the greatest.

    Args:
        values: at least one; more than ``width`` of them are averaged in groups.
        width: bars at most.
    """
    count = min(width, len(values))
    edges = [round(index * len(values) / count) for index in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, spread = min(means), max(means) - min(means)
    return "".join(_BARS[round((mean - low) / spread * 7) if spread else 0] for mean in means)


def _measured(figures: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    seen: list[str] = []
    for table in figure_tables(figures):
        seen += [key for key in table.keys if key not in seen]
        headings = [
            *table.labels,
            *(COLUMNS.get(key, figure_text(key.replace("_", " "))) for key in table.keys),
        ]
        aligned = [*("---" for _ in table.labels), *("---:" for _ in table.keys)]
        lines += ["", *([f"### {table.title}", ""] if table.title else [])]
        lines += [_row(headings), f"|{'|'.join(aligned)}|"]
        for labels, row in table.rows:
            lines.append(_row(map(figure_text, [*labels, *(row.get(key, "") for key in table.keys)])))
    meanings = [f"- {COLUMNS[key]}: {MEANINGS[key]}." for key in COLUMNS if key in seen and key in MEANINGS]
    if meanings:
        lines += [
            "",
            "Means over images; in brackets the 95 % interval by bootstrap over images.",
            "",
            *meanings,
        ]
    commands = figures.get(COMMANDS)
    if isinstance(commands, Mapping) and commands:
        lines += ["", "Measured by", ""]
        lines += [f"- {figure_text(title)}: `{command}`" for title, command in commands.items()]
    return lines


def _geometry(info: WeightsInfo) -> dict[str, Any]:
    return {
        key: f"{figure_text(value)} (assumed)" if key in info.assumed else value
        for key, value in (info.geometry or {}).items()
    }


def _origin(origin: Mapping[str, Any]) -> str:
    return f"`{origin.get('file', '')}`, sha256 `{origin.get('sha256', '')}`" if origin else ""


def _call(arguments: Mapping[str, Any]) -> str:
    return f"({figure_text(arguments)})" if arguments else ""


def _facts(values: Mapping[str, Any]) -> list[str]:
    rows = [_row([key, figure_text(value)]) for key, value in values.items() if value != ""]
    return ["| | |", "|---|---|", *rows]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
