"""Eyes, mouth, glasses and other parts that are painted over the skin.

Each paints its own few fragments only.
"""

from __future__ import annotations

from typing import Any

from facepipe.geometry.head_labels import EYE_LEFT, EYE_RIGHT, FRAME, HAT, MOUTH, TEETH, TONGUE
from facepipe.lab.faces.ops import bump, dot, mix, sigmoid, smoothstep, unit
from facepipe.lab.faces.surface import Surface

EYE_CENTRE_MM = (28.8, 27.4, -1.1)
IRIS_RAD = 0.42

SCLERA = (1.0, 0.93, 0.88)
TEETH_COLOUR = (0.62, 0.56, 0.46)
TONGUE_COLOUR = (0.33, 0.10, 0.09)
MOUTH_DARKNESS = 0.45


def paint_inlays(ops: Any, look: Any, label: Any, place: Any, surface: Surface) -> None:
    """Paint eyes, teeth, tongue, mouth, frames and caps into the surface of all fragments.

    Args:
        ops, look, label, place: as for `facepipe.lab.faces.skin.paint`.
        surface: changed in place.
    """
    for is_left in (True, False):
        eye = label == (EYE_LEFT if is_left else EYE_RIGHT)
        colour, sky = _eye(ops, look.subset(eye), place[:, eye], 1.0 if is_left else -1.0)
        _set(surface, eye, colour, sky, shine=1.6, gloss=180.0, translucent=0.4)
    for kind, rgb, sky in ((TEETH, TEETH_COLOUR, 0.5), (TONGUE, TONGUE_COLOUR, 0.3)):
        _set(surface, label == kind, ops.row(rgb), sky, shine=0.5, gloss=40.0, translucent=0.3)
    mouth = label == MOUTH
    _set(
        surface,
        mouth,
        surface.colour[:, mouth] * MOUTH_DARKNESS,
        0.14,
        shine=0.0,
        gloss=14.0,
        translucent=0.5,
    )
    frame = label == FRAME
    metal = look.subset(frame).frame_colour
    _set(surface, frame, metal, 0.9, shine=1.5, gloss=60.0, translucent=0.0)
    cap = label == HAT
    ribs = 0.85 + 0.15 * ops.sin(ops.arctan2(place[0][cap], place[2][cap] + 70.0) * 70.0)
    _set(surface, cap, look.subset(cap).hat_colour * ribs, 0.85, shine=0.0, gloss=14.0, translucent=0.2)


def _set(
    surface: Surface, where: Any, colour: Any, sky: Any, shine: float, gloss: float, translucent: float
) -> None:
    surface.colour[:, where] = colour
    surface.open_sky[where] = sky
    surface.shine[where] = shine
    surface.gloss[where] = gloss
    surface.translucent[where] = translucent


def _eye(ops: Any, look: Any, place: Any, side: float) -> tuple[Any, Any]:
    """Colour (3, N) and open sky (N,) on an eyeball, left for side = 1."""
    cx, cy, cz = EYE_CENTRE_MM
    radial = unit(ops, place - ops.row((side * cx, cy, cz)))
    zero = ops.zeros_like(place[0])
    right, up = zero + ops.sin(zero + look.gaze_right_rad), zero + look.gaze_up_rad
    gaze = unit(ops, ops.stack([right, up, zero + 1.0]))
    cosine = ops.clip(dot(radial, gaze), 0.0, 1.0)
    angle = ops.sqrt(ops.clip(2.0 - 2.0 * cosine, 0.0, 4.0))
    fibres = ops.noise(unit(ops, radial - gaze * cosine) * 9.0 + look.noise_offset)
    iris = sigmoid(ops, (IRIS_RAD - angle) / 0.02)
    pupil = sigmoid(ops, (look.pupil_rad - angle) / 0.012)
    limbus = bump(ops, angle, IRIS_RAD, 0.06)
    white = ops.row(SCLERA) * (zero + look.sclera) * (1.0 - 0.30 * smoothstep(ops, angle, 0.45, 1.0))
    ring = bump(ops, angle, look.pupil_rad + 0.09, 0.08)
    inner = look.iris_colour * (1.0 + 0.45 * fibres + 0.35 * ring)
    colour = mix(mix(white, inner, iris) * (1.0 - 0.6 * limbus), 0.004 * inner, pupil)
    # The upper lid and its lashes keep light off the upper part of the eye.
    return colour, 0.62 * (1.0 - 0.55 * smoothstep(ops, radial[1], 0.05, 0.42))
