"""Bring samples of more than 8 bits to 8, by what the file says of their range.

The value that becomes white is, in this order:

1. what a TIFF says (SMaxSampleValue, MaxSampleValue, WhiteLevel, or BitsPerSample of 10, 12 or 14), or
   what a PNG's sBIT chunk says, unless a sample exceeds it (a PNG with sBIT whose samples were spread over
   16 bits, as its standard asks for, is one of 16 bits);
2. integers: the largest number of 8, 10, 12, 14, 16, 24 or 32 bits, whichever is the first that holds all
   samples. A picture of 16 bits that uses the upper three quarters of its range is divided by 257; a darker
   one cannot be told from 14 bits, unless all its samples are multiples of 256 or 257, as those made of 8
   bits are;
3. floats: 1 where no sample exceeds it, also where one in a hundred does, by a factor of 8 at most
   (highlights); else 255, or, beyond that, as for integers.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = (8, 10, 12, 14, 16, 24, 32)

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _MAX_SAMPLE, _S_MAX_SAMPLE, _WHITE_LEVEL, _SAMPLE_FORMAT = 258, 281, 341, 50717, 339
_UNSIGNED = 1
_HIGHLIGHTS = 8.0


def to_8_bits(image: Image.Image, data: bytes) -> Image.Image:
    """Bring a picture to 8 bits a sample; one that has no more is returned as it is.

    Args:
        image: loaded.
        data: the file's bytes.

    Returns:
        Of mode L or RGB; its orientation is kept to be applied.
    """
    if image.mode == "F":
        grey = np.asarray(image, np.float64)
        samples = _scaled(grey, _white_of_floats(grey, _stated(image, data)))
    elif image.mode.startswith("I"):
        integers = _unsigned(image)
        samples = _scaled(integers, _white_of_integers(integers, _stated(image, data)))
    else:
        return _rgb_to_8_bits(image, data)
    return _with_facts_of(Image.fromarray(samples), image)


def _rgb_to_8_bits(image: Image.Image, data: bytes) -> Image.Image:
    """Pillow keeps the upper byte of 16-bit RGB: right for 16 bits, black for 10 to 14."""
    if image.mode not in ("RGB", "RGBA") or _stored_bits(image, data) != 16:
        return image
    if np.asarray(image)[..., :3].max(initial=0) >= 64:
        return image
    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 3:
        return image
    colours = samples[:, :, 2::-1]
    white = _white_of_integers(colours, _stated(image, data))
    if white >= 2**16 - 1:
        return image
    rgb = Image.fromarray(_scaled(colours, white))
    if image.mode == "RGBA":
        rgb.putalpha(image.getchannel("A"))
    return _with_facts_of(rgb, image)


def _with_facts_of(made: Image.Image, image: Image.Image) -> Image.Image:
    orientation = image.getexif().get(_ORIENTATION)
    if orientation:
        made.getexif()[_ORIENTATION] = orientation
    if "icc_profile" in image.info:
        made.info["icc_profile"] = image.info["icc_profile"]
    return made


def _scaled(samples: NDArray[Any], white: float) -> NDArray[np.uint8]:
    if samples.dtype == np.uint16:
        return _scaled(np.arange(2**16, dtype=np.float64), white)[samples]
    finite = np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=white, neginf=0.0)
    return np.clip(np.rint(finite * 255 / white if white != 255 else finite), 0, 255).astype(np.uint8)


def _unsigned(image: Image.Image) -> NDArray[np.integer]:
    """Integer samples; Pillow keeps 32 bits as signed, and a TIFF says whether they are."""
    samples = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    is_unsigned = _first(tags.get(_SAMPLE_FORMAT, _UNSIGNED)) == _UNSIGNED
    if samples.dtype == np.int32 and tags and is_unsigned:
        return samples.view(np.uint32)
    return samples


def _white_of_integers(samples: NDArray[np.integer], stated: float | None) -> float:
    largest = int(samples.max(initial=0))
    if stated is not None and largest <= stated:
        return stated
    if 255 < largest < 2**16 and any(not (samples % step).any() for step in (256, 257)):
        return 2.0**16 - 1
    return _holding(largest)


def _white_of_floats(samples: NDArray[np.float64], stated: float | None) -> float:
    finite = samples[np.isfinite(samples)]
    largest = float(finite.max(initial=0.0))
    if stated is not None and largest <= stated:
        return stated
    if largest <= 1 or (largest <= _HIGHLIGHTS and np.mean(finite > 1) <= 0.01):
        return 1.0
    return _holding(largest)


def _holding(largest: float) -> float:
    return next((2.0**bits - 1 for bits in BITS if largest < 2**bits), largest)


def _stated(image: Image.Image, data: bytes) -> float | None:
    """The largest value that samples may have by what the file says, None where it does not."""
    if image.format == "PNG":
        bits = _png_significant_bits(data)
        return None if bits is None or bits >= 16 else 2.0**bits - 1
    tags = getattr(image, "tag_v2", {})
    for tag in (_S_MAX_SAMPLE, _MAX_SAMPLE, _WHITE_LEVEL):
        value = _first(tags.get(tag, 0))
        if isinstance(value, int | float) and np.isfinite(value) and value > 0:
            return float(value)
    stored = _first(tags.get(_BITS_PER_SAMPLE, 8))
    return 2.0**stored - 1 if stored in (10, 12, 14) else None


def _stored_bits(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG":
        return data[24]
    return int(_first(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 8)))


def _png_significant_bits(data: bytes) -> int | None:
    """The largest number of the chunk sBIT, which stands before the pixels."""
    at = 8
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"sBIT":
            return max(data[at + 8 : at + 8 + length], default=0) or None
        if kind == b"IDAT":
            return None
        at += 12 + length
    return None


def _first(value: object) -> float:
    if isinstance(value, tuple):
        value = value[0] if value else 0
    return float(value) if isinstance(value, int | float) or hasattr(value, "__float__") else 0.0
