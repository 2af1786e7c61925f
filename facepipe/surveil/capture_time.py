"""Find out when a picture was taken, in UTC, and from which source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from PIL import ExifTags, Image

FIRST_YEAR = 1990
"""Clocks that were never set say earlier ones."""

_TAGS = ExifTags.Base

# 20260131_235959, 2026-01-31T23.59.59 and the like; nothing but a separator between the parts.
_IN_NAME = re.compile(
    r"(?<!\d)(\d{4})[-_.]?(\d{2})[-_.]?(\d{2})[-_.T ]{0,3}(\d{2})[-_.:h]?(\d{2})[-_.:m]?(\d{2})(?!\d)"
)


@dataclass(frozen=True)
class Capture:
    """A time and what says so.

    Attributes:
        time: UTC, without a zone, as tables keep it.
        source: 'exif' (with its zone), 'exif-no-zone' (taken as UTC), 'video',
            'video-no-zone' (taken as UTC), 'name' (taken as UTC) or
            'file' (its time of modification).
    """

    time: datetime
    source: str


def plausible(time: datetime | None, now: datetime) -> bool:
    """Whether a clock that was set could have said so: from 1990 to tomorrow."""
    return time is not None and time.year >= FIRST_YEAR and time <= now + timedelta(days=1)


def from_exif(image: Image.Image, now: datetime) -> Capture | None:
    """The capture time in an opened image's EXIF data, if it has a plausible one.

    DateTimeOriginal with OffsetTimeOriginal where there is one (EXIF 2.31), else DateTime.
    """
    exif = image.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    for text, offset in (
        (details.get(_TAGS.DateTimeOriginal), details.get(_TAGS.OffsetTimeOriginal)),
        (exif.get(_TAGS.DateTime), details.get(_TAGS.OffsetTime)),
    ):
        zone = _zone(offset)
        try:
            time = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=zone or UTC)
        except ValueError:
            continue
        if plausible(time, now):
            return Capture(naive(time), "exif" if zone else "exif-no-zone")
    return None


def from_video(metadata: Mapping[str, str], now: datetime) -> Capture | None:
    """The capture time in what a video's container says of itself, if it has a plausible one.

    Apple's `creationdate` survives editing and has a zone; `creation_time` is UTC in MP4, QuickTime and
    Matroska, and has no zone in AVI.
    """
    for key in ("com.apple.quicktime.creationdate", "creation_time"):
        try:
            time = datetime.fromisoformat(metadata.get(key, "").strip("\0 "))
        except ValueError:
            continue
        zoned = time if time.tzinfo else time.replace(tzinfo=UTC)
        if plausible(zoned, now):
            return Capture(naive(zoned), "video" if time.tzinfo else "video-no-zone")
    return None


def from_name(name: str, now: datetime) -> Capture | None:
    """The capture time in a file's name, if there is a plausible one."""
    for match in _IN_NAME.finditer(name):
        try:
            time = datetime(*map(int, match.groups()), tzinfo=UTC)  # type: ignore[misc,arg-type]
        except ValueError:
            continue
        if plausible(time, now):
            return Capture(naive(time), "name")
    return None


def from_file(mtime_ns: int) -> Capture:
    """The time of modification, for what says nothing itself."""
    time = datetime(1970, 1, 1) + timedelta(microseconds=mtime_ns // 1000)
    return Capture(time, "file")


def naive(time: datetime) -> datetime:
    """A time as tables keep it: UTC without saying so."""
    return time.astimezone(UTC).replace(tzinfo=None)


def _zone(offset: object) -> timezone | None:
    match = re.fullmatch(r"([+-])(\d{2}):(\d{2})", str(offset).strip("\0 "))
    if not match:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    if minutes >= 24 * 60:
        return None
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
