"""Reading image files: every kind of pixel, every kind of damage."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from facepipe.core.errors import SampleError
from facepipe.imaging import images
from facepipe.imaging.contrast import MIN_CONTRAST_LEVELS, contrast_levels
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


class TestDepth:
    """Samples of more than 8 bits, by what their file says, or by their range."""

    ramp = np.arange(0, 256, dtype=np.float64)[None]

    def tiff(self, samples: np.ndarray, **tags) -> np.ndarray:
        data = io.BytesIO()
        tifffile.imwrite(data, samples, **tags)
        return decode_image(data.getvalue(), "tiff")[0, :, 0]

    @pytest.mark.parametrize("bits", [10, 12, 14, 16])
    def test_integers_without_a_word_go_by_the_bits_that_hold_them(self, bits: int) -> None:
        samples = np.rint(self.ramp * (2**bits - 1) / 255).astype(np.uint16)
        for data in (encode(Image.fromarray(samples)), encode(Image.fromarray(samples), "TIFF")):
            assert decode_image(data, "ramp")[0, :, 0].tolist() == self.ramp[0].tolist()

    def test_true_sixteen_bits_are_what_they_were(self) -> None:
        samples = np.random.default_rng(0).integers(0, 2**16, (1, 1000), np.uint16)
        samples[0, 0] = 20_000
        expected = np.rint(samples[0] / 257)
        assert decode_image(encode(Image.fromarray(samples)), "16")[0, :, 0].tolist() == expected.tolist()
        dark = np.arange(0, 40, dtype=np.uint16)[None] * 257
        assert decode_image(encode(Image.fromarray(dark)), "dark")[0, :, 0].tolist() == list(range(40))

    def test_floats(self) -> None:
        for scale in (1 / 255, 1.0, 65535 / 255):
            assert self.tiff((self.ramp * scale).astype(np.float32)).tolist() == self.ramp[0].tolist()
        highlights = np.concatenate([self.ramp / 255] * 4, 1).astype(np.float32)
        highlights[0, -1] = 3.0
        assert self.tiff(highlights)[:256].tolist() == self.ramp[0].tolist()
        holes = (self.ramp / 255).astype(np.float32)
        holes[0, :3] = np.nan, np.inf, -np.inf
        assert self.tiff(holes)[:5].tolist() == [0, 255, 0, 3, 4]

    def test_thirty_two_bits(self) -> None:
        assert self.tiff((self.ramp * (2**32 - 1) / 255).astype(np.uint32)).tolist() == self.ramp[0].tolist()
        assert self.tiff((self.ramp * 257).astype(np.uint32)).tolist() == self.ramp[0].tolist()

    @pytest.mark.parametrize("tag", [281, 50717])
    def test_a_tiff_says_what_white_is(self, tag: int) -> None:
        samples = np.array([[0, 500, 1000]], np.uint16)
        assert self.tiff(samples, extratags=[(tag, 3, 1, 2000, True)]).tolist() == [0, 64, 128]
        # What its own samples contradict is not believed.
        assert self.tiff(samples, extratags=[(tag, 3, 1, 900, True)]).tolist() == [0, 125, 249]

    def test_a_png_says_how_many_bits_count(self) -> None:
        dark = np.array([[0, 100, 200]], np.uint16)
        data = encode(Image.fromarray(dark))
        chunk = b"sBIT" + bytes([12])
        said = data[:33] + struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
        assert decode_image(said, "12 bit")[0, :, 0].tolist() == [0, 6, 12]
        assert decode_image(data, "silent")[0, :, 0].tolist() == [0, 100, 200]

    @pytest.mark.parametrize(("suffix", "channels"), [(".png", 3), (".png", 4), (".tiff", 3)])
    def test_colours_of_twelve_bits(self, suffix: str, channels: int) -> None:
        samples = np.zeros((4, 5, channels), np.uint16)
        samples[..., :3] = 4095, 2048, 1024  # blue, green, red, as OpenCV has them
        if channels == 4:
            samples[..., 3] = 65535
        _, data = cv2.imencode(suffix, samples)
        assert decode_image(data.tobytes(), "12 bit")[0, 0].tolist() == [64, 128, 255]


class TestColour:
    def test_profiles_are_brought_to_srgb(self) -> None:
        pixels = np.random.default_rng(0).integers(30, 220, (8, 8, 3), np.uint8)
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        wide = wide_profile()
        moved = ImageCms.profileToProfile(Image.fromarray(pixels), srgb, wide, renderingIntent=1)
        converted = Image.fromarray(np.array(moved))  # without the profile that came along
        plain = decode_image(encode(converted), "numbers taken as they are").astype(int)
        brought = decode_image(encode(converted, icc_profile=wide.tobytes()), "wide").astype(int)
        assert np.abs(plain - pixels).mean() > 3
        assert np.abs(brought - pixels).mean() < 1

    def test_srgb_by_its_own_name_changes_nothing(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        assert np.array_equal(decode_image(encode(Image.fromarray(pixels), icc_profile=profile), "s"), pixels)

    def test_a_damaged_profile_is_left_alone(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
        data = encode(Image.fromarray(pixels), icc_profile=b"no profile")
        assert np.array_equal(decode_image(data, "damaged"), pixels)


P3_COLORANTS = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}
"""Of Display P3, adapted to D50."""


def wide_profile() -> ImageCms.ImageCmsProfile:
    """An sRGB profile with the primaries of Display P3."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for entry in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12):
        offset = int.from_bytes(data[entry + 4 : entry + 8], "big")
        values = P3_COLORANTS.get(bytes(data[entry : entry + 4]))
        if values:
            data[offset + 8 : offset + 20] = struct.pack(">3i", *(round(v * 65536) for v in values))
    return ImageCms.ImageCmsProfile(io.BytesIO(bytes(data)))


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "JPEG2000", "WEBP", "BMP", "TIFF"])
def test_kinds_of_files(kind: str) -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16, :24] = 200
    options = {"save_all": True, "append_images": [Image.new("RGB", (48, 32))]} if kind == "GIF" else {}
    image = decode_image(encode(Image.fromarray(picture), kind, **options), "picture")
    assert image.shape == (32, 48, 3)
    assert np.abs(image.astype(int) - picture).mean() < 4


