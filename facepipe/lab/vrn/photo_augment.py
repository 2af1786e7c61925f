"""Augmentation with what happens in front of real cameras and is rare or absent in drawn pictures.

Hair blown over the cheeks, things before the face, light that falls on half of it, wrong exposure, grey,
toned, recoloured and retouched pictures, other surfaces, crops that reach far beyond the photograph. The face
under all this stays where it is, so that a network learns to complete what it does not see. Pictures are
uint8 RGB (128, 128, 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.geometry.expressions import SIDES
from facepipe.geometry.head import Head
from facepipe.lab.faces.appearance import HAIR_COLOURS
from facepipe.lab.faces.appearance_values import Look
from facepipe.lab.faces.background import natural_noise
from facepipe.lab.faces.camera import black_borders
from facepipe.lab.faces.factory import Face
from facepipe.lab.vrn.proportions import RESHAPED_SHARE, WIDE_POSE_SHARE

Picture = NDArray[np.uint8]
Augmentation = Callable[[Picture, np.random.Generator], Picture]

AUGMENTED_SHARE = 0.6
"""Share of pictures that are augmented; the others stay as the face factory made them."""

DARK_GLASSES_SHARE = 0.06
"""Share of faces with dark glasses."""

LAUGHING_SHARE = 0.2
"""Share of faces that laugh with bared teeth: people before cameras do, far more often than drawn ones."""

STRAND_POINTS = 10
_STRAND, _SHEET, _SHEET_SHARE = (0.02, 0.13), (0.13, 0.3), 0.15
"""Width of a lock, as a share of the picture's side: thin ones, and hair that flows over half of a face."""
_GAMMA = 2.2

_LAUGHTER = {
    "mouthSmile": (0.7, 1.0),
    "mouthUpperUp": (0.4, 1.0),
    "mouthLowerDown": (0.2, 0.8),
    "mouthStretch": (0.0, 0.4),
    "mouthDimple": (0.0, 0.4),
    "cheekSquint": (0.3, 0.9),
    "eyeSquint": (0.0, 0.5),
}
"""Face units of a laughing face, and between which strengths each lies."""


def add_dark_glasses(look: Look, rng: np.random.Generator) -> Look:
    """Put dark glasses on a share of faces."""
    if rng.random() >= DARK_GLASSES_SHARE:
        return look
    return replace(look, glasses=1.0, dark_lenses=1.0)


def laugh(face: Face, head: Head, rng: np.random.Generator) -> Face:
    """Make a share of faces laugh with bared teeth, in place of the expression that they had.

    The pose stays, so that z = 0 is no longer exactly the middle of the depth range: 0.05 px off in the mean.
    """
    if rng.random() >= LAUGHING_SHARE:
        return face
    strengths = {name: rng.uniform(*between) for name, between in _LAUGHTER.items()}
    units = {"jawOpen": float(rng.uniform(0.0, 0.2))}
    for name, strength in strengths.items():
        for side in SIDES:
            units[name + side] = float(np.clip(strength * rng.normal(1, 0.1), 0, 1))
    expression = head.expression(units)
    return replace(face, expression=expression, vertices_mm=head.model.mesh(face.shape, expression))


def augment_picture(picture: Picture, rng: np.random.Generator) -> Picture:
    """Apply each augmentation to a share of pictures, one after the other."""
    if rng.random() >= AUGMENTED_SHARE:
        return picture
    for augmentation, share in AUGMENTATIONS:
        if rng.random() < share:
            picture = augmentation(picture, rng)
    return picture


def hair_across(picture: Picture, rng: np.random.Generator) -> Picture:
    """Draw one to four locks of one hair colour across the picture."""
    names = list(HAIR_COLOURS)
    colour = np.array(HAIR_COLOURS[names[int(rng.integers(len(names)))]]) * np.exp(rng.normal(0.3, 0.5))
    layer = picture.copy()
    for _ in range(int(rng.integers(1, 5))):
        _lock(layer, colour, rng)
    opacity = rng.uniform(0.7, 1.0)
    return cv2.addWeighted(layer, opacity, picture, 1 - opacity, 0).astype(np.uint8)


