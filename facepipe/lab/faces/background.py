"""Backgrounds behind faces, with the statistics of out-of-focus photographs.

Nothing here is meant to be recognised. A background is a base (sky over ground, a wall, foliage, darkness)
with a few large shapes at several distances, texture whose power falls as in natural images, few colours
that belong together, and a blur of depth of field. Linear light.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]

PALETTES: tuple[tuple[tuple[float, float, float], ...], ...] = (
    ((0.30, 0.24, 0.17), (0.55, 0.48, 0.38), (0.12, 0.08, 0.05), (0.75, 0.70, 0.62)),  # wood and plaster
    ((0.08, 0.13, 0.04), (0.20, 0.26, 0.09), (0.03, 0.05, 0.02), (0.45, 0.50, 0.30)),  # leaves
    ((0.35, 0.45, 0.60), (0.65, 0.72, 0.80), (0.20, 0.22, 0.25), (0.30, 0.27, 0.22)),  # street
    ((0.55, 0.56, 0.57), (0.75, 0.75, 0.74), (0.25, 0.26, 0.28), (0.40, 0.38, 0.36)),  # office
    ((0.05, 0.04, 0.05), (0.12, 0.08, 0.06), (0.02, 0.02, 0.03), (0.30, 0.20, 0.12)),  # evening
    ((0.25, 0.06, 0.05), (0.45, 0.40, 0.33), (0.08, 0.07, 0.09), (0.10, 0.13, 0.22)),  # stage
)


def background(rng: np.random.Generator, size_px: int) -> Picture:
    """Draw a background (S, S, 3), linear, about 0..1."""
    work = min(size_px * 3 // 4, 160)
    kind = str(rng.choice(("plain", "room", "outdoors", "crowded"), p=(0.22, 0.3, 0.28, 0.2)))
    colours = np.array(PALETTES[int(rng.integers(len(PALETTES)))], np.float32)
    if kind == "plain":
        grey = colours.mean(1, keepdims=True)
        colours = grey + 0.35 * (colours - grey)
    spread = rng.normal(0, 0.25, (len(colours), 1)) + rng.normal(0, 0.06, (len(colours), 3))
    colours = np.clip(colours * np.exp(spread), 0, 1).astype(np.float32)
    picture = _base(rng, work, colours, kind)
    focus = rng.uniform(0.6, 1.0) if rng.random() < 0.25 else rng.uniform(1.5, 6.0)
    if kind != "plain":
        picture = _shapes(rng, picture, colours, int(rng.integers(3, 9 if kind != "crowded" else 22)))
        picture = _blur(picture, focus * work / 128)
        picture = _shapes(rng, picture, colours, int(rng.integers(0, 4)))
    strength = {"plain": 0.06, "room": 0.14, "outdoors": 0.30, "crowded": 0.2}[kind] * rng.uniform(0.4, 1.2)
    picture = picture * np.exp(strength * natural_noise(rng, work, rng.uniform(1.4, 2.2)))[..., None]
    picture = _blur(picture, focus * work / 200)
    if kind in ("outdoors", "crowded") and rng.random() < 0.3:
        picture = _lights(rng, picture)
    level = rng.uniform(0.4, 1.3)
    picture = picture * np.float32(level)
    if size_px != work:
        picture = cv2.resize(picture, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0.0, 4.0).astype(np.float32)


def natural_noise(rng: np.random.Generator, size_px: int, exponent: float) -> Picture:
    """Noise (S, S) of unit variance whose amplitude falls with frequency to the power -exponent / 2 - 0.5."""
    fy = np.fft.fftfreq(size_px)[:, None]
    fx = np.fft.rfftfreq(size_px)[None, :]
    radius = np.sqrt(fx * fx + fy * fy)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size_px, size_px), np.float32)) * radius ** -(
        0.5 + exponent / 2
    )
    noise = np.fft.irfft2(spectrum, s=(size_px, size_px))
    return np.asarray(noise / (noise.std() + 1e-9), np.float32)


def _base(rng: np.random.Generator, size: int, colours: Picture, kind: str) -> Picture:
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    if kind == "outdoors":
        horizon = rng.uniform(0.25, 0.9)
        edge = 1 / (1 + np.exp(-(y - horizon + 0.05 * (x - 0.5) * rng.normal()) * rng.uniform(15, 80)))
        above = colours[1] * (1.15 - 0.4 * y[..., None])
        return np.asarray(above * (1 - edge[..., None]) + colours[0] * edge[..., None], np.float32)
    slope = rng.normal(0, 0.35, 2)
    shade = np.exp(slope[0] * (x - 0.5) + slope[1] * (y - 0.5))
    centre = rng.uniform(0.2, 0.8, 2)
    falloff = 1 - rng.uniform(0, 0.5) * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
    colour = colours[int(rng.integers(len(colours)))]
    return np.asarray(colour * (shade * falloff)[..., None], np.float32)


def _shapes(rng: np.random.Generator, picture: Picture, colours: Picture, count: int) -> Picture:
    """Upright things: door frames, furniture, trunks, people; each with a soft shade of its own."""
    size = picture.shape[0]
    for _ in range(count):
        colour = colours[int(rng.integers(len(colours)))] * rng.uniform(0.5, 1.4)
        mask = np.zeros((size, size), np.float32)
        x, y = rng.uniform(-0.1, 1.1, 2) * size
        width, height = rng.uniform(0.04, 0.35) * size, rng.uniform(0.1, 0.8) * size
        if rng.random() < 0.7:
            tilt = rng.normal(0, 4)
            box = cv2.boxPoints(((float(x), float(y)), (float(width), float(height)), float(tilt)))
            cv2.fillPoly(mask, [np.rint(box * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
        else:
            axes = (max(1, int(width / 2)), max(1, int(height / 3)))
            cv2.ellipse(
                mask, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA
            )
        ramp = np.linspace(rng.uniform(0.6, 1.0), 1.0, size, dtype=np.float32)[None, :, None]
        mask = mask[..., None]
        picture = picture * (1 - mask) + mask * colour * ramp
    return picture.astype(np.float32)


def _lights(rng: np.random.Generator, picture: Picture) -> Picture:
    """Discs of distant lamps, out of focus."""
    size = picture.shape[0]
    glow = np.zeros_like(picture)
    radius = max(1, int(size * rng.uniform(0.012, 0.05)))
    for _ in range(int(rng.integers(4, 25))):
        x, y = (int(v) for v in rng.uniform(0, size, 2))
        warm = np.array([1.0, rng.uniform(0.6, 1.0), rng.uniform(0.3, 1.0)]) * rng.uniform(0.2, 1.2)
        cv2.circle(glow, (x, y), radius, tuple(float(v) for v in warm), -1, cv2.LINE_AA)
    return picture + _blur(glow, 0.6)


def _blur(picture: Picture, sigma_px: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(float(sigma_px), 0.1)), np.float32)