def test_heic_is_read_or_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    monkeypatch.setattr(images, "can_read_heic", lambda: False)
    with pytest.raises(SampleError, match=r"facepipe\[heic\]") as caught:
        decode_image(data, "IMG_0002.HEIC")
    assert caught.value.reason == "needs-package"


class TestLargePhotographs:
    whole = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 300)))

    def test_a_jpeg_is_read_at_reduced_scale(self) -> None:
        data = encode(self.whole, "JPEG", quality=95)
        assert decode_image(data, "all", max_pixels=256 * 300).shape == (256, 300, 3)
        for most, shape in ((256 * 300 - 1, (128, 150, 3)), (9600, (64, 75, 3)), (2000, (32, 38, 3))):
            image = decode_image(data, "less", max_pixels=most)
            assert image.shape == shape
            assert image[-1].mean() > 240 > 10 > image[0].mean()

    @pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("JPEG", {"progressive": True})])
    def test_others_are_refused_with_the_way_out(self, kind: str, options: dict) -> None:
        with pytest.raises(SampleError, match=r"baseline JPEG .*--max-pixels") as caught:
            decode_image(encode(self.whole, kind, **options), "large", max_pixels=1000)
        assert caught.value.reason == "too-many-pixels"


def test_contrast() -> None:
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[:, None, None], 3, 2)
    assert contrast_levels(ramp) == pytest.approx(196, abs=2)
    flat = np.full((100, 100, 3), 7, np.uint8)
    flat[:5, :5] = 255
    assert contrast_levels(flat) == 0 < MIN_CONTRAST_LEVELS


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
        (b"#EXTM3U\n", "not-an-image"),
        (b"\0\0\0\x18ftypisom" + bytes(40), "not-an-image"),
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
