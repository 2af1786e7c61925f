"""Encode pictures as data URIs for the page."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

PHOTO_QUALITY = 92
"""WebP quality of photos in the page; the run's arrays are exact."""


def photo_uri(image: NDArray[np.uint8]) -> str:
    """A data URI of an image uint8 RGB (H, W, 3): WebP, or lossless where it is small."""
    data = io.BytesIO()
    small = image.shape[0] <= 64
    Image.fromarray(image).save(data, "WEBP", lossless=small, quality=PHOTO_QUALITY, method=4)
    return _uri("image/webp", data)


def depth_uri(depth_px: NDArray[np.float32], low_px: float, high_px: float) -> str:
    """A data URI of a depth map (H, W) in the colours of `turbo`; transparent where it is NaN."""
    known = np.isfinite(depth_px)
    span = max(high_px - low_px, 1e-6)
    level = np.clip((np.where(known, depth_px, low_px) - low_px) / span, 0, 1)
    index = np.where(known, 1 + np.rint(level * 254), 0).astype(np.uint8)
    picture = Image.fromarray(index, "P")
    picture.putpalette(_turbo_palette().tobytes())
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True, transparency=0)
    return _uri("image/png", data)


def turbo_gradient() -> str:
    """The colours of `depth_uri` from far to near, as a CSS gradient to the right."""
    stops = _turbo_palette()[1::32]
    colours = ", ".join(f"rgb({r} {g} {b})" for r, g, b in stops.tolist())
    return f"linear-gradient(to right, {colours})"


def _turbo_palette() -> NDArray[np.uint8]:
    """256 RGB colours: the first stands for 'nothing', the others run from far to near."""
    levels = np.rint(np.linspace(0, 255, 255)).astype(np.uint8)[:, None]
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)[:, 0]
    return np.concatenate([np.zeros((1, 3), np.uint8), colours])


def _uri(kind: str, data: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
