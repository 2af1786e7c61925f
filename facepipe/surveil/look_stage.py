"""The stage `look`: what a file contains, by its bytes, and what it says of itself."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from facepipe.core.errors import SampleError
from facepipe.core.schema import FILES
from facepipe.imaging.file_kinds import HEAD_BYTES, kind_of
from facepipe.imaging.images import MAX_FILE_BYTES, open_image
from facepipe.imaging.video import VideoContent, open_regular, read_content
from facepipe.surveil.capture_time import Capture, from_exif, from_file, from_name, from_video
from facepipe.surveil.inbox import InboxFile, inode_of, mtime_ns_of
from facepipe.surveil.rules import Rules

CHANGED = "changed"
"""Reason of a file that is not what was listed: no row, the next run looks again."""

PICK = pa.struct(
    [
        ("number", pa.int64()),
        ("seconds", pa.float64()),
        ("stamp", pa.int64()),
        ("until", pa.int64()),
        ("packet", pa.int64()),
        ("key_packet", pa.int64()),
        ("key_stamp", pa.int64()),
        ("key_pos", pa.int64()),
    ]
)
"""A `facepipe.imaging.video_index.FramePick`."""

ENDING = pa.struct(
    [("number", pa.int64()), ("seconds", pa.float64()), ("reason", pa.string()), ("detail", pa.string())]
)
"""A `facepipe.imaging.video_index.Ending`."""

LOOKED = pa.schema(
    [
        ("index", pa.int64()),
        *FILES,
        ("kind", pa.string()),
        ("picks", pa.list_(PICK)),
        ("ending", ENDING),
        ("time", pa.timestamp("us")),
        ("time_source", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""What `look` says of each file; `sha256` is null where it could not be read. `picks` are the frames of a
video that are looked at, `ending` says why not all of it is, if so."""


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
        row: dict[str, Any] = {"sha256": sha256, "kind": kind, "picks": [], "ending": None}
        capture, reason, detail = None, None, None
        try:
            if given_up:
                raise SampleError(*given_up)
            if kind == "video":
                content = read_content(stream, file.source, rules.frames, rules.video_bounds, rules.aspects)
                capture = from_video(content.metadata, datetime.now(UTC))
                row |= _as_values(content)
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
    kind = kind_of(stream.read(HEAD_BYTES))
    return kind.medium if kind else file.kind


def _look_at_image(stream: BinaryIO, file: InboxFile, rules: Rules) -> Capture | None:
    """Check an image's size without decoding it, and read its time."""
    if file.size_bytes > MAX_FILE_BYTES:
        raise SampleError(
            "file-too-large", f"{file.source}: {file.size_bytes} bytes, at most {MAX_FILE_BYTES} are read"
        )
    stream.seek(0)
    try:
        with open_image(stream.read(), file.source, rules.max_pixels) as image:
            return from_exif(image, datetime.now(UTC))
    except SampleError as error:
        if error.reason in ("broken-image", "truncated-image"):
            return None
        raise
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever a malformed head makes Pillow raise, decoding will tell
        return None


def _as_values(content: VideoContent) -> dict[str, Any]:
    return {
        "picks": [asdict(pick) for pick in content.picks],
        "ending": asdict(content.ending) if content.ending else None,
    }
