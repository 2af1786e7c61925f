"""Hair in layers: shells over the scalp, each denser near the root and frayed at the tip.

Blended from the inside out they give soft outlines, a soft hairline and strands, for any thickness from
stubble to curls. Positions are those of the mean head in millimetres.
"""

from __future__ import annotations

from typing import Any

from facepipe.lab.faces.ops import bump, dot, mix, smoothstep, unit
from facepipe.lab.faces.skin import beard_zone
from facepipe.lab.faces.surface import Surface

CENTRE_MM = (0.0, 60.0, -70.0)
"""Middle of the skull: strands run along the great circles from the crown around it."""

EYE_LEVEL_MM = 26.0

HAT_CLEARANCE_MM = 3.5


def hair_mask(ops: Any, look: Any, place: Any) -> Any:
    """Where hair grows on the scalp, 0..1 with a soft hairline, (N,)."""
    x, y, z = place[0], place[1], place[2]
    ax = ops.absolute(x)
    front = EYE_LEVEL_MM + look.hairline_mm + (4.0 + 30.0 * look.hair_recession) * bump(ops, ax, 42.0, 16.0)
    front = front + look.hair_parted_mm * bump(ops, x, 26.0 * look.hair_parting, 20.0)
    to_side = smoothstep(ops, -z, 26.0, 62.0)
    to_nape = smoothstep(ops, -z, 82.0, 128.0)
    line = front + (look.hair_side_mm - front) * to_side
    line = line + (look.hair_nape_mm - line) * to_nape
    # Single hairs leave the skin unevenly, along a line that is nearly straight.
    ragged = 2.0 * ops.noise(place * 0.05 + look.noise_offset + 3.0) + 3.5 * ops.noise(place * 0.8 + 3.0)
    mask = smoothstep(ops, y - line + ragged, -8.0, 17.0)
    bald = smoothstep(ops, look.hair_recession, 0.42, 0.6) * smoothstep(ops, y, 84.0, 112.0)
    under_hat = look.hat * smoothstep(ops, above_hat_line_mm(look, y, z), -3.0, 3.0)
    return mask * (1.0 - bald) * (1.0 - under_hat) * smoothstep(ops, look.hair_density + 0.0 * y, 0.0, 0.3)


def above_hat_line_mm(look: Any, y: Any, z: Any) -> Any:
    """Height over the edge of a cap, which sits lower behind."""
    return y - EYE_LEVEL_MM - look.hat_line_mm - 0.18 * (z + 20.0)


def hat_lift_mm(ops: Any, height: Any) -> Any:
    """How far the knit stands off the skin at a height (N,) over the edge: a rolled rim, then a dome.

    Below the edge it dives under the skin, which makes the line smooth.
    """
    rim = 2.5 * ops.exp(-(((height - 9.0) / 8.0) ** 2))
    above = HAT_CLEARANCE_MM + rim + 0.05 * ops.clip(height, 0.0, 60.0)
    return ops.where(height > 0.0, above, ops.clip(HAT_CLEARANCE_MM + height, -3.0, HAT_CLEARANCE_MM))


def standing_mm(ops: Any, look: Any, place: Any) -> Any:
    """How far the tips stand off the skin, (N,), mm; below zero where nothing grows."""
    x, y, z = place[0], place[1], place[2]
    mask = hair_mask(ops, look, place)
    volume = 1.0 + look.hair_top * smoothstep(ops, y, 85.0, 130.0)
    volume = volume * (1.0 + 0.30 * ops.noise(place * 0.035 + look.noise_offset))
    head = look.hair_thickness_mm * volume * mask
    beard = look.stubble_length_mm * smoothstep(ops, beard_zone(ops, look, ops.absolute(x), y, z), 0.15, 0.7)
    return ops.where(mask + beard > 0.02, head + beard, -2.0)


