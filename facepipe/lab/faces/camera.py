"""The camera: exposure, white balance, tone, blur, noise, JPEG and cropping."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Camera:
    """One camera and one upload.

    Attributes:
        gain: factors of red, green and blue.
        shoulder: 0 clips highlights, 1 rolls them off.
        contrast, saturation: 1 leaves them.
        softness_px: blur, in pixels at 128.
        detail: the share of its size at which the picture was once stored, 1 for untouched.
        grain: standard deviation of the noise, of 1.
        jpeg_quality: 1..100, or 0 for none.
        borders: left, top, right and bottom share of the picture that lies outside the photograph: black.
        seed: of the grain.
    """

    gain: tuple[float, float, float]
    shoulder: float
    contrast: float
    saturation: float
    softness_px: float
    detail: float
    grain: float
    jpeg_quality: int
    borders: tuple[float, float, float, float]
    seed: int


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draw a camera: mostly decent, sometimes poor."""
    balance = np.exp(rng.normal(0, 0.05) * np.array([1.0, 0.0, -1.0]) + rng.normal(0, 0.015, 3))
    grey = rng.random() < 0.06
    borders = [0.0, 0.0, 0.0, 0.0]
    if rng.random() < 0.24:
        for side in rng.choice(4, int(rng.integers(1, 3)), replace=False):
            borders[int(side)] = float(rng.uniform(0.03, 0.30))
    return Camera(
        gain=(float(balance[0]), float(balance[1]), float(balance[2])),
        shoulder=float(rng.random() < 0.75),
        contrast=float(rng.uniform(0.95, 1.35)),
        saturation=0.0 if grey else float(rng.uniform(0.85, 1.35)),
        softness_px=float(rng.uniform(0.0, 0.35) if rng.random() < 0.75 else rng.uniform(0.35, 1.1)),
        detail=float(rng.uniform(0.3, 0.8)) if rng.random() < 0.2 else 1.0,
        grain=float(rng.uniform(0.001, 0.008) if rng.random() < 0.8 else rng.uniform(0.008, 0.03)),
        jpeg_quality=int(rng.integers(60, 96)) if rng.random() < 0.7 else 0,
        borders=(borders[0], borders[1], borders[2], borders[3]),
        seed=int(rng.integers(2**31)),
    )


def tone(light: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """Linear light (..., 3) to display values 0..1."""
    exposed = light * np.asarray(camera.gain, np.float32)
    rolled = np.where(camera.shoulder, 1.0 - np.exp(-1.25 * exposed), exposed)
    shown = np.clip(rolled, 0.0, 1.0) ** np.float32(1 / 2.2)
    shown = (shown - 0.5) * camera.contrast + 0.5
    grey = shown @ np.array([0.299, 0.587, 0.114], np.float32)
    shown = grey[..., None] + (shown - grey[..., None]) * camera.saturation
    return np.asarray(np.clip(shown, 0.0, 1.0), np.float32)


def photograph(light: NDArray[np.float32], camera: Camera) -> NDArray[np.uint8]:
    """Linear light (S, S, 3) to uint8 RGB (S, S, 3)."""
    picture = tone(light, camera)
    size = picture.shape[0]
    if camera.detail < 1.0:
        stored = max(16, round(size * camera.detail))
        small = cv2.resize(picture, (stored, stored), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
    sigma = camera.softness_px * size / 128
    if sigma > 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    grain = np.random.default_rng(camera.seed).standard_normal(picture.shape, np.float32)
    if size > 200:
        # The grain of a large picture is that of its sensor, partly smoothed by the resize to this size.
        grain = cv2.GaussianBlur(grain, (0, 0), 0.6) * 1.6
    bytes_ = np.clip(np.rint((picture + camera.grain * grain) * 255), 0, 255).astype(np.uint8)
    bytes_ = black_borders(bytes_, camera.borders)
    if camera.jpeg_quality:
        flags = [cv2.IMWRITE_JPEG_QUALITY, camera.jpeg_quality]
        decoded = cv2.imdecode(cv2.imencode(".jpg", bytes_[..., ::-1], flags)[1], cv2.IMREAD_COLOR)
        if decoded is not None:
            bytes_ = np.ascontiguousarray(decoded[..., ::-1], np.uint8)
    return bytes_


def black_borders(
    picture: NDArray[np.uint8], borders: tuple[float, float, float, float]
) -> NDArray[np.uint8]:
    """Blacken what lies outside the photograph, in place, as face crops near an edge have it.

    Args:
        picture: (S, S, 3).
        borders: left, top, right and bottom share of it that is outside.
    """
    size = picture.shape[0]
    left, top, right, bottom = (round(share * size) for share in borders)
    picture[:, :left] = 0
    picture[:top] = 0
    if right:
        picture[:, -right:] = 0
    if bottom:
        picture[-bottom:] = 0
    return picture
