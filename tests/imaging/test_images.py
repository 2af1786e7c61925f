"""Reading image files: every kind of pixel, every kind of damage."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facepipe.core.errors import SampleError
from facepipe.imaging.images import decode_image, read_image


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_rgb_png_is_exact_and_hashed(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(pixels)))
    image, digest = read_image(path)
    assert np.array_equal(image, pixels)
    assert len(digest) == 64


def test_grey_becomes_rgb() -> None:
    image = decode_image(encode(Image.fromarray(np.array([[0, 128, 255]], np.uint8))), "grey")
    assert image.tolist() == [[[0, 0, 0], [128, 128, 128], [255, 255, 255]]]


def test_sixteen_bits_are_rounded_to_eight() -> None:
    grey = np.array([[0, 128, 129, 257 * 77, 65535]], np.uint16)
    image = decode_image(encode(Image.fromarray(grey)), "16 bit")
    assert image[0, :, 0].tolist() == [0, 0, 1, 77, 255]


def test_transparency_is_laid_over_white() -> None:
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
    image = decode_image(encode(Image.fromarray(rgba)), "alpha")
    assert image[0, 0].tolist() == [255, 0, 0]
    assert image[0, 1].tolist() == [255, 255, 255]
    assert np.allclose(image[0, 2], 127, atol=1)


def test_palette_with_transparency_is_laid_over_white() -> None:
    paletted = Image.new("P", (2, 1))
    paletted.putpalette([10, 20, 30, 200, 100, 50])
    paletted.putpixel((1, 0), 1)
    image = decode_image(encode(paletted, transparency=0), "palette")
    assert image[0].tolist() == [[255, 255, 255], [200, 100, 50]]


def test_cmyk_jpeg_becomes_rgb() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    image = decode_image(encode(red, "JPEG", quality=95), "cmyk")
    assert image.shape == (8, 8, 3)
    assert np.abs(image.astype(int) - [255, 0, 0]).max() < 12


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_exif_orientation_is_applied(orientation: int, corner: tuple[int, int]) -> None:
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_image(encode(Image.fromarray(pixels), "JPEG", exif=exif, quality=95), "exif")
    assert image.shape == ((16, 24, 3) if orientation in (1, 3) else (24, 16, 3))
    assert image[corner].min() > 200
    opposite = tuple(-1 - value for value in corner)
    assert image[opposite].max() < 50


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises this size and whose data are next to nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(bytes(100)), b"IEND")
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


JPEG = encode(Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty-file"),
        (b"hello, I am a text file", "not-an-image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "not-an-image"),
        (b"GIF89a" + bytes(40), "not-an-image"),
        (JPEG[: len(JPEG) // 2], "truncated-image"),
        (png_of_size(50_000, 50_000), "too-many-pixels"),
        (png_of_size(9_000, 9_000), "too-many-pixels"),
    ],
)
def test_damage_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(SampleError) as caught:
        decode_image(data, "the name")
    assert caught.value.reason == reason
    assert "the name" in caught.value.detail


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SampleError) as caught:
        read_image(tmp_path / "gone.jpg")
    assert caught.value.reason == "missing-file"


def test_a_device_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "endless.jpg").symlink_to("/dev/zero")
    with pytest.raises(SampleError) as caught:
        read_image(tmp_path / "endless.jpg")
    assert caught.value.reason == "unreadable-file"


def test_a_flipped_byte_never_escapes() -> None:
    generator = np.random.default_rng(2)
    png = encode(Image.fromarray(generator.integers(0, 256, (12, 12, 3), np.uint8)))
    for source in (JPEG, png):
        for _ in range(400):
            damaged = bytearray(source)
            for _ in range(int(generator.integers(1, 4))):
                damaged[int(generator.integers(len(damaged)))] = int(generator.integers(256))
            try:
                image = decode_image(bytes(damaged), "damaged")
            except SampleError as error:
                assert error.reason
            else:
                assert image.dtype == np.uint8
                assert image.shape[2] == 3
