"""The stage `look`: what a file contains, by its bytes, and what it says of itself."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from facepipe.core.errors import SampleError
from facepipe.core.schema import FILES
from facepipe.imaging.images import FORMATS, MAX_FILE_BYTES
from facepipe.imaging.video import VideoFacts, count_frames, open_regular, read_facts
from facepipe.imaging.video_container import container_of, recorded_at
from facepipe.surveil.capture_time import Capture, from_exif, from_file, from_name, naive, plausible
from facepipe.surveil.inbox import InboxFile, inode_of, mtime_ns_of
from facepipe.surveil.rules import Rules

CHANGED = "changed"
"""Reason of a file that is not what was listed: no row, the next run looks again."""

_STILL_BRANDS = (b"avif", b"heic", b"heix", b"mif1")
_IMAGE_HEADS = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*")

LOOKED = pa.schema(
    [
        ("index", pa.int64()),
        *FILES,
        ("kind", pa.string()),
        ("frames", pa.int64()),
        ("counted", pa.int64()),
        ("fps", pa.float64()),
        ("time", pa.timestamp("us")),
        ("time_source", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""What `look` says of each file; `sha256` is null where it could not be read. `frames` is what the head of a
video claims, 0 where it does not say; `counted` is how many there are, as far as it is looked at."""


def look(
    inbox: Path, file: InboxFile, rules: Rules, given_up: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Read a file once and describe it: a row of `LOOKED` without its index.

    Args:
        inbox: where it lies.
        file: as it was listed.
        rules: bounds.
        given_up: reason and detail of a file whose head must not be interpreted, since that killed workers.

    Raises:
        SampleError: changed, missing-file or unreadable-file: it cannot be told what it contains.
    """
    path = os.path.join(os.fsencode(inbox), file.path)  # noqa: PTH118 - bytes
    with open_regular(path) as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        if not unchanged(stream, file):
            raise SampleError(CHANGED, f"{file.source}: it is still being written")
        kind = _kind(stream, file)
        row: dict[str, Any] = {"sha256": sha256, "kind": kind, "frames": 1, "counted": 1, "fps": None}
        capture, reason, detail = None, None, None
        try:
            if given_up:
                raise SampleError(*given_up)
            if kind == "video":
                capture, facts, counted = _look_at_video(stream, file, rules)
                row |= {"frames": facts.frames, "counted": counted, "fps": facts.fps}
            else:
                capture = _look_at_image(stream, file, rules)
        except SampleError as error:
            reason, detail = error.reason, error.detail
    capture = capture or from_name(file.source, datetime.now(UTC)) or from_file(file.mtime_ns)
    return row | {
        "time": capture.time,
        "time_source": capture.source,
        "reason": reason,
        "detail": detail,
    }


def unchanged(stream: BinaryIO, file: InboxFile) -> bool:
    """Whether an opened file is the one that was listed."""
    facts = os.fstat(stream.fileno())
    found = (facts.st_size, mtime_ns_of(facts), inode_of(facts))
    return found == (file.size_bytes, file.mtime_ns, file.inode)


def _kind(stream: BinaryIO, file: InboxFile) -> str:
    """'image' or 'video' by what the content says, since it is done once, under whatever name comes first."""
    stream.seek(0)
    head = stream.read(16)
    if container_of(head) and head[8:12] not in _STILL_BRANDS:
        return "video"
    return "image" if head.startswith(_IMAGE_HEADS) or head[8:12] == b"WEBP" else file.kind


def _look_at_image(stream: BinaryIO, file: InboxFile, rules: Rules) -> Capture | None:
    """Check an image's size without decoding it, and read its time."""
    if file.size_bytes > MAX_FILE_BYTES:
        raise SampleError(
            "file-too-large", f"{file.source}: {file.size_bytes} bytes, at most {MAX_FILE_BYTES} are read"
        )
    stream.seek(0)
    data = io.BytesIO(stream.read())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(data, formats=FORMATS) as image:
                if image.width * image.height > rules.max_pixels:
                    raise SampleError(
                        "too-many-pixels",
                        f"{file.source}: {image.width} x {image.height}, at most {rules.max_pixels:,} pixels "
                        "are decoded",
                    )
                return from_exif(image, datetime.now(UTC))
        except Image.DecompressionBombError as error:
            raise SampleError(
                "too-many-pixels", f"{file.source}: far more than {rules.max_pixels:,} pixels"
            ) from error
        except UnidentifiedImageError as error:
            raise SampleError("not-an-image", f"{file.source}: neither of {', '.join(FORMATS)}") from error
        except (SampleError, MemoryError):
            raise
        except Exception:  # noqa: BLE001 - whatever a malformed head makes Pillow raise, decoding will tell
            return None


def _look_at_video(stream: BinaryIO, file: InboxFile, rules: Rules) -> tuple[Capture | None, VideoFacts, int]:
    facts = read_facts(stream, file.source, rules.max_pixels)
    at_most = rules.allowed_frames(facts.fps) * rules.frames.step(facts.fps)
    counted = count_frames(stream, file.source, at_most, rules.max_pixels)
    stream.seek(0)
    time = recorded_at(stream, container_of(stream.read(16)) or "")
    if time is not None and plausible(time, datetime.now(UTC)):
        return Capture(naive(time), "video"), facts, counted
    return None, facts, counted
