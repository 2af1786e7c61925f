"""What a file contains, told by its first bytes: the list of image and video formats that are read."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

HEAD_BYTES = 64
"""So many bytes from the beginning of a file are enough for `kind_of`."""

HEIC_WAY_OUT = "HEIC is read with the extra 'heic' (pip install 'facepipe[heic]'); or save it as JPEG"


@dataclass(frozen=True)
class FileKind:
    """A format of files.

    Attributes:
        name: what messages call it.
        medium: 'image' or 'video'.
        reader: Pillow's name of the format, or FFmpeg's name of the demuxer.
    """

    name: str
    medium: Literal["image", "video"]
    reader: str


JPEG = FileKind("JPEG", "image", "JPEG")
PNG = FileKind("PNG", "image", "PNG")
WEBP = FileKind("WebP", "image", "WEBP")
BMP = FileKind("BMP", "image", "BMP")
TIFF = FileKind("TIFF", "image", "TIFF")
GIF = FileKind("GIF", "image", "GIF")
AVIF = FileKind("AVIF", "image", "AVIF")
JPEG_2000 = FileKind("JPEG 2000", "image", "JPEG2000")
HEIC = FileKind("HEIC", "image", "HEIF")
MP4 = FileKind("MP4", "video", "mov")
QUICKTIME = FileKind("QuickTime", "video", "mov")
AVI = FileKind("AVI", "video", "avi")
MATROSKA = FileKind("Matroska", "video", "matroska")

IMAGE_KINDS = (JPEG, PNG, WEBP, BMP, TIFF, GIF, AVIF, JPEG_2000, HEIC)
VIDEO_KINDS = (MP4, QUICKTIME, AVI, MATROSKA)

_BEGINNINGS = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
    (b"\x1aE\xdf\xa3", MATROSKA),
)
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_QUICKTIME_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def kind_of(head: bytes) -> FileKind | None:
    """The kind of a file by its first `HEAD_BYTES` bytes, or None for what is not read.

    Only what stands in this list reaches a decoder: FFmpeg would also take playlists and scripts of
    concatenation, which name other files and addresses.
    """
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": WEBP, b"AVI ": AVI}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _kind_of_brands(head)
    if head[4:8] in _QUICKTIME_BOXES:
        return QUICKTIME
    # Two letters are little: the size in the header, the reserved zeros and the header's own size as well.
    if head[:2] == b"BM" and head[6:10] == bytes(4) and 12 <= int.from_bytes(head[14:18], "little") <= 256:
        return BMP
    return None


def can_read_heic() -> bool:
    """Whether the package that decodes HEIC is installed."""
    return find_spec("pi_heif") is not None


def _kind_of_brands(head: bytes) -> FileKind:
    """An ISO base media file: stills and videos differ by their brands alone (ISO/IEC 14496-12, 23008-12)."""
    major = head[8:12]
    stop = min(int.from_bytes(head[:4], "big"), HEAD_BYTES)
    brands = (major, *(head[at : at + 4] for at in range(16, stop, 4)))
    if major in (*_AVIF_BRANDS, *_HEIC_BRANDS):
        return AVIF if any(brand in _AVIF_BRANDS for brand in brands) else HEIC
    return QUICKTIME if major == b"qt  " else MP4
