"""The stage `detect`: every face of every frame, cut out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facepipe.core.errors import MISSING_FILE, SampleError
from facepipe.core.schema import FACES
from facepipe.detect import Detection, Detector, eyes_px, face_crop
from facepipe.geometry.mesh_colour import FINEST_PX
from facepipe.imaging.crop import Crop
from facepipe.imaging.images import decode_image
from facepipe.imaging.video import Frame, open_regular, read_frames
from facepipe.imaging.video_index import Ending, FramePick
from facepipe.surveil.inbox import InboxFile
from facepipe.surveil.look_stage import CHANGED, unchanged
from facepipe.surveil.rules import Rules

NO_FACE = "no-face-detected"
TOO_SMALL = "face-too-small"

_LATER = (
    "method",
    "low_px",
    "regressor",
    "thickness_px",
    "image_path",
    "volume_path",
    "mesh_path",
    "pixels_deleted",
    "stored",
    "frames_key",
    "method_key",
    "regressor_key",
)

DETECTED = pa.schema(
    [
        ("index", pa.int64()),
        *(field for field in FACES if field.name not in _LATER),
        ("crop_px", pa.int32()),
    ]
)
"""What detect writes beside crops: the columns of `FACES` that are known by then, and the side of the crop of
each face to restore."""


def detect(inbox: Path, item: dict[str, Any], rules: Rules, detector: Detector) -> list[dict[str, Any]]:
    """Find the faces of an item.

    Args:
        inbox: where its file lies.
        item: a row of `plan.ITEMS`.
        rules: which frames, and from which size on.
        detector: finds the faces.

    Returns:
        Rows of `DETECTED` without their index, and under `crop` the pixels of a face to restore, uint8 RGB
        (crop_px, crop_px, 3): one for each face, one with a reason for each frame without a
        face and for what could not be decoded. A single row of reason `changed` stands for a file that is no
        longer what it was.

    Raises:
        SampleError: missing-file.
    """
    file = InboxFile(item["path"], item["size_bytes"], item["mtime_ns"], item["inode"])
    if item["reason"]:
        return [_row(item, file, None, item["reason"], item["detail"])]
    try:
        stream = open_regular(os.path.join(os.fsencode(inbox), file.path))  # noqa: PTH118 - bytes
    except SampleError as error:
        if error.reason == MISSING_FILE:
            raise
        return [_row(item, file, None, CHANGED, error.detail)]
    with stream:
        reader = _of_video if item["kind"] == "video" else _of_image
        rows = list(reader(stream, item, file, rules, detector))
        if not unchanged(stream, file):
            return [_row(item, file, None, CHANGED, f"{file.source}: it changed while it was read")]
    return rows


def _of_image(
    stream: BinaryIO, item: dict[str, Any], file: InboxFile, rules: Rules, detector: Detector
) -> Iterator[dict[str, Any]]:
    data = stream.read()
    if hashlib.sha256(data).hexdigest() != item["sha256"]:
        yield _row(item, file, None, CHANGED, f"{file.source}: its content changed")
        return
    try:
        image = decode_image(data, file.source, rules.max_pixels)
    except SampleError as error:
        yield _row(item, file, None, error.reason, error.detail)
        return
    yield from _of_frame(Frame(0, 0.0, image), item, file, rules, detector)


def _of_video(
    stream: BinaryIO, item: dict[str, Any], file: InboxFile, rules: Rules, detector: Detector
) -> Iterator[dict[str, Any]]:
    picks = [FramePick(**pick) for pick in item["picks"]]
    rows: dict[int, list[dict[str, Any]]] = {}
    missing: list[FramePick] = []
    try:
        for pick, frame in read_frames(stream, file.source, picks, rules.max_pixels, rules.aspects):
            if frame is None:
                missing.append(pick)
            else:
                rows[pick.number] = list(_of_frame(frame, item, file, rules, detector))
    except SampleError as error:
        left = next(pick for pick in picks if pick.number not in rows and pick not in missing)
        at = _nothing(left.number, left.seconds) if rows or item["segment"] else None
        rows[left.number] = [_row(item, file, at, error.reason, error.detail)]
    rows |= {run[0].number: [_of_undecodable(run, bool(rows), item, file)] for run in _runs(missing, picks)}
    for number in sorted(rows):
        yield from rows[number]
    if item["ending"]:
        ending = Ending(**item["ending"])
        yield _row(item, file, _nothing(ending.number, ending.seconds), ending.reason, ending.detail)


def _runs(missing: list[FramePick], picks: list[FramePick]) -> Iterator[list[FramePick]]:
    """The frames that could not be decoded, those that follow each other together."""
    for is_missing, run in groupby(picks, key=lambda pick: pick in missing):
        if is_missing:
            yield list(run)


def _of_undecodable(
    run: list[FramePick], others: bool, item: dict[str, Any], file: InboxFile
) -> dict[str, Any]:
    first, last = run[0].number, run[-1].number
    which = f"frame {first}" if first == last else f"{len(run)} frames from {first} to {last}"
    reason = "unreadable-frame" if others or item["segment"] else "unreadable-video"
    return _row(
        item, file, _nothing(first, run[0].seconds), reason, f"{file.source}: {which} could not be decoded"
    )


def _nothing(number: int, seconds: float) -> Frame:
    return Frame(number, seconds, np.zeros((1, 1, 3), np.uint8))


def _of_frame(
    frame: Frame, item: dict[str, Any], file: InboxFile, rules: Rules, detector: Detector
) -> Iterator[dict[str, Any]]:
    height, width = frame.image.shape[:2]
    if width * height > rules.max_pixels:
        detail = f"{file.source}: {width} x {height}, at most {rules.max_pixels:,} pixels are looked at"
        yield _row(item, file, frame, "too-many-pixels", detail)
        return
    found = detector(frame.image)
    if not found:
        yield _row(item, file, frame, NO_FACE, f"{file.source}: {detector.name} found none")
    for number, face in enumerate(found):
        crop = face_crop(face, width, height)
        row = _row(item, file, frame, None, None) | _of_face(face, crop, detector)
        row["face_id"] += f"-{number:02d}"
        distance_px = eyes_px(face, crop.size)
        if distance_px < rules.min_interocular_px:
            row["reason"] = TOO_SMALL
            row["detail"] = f"{distance_px:.1f} px between the eyes, {rules.min_interocular_px:g} are needed"
        else:
            pixels = small_crop(crop, frame.image)
            row |= {"crop": pixels, "crop_px": len(pixels)}
        yield row


def small_crop(crop: Crop, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut a face out, uint8 RGB (S, S, 3), area-averaged to what a mesh's colours can show at most."""
    square = crop.cut(image)
    if len(square) > FINEST_PX:
        square = np.asarray(
            cv2.resize(square, (FINEST_PX, FINEST_PX), interpolation=cv2.INTER_AREA), np.uint8
        )
    return np.ascontiguousarray(square)


def _row(
    item: dict[str, Any], file: InboxFile, frame: Frame | None, reason: str | None, detail: str | None
) -> dict[str, Any]:
    row = {
        "face_id": item["sha256"][:24],
        "source": file.source,
        "sha256": item["sha256"],
        "kind": item["kind"],
        "time": item["time"],
        "time_source": item["time_source"],
        "reason": reason,
        "detail": detail,
    }
    if frame is None:
        if item["segment"]:
            row["face_id"] += f"-{item['picks'][0]['number']:06d}"
    else:
        row["face_id"] += f"-{frame.number:06d}"
        row["frame"] = frame.number
        row["time"] += timedelta(seconds=frame.seconds)
    return row


def _of_face(face: Detection, crop: Crop, detector: Detector) -> dict[str, Any]:
    x0, y0, x1, y1 = face.box
    return {
        "box_x0": x0,
        "box_y0": y0,
        "box_x1": x1,
        "box_y1": y1,
        "interocular_px": face.interocular_px,
        "detector": detector.name,
        "score": face.score,
        "crop_x0": crop.x0,
        "crop_y0": crop.y0,
        "crop_size": crop.size,
    }
