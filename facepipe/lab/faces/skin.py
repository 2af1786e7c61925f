"""Colour, gloss and fine relief of skin and clothes at each fragment, before lighting.

Positions are those of the mean head in millimetres (x to the image's right, y up, z to the camera): a
texture space that follows identity and expression.
"""

from __future__ import annotations

from typing import Any

from facepipe.lab.faces.inlays import paint_inlays
from facepipe.lab.faces.ops import bump, mix, sigmoid, smoothstep, unit
from facepipe.lab.faces.surface import Surface

PALE = (0.80, 0.615, 0.515)
"""Linear reflectance of skin without melanin or blood."""

NATURAL_LIPS = (0.92, 0.60, 0.62)
"""Reflectance of lips relative to the skin around them."""

MELANIN_DEPTH = (2.35, 2.75, 3.05)
BLOOD_DEPTH = (0.10, 0.62, 0.55)
"""Optical depths of full melanin and blood in red, green and blue: chosen so that the range runs from
sRGB (222, 190, 172) to (72, 50, 40), the ends of common skin tone scales."""


def paint(ops: Any, look: Any, label: Any, place: Any, normal: Any, masks: Any) -> Surface:
    """Colour the fragments of head, eyes, mouth and frames.

    Args:
        ops: array functions.
        look: the look's values, scalars or per fragment.
        label: (N,) of `facepipe.geometry.head_labels`.
        place: (3, N), position on the mean head, mm.
        normal: (3, N) unit normals toward the camera, picture frame.
        masks: with (N,) attributes sky, lips, eyelids, ears, lash.
    """
    x, y, z = place[0], place[1], place[2]
    ax = ops.absolute(x)
    shift = look.noise_offset
    coarse = ops.noise(place * 0.03 + shift)
    middle = ops.noise(place * 0.12 + shift + 7.0)
    fine = ops.noise(place * 0.55 + shift + 13.0)
    colour = _skin_colour(ops, look, (x, y, z), (coarse, middle, fine), masks)
    front = smoothstep(ops, z, -45.0, -25.0)
    colour = _freckle(ops, look, colour, place, bump(ops, y, 10.0, 30.0) * front)
    lips = masks.lips * (0.85 + 0.15 * fine)
    natural = colour * ops.row(NATURAL_LIPS)
    colour = mix(colour, natural, lips * 0.9)
    colour = mix(colour, look.lip_colour, lips * look.lip_paint)
    colour = mix(colour, look.lid_colour, masks.eyelids * look.lid_paint * front)
    hair = _facial_hair(ops, look, (ax, y, z), fine, masks.lips)
    colour = mix(colour, ops.clip(look.hair_colour * 0.9, 0.0, 0.2), hair * 0.85)
    brow = _brows(ops, look, (ax, y), place, front)
    colour = mix(colour, look.brow_colour, brow)
    colour = colour * (1.0 - look.lash * smoothstep(ops, masks.lash, 0.35, 0.9))
    shirt = smoothstep(ops, _neckline(ops, look, x, z) - y, -1.0, 1.0)
    colour = mix(colour, _shirt(ops, look, (x, y, z), middle), shirt)

    detail = (1.0 - shirt) * (0.4 + 0.6 * look.pores)
    tilt_x = ops.noise(place * 0.8 + shift + 31.0) * 0.05 * detail + 0.10 * shirt * middle
    tilt_y = ops.noise(place * 0.8 + shift + 37.0) * 0.05 * detail
    tilt_y = tilt_y + _wrinkles(ops, look, (ax, y), coarse, middle) * front
    bent = unit(ops, normal + ops.stack([tilt_x, tilt_y, ops.zeros_like(x)]))
    oily = 0.45 + 0.55 * bump(ops, ax, 0.0, 22.0) * bump(ops, y, 30.0, 60.0)
    surface = Surface(
        colour=colour,
        normal=bent,
        open_sky=masks.sky,
        shine=(look.shine * oily + 0.5 * lips * (0.4 + look.lip_paint)) * (1.0 - shirt),
        gloss=14.0 + 26.0 * lips + 6.0 * look.shine,
        translucent=(1.0 - shirt) * (1.0 - 0.5 * look.melanin),
    )
    paint_inlays(ops, look, label, place, surface)
    return surface


def through_lens(ops: Any, look: Any, behind: Any, place: Any) -> Any:
    """What is seen through a spectacle lens at its points `place`: tinted if dark, with a soft reflection."""
    sheen = ops.sin(place[0] * 0.09 + place[1] * 0.13 + look.noise_offset[0])
    glare = ops.clip(sheen - 0.55, 0.0, 1.0)
    seen = mix(behind * 0.95, behind * look.lens_colour * 2.0, 0.93 * look.dark_lenses)
    return seen + look.sky * (0.02 + 0.12 * glare)


