"""How the appearance of people, their clothes and their light are distributed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facepipe.geometry.head_attributes import Attributes
from facepipe.lab.faces.appearance_values import Colour, Look

HAIR_COLOURS: dict[str, Colour] = {
    "black": (0.012, 0.010, 0.009),
    "dark brown": (0.030, 0.019, 0.012),
    "brown": (0.070, 0.040, 0.022),
    "light brown": (0.145, 0.085, 0.045),
    "blond": (0.36, 0.24, 0.12),
    "light blond": (0.55, 0.43, 0.27),
    "red": (0.19, 0.062, 0.020),
    "grey": (0.24, 0.23, 0.22),
    "white": (0.58, 0.57, 0.54),
    "dyed": (0.10, 0.012, 0.020),
}
IRIS_COLOURS: tuple[Colour, ...] = (
    (0.045, 0.020, 0.008), (0.075, 0.038, 0.015), (0.13, 0.085, 0.035), (0.10, 0.17, 0.26),
    (0.12, 0.16, 0.09),
)  # fmt: skip


def draw_look(rng: np.random.Generator, who: Attributes) -> Look:
    """Draw the appearance of a person of a kind."""
    values: dict[str, object] = {}
    values |= _skin(rng, who)
    values |= _hair(rng, who, float(values["melanin"]))  # type: ignore[arg-type]
    values |= _eyes_and_clothes(rng, float(values["melanin"]))  # type: ignore[arg-type]
    values |= _light(rng)
    values |= _worn(rng, who)
    return Look(**values)  # type: ignore[arg-type]


def _colour(values: NDArray[np.floating] | tuple[float, ...]) -> Colour:
    r, g, b = (float(v) for v in values)
    return (r, g, b)


def _chance(rng: np.random.Generator, probability: float) -> float:
    return float(rng.random() < probability)


def _fabric(rng: np.random.Generator) -> Colour:
    """Clothes are mostly grey, blue, black and white, sometimes coloured."""
    value = float(rng.choice((0.015, 0.05, 0.15, 0.35, 0.7), p=(0.28, 0.24, 0.2, 0.14, 0.14)))
    hue = rng.normal(0, 1, 3)
    strength = 0.45 if rng.random() < 0.25 else 0.10
    return _colour(np.clip(value * np.exp(strength * hue), 0.005, 0.85))


def _skin(rng: np.random.Generator, who: Attributes) -> dict[str, object]:
    african, asian, european = who.ancestry
    # The exponent makes mixed ancestry darker, so that the whole range is well covered.
    tone = african**0.7 * rng.uniform(0.55, 1.12) + asian * rng.uniform(0.12, 0.45)
    tone += european * rng.uniform(0.0, 0.30)
    melanin = float(np.clip(tone + rng.normal(0, 0.05), 0, 1))
    female = who.male < 0.5
    old = who.age_weights()["old"]
    painted = female and who.age > 0.4 and rng.random() < 0.4
    red = rng.uniform(0.12, 0.42)
    paint = (red, red * rng.uniform(0.05, 0.26), red * rng.uniform(0.08, 0.36))
    return {
        "melanin": melanin,
        "blood": float(rng.uniform(0.15, 0.6)),
        "blotches": float(rng.uniform(0.2, 1.0)),
        "freckles": float(rng.uniform(0.2, 0.9)) * _chance(rng, 0.25 * (1 - melanin)),
        "wrinkles": float(np.clip(old * rng.uniform(0.5, 1.3) + rng.uniform(0, 0.12), 0, 1)),
        "shine": float(rng.uniform(0.15, 1.0)),
        "pores": float(rng.uniform(0.3, 1.0)),
        "lip_colour": _colour(paint),
        "lip_paint": float(rng.uniform(0.4, 0.85)) if painted else 0.0,
        "lid_colour": _colour(rng.uniform(0.01, 0.12, 3)),
        "lid_paint": float(rng.uniform(0.1, 0.5)) if painted and rng.random() < 0.6 else 0.0,
        "lash": float(rng.uniform(0.5, 0.9) if painted else rng.uniform(0.15, 0.55)),
    }


def _hair_colour(rng: np.random.Generator, who: Attributes, melanin: float) -> Colour:
    old = who.age_weights()["old"]
    if rng.random() < np.clip(1.6 * (old - 0.35), 0, 0.85):
        name = str(rng.choice(("grey", "white")))
    elif rng.random() < 0.015:
        name = "dyed"
    elif melanin > 0.38 or who.ancestry[1] > 0.6:
        name = str(rng.choice(("black", "dark brown", "brown"), p=(0.62, 0.3, 0.08)))
    else:
        names = ("black", "dark brown", "brown", "light brown", "blond", "light blond", "red")
        name = str(rng.choice(names, p=(0.1, 0.24, 0.24, 0.18, 0.13, 0.05, 0.06)))
    return _colour(np.array(HAIR_COLOURS[name]) * np.exp(rng.normal(0, 0.18) + rng.normal(0, 0.04, 3)))


def _hair(rng: np.random.Generator, who: Attributes, melanin: float) -> dict[str, object]:
    female, old = who.male < 0.5, who.age_weights()["old"]
    colour = _hair_colour(rng, who, melanin)
    style = rng.random()
    long_hair = float((female and style < 0.62) or (not female and style < 0.06))
    cropped = not female and 0.06 <= style < 0.6
    curly = rng.random() < (0.7 if who.ancestry[0] > 0.55 else 0.22)
    thickness = rng.uniform(2.0, 7.0) if cropped else rng.uniform(7, 20 if not curly else 30)
    bald = (not female) and rng.random() < 0.10 + 0.35 * old
    beard = (not female) and who.age > 0.42 and rng.random() < 0.5
    full = beard and rng.random() < 0.45
    has_fringe, fringe = not bald and rng.random() < (0.3 if female else 0.12), rng.uniform(36, 56)
    brow = np.minimum(np.array(colour) * 0.8, 0.16)
    return {
        "hair_colour": colour,
        "hair_thickness_mm": float(thickness),
        "hair_top": float(rng.uniform(0, 1.0)),
        "hair_frizz": float(rng.uniform(0.6, 1.0) if curly else rng.uniform(0.0, 0.35)),
        "hair_contrast": float(rng.uniform(0.25, 0.7)),
        "hairline_mm": float(fringe if has_fringe else rng.normal(67, 5)),
        "hair_parted_mm": float(rng.uniform(0, 30 if has_fringe else 8)),
        "hair_side_mm": float(rng.uniform(-30, 12)),
        "hair_nape_mm": float(rng.uniform(-95, -50)),
        "hair_parting": float(rng.normal(0, 0.45)),
        "hair_density": 0.0 if bald and rng.random() < 0.3 else float(rng.uniform(0.75, 1.0)),
        "hair_recession": float(rng.uniform(0.5, 1.0)) if bald else float(rng.uniform(0, 0.25) * who.male),
        "hair_shine": float(rng.uniform(0.1, 0.8)) * (0.4 if curly else 1.0),
        "long_hair": long_hair * float(not bald),
        "long_hair_cut_mm": float(rng.uniform(-190, -60)),
        "brow_width_mm": float(rng.uniform(3.0, 4.8) if female else rng.uniform(4.2, 6.6)),
        "brow_arch_mm": float(rng.uniform(0.0, 3.0)),
        "brow_height_mm": float(rng.normal(0, 1.0)),
        "brow_density": float(rng.uniform(0.6, 1.0)),
        "brow_colour": _colour(brow),
        "beard": float(rng.uniform(0.45, 0.85) if full else rng.uniform(0.08, 0.4)) if beard else 0.0,
        "moustache": float(rng.uniform(0.3, 1.0)) if beard and rng.random() < 0.85 else 0.0,
        "stubble_length_mm": float(rng.uniform(2, 9)) if full else 0.0,
    }


def _eyes_and_clothes(rng: np.random.Generator, melanin: float) -> dict[str, object]:
    brown = melanin > 0.35 or rng.random() < 0.45
    gaze = np.clip(rng.normal(0, 0.13, 2), -0.35, 0.35)
    return {
        "iris_colour": IRIS_COLOURS[int(rng.integers(2 if brown else 5))],
        "pupil_rad": float(rng.uniform(0.13, 0.24)),
        "gaze_right_rad": float(gaze[0]),
        "gaze_up_rad": float(gaze[1]) * 0.6,
        "sclera": float(rng.uniform(0.45, 0.66)),
        "shirt": _fabric(rng),
        "shirt_second": _fabric(rng),
        "shirt_pattern": float(rng.choice((0.0, 1.0, 2.0), p=(0.7, 0.18, 0.12))),
        "neckline_mm": float(rng.uniform(35, 75)),
    }


def _direction(rng: np.random.Generator, spread: float, height: float) -> Colour:
    azimuth, elevation = rng.normal(0, spread), rng.normal(height, 0.35)
    flat = np.cos(elevation)
    return _colour((np.sin(azimuth) * flat, -np.sin(elevation), np.cos(azimuth) * flat))


def _tinted(rng: np.random.Generator, strength: float, warmth: float) -> Colour:
    temperature = rng.normal(0, warmth)
    return _colour(strength * np.exp(temperature * np.array([1.0, 0.1, -1.1]) + rng.normal(0, 0.02, 3)))


def _light(rng: np.random.Generator) -> dict[str, object]:
    """Overcast and indoor light more often than a hard sun or a flash."""
    kind = str(rng.choice(("soft", "window", "sun", "flash"), p=(0.34, 0.34, 0.2, 0.12)))
    key = {"soft": (0.15, 0.6), "window": (0.7, 1.6), "sun": (1.2, 2.4), "flash": (1.0, 1.8)}[kind]
    ambient = {"soft": (0.5, 0.9), "window": (0.12, 0.4), "sun": (0.2, 0.45), "flash": (0.06, 0.25)}[kind]
    level = rng.uniform(*ambient)
    front = kind == "flash"
    rim = rng.uniform(0.3, 1.5) if rng.random() < 0.25 else 0.0
    side_angle = rng.uniform(0, 2 * np.pi)
    return {
        "key_direction": _direction(rng, 0.12 if front else 0.85, 0.1 if front else 0.55),
        "key": _tinted(rng, rng.uniform(*key), 0.10),
        "fill_direction": _direction(rng, 0.9, 0.2),
        "fill": _tinted(rng, rng.uniform(0.0, 0.35), 0.12),
        "rim_direction": _colour((float(rng.choice((-1.0, 1.0))) * 0.85, -0.35, -0.45)),
        "rim": _tinted(rng, rim, 0.12),
        "sky": _tinted(rng, level, 0.08),
        "ground": _tinted(rng, level * rng.uniform(0.25, 0.7), 0.08),
        "side": _tinted(rng, level * rng.uniform(0.0, 0.6), 0.12),
        "side_direction": _colour((float(np.cos(side_angle)), 0.0, float(np.sin(side_angle)))),
        "shadow": float(rng.uniform(0.75, 1.0)),
        "softness": {"soft": 4.0, "window": 2.4, "sun": 1.0, "flash": 1.0}[kind],
        "exposure": float(rng.uniform(0.55, 1.25)),
    }


def _worn(rng: np.random.Generator, who: Attributes) -> dict[str, object]:
    glasses = _chance(rng, 0.13 + 0.15 * who.age_weights()["old"])
    dark = glasses * _chance(rng, 0.22)
    metal = rng.random() < 0.4
    frame = (
        (0.25, 0.22, 0.18) if metal else _colour(0.03 * np.exp(rng.normal(0, 0.8) + rng.normal(0, 0.3, 3)))
    )
    return {
        "glasses": glasses,
        "dark_lenses": dark,
        "lens_colour": _colour(rng.uniform(0.02, 0.12, 3)),
        "frame_colour": frame,
        "frame_radius_mm": float(rng.uniform(0.5, 0.9) if metal else rng.uniform(0.9, 1.9)),
        "lens_width_mm": float(rng.uniform(22, 28)),
        "lens_height_mm": float(rng.uniform(14, 22)),
        "lens_power": float(rng.uniform(2.0, 5.0)),
        "hat": _chance(rng, 0.06),
        "hat_colour": _fabric(rng),
        "hat_line_mm": float(rng.uniform(24, 42)),
        "hand": _chance(rng, 0.08),
        "hand_x_mm": float(rng.uniform(-60, 60)),
        "hand_y_mm": float(rng.uniform(-95, 50)),
        "hand_turn_rad": float(rng.uniform(-0.2, 1.5)),
        "hand_tilt_rad": float(rng.normal(0, 0.2)),
        "noise_offset": _colour(rng.uniform(0, 100, 3)),
    }
