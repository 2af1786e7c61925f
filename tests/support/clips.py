"""Clips with chosen timestamps, codecs and containers, whose brightness says which picture is which."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BRIGHTNESS_STEP = 5
"""Grey levels from one picture to the next; numbers up to 49 are told apart."""

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}


def plain(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture of one brightness."""
    return np.full((height, width, 3), 3 + BRIGHTNESS_STEP * (number % 50), np.uint8)


def number_of(image: np.ndarray) -> int:
    """Which `plain` picture a decoded one is."""
    return round((float(image.mean()) - 3) / BRIGHTNESS_STEP)


def write_stamped(
    path: Path,
    pictures: Sequence[np.ndarray],
    stamps: Sequence[int],
    ticks: int = 1000,
    codec: str = "mpeg4",
    gop: int = 8,
    b_frames: int = 0,
    aspect: Fraction | None = None,
    rotation_deg: int = 0,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip.

    Args:
        path: its extension says which container.
        pictures: uint8 RGB (H, W, 3).
        stamps: when each is shown, in units of 1 / `ticks` s, increasing.
        ticks: units of a second.
        codec: encoder of FFmpeg.
        gop: pictures from one key frame to the next, at most.
        b_frames: pictures that are stored behind one that is shown later, at most.
        aspect: width to height of a pixel, where the file says so.
        rotation_deg: how players turn it, counter-clockwise.
        metadata: of the container.
        options: of the encoder.
    """
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w", format=FORMATS[path.suffix]) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=ticks, options=dict(options or {}))
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        context = stream.codec_context
        context.gop_size, context.max_b_frames = gop, b_frames
        context.time_base = Fraction(1, ticks)
        context.bit_rate = 4_000_000
        if aspect:
            context.sample_aspect_ratio = aspect
        if rotation_deg:
            stream.set_display_rotation(rotation_deg)
        for picture, stamp in zip(pictures, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def packet_times(path: Path) -> list[float]:
    """When each frame of a video is shown by what PyAV says of its packet, s, in the order of showing."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size and not p.is_discard]
        return sorted(float(packet.pts * packet.time_base) for packet in packets)