def _skin_colour(ops: Any, look: Any, at: Any, noises: Any, masks: Any) -> Any:
    x, y, z = at
    coarse, middle, fine = noises
    ax = ops.absolute(x)
    flush = (
        0.9 * bump(ops, ax, 42.0, 20.0) * bump(ops, y, -5.0, 20.0)
        + 0.8 * bump(ops, ax, 0.0, 14.0) * bump(ops, y, -8.0, 13.0)
        + 0.7 * masks.ears
        + 0.3 * bump(ops, ax, 0.0, 18.0) * bump(ops, y, -75.0, 12.0)
    ) * smoothstep(ops, z, -95.0, -60.0)
    blood = look.blood * (0.75 + 0.9 * flush + look.blotches * (0.30 * middle + 0.12 * fine))
    under_eye = bump(ops, ax, 30.0, 14.0) * bump(ops, y, 15.0, 6.0)
    melanin = (
        look.melanin * (1.0 + look.blotches * (0.10 * coarse + 0.05 * middle))
        + 0.012 * look.blotches * coarse
    )
    melanin = melanin + 0.05 * under_eye + 0.04 * masks.eyelids
    blood = ops.clip(blood, 0.0, 2.0)
    return ops.stack(
        [
            pale * ops.exp(-deep_m * melanin - deep_b * blood)
            for pale, deep_m, deep_b in zip(PALE, MELANIN_DEPTH, BLOOD_DEPTH, strict=True)
        ]
    )


def _freckle(ops: Any, look: Any, colour: Any, place: Any, where: Any) -> Any:
    spots = smoothstep(ops, ops.noise(place * 0.42 + look.noise_offset + 21.0), 0.32, 0.62)
    dark = spots * where * look.freckles * 0.45
    return colour * ops.stack([1.0 - 0.55 * dark, 1.0 - 0.8 * dark, 1.0 - dark])


def _facial_hair(ops: Any, look: Any, at: Any, fine: Any, lips: Any) -> Any:
    """Density of beard and moustache as a shadow on the skin."""
    return ops.clip(beard_zone(ops, look, *at) * (0.75 + 0.45 * fine), 0.0, 1.0) * (
        1.0 - ops.clip(lips * 1.5, 0.0, 1.0)
    )


def beard_zone(ops: Any, look: Any, ax: Any, y: Any, z: Any) -> Any:
    """Density 0..1 of facial hair at |x|, y, z of the mean head."""
    jaw = (
        sigmoid(
            ops,
            (-24.0 - y - 0.25 * ops.clip(45.0 - ax, 0.0, 45.0) + 0.45 * ops.clip(ax - 45.0, 0.0, 30.0)) / 5.0,
        )
        * sigmoid(ops, (y + 96.0) / 5.0)
        * sigmoid(ops, (z + 72.0) / 4.0)
    )
    lip = bump(ops, y, -24.5, 4.2) * sigmoid(ops, (24.0 - ax) / 2.5) * sigmoid(ops, (z + 5.0) / 4.0)
    corner = bump(ops, ax, 26.0, 5.0) * bump(ops, y, -40.0, 14.0) * sigmoid(ops, (z + 20.0) / 4.0)
    return ops.clip(look.beard * jaw + look.moustache * (lip + 0.6 * corner * look.beard), 0.0, 1.0)


def _brows(ops: Any, look: Any, at: Any, place: Any, front: Any) -> Any:
    ax, y = at
    along = (ax - 16.0) / 42.0
    arch = look.brow_arch_mm * (1.0 - ((along - 0.62) / 0.5) ** 2)
    line = 45.0 + look.brow_height_mm + arch - 0.0165 * (ax - 34.0) ** 2 * (0.6 + 0.4 * along)
    width = look.brow_width_mm * (1.08 - 0.72 * ops.clip(along, 0.0, 1.0))
    body = (
        ops.exp(-(((y - line) / width) ** 2))
        * sigmoid(ops, (ax - 13.5) / 1.6)
        * sigmoid(ops, (58.0 - ax) / 1.8)
    )
    # Hairs lean outwards: noise is stretched along the brow and slanted.
    slant = ops.stack([ax * 0.35 + y * 0.25, (y - line) * 1.1 - ax * 0.25, place[0] * 0.02])
    hairs = 0.72 + 0.45 * ops.noise(slant + look.noise_offset)
    return ops.clip(1.25 * body * hairs * look.brow_density, 0.0, 0.95) * front


def _wrinkles(ops: Any, look: Any, at: Any, coarse: Any, middle: Any) -> Any:
    ax, y = at
    waves = ops.sin(y * 0.72 + 2.2 * coarse + 0.10 * ax)
    forehead = bump(ops, y, 72.0, 14.0) * bump(ops, ax, 0.0, 42.0)
    eye_side = bump(ops, ax, 52.0, 7.0) * bump(ops, y, 24.0, 9.0)
    bags = bump(ops, ax, 30.0, 14.0) * bump(ops, y, 10.0, 6.0)
    return look.wrinkles * (
        0.30 * forehead * waves + 0.35 * eye_side * ops.sin(y * 1.3 + ax * 0.3) + 0.16 * bags * middle
    )


def _neckline(ops: Any, look: Any, x: Any, z: Any) -> Any:
    return -79.0 - look.neckline_mm + 0.10 * ops.absolute(x) - 0.30 * ops.clip(z + 60.0, -80.0, 60.0)


def _shirt(ops: Any, look: Any, at: Any, middle: Any) -> Any:
    x, y, z = at
    stripes = ops.where(look.shirt_pattern > 1.5, smoothstep(ops, ops.sin(x * 0.30), -0.1, 0.1), 0.0)
    checks = smoothstep(ops, ops.sin(x * 0.25) * ops.sin((y + 0.3 * z) * 0.25), -0.1, 0.1)
    second = (
        ops.where(look.shirt_pattern > 0.5, ops.where(look.shirt_pattern > 1.5, stripes, checks), 0.0) * 0.8
    )
    plain = look.shirt + ops.zeros_like(x)
    return mix(plain, look.shirt_second, second) * (1.0 + 0.15 * middle)
