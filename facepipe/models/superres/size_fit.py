"""Bring crops of any size to network size: reduce to the largest size that the method fits, then restore."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import SampleError
from facepipe.imaging.degrade import degrade, make_reference
from facepipe.models.superres.base import Method
from facepipe.models.superres.methods import get_method

Image8 = NDArray[np.uint8]


def fitting_px(side: int, method: Method) -> int | None:
    """The size at which a method restores crops of a side in pixels; None for crops that need no restoring.

    Raises:
        SampleError: too-small, the method fits no size up to the crop's.
    """
    if side >= NETWORK_PX:
        return None
    for px in range(side, 0, -1):
        if method.fits(px):
            return px
    raise SampleError(
        "too-small",
        f"{side} px a side, and method {method.name!r} fits no size up to that; bicubic fits every size",
    )


def to_network_size(crop: Image8, method: str, device: str = "cpu") -> Image8:
    """Bring a crop (S, S, 3) to network size (128, 128, 3).

    Large crops are area-averaged. Smaller ones are restored by a super-resolution method, at the largest
    size up to their own that it fits.

    Args:
        crop: uint8 RGB.
        method: its name.
        device: where its network runs.

    Raises:
        UsageError: there is no such method.
        SampleError: too-small, the method fits no size up to the crop's.
    """
    side = crop.shape[0]
    resolver = get_method(method)
    low_px = fitting_px(side, resolver)
    if low_px is None:
        return make_reference(crop)
    lowres = crop if low_px == side else degrade(crop, "area", low_px, seed=0, sample_id="")
    return np.asarray(resolver.build(low_px, device)(lowres[None])[0], np.uint8)
