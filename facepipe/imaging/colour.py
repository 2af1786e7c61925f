"""Bring pictures with an ICC profile to sRGB, which everything else takes colours for."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

SAME_LEVELS = 2
"""A profile that moves no colour by more grey levels is sRGB by another name: pixels stay as they are."""


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert a picture without transparency to sRGB, mode RGB, by the profile that it carries.

    Relative colorimetric, as browsers do for photographs. Without a profile, or with one that is damaged or
    of another kind of picture, its numbers are taken as sRGB.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB")
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    transform = _transform(bytes(profile), image.mode)
    converted = ImageCms.applyTransform(image, transform) if transform is not None else None
    return image.convert("RGB") if converted is None else converted


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> Any:
    """The transform of a profile for pictures of a mode; None where it changes nothing, or cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(source, target, mode, "RGB", intent)
        if mode == "CMYK":
            return transform
        probe = _probe(mode)
        moved = np.asarray(ImageCms.applyTransform(probe, transform), np.int16)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    plain = np.asarray(probe.convert("RGB"), np.int16)
    return transform if np.abs(moved - plain).max() > SAME_LEVELS else None


def _probe(mode: str) -> Image.Image:
    """Colours from the whole cube, or all greys."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, 16).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1)
    return Image.fromarray(cube.reshape(64, 64, 3))
