"""What the head of a video file says: which container it is, and when it was recorded.

Only the containers named here are handed to a decoder. FFmpeg chooses a demuxer by a file's content, and
some (playlists, concatenation scripts) would open other files and addresses that the content names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

_MP4_EPOCH = datetime(1904, 1, 1, tzinfo=UTC)
_MATROSKA_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)

_SEGMENT, _INFO, _DATE_UTC = 0x18538067, 0x1549A966, 0x4461

MAX_BOXES = 10_000
"""Boxes or elements that are looked at: a file of millions of empty ones must not take all night."""


def container_of(head: bytes) -> str | None:
    """The container that the first 16 bytes of a file announce: 'mp4', 'avi', 'mkv', or None."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "mkv"
    return None


def recorded_at(file: BinaryIO, container: str) -> datetime | None:
    """When a video says it was recorded, in UTC; None where it does not, as AVI files never do.

    MP4: `creation_time` of the box moov/mvhd (ISO/IEC 14496-12), seconds since 1904. Matroska: `DateUTC`
    of Segment/Info (RFC 9559), nanoseconds since 2001. Zero is what encoders write who do not know.
    """
    size = file.seek(0, os.SEEK_END)
    if container == "mp4":
        seconds = _mp4_creation(file, size)
        return _shifted(_MP4_EPOCH, seconds) if seconds else None
    if container == "mkv":
        nanoseconds = _matroska_date(file, size)
        return _shifted(_MATROSKA_EPOCH, nanoseconds / 1e9) if nanoseconds else None
    return None


def _shifted(epoch: datetime, seconds: float) -> datetime | None:
    try:
        return epoch + timedelta(seconds=seconds)
    except OverflowError:
        return None


def _mp4_creation(file: BinaryIO, size: int) -> int:
    for kind, start, stop in _boxes(file, 0, size):
        if kind == b"moov":
            for inner, at, end in _boxes(file, start, stop):
                if inner == b"mvhd" and end - at >= 12:
                    file.seek(at)
                    version = file.read(4)[0]
                    return int.from_bytes(file.read(8 if version == 1 else 4), "big")
    return 0


def _boxes(file: BinaryIO, at: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, begin, end of the content) of the boxes between two places of an MP4 file."""
    for _ in range(MAX_BOXES):
        if at + 8 > stop:
            return
        file.seek(at)
        head = file.read(16)
        length, start = int.from_bytes(head[:4], "big"), at + 8
        if length == 1:
            length, start = int.from_bytes(head[8:16], "big"), at + 16
        end = stop if length == 0 else at + length
        if end < start or end > stop:
            return
        yield head[4:8], start, end
        at = end


def _matroska_date(file: BinaryIO, size: int) -> int:
    for kind, start, stop in _elements(file, 0, size):
        if kind != _SEGMENT:
            continue
        for inner, at, end in _elements(file, start, stop):
            if inner == _INFO:
                for field, begin, last in _elements(file, at, end):
                    if field == _DATE_UTC and last - begin == 8:
                        file.seek(begin)
                        return int.from_bytes(file.read(8), "big", signed=True)
                return 0
    return 0


def _elements(file: BinaryIO, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(id, begin, end of the content) of the EBML elements between two places of a Matroska file."""
    for _ in range(MAX_BOXES):
        if at + 2 > stop:
            return
        file.seek(at)
        head = file.read(12)
        id_length = 9 - head[0].bit_length()
        if not 1 <= id_length <= 4 or len(head) < id_length + 1:
            return
        first = head[id_length]
        length = 9 - first.bit_length()
        if length > 8 or len(head) < id_length + length:
            return
        body = head[id_length : id_length + length]
        content = int.from_bytes(body, "big") - (1 << 7 * length)
        start = at + id_length + length
        # All ones means "of unknown length": until the end of what holds it.
        end = stop if content == (1 << 7 * length) - 1 else min(start + content, stop)
        yield int.from_bytes(head[:id_length], "big"), start, end
        at = end
