"""Decode image files from untrusted sources."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from facepipe.core.errors import SampleError
from facepipe.imaging.colour import to_srgb
from facepipe.imaging.file_kinds import HEAD_BYTES, HEIC, HEIC_WAY_OUT, IMAGE_KINDS, can_read_heic, kind_of
from facepipe.imaging.sample_depth import to_8_bits

MAX_PIXELS = 64_000_000
"""Largest image that is decoded: 64 megapixels, about 190 MB as RGB."""

MAX_FILE_BYTES = 256 * 1024 * 1024

MAX_REDUCED_PIXELS = 256_000_000
"""Largest JPEG that is read at reduced scale: what telephones of 200 megapixels take."""

FORMATS = tuple(kind.name for kind in IMAGE_KINDS)

# Images are bounded here, by what they say of their size, before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

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


def decode_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode the bytes of an image file to upright uint8 RGB (H, W, 3) in sRGB.

    Grey, palette and CMYK images become RGB, ICC profiles are applied (`colour`), samples of more than 8
    bits are scaled by their range (`sample_depth`), transparency is laid over white, animations give their
    first frame. A baseline JPEG of more than `max_pixels` is read at a half, a quarter or an eighth of its
    size.

    Args:
        data: the file's bytes.
        name: what to call it in messages.
        max_pixels: larger images are not decoded at full size.

    Raises:
        SampleError: empty-file, not-an-image, needs-package, too-many-pixels, truncated-image or
            broken-image.
    """
    if not data:
        raise SampleError("empty-file", f"{name}: the file has no bytes")
    with open_image(data, name, max_pixels) as image:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(to_8_bits(image, data)))


@contextmanager
def open_image(data: bytes, name: str, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image file whose kind its content tells; nothing is decoded yet.

    Raises:
        SampleError: as `decode_image`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=_formats(data, name)) as image:
                _bound(image, name, max_pixels)
                yield image
        except UnidentifiedImageError as error:
            raise SampleError("not-an-image", f"{name}: neither of {', '.join(FORMATS)}") from error
        except _DECODE_ERRORS as error:
            truncated = "truncated" in str(error).lower() or isinstance(error, EOFError)
            reason = "truncated-image" if truncated else "broken-image"
            raise SampleError(reason, f"{name}: {error}") from error


def _formats(data: bytes, name: str) -> tuple[str, ...]:
    """Pillow's names of the formats that a file may be in."""
    kind = kind_of(data[:HEAD_BYTES])
    if kind is None or kind.medium != "image":
        return tuple(known.reader for known in IMAGE_KINDS if known is not HEIC)
    if kind is HEIC:
        if not can_read_heic():
            raise SampleError("needs-package", f"{name}: {HEIC_WAY_OUT}")
        from pi_heif import register_heif_opener

        register_heif_opener()
    return (kind.reader,)


def _bound(image: Image.Image, name: str, max_pixels: int) -> None:
    """Refuse what is too large, or have a JPEG read at reduced scale."""
    width, height = image.size
    if width * height <= max_pixels:
        return
    is_jpeg = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
    for scale in (2, 4, 8) if is_jpeg and width * height <= MAX_REDUCED_PIXELS else ():
        if -(-width // scale) * -(-height // scale) <= max_pixels:
            image.draft(None, (width // scale, height // scale))
            return
    raise SampleError(
        "too-many-pixels",
        f"{name}: {width} x {height}, at most {max_pixels:,} pixels are decoded; make it smaller, save it as "
        f"baseline JPEG (read at reduced scale up to {MAX_REDUCED_PIXELS:,} pixels), or raise --max-pixels "
        "where the command has it",
    )


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        opaque = rgba.convert("RGB")
        opaque.info["icc_profile"] = image.info.get("icc_profile")
        colours = to_srgb(opaque)
        colours.putalpha(rgba.getchannel("A"))
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, colours)
        return np.array(image.convert("RGB"), np.uint8)
    return np.array(to_srgb(image), np.uint8)
