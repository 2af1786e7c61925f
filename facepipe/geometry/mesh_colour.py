"""Colours of a mesh's vertices, taken from the photo it was made of."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX

FINEST_PX = 2 * NETWORK_PX
"""Larger photos are shrunk to this side first. Vertices lie about one reference pixel apart: finer detail
would not be seen as detail but as noise."""


def photo_colours(vertices: NDArray[np.floating], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Project vertices along the viewing axis into the photo and sample it bilinearly.

    What the photo does not show (sides that face away, the back) gets the colours in front of it.

    Args:
        vertices: (V, 3), reference pixels.
        image: uint8 RGB (S, S, 3), the crop at any resolution.

    Returns:
        uint8 sRGB (V, 3).

    Raises:
        ValueError: the image is not square RGB.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[0] != image.shape[1]:
        raise ValueError(f"image of shape {image.shape}: expected the square crop, (S, S, 3)")
    if image.shape[0] > FINEST_PX:
        image = np.asarray(cv2.resize(image, (FINEST_PX, FINEST_PX), interpolation=cv2.INTER_AREA), np.uint8)
    side = image.shape[0]
    at = np.clip(np.asarray(vertices, np.float64)[:, :2] * (side / NETWORK_PX) - 0.5, 0, side - 1)
    low = np.minimum(at.astype(np.intp), max(side - 2, 0))
    x, y = low[:, 0], low[:, 1]
    right, below = np.minimum(x + 1, side - 1), np.minimum(y + 1, side - 1)
    across, down = (at - low).T[:, :, None]
    top = image[y, x] * (1 - across) + image[y, right] * across
    bottom = image[below, x] * (1 - across) + image[below, right] * across
    return np.rint(top * (1 - down) + bottom * down).astype(np.uint8)


def srgb_to_linear(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Decode sRGB bytes to linear light in 0..1 (IEC 61966-2-1)."""
    encoded = np.arange(256) / 255
    table = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return np.asarray(table[colours], np.float64)
