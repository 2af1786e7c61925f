"""Read and check `--describe`: what users say about weights that no checkpoint format carries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from facepipe.core.errors import UsageError, WeightsError
from facepipe.core.names import unknown
from facepipe.imaging.degrade import DEGRADATIONS
from facepipe.models.weights import CURVE, WeightsInfo, card_text, is_curve, wrong_figure

DESCRIBABLE = ("degradation", "licence", "source", "training", "figures", "geometry")
"""Fields that `--describe` may set."""


def read_description(path: Path | None) -> dict[str, Any]:
    """Read what `--describe` names.

    Returns:
        Fields of `WeightsInfo`, of those in `DESCRIBABLE`; of a geometry only that it is an object is known.

    Raises:
        UsageError: it cannot be read, or a field is unknown or cannot be what it says.
    """
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(values, ensure_ascii=False).encode()  # half a character is no text
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--describe {path}: not readable as JSON ({error})") from error
    if not isinstance(values, dict) or not values.keys() <= set(DESCRIBABLE):
        raise UsageError(f"--describe {path}: expected an object with keys among {', '.join(DESCRIBABLE)}")
    for key, value in values.items():
        expected = dict if key in ("training", "figures", "geometry") else str
        if not isinstance(value, expected):
            raise UsageError(
                f"--describe {path}: {key} should be {'an object' if expected is dict else 'text'}"
            )
    told = WeightsInfo("", "superres", "", **{key: values[key] for key in values if key != "geometry"})
    try:
        check_description(told, f"--describe {path}")
    except WeightsError as error:
        raise UsageError(str(error)) from error
    return values


def check_description(info: WeightsInfo, name: str) -> None:
    """Check what a description says about weights, and that a card can be written of it.

    Args:
        info: the description.
        name: where it is from, for messages.

    Raises:
        WeightsError: the degradation is unknown, the loss curve or a figure has no numbers, or there is
            something else that no card can be made of.
    """
    if info.degradation and info.degradation not in DEGRADATIONS:
        raise WeightsError(f"{name}: {unknown('degradation', info.degradation, DEGRADATIONS)}")
    if not is_curve(info.training.get(CURVE, [])):
        raise WeightsError(f"{name}: {CURVE} of the training should be a list of finite numbers")
    wrong = wrong_figure(info.figures)
    if wrong is not None:
        raise WeightsError(f"{name}: {wrong}")
    try:
        card_text(info, "", 0, "").encode()
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{name}: no card can be made of its description ({error})") from error
