"""Packets of a video file and the pictures that come of them: the only place where FFmpeg is at work."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import av
from av.video.frame import PictureType

from facepipe.core.errors import SampleError
from facepipe.imaging.file_kinds import HEAD_BYTES, VIDEO_KINDS, kind_of
from facepipe.imaging.video_index import MAX_PACKETS, FramePick

LATE_PACKETS = 64
"""A frame comes out of the decoder at most so many packets after its own went in."""

_VIDEO_NAMES = ", ".join(kind.name for kind in VIDEO_KINDS)

_NOT_WHOLE = (PictureType.P, PictureType.B)

Packet = tuple[int, Any, Any]
"""A packet's number in its stream, the packet, the stream; without a packet: the end, where a decoder gives
what it still holds."""


@contextmanager
def open_video(file: BinaryIO, name: str, max_pixels: int) -> Iterator[tuple[Any, Any]]:
    """Open a video by its file handle, with the demuxer of what it contains: no other file is ever opened.

    Raises:
        SampleError: not-a-video, unreadable-video.
    """
    file.seek(0)
    kind = kind_of(file.read(HEAD_BYTES))
    if kind is None or kind.medium != "video":
        raise SampleError("not-a-video", f"{name}: neither of {_VIDEO_NAMES}")
    file.seek(0)
    options = {"max_pixels": str(max_pixels), "threads": "1"}
    try:
        with av.open(
            file, format=kind.reader, options=options, io_open=_refuse_to_open, metadata_errors="replace"
        ) as container:
            videos = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
            if not videos:
                raise SampleError("not-a-video", f"{name}: {kind.name} without a video stream")
            stream = videos[0]
            if stream.codec_context is None or not stream.time_base:
                raise SampleError("unreadable-video", f"{name}: of a codec that is not known here")
            stream.codec_context.options = options
            stream.codec_context.thread_count = 1
            yield container, stream
    except av.FFmpegError as error:
        raise SampleError("unreadable-video", f"{name}: {error.strerror or error}") from error


def _refuse_to_open(url: str, flags: int, options: object) -> Any:  # noqa: ARG001
    raise PermissionError(f"{url}: a video may name no other file")


def decode_exactly(
    packets: Iterator[Packet], picks: Sequence[FramePick]
) -> Iterator[tuple[FramePick, Any, Any]]:
    """The pictures that come of chosen packets; between groups of pictures that hold some nothing is decoded.

    It ends early where a key frame is no whole picture, as with intra refresh: what follows is grey in parts.

    Yields:
        The pick, the picture, the stream.
    """
    wanted = {pick.packet: pick for pick in picks}
    start: int | None = min(pick.key_packet for pick in picks)
    unsure: int | None = None
    stamps: dict[int, int] = {}
    for number, packet, stream in packets:
        if start is not None:
            if number != start:
                continue
            stream.codec_context.flush_buffers()
            start, unsure, stamps = None, number or None, {}
        if unsure and packet is not None:
            stamps[number] = stamp_of(packet) or 0
        for picture in _decoded(stream, packet, number):
            if unsure and stamps.get(picture.pts, 0) >= stamps[unsure]:
                if picture.pts != unsure or picture.pict_type in _NOT_WHOLE:
                    return
                unsure = None
            if picture.pts in wanted:
                yield wanted.pop(picture.pts), picture, stream
        wanted = {at: pick for at, pick in wanted.items() if at > number - LATE_PACKETS}
        if not wanted:
            return
        if all(pick.key_packet > number for pick in wanted.values()):
            start = min(pick.key_packet for pick in wanted.values())


def decode_nearest(
    packets: Iterator[Packet], picks: Sequence[FramePick]
) -> Iterator[tuple[FramePick, int, int, Any, Any]]:
    """For each pick the first picture that is shown before the next one's.

    Yields:
        The pick, the number and the timestamp of the picture, the picture, the stream.
    """
    waiting = sorted(picks, key=lambda pick: pick.number)
    stamps: dict[int, int] = {}
    for number, packet, stream in packets:
        if packet is not None and number >= 0:
            stamps[number] = stamp_of(packet) or 0
        for picture in _decoded(stream, packet, number):
            if picture.pts not in stamps:
                continue
            place = (stamps[picture.pts], picture.pts)
            for pick in waiting:
                begin = (pick.stamp, pick.packet)
                if begin <= place and (pick.until is None or place[0] < pick.until):
                    between = sum(begin < (stamp, at) <= place for at, stamp in stamps.items())
                    waiting.remove(pick)
                    yield pick, pick.number + between, place[0], picture, stream
                    break
        if not waiting:
            return


def packets_from(
    file: BinaryIO, name: str, max_pixels: int, picks: Sequence[FramePick], lead: bool = False
) -> Generator[Packet]:
    """Packets from the first key frame that picks need, or from further ahead: with negative numbers.

    The packet that a seek leads to is told by its position in the file; where that fails, packets are counted
    from the beginning.
    """
    first = min(picks, key=lambda pick: pick.key_packet)
    if first.key_packet > 0 and first.key_pos >= 0:
        with open_video(file, name, max_pixels) as (container, stream):
            number = -MAX_PACKETS
            for packet in _sought(container, stream, first.key_stamp - lead):
                if packet is not None and number < 0:
                    if packet.pos == first.key_pos and stamp_of(packet) == first.key_stamp:
                        number = first.key_packet
                    elif packet.pos > first.key_pos:
                        break
                if number >= 0 or (lead and packet is not None):
                    yield number, packet, stream
                number += 1
            if number > 0:
                return
    with open_video(file, name, max_pixels) as (container, stream):
        for number, packet in enumerate(_demuxed(container, stream)):
            yield number, packet, stream


def _sought(container: Any, stream: Any, stamp: int) -> Iterator[Any]:
    try:
        container.seek(stamp, stream=stream)
    except av.FFmpegError:
        return
    yield from _demuxed(container, stream)


def _demuxed(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream and, in the end, None. What cannot be read is the end."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        pass
    yield None


def _decoded(stream: Any, packet: Any, number: int) -> list[Any]:
    """The pictures that come out when a packet goes in; `pts` of each is the number of its packet."""
    if packet is not None:
        packet.pts = number
    try:
        return stream.codec_context.decode(packet)
    except av.FFmpegError:
        return []


def stamp_of(packet: Any) -> int | None:
    """When a packet is shown, in units of its time base; when it is decoded where it does not say."""
    return packet.pts if packet.pts is not None else packet.dts