def _lock(layer: Picture, colour: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Draw a lock: strands along one curve from the crown downwards, spread a little."""
    size = NETWORK_PX
    root = np.array([rng.normal(0.5, 0.22), rng.uniform(0.1, 0.4)]) * size
    tip = np.array([rng.normal(0.5, 0.25), rng.uniform(0.35, 1.05)]) * size
    bend = (root + tip) / 2 + rng.normal(0, 0.15, 2) * size
    width = rng.uniform(*(_SHEET if rng.random() < _SHEET_SHARE else _STRAND)) * size
    along = np.linspace(0, 1, STRAND_POINTS)[:, None]
    count = int(np.clip(width * rng.uniform(1.5, 6.0), 6, 180))
    weights = (1 - along) ** 2, 2 * along * (1 - along), along**2
    sheen = rng.uniform(0.1, 0.9) * np.exp(-(((along[:, 0] - rng.uniform(0.1, 0.9)) / 0.25) ** 2))
    level = float(np.exp(rng.normal(0, 0.3)) * (1 + sheen.mean()))
    for _ in range(count):
        spread = rng.normal(0, width / 2, (3, 2)) * ((0.5,), (1.0,), (1.2,))
        curve = sum(w * (point + s) for w, point, s in zip(weights, (root, bend, tip), spread, strict=True))
        shown = np.clip(colour * level * np.exp(rng.normal(0, 0.35)), 0, 1) ** (1 / _GAMMA) * 255
        points = np.rint(np.asarray(curve) * 16).astype(np.int32)
        tint = tuple(float(v) for v in shown)
        cv2.polylines(layer, [points], False, tint, 1, cv2.LINE_AA, shift=4)


def thing_before(picture: Picture, rng: np.random.Generator) -> Picture:
    """Cover a part of the picture with something softly shaded: an arm, a cup, a neighbour."""
    size = NETWORK_PX
    # Mostly beside the middle: a face that is covered altogether teaches nothing.
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.18, 0.42)
    centre = (np.array([np.cos(angle), np.sin(angle)]) * distance + (0.5, 0.55)) * size
    axes = rng.uniform(0.05, 0.22, 2) * size
    mask = np.zeros((size, size), np.float32)
    turn = float(rng.uniform(0, 180))
    if rng.random() < 0.5:
        box = (float(centre[0]), float(centre[1])), (float(axes[0] * 1.2), float(axes[1] * 4)), turn
        cv2.fillConvexPoly(mask, np.rint(cv2.boxPoints(box)).astype(np.int32), 1.0)
    else:
        whole = (round(centre[0]), round(centre[1])), (round(axes[0]), round(axes[1]))
        cv2.ellipse(mask, whole[0], whole[1], turn, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.4, 1.2)))[..., None]
    if rng.random() < 0.4:  # of the picture's own colours, such as skin
        y, x = rng.integers(size // 4, size * 3 // 4, 2)
        colour = picture[y, x].astype(np.float32)
    else:
        colour = rng.uniform(0, 255, 3).astype(np.float32)
    shade = np.exp(0.25 * natural_noise(rng, size, float(rng.uniform(1.6, 2.6))))[..., None]
    return np.clip(picture * (1 - mask) + colour * shade * mask, 0, 255).astype(np.uint8)


def uneven_light(picture: Picture, rng: np.random.Generator) -> Picture:
    """Shade a part of the picture: from one side, in smooth patches, or behind the edge of a cast shadow."""
    size = NETWORK_PX
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    across = np.cos(angle) * x + np.sin(angle) * y
    kind = rng.integers(3)
    if kind == 0:
        stops = rng.uniform(1.0, 4.5) * across
    elif kind == 1:
        stops = rng.uniform(0.2, 0.7) * natural_noise(rng, size, float(rng.uniform(2.0, 3.0)))
    else:
        stops = -rng.uniform(0.6, 2.2) / (1 + np.exp(-(across - rng.normal(0, 0.12)) * rng.uniform(15, 120)))
    return _developed(_light(picture) * np.exp2(stops)[..., None])


def misexposed(picture: Picture, rng: np.random.Generator) -> Picture:
    """Expose up to 1.7 stops darker or one brighter, with another gradation and contrast."""
    shown = (picture / np.float32(255)) ** np.float32(np.exp(rng.normal(0, 0.25)))
    light = shown**_GAMMA * np.exp2(rng.uniform(-1.7, 1.0))
    contrast = rng.uniform(0.75, 1.45)
    middle = rng.uniform(0.3, 0.5)
    shown = (np.clip(light, 0, 1) ** (1 / _GAMMA) - middle) * contrast + middle
    return _shown(shown * 255)


def toned(picture: Picture, rng: np.random.Generator) -> Picture:
    """Remove colours, wholly or nearly, and tone some pictures, as with sepia or by a coloured lamp."""
    grey = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    kept = 0.0 if rng.random() < 0.7 else rng.uniform(0.0, 0.5)
    toned = grey[..., None] + (picture - grey[..., None]) * kept
    if rng.random() < 0.4:
        tint = np.exp(rng.normal(0, 0.12) * np.array([1.0, 0.1, -1.0]) + rng.normal(0, 0.03, 3))
        toned = toned * tint
    return _shown(toned)


def recoloured(picture: Picture, rng: np.random.Generator) -> Picture:
    """Mix the colours anew, as coloured lamps, films and filters do: skin may have any hue.

    A grey level keeps its brightness by and large; now and then a channel goes dark.
    """
    mix = np.eye(3) + rng.normal(0, 0.3, (3, 3))
    mix *= (np.exp(rng.normal(0, 0.15, 3)) / np.maximum(np.abs(mix.sum(1)), 0.3))[:, None]
    return _shown(picture.astype(np.float32) @ mix.T)


def filtered(picture: Picture, rng: np.random.Generator) -> Picture:
    """Blend in what a random filter leaves of the picture: its shapes, with other surfaces.

    See Xu et al., 'Robust and generalizable visual representation learning via random convolutions', ICLR
    2021.
    """
    side = int(rng.choice([1, 3, 5]))
    channels = picture - picture.mean((0, 1), dtype=np.float32)
    made = np.stack([_mixed(channels, rng.normal(0, 1, (3, side, side))) for _ in range(3)], axis=-1)
    made *= channels.std() / max(float(made.std()), 1e-3)
    opacity = np.float32(rng.uniform(0.2, 0.75))
    return _shown(picture * (1 - opacity) + (made + picture.mean(dtype=np.float32)) * opacity)


def _mixed(channels: NDArray[np.float32], kernels: NDArray[np.float64]) -> NDArray[np.float32]:
    sums = [cv2.filter2D(channels[..., i], -1, kernel) for i, kernel in enumerate(kernels)]
    return np.sum(sums, axis=0, dtype=np.float32)


def retouched(picture: Picture, rng: np.random.Generator) -> Picture:
    """Soften or sharpen, by up to three quarters and by twice the difference to a blurred picture."""
    blurred = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.7, 2.5))).astype(np.float32)
    return _shown(blurred + (picture - blurred) * np.float32(1 + rng.uniform(-0.75, 2.0)))


def beyond_photograph(picture: Picture, rng: np.random.Generator) -> Picture:
    """Blacken up to a third at one to four sides: a square about a face near the photograph's edge."""
    borders = [0.0, 0.0, 0.0, 0.0]
    for side in rng.choice(4, int(rng.integers(1, 5)), replace=False):
        borders[int(side)] = float(rng.uniform(0.02, 0.32))
    return black_borders(picture.copy(), (borders[0], borders[1], borders[2], borders[3]))


AUGMENTATIONS: tuple[tuple[Augmentation, float], ...] = (
    (hair_across, 0.3),
    (thing_before, 0.2),
    (uneven_light, 0.35),
    (misexposed, 0.5),
    (toned, 0.2),
    (recoloured, 0.25),
    (filtered, 0.2),
    (retouched, 0.25),
    (beyond_photograph, 0.5),
)
"""Augmentations of a picture, with the share of augmented pictures that each changes."""


def shares() -> dict[str, float]:
    """Share of pictures that each augmentation changes, as checkpoints record it."""
    return {
        "hard": AUGMENTED_SHARE,
        "dark glasses": DARK_GLASSES_SHARE,
        "laughing": LAUGHING_SHARE,
        "reshaped": RESHAPED_SHARE,
        "reshaped in wide poses": WIDE_POSE_SHARE,
        **{augmentation.__name__: share for augmentation, share in AUGMENTATIONS},
    }


def _light(picture: Picture) -> NDArray[np.float32]:
    return np.asarray((picture / np.float32(255)) ** np.float32(_GAMMA), np.float32)


def _developed(light: NDArray[np.floating]) -> Picture:
    return _shown(np.clip(light, 0, 1) ** (1 / _GAMMA) * 255)


def _shown(levels: NDArray[np.floating]) -> Picture:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
