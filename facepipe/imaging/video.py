"""Frames of video files that nobody vouches for, through PyAV (FFmpeg)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from io import BufferedReader
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import MISSING_FILE, SampleError
from facepipe.imaging.pixel_aspect import PixelAspects
from facepipe.imaging.video_index import (
    MAX_PACKETS,
    SHORTFALL_SECONDS,
    Ending,
    FramePick,
    FrameRule,
    PacketIndex,
)
from facepipe.imaging.video_packets import (
    LATE_PACKETS,
    decode_exactly,
    decode_nearest,
    open_video,
    packets_from,
    stamp_of,
)

_LENIENCE_SECONDS = 60.0
"""How far behind the last second that is looked at reading goes on, since packets do not lie in order."""


@dataclass(frozen=True)
class VideoBounds:
    """How much of a video is decoded.

    Attributes:
        max_pixels: of a frame, once its pixels are square.
        max_frames: that are looked at.
        max_seconds: after its first frame.
    """

    max_pixels: int
    max_frames: int
    max_seconds: float


@dataclass(frozen=True)
class VideoContent:
    """What there is to look at in a video.

    Attributes:
        picks: the frames.
        ending: why it is not looked at to its end, if so.
        metadata: what the container says of itself, by FFmpeg's names.
    """

    picks: list[FramePick]
    ending: Ending | None
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Frame:
    """A decoded frame.

    Attributes:
        number: from 0, in the order in which frames are shown.
        seconds: when it is shown, s.
        image: uint8 RGB (H, W, 3), upright, of square pixels.
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
        raise SampleError(MISSING_FILE, f"{name}: the file is gone") from error
    except OSError as error:
        raise SampleError("unreadable-file", f"{name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise SampleError("unreadable-file", f"{name}: not a regular file")
    return file


def read_content(
    file: BinaryIO, name: str, rule: FrameRule, bounds: VideoBounds, aspects: PixelAspects
) -> VideoContent:
    """Read the packets of a video and choose the frames that are looked at; none is decoded.

    Args:
        file: opened.
        name: what to call it in messages.
        rule: which frames.
        bounds: how much of it.
        aspects: of pixels, for videos that do not say.

    Raises:
        SampleError: not-a-video, unreadable-video, too-many-pixels.
    """
    with open_video(file, name, bounds.max_pixels) as (container, stream):
        _square_size(stream, stream.width, stream.height, name, bounds.max_pixels, aspects)
        index = PacketIndex(stream.time_base)
        read_all, end_seconds = _read_packets(container, stream, index, rule, bounds)
        picks, is_bounded = index.choose(rule, bounds.max_frames, bounds.max_seconds)
        ending = None
        if is_bounded or not read_all:
            number, seconds = len(index), end_seconds or 0.0
            if is_bounded:
                following = picks.pop()
                number, seconds = following.number, following.seconds
            detail = f"{name}: looked at until frame {number}, the limits allow no more"
            ending = Ending(number, seconds, "too-long", detail)
        elif end_seconds is not None:
            detail = f"{name}: ends after {len(index)} frames, {_promised(container)} were promised"
            ending = Ending(len(index), end_seconds, "truncated-video", detail)
        if not picks and ending is None:
            raise SampleError("unreadable-video", f"{name}: holds no frame")
        return VideoContent(picks, ending, dict(container.metadata))


def read_frames(
    file: BinaryIO, name: str, picks: Sequence[FramePick], max_pixels: int, aspects: PixelAspects
) -> Iterator[tuple[FramePick, Frame | None]]:
    """Decode chosen frames; each comes once, not always in order, and is None where it cannot be decoded.

    Args:
        file: opened.
        name: what to call it in messages.
        picks: which, as `read_content` chose them.
        max_pixels: larger frames are refused.
        aspects: of pixels, for videos that do not say.

    Raises:
        SampleError: not-a-video, unreadable-video, too-many-pixels.
    """
    if not picks:
        return
    missing = {pick.packet: pick for pick in picks}
    packets = packets_from(file, name, max_pixels, picks)
    with closing(packets):
        for pick, picture, stream in decode_exactly(packets, picks):
            del missing[pick.packet]
            yield pick, Frame(pick.number, pick.seconds, _upright(picture, stream, name, max_pixels, aspects))
    if not missing:
        return
    # A packet may hold no picture (VP8), be damaged, or need more than the key frame before it: once more,
    # from further ahead, and the first picture before the next frame that is looked at will do.
    packets = packets_from(file, name, max_pixels, list(missing.values()), lead=True)
    with closing(packets):
        for pick, number, stamp, picture, stream in decode_nearest(packets, list(missing.values())):
            del missing[pick.packet]
            seconds = pick.seconds + float((stamp - pick.stamp) * stream.time_base)
            yield pick, Frame(number, seconds, _upright(picture, stream, name, max_pixels, aspects))
    for pick in missing.values():
        yield pick, None


def _read_packets(
    container: Any, stream: Any, index: PacketIndex, rule: FrameRule, bounds: VideoBounds
) -> tuple[bool, float | None]:
    """List the packets; say whether all were, and where those of a video end that has more, s, else None."""
    end = 0.0
    is_cut = False
    try:
        for packet in container.demux():
            if packet.size == 0:
                continue
            stamp = stamp_of(packet)
            if stamp is not None and packet.time_base is not None:
                end = max(end, float((stamp + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index != stream.index:
                continue
            index.add(stamp, packet.is_keyframe, packet.pos, not packet.is_discard)
            is_cut = bool(packet.is_corrupt)
            if (
                len(index) >= MAX_PACKETS
                or index.span_seconds() > bounds.max_seconds + _LENIENCE_SECONDS
                or (rule.every and len(index) > rule.every * bounds.max_frames + LATE_PACKETS)
            ):
                return False, end
    except av.FFmpegError:
        is_cut = True
    if is_cut and len(index):
        index.pop()
    begin = (container.start_time or 0) / av.time_base
    promised = (container.duration or 0) / av.time_base
    if is_cut or end - begin < promised - SHORTFALL_SECONDS:
        return True, end
    return True, None


def _promised(container: Any) -> str:
    frames = container.streams.best("video").frames
    return f"{frames}" if frames else f"{(container.duration or 0) / av.time_base:.1f} s"


def _upright(
    picture: Any, stream: Any, name: str, max_pixels: int, aspects: PixelAspects
) -> NDArray[np.uint8]:
    """A picture as uint8 RGB (H, W, 3) of square pixels, turned as the container says."""
    width, height = _square_size(stream, picture.width, picture.height, name, max_pixels, aspects)
    image = picture.to_ndarray(format="rgb24", width=width, height=height)
    return np.ascontiguousarray(np.rot90(image, round(picture.rotation / 90)))


def _square_size(
    stream: Any, width: int, height: int, name: str, max_pixels: int, aspects: PixelAspects
) -> tuple[int, int]:
    """The size of a frame whose pixels are made square: the coarse direction is enlarged, nothing is lost.

    Raises:
        SampleError: too-many-pixels.
    """
    if not width or not height:
        raise SampleError(
            "too-many-pixels",
            f"{name}: no frame of at most {max_pixels:,} pixels was found; --max-pixels may raise it, "
            "if the file is whole",
        )
    aspect = stream.sample_aspect_ratio or aspects.of(width, height) or Fraction(1)
    if aspect > 1:
        width = round(width * aspect)
    else:
        height = round(height / aspect)
    if width * height > max_pixels:
        raise SampleError(
            "too-many-pixels",
            f"{name}: {width} x {height}, at most {max_pixels:,} pixels are decoded; "
            "--max-pixels may raise it",
        )
    return width, height
