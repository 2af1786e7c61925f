"""Frames of video files that nobody vouches for, through OpenCV's FFmpeg."""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError
from facepipe.imaging.video_container import container_of

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_LOG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_QUIET = "-8"
_environment = threading.Lock()

DEFAULT_FPS = 25.0
"""For videos that do not say, or say nonsense."""

MAX_FPS = 1000.0

MAX_SECONDS = 1e7
"""Timestamps of frames behind it, four months, are lies."""


@dataclass(frozen=True)
class VideoFacts:
    """What a video's head says; any of it may be a lie.

    Attributes:
        width, height: px.
        frames: how many; 0 where it does not say.
        fps: frames a second.
    """

    width: int
    height: int
    frames: int
    fps: float


@dataclass(frozen=True)
class FrameRule:
    """Which frames of a video are looked at.

    Attributes:
        every: each n-th one; None goes by `per_second`.
        per_second: so many of each second; frames are whole, so that the nearest step is taken.
    """

    every: int | None = None
    per_second: float = 1.0

    def step(self, fps: float) -> int:
        """Frames from one that is looked at to the next."""
        return self.every or max(1, round(fps / self.per_second))


@dataclass(frozen=True)
class Frame:
    """A decoded frame.

    Attributes:
        number: from 0.
        seconds: from the beginning of the video.
        image: uint8 RGB (H, W, 3), upright.
    """

    number: int
    seconds: float
    image: NDArray[np.uint8]


def open_regular(path: bytes) -> BufferedReader:
    """Open a regular file and nothing else: no link, no pipe that would never end.

    Raises:
        SampleError: missing-file, unreadable-file.
    """
    name = path.decode("utf-8", "backslashreplace")
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except FileNotFoundError as error:
        raise SampleError("missing-file", f"{name}: the file is gone") from error
    except OSError as error:
        raise SampleError("unreadable-file", f"{name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise SampleError("unreadable-file", f"{name}: not a regular file")
    return file


def read_facts(file: BinaryIO, name: str, max_pixels: int) -> VideoFacts:
    """Read a video's head.

    Args:
        file: opened.
        name: what to call it in messages.
        max_pixels: larger frames are refused before any is decoded by us.

    Raises:
        SampleError: not-a-video, unreadable-video, too-many-pixels.
    """
    with _capture(file, name, max_pixels) as capture:
        width, height = (
            int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width * height > max_pixels:
            raise SampleError(
                "too-many-pixels", f"{name}: {width} x {height}, at most {max_pixels:,} pixels are decoded"
            )
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        return VideoFacts(
            width,
            height,
            int(frames) if 0 < frames < 2**40 else 0,
            fps if math.isfinite(fps) and 0 < fps <= MAX_FPS else DEFAULT_FPS,
        )


def count_frames(file: BinaryIO, name: str, at_most: int, max_pixels: int) -> int:
    """Count the frames that a video holds without decoding any, whatever its head says.

    Args:
        file: opened.
        name: what to call it in messages.
        at_most: where to stop counting.
        max_pixels: as in `read_facts`.

    Raises:
        SampleError: not-a-video, unreadable-video.
    """
    with _capture(file, name, max_pixels, (cv2.CAP_PROP_FORMAT, -1)) as capture:
        count = 0
        while count < at_most and capture.grab():
            count += 1
        return count


def read_frames(
    file: BinaryIO, name: str, facts: VideoFacts, first: int, step: int, count: int, max_pixels: int
) -> Iterator[Frame]:
    """Decode every `step`-th frame from `first` on, `count` of them or as many as there are.

    The decoder seeks to the first; where it cannot say that it got there, frames are counted from the
    beginning. The same arguments give the same frames.

    Raises:
        SampleError: not-a-video, unreadable-video, too-many-pixels.
    """
    with _capture(file, name, max_pixels) as capture:
        at = _seek(capture, first)
        if at is None:
            return
        for _ in range(count):
            while at < first:
                if not capture.grab():
                    return
                at += 1
            if not capture.grab():
                return
            seconds = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            valid, image = capture.retrieve()
            if not valid or image is None or image.ndim != 3:
                return
            if not 0 <= seconds <= MAX_SECONDS or (first > 0 and seconds == 0):
                seconds = first / facts.fps
            yield Frame(first, seconds, np.ascontiguousarray(image[:, :, ::-1]))
            at, first = at + 1, first + step


def _seek(capture: Any, first: int) -> int | None:
    """Go to a frame; return how far the decoder is, None behind the end."""
    if first == 0:
        return 0
    if capture.set(cv2.CAP_PROP_POS_FRAMES, first) and round(capture.get(cv2.CAP_PROP_POS_FRAMES)) == first:
        return first
    if not capture.set(cv2.CAP_PROP_POS_FRAMES, 0):
        return None
    return 0 if round(capture.get(cv2.CAP_PROP_POS_FRAMES)) == 0 else None


@contextmanager
def _capture(file: BinaryIO, name: str, max_pixels: int, options: Sequence[int] = ()) -> Iterator[Any]:
    file.seek(0)
    if container_of(file.read(16)) is None:
        raise SampleError("not-a-video", f"{name}: neither of MP4, AVI, Matroska")
    # By its descriptor: no name, however odd, reaches the decoder, and no other file can take its place.
    arguments = [cv2.CAP_PROP_N_THREADS, 1, *options]
    os.environ.setdefault(_LOG_LEVEL, _QUIET)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    with _environment:
        before = os.environ.get(_OPTIONS)
        os.environ[_OPTIONS] = f"protocol_whitelist;file|max_pixels;{max_pixels}"
        try:
            capture = cv2.VideoCapture(f"/dev/fd/{file.fileno()}", cv2.CAP_FFMPEG, arguments)
        except cv2.error as error:
            raise SampleError("unreadable-video", f"{name}: {error.err}") from error
        finally:
            if before is None:
                del os.environ[_OPTIONS]
            else:
                os.environ[_OPTIONS] = before
    try:
        if not capture.isOpened():
            raise SampleError("unreadable-video", f"{name}: damaged, or of a codec that is not known here")
        yield capture
    except cv2.error as error:
        raise SampleError("unreadable-video", f"{name}: {error.err}") from error
    finally:
        capture.release()
