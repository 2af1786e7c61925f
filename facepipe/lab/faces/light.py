"""Light on surfaces: surroundings, a key light with shadows, fill and rim. All linear."""

from __future__ import annotations

from typing import Any

from facepipe.lab.faces.ops import dot, unit
from facepipe.lab.faces.surface import Surface

VIEW = (0.0, 0.0, 1.0)

BLEED = (0.34, 0.15, 0.10)
"""How far skin's red, green and blue light reaches around the terminator (cosine units)."""


def shine_on(ops: Any, look: Any, surface: Surface, lit: Any) -> Any:
    """Light leaving each fragment toward the camera, (3, N).

    Args:
        lit: (N,), share of the key light that reaches the fragment.
    """
    up = 0.5 - 0.5 * surface.normal[1]
    toward_side = ops.clip(dot(surface.normal, look.side_direction), 0.0, 1.0)
    around = look.ground + (look.sky - look.ground) * up + look.side * toward_side
    # Light between folds is coloured by what it bounced off, so that occlusion on skin is not grey.
    light = surface.colour * around * (1.0 - (1.0 - surface.open_sky) * (1.0 - 0.35 * surface.colour))
    shade = 1.0 - look.shadow * (1.0 - lit)
    rest = 1.0 - ops.clip(surface.normal[2], 0.0, 1.0)
    grazing = rest * rest * rest
    bleed = ops.row(BLEED) * surface.translucent
    half_open = 0.55 + 0.45 * surface.open_sky
    strength = (surface.gloss + 8.0) / 25.0 * surface.shine * (0.035 + 0.30 * grazing)
    view = ops.row(VIEW)
    for direction, power, reach in (
        (look.key_direction, look.key, shade),
        (look.fill_direction, look.fill, half_open),
        (look.rim_direction, look.rim, half_open),
    ):
        facing = dot(surface.normal, direction)
        wrapped = ops.clip((facing + bleed) / (1.0 + bleed), 0.0, 1.0)
        peak = ops.power(ops.clip(dot(surface.normal, unit(ops, direction + view)), 0.0, 1.0), surface.gloss)
        mirror = peak * strength * ops.clip(facing * 8.0, 0.0, 1.0)
        light = light + power * reach * (surface.colour * wrapped * half_open + mirror)
    return light
