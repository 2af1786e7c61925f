"""Draws weights of the targets for random heads: the population that the basis is fitted to."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from facepipe.geometry.head_attributes import Attributes, draw_attributes
from facepipe.lab.faces.build.source import LOCAL_FOLDERS

OPPOSITES = (
    ("incr", "decr"), ("up", "down"), ("in", "out"), ("forward", "backward"), ("convex", "concave"),
    ("compress", "uncompress"),
)  # fmt: skip

STRENGTH = {
    "head": 0.36, "neck": 0.25, "ears": 0.35, "nose": 0.34, "mouth": 0.34, "eyes": 0.30, "chin": 0.32,
    "cheek": 0.36, "eyebrows": 0.36, "forehead": 0.30,
}  # fmt: skip
"""Standard deviation of a feature's weight by region; milder than MakeHuman's range, which ends at 1."""

MACRO_STEPS = {"min": 0.0, "average": 0.5, "max": 1.0}


@dataclass(frozen=True)
class Feature:
    """One local feature, both sides and both directions: names of targets by side and sign."""

    folder: str
    sides: tuple[dict[int, str], ...]


def local_features(names: list[str]) -> list[Feature]:
    """Group the targets of face regions into signed, symmetric features."""
    axes: dict[str, dict[int, str]] = defaultdict(dict)
    for name in names:
        if name.split("/")[0] in LOCAL_FOLDERS:
            stem, sign = _axis(name)
            axes[stem][sign] = name
    pairs: dict[str, list[dict[int, str]]] = defaultdict(list)
    for stem, by_sign in axes.items():
        folder, rest = stem.split("/")
        pairs[f"{folder}/{re.sub('^[lr]-', '', rest)}"].append(by_sign)
    return [Feature(key.split("/")[0], tuple(sides)) for key, sides in sorted(pairs.items())]


def _axis(name: str) -> tuple[str, int]:
    for plus, minus in OPPOSITES:
        for word, sign in ((plus, 1), (minus, -1)):
            if name.endswith(f"-{word}"):
                return name.removesuffix(f"-{word}"), sign
    return name, 1


def draw_identity(
    rng: np.random.Generator, features: list[Feature], names: list[str]
) -> tuple[dict[str, float], Attributes]:
    """Target weights of one random identity and what kind of person it is."""
    attributes = draw_attributes(rng)
    weights = _macro(attributes, set(names))
    amplitude = rng.uniform(0.6, 1.15)
    for feature in features:
        if rng.random() < 0.25:
            continue
        common = rng.normal() * STRENGTH[feature.folder] * amplitude
        one_sided = len(feature.sides[0]) == 1
        moves_all = any(
            "-trans-in" in name or "head-trans" in name for side in feature.sides for name in side.values()
        )
        if one_sided:
            common = abs(common) * 0.5 * (rng.random() < 0.5)
        elif moves_all:
            common *= 0.15
        for side in feature.sides:
            value = float(np.clip(common + rng.normal() * 0.03, -0.9, 0.9))
            sign = 1 if value > 0 else -1
            if sign in side:
                weights[side[sign]] = weights.get(side[sign], 0.0) + abs(value)
    for name in names:
        if name.startswith("asym/asym-") and rng.random() < 0.25:
            weights[name] = abs(rng.normal()) * 0.2
    return weights, attributes


def _macro(who: Attributes, known: set[str]) -> dict[str, float]:
    """Weights of the macro targets by multilinear interpolation, as MakeHuman's sliders do."""
    ages = who.age_weights()
    genders = {"male": who.male, "female": 1 - who.male}
    ancestry = dict(zip(("african", "asian", "caucasian"), who.ancestry, strict=True))
    muscles, weights = _steps(who.muscle), _steps(who.weight)
    found: dict[str, float] = defaultdict(float)
    for gender, gender_share in genders.items():
        for age, age_share in ages.items():
            share = gender_share * age_share
            for name, part in ancestry.items():
                found[f"macrodetails/{name}-{gender}-{age}"] += share * part
            for muscle, muscle_share in muscles.items():
                for weight, weight_share in weights.items():
                    key = f"macrodetails/universal-{gender}-{age}-{muscle}muscle-{weight}weight"
                    found[key] += share * muscle_share * weight_share
    return {name: value for name, value in found.items() if value > 0 and name in known}


def _steps(value: float) -> dict[str, float]:
    return {name: max(0.0, 1 - 2 * abs(value - at)) for name, at in MACRO_STEPS.items()}


def draw_expression(rng: np.random.Generator, names: list[str], ancestry: str) -> dict[str, float]:
    """Target weights of one random expression: face units, sometimes with whole-face emotion targets."""
    units = [
        name for name in names if name.startswith("unit/") and "Look" not in name and "tongue" not in name
    ]
    weights: dict[str, float] = {}
    for name in rng.choice(units, int(rng.integers(1, 10)), replace=False):
        value = float(rng.uniform(0, 1))
        weights[str(name)] = value
        twin = re.sub("(Left|Right)$", lambda m: "Right" if m[1] == "Left" else "Left", str(name))
        if twin in names and rng.random() < 0.75:
            weights[twin] = float(np.clip(value * (1 + 0.15 * rng.normal()), 0, 1))
    if rng.random() < 0.5:
        weights["unit/jawOpen"] = float(rng.uniform(0, 1) ** 2)
    weights["unit/mouthClose"] = min(weights.get("unit/mouthClose", 0.0), weights.get("unit/jawOpen", 0.0))
    if rng.random() < 0.4:
        emotions = [name for name in names if name.startswith(f"expression/units/{ancestry}/")]
        for name in rng.choice(emotions, 3, replace=False):
            weights[str(name)] = float(rng.uniform(0, 0.6))
    return weights
