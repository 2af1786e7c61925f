"""Model cards: a weights file's description as a page for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facepipe.weights.files import WeightsFile


def model_card(file: WeightsFile) -> str:
    """Write the model card of a weights file in Markdown, from its metadata alone."""
    info = file.info
    facts = {
        "Kind": {"superres": "super-resolution", "regressor": "volumetric regression"}[info.kind],
        "Architecture": f"`{info.architecture}`{_call(info.arguments)}",
        "Enlargement": f"x{info.scale}" if info.scale else "",
        "Degradation it was trained on": f"`{info.degradation}`" if info.degradation else "",
        "Colour": info.colour,
        "Volume geometry": _call(info.geometry or {}),
        "Licence": info.licence,
        "Source": info.source,
        "Trained": "" if info.trained else "no: random values, never part of `all`",
        "File": f"`{file.path.name}`, {file.path.stat().st_size:,} bytes",
        "sha256": f"`{file.sha256}`",
    }
    lines = [f"# {info.name}", "", *_table("", facts)]
    if info.training:
        lines += ["", "## Training", "", *_table("", info.training)]
    if info.figures:
        lines += ["", "## Measured", "", *_table("figure", info.figures)]
    return "\n".join(lines) + "\n"


def _call(arguments: Mapping[str, Any]) -> str:
    return f"({', '.join(f'{key}={_text(value)}' for key, value in arguments.items())})" if arguments else ""


def _table(title: str, values: Mapping[str, Any]) -> list[str]:
    rows = [f"| {key.replace('_', ' ')} | {_text(value)} |" for key, value in values.items() if value != ""]
    return [f"| {title} | |", "|---|---|", *rows]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.6g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(part) for part in value) + "]"
    if isinstance(value, Mapping):
        return _call(value).strip("()")
    return str(value).replace("|", "\\|").replace("\n", " ")