def strands(ops: Any, look: Any, place: Any) -> tuple[Any, Any]:
    """Two independent values (N,) in about -1..1 that are constant along strands: length and colour."""
    radial = unit(ops, place - ops.row(CENTRE_MM))
    zero = ops.zeros_like(place[0])
    crown = unit(ops, ops.stack([zero + 0.4 * look.hair_parting, zero + 1.0, zero - 0.2]))
    height = dot(radial, crown)
    around = unit(ops, radial - crown * height)
    along = crown * (height * 1.6)
    wave = 0.10 * ops.noise(place * 0.05 + look.noise_offset + 50.0)
    flow = (around + wave) * 11.0 + along + look.noise_offset
    straight = 0.6 * ops.noise(flow) + 0.55 * ops.noise(flow * 2.7 + 5.0)
    curls = ops.noise(place * 0.22 + look.noise_offset + 9.0) + 0.35 * ops.noise(place * 0.6 + 3.0)
    frizz = look.hair_frizz
    return straight + (curls - straight) * frizz, ops.noise(flow * 1.3 + 17.0)


def layer(ops: Any, look: Any, share: float, place: Any, normal: Any) -> tuple[Surface, Any]:
    """The surface and opacity (N,) of one shell.

    Args:
        share: height of the shell, 0 at the root and 1 at the tips.
        place: (3, N); normal: (3, N), picture frame, toward the camera.
    """
    x, y, z = place[0], place[1], place[2]
    length, tint = strands(ops, look, place)
    grown = ops.clip(hair_mask(ops, look, place) + beard_zone(ops, look, ops.absolute(x), y, z), 0.0, 1.0)
    tall = 0.84 - 0.22 * look.hair_frizz + (0.22 + 0.22 * look.hair_frizz) * length
    opacity = smoothstep(ops, tall - share, -0.12, 0.22)
    # At the hairline single strands end one by one.
    opacity = opacity * smoothstep(ops, 1.25 * grown - 0.5 * share + 0.30 * length, 0.12, 0.85)
    # Seen from the side a shell is a line; let it fade so that the layers do not show.
    edge = smoothstep(ops, normal[2], 0.0, 0.35)
    opacity = opacity * (1.0 - 0.45 * share) * (1.0 - (0.25 + 0.6 * share) * (1.0 - edge))
    return _strand_surface(ops, look, normal, tint, length, 0.62 + 0.38 * share), opacity


def drape(ops: Any, look: Any, share: float, place: Any, normal: Any) -> tuple[Surface, Any]:
    """The surface and opacity (N,) of one sheet of long hair."""
    x, y, z = place[0], place[1], place[2]
    flow = ops.stack([x * 0.22, y * 0.012, z * 0.22]) + look.noise_offset
    wave = ops.noise(place * 0.03 + look.noise_offset)
    strand = ops.noise(flow + 1.2 * look.hair_frizz * wave) + 0.6 * ops.noise(flow * 2.6)
    end = smoothstep(ops, y - look.long_hair_cut_mm + 18.0 * strand, -12.0, 12.0)
    opacity = end * smoothstep(ops, 0.72 + 0.42 * strand - share, -0.12, 0.2)
    surface = _strand_surface(ops, look, normal, ops.noise(flow * 1.4 + 17.0), strand, 0.55 + 0.45 * share)
    depth = smoothstep(ops, y, -150.0, 60.0)
    surface.open_sky = surface.open_sky * (0.55 + 0.45 * depth)
    return surface, opacity


def rooted(ops: Any, look: Any, place: Any, ears: Any, skin: Any) -> Any:
    """Skin colour (3, N) with the roots of the hair on it, except on the ears (N,)."""
    mask = hair_mask(ops, look, place) * (1.0 - ops.clip(2.0 * ears, 0.0, 1.0))
    return mix(skin, look.hair_colour * (0.6 + 0.0 * skin), 0.88 * smoothstep(ops, mask, 0.05, 0.8))


def _strand_surface(ops: Any, look: Any, normal: Any, tint: Any, strand: Any, sky: Any) -> Surface:
    zero = ops.zeros_like(strand)
    bright = ops.clip(1.0 + look.hair_contrast * (0.7 * tint + 0.4 * strand), 0.25, 2.0)
    colour = (look.hair_colour + zero) * bright
    bent = unit(ops, normal + ops.stack([0.35 * strand, zero, zero]))
    return Surface(
        colour=colour,
        normal=bent,
        open_sky=zero + sky,
        shine=2.2
        * look.hair_shine
        * (0.5 + 0.5 * ops.clip(strand, -1.0, 1.0))
        * ops.clip(2.5 * normal[2], 0.0, 1.0),
        gloss=zero + 11.0,
        translucent=zero + 0.5,
    )
