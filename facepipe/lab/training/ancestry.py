"""Describe the weights that a training starts from, for its model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facepipe.models.weights import WeightsFile


def ancestry(initial: WeightsFile | None) -> dict[str, Any]:
    """Entries of a card's training: the weights that it started from and the trainings before, if any."""
    if initial is None:
        return {}
    before = initial.info.training
    return {
        "started_from": f"{initial.info.name}, identity {initial.identity}",
        "earlier": [*before.get("earlier", ()), _told(before)],
    }


def _told(training: Mapping[str, Any]) -> str:
    """A training in one line."""
    samples = training.get("samples_seen", training.get("patches_seen"))
    command, seconds = training.get("command"), training.get("seconds")
    facts = [f"{samples} samples" if samples else "", f"{seconds} s" if seconds else ""]
    told = ", ".join(fact for fact in facts if fact) or "nothing else is known"
    return f"{command or 'an unknown command'} ({told})"
