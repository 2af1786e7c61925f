"""Decode image files from untrusted sources."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from facepipe.core.errors import SampleError

MAX_PIXELS = 64_000_000
"""Largest image that is decoded: 64 megapixels, about 190 MB as RGB."""

MAX_FILE_BYTES = 256 * 1024 * 1024

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")

# What Pillow raises on malformed bytes, beyond its own documented errors.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)


def read_image(path: Path) -> tuple[NDArray[np.uint8], str]:
    """Read an image file.

    Returns:
        uint8 RGB (H, W, 3), upright by its EXIF orientation, and the sha256 hex digest of the file.

    Raises:
        SampleError: missing-file, unreadable-file, empty-file, file-too-large, or as `decode_image`.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise SampleError("unreadable-file", f"{path}: not a regular file")
        if facts.st_size > MAX_FILE_BYTES:
            raise SampleError(
                "file-too-large", f"{path}: {facts.st_size} bytes, at most {MAX_FILE_BYTES} are read"
            )
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise SampleError("missing-file", f"{path}: no such file") from error
    except OSError as error:
        raise SampleError("unreadable-file", f"{path}: {error.strerror or error}") from error
    return decode_image(data, str(path)), hashlib.sha256(data).hexdigest()


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file to upright uint8 RGB (H, W, 3).

    Grey, palette and CMYK images become RGB, 16 bits are rounded to 8, transparency is laid over
    white, animations give their first frame.

    Args:
        data: the file's bytes.
        name: what to call it in messages.

    Raises:
        SampleError: empty-file, not-an-image, too-many-pixels, truncated-image or broken-image.
    """
    if not data:
        raise SampleError("empty-file", f"{name}: the file has no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise SampleError(
                        "too-many-pixels",
                        f"{name}: {image.width} x {image.height}, at most {MAX_PIXELS:,} pixels are decoded",
                    )
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
        except Image.DecompressionBombError as error:
            raise SampleError(
                "too-many-pixels", f"{name}: far more than the {MAX_PIXELS:,} pixels that are decoded"
            ) from error
        except UnidentifiedImageError as error:
            raise SampleError("not-an-image", f"{name}: neither of {', '.join(FORMATS)}") from error
        except _DECODE_ERRORS as error:
            truncated = "truncated" in str(error).lower() or isinstance(error, EOFError)
            reason = "truncated-image" if truncated else "broken-image"
            raise SampleError(reason, f"{name}: {error}") from error


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_rgb(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.array(image.convert("RGB"), np.uint8)


def _grey_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """16-bit integer grey is divided by 257; 32-bit floats are taken as 0..1 or 0..255 by their maximum."""
    grey = np.asarray(image, np.float64)
    grey = np.nan_to_num(grey)
    if image.mode == "F":
        grey = grey * 255 if grey.max(initial=0.0) <= 1.0 else grey
    else:
        grey = grey / 257
    grey8 = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return np.repeat(grey8[:, :, None], 3, axis=2)
