"""Which frames of a video are looked at, by the timestamps of its packets, without decoding any.

A frame is a packet of the video stream. Frames are numbered from 0 in the order in which they are shown,
and a frame's time is its packet's own: nothing is worked out from a nominal rate, which many files do not
keep.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

MAX_PACKETS = 2**24
"""Packets of a video that are listed, six days at 30 a second: their times are held in memory."""

ANOTHER_CLOCK_SECONDS = 60.0
"""A video that begins later than this counts from something else, such as the recorder's start: its first
frame is at 0 s then. One that begins a moment late keeps its packets' times."""

SHORTFALL_SECONDS = 1.0
"""A video that ends earlier than its head says by more than this was cut. Heads round, and streams differ."""

_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class FrameRule:
    """Which frames of a video are looked at.

    Attributes:
        every: each n-th one, in the order in which they are shown; None goes by `per_second`.
        per_second: time is cut into so many equal spans a second from 0 on; of each the first frame is taken.
    """

    every: int | None = None
    per_second: float = 1.0


@dataclass(frozen=True)
class FramePick:
    """A frame that is looked at, and how to get at it.

    Attributes:
        number: from 0, in the order in which frames are shown.
        seconds: when it is shown, s.
        stamp, until: its timestamp and that of the next frame that is looked at (None: there is none), in
            units of the stream's time base. Where its packet holds no picture, the first one in between
        stands for it. packet: which packet of the stream, from 0, in the order of the file.
        key_packet, key_stamp, key_pos: where decoding has to begin: the number, timestamp and position in the
            file, bytes, of the key frame before it.
    """

    number: int
    seconds: float
    stamp: int
    until: int | None
    packet: int
    key_packet: int
    key_stamp: int
    key_pos: int


@dataclass(frozen=True)
class Ending:
    """Why a video is not looked at to its end.

    Attributes:
        number, seconds: of the first frame that is not looked at.
        reason: 'too-long' or 'truncated-video'.
        detail: one sentence for a person.
    """

    number: int
    seconds: float
    reason: str
    detail: str


class PacketIndex:
    """The packets of a video stream in the order of the file; filled by `add`.

    Args:
        time_base: seconds per unit of timestamps.
    """

    def __init__(self, time_base: Fraction) -> None:
        self.time_base = time_base
        self._stamps = array("q")
        self._positions = array("q")
        self._keys = bytearray()
        self._shown = bytearray()

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, stamp: int | None, is_key: bool, pos: int | None, is_shown: bool = True) -> None:
        """Append a packet.

        Args:
            stamp: its timestamp; None is taken to follow the one before.
            is_key: whether decoding can begin with it.
            pos: its position in the file, bytes; None or -1 where it is not known.
            is_shown: whether its frame is shown. What an edit list cuts away is needed for decoding alone.
        """
        if stamp is None:
            stamp = self._stamps[-1] + 1 if self._stamps else 0
        self._stamps.append(max(-_INT64_MAX, min(stamp, _INT64_MAX)))
        self._positions.append(-1 if pos is None else pos)
        self._keys.append(is_key)
        self._shown.append(is_shown)

    def pop(self) -> None:
        """Forget the last packet."""
        for column in (self._stamps, self._positions, self._keys, self._shown):
            column.pop()

    def span_seconds(self) -> float:
        """From the first packet to the last, s."""
        return float((self._stamps[-1] - self._stamps[0]) * self.time_base) if self._stamps else 0.0

    def choose(self, rule: FrameRule, max_frames: int, max_seconds: float) -> tuple[list[FramePick], bool]:
        """Choose the frames that are looked at.

        Args:
            rule: which.
            max_frames: so many at most.
            max_seconds: none that is shown later than this after the first frame.

        Returns:
            The frames in the order in which they are shown, the first that the bounds forbid included, if
            there is one; whether there is.
        """
        stamps = np.frombuffer(self._stamps, np.int64)
        order = np.lexsort((np.arange(len(stamps)), stamps))
        order = order[np.frombuffer(self._shown, np.uint8)[order] > 0]
        if not len(order):
            return [], False
        first = int(stamps[order[0]])
        origin = first if abs(first * self.time_base) > ANOTHER_CLOCK_SECONDS else 0
        if rule.every:
            numbers = np.arange(0, len(order), rule.every)
        else:
            slots = self._slots(stamps[order], origin, rule.per_second)
            numbers = np.flatnonzero(np.concatenate(([True], slots[1:] != slots[:-1])))
        allowed = 0
        for number in numbers[:max_frames]:
            allowed += (int(stamps[order[number]]) - first) * self.time_base < max_seconds
        numbers = numbers[: allowed + 2]
        picks = list(self._picks(stamps, order, numbers, origin))
        return picks[: allowed + 1], len(picks) > allowed

    def _slots(self, stamps: NDArray[np.int64], origin: int, per_second: float) -> NDArray[np.integer]:
        """The span of time that each timestamp lies in, counted exactly."""
        spans = self.time_base * Fraction(str(per_second))
        largest = max(abs(int(stamps[0])), abs(int(stamps[-1]))) + abs(origin)
        # Beyond 64 bits Python counts.
        numbers = stamps if largest * spans.numerator < 2**62 else stamps.astype(object)
        slots: NDArray[np.integer] = (numbers - origin) * spans.numerator // spans.denominator
        return slots

    def _picks(
        self,
        stamps: NDArray[np.int64],
        order: NDArray[np.intp],
        numbers: NDArray[np.intp],
        origin: int,
    ) -> Iterator[FramePick]:
        keys = np.flatnonzero(np.frombuffer(self._keys, np.uint8))
        for number, following in zip(numbers, [*numbers[1:], None], strict=True):
            packet = int(order[number])
            stamp = int(stamps[packet])
            key = self._key_before(keys, packet, stamp)
            yield FramePick(
                number=int(number),
                seconds=float((stamp - origin) * self.time_base),
                stamp=stamp,
                until=None if following is None else int(stamps[order[following]]),
                packet=packet,
                key_packet=key,
                key_stamp=self._stamps[key],
                key_pos=self._positions[key],
            )

    def _key_before(self, keys: NDArray[np.intp], packet: int, stamp: int) -> int:
        """The key frame with which decoding begins to reach a packet; the first packet where there is none.

        A frame that stands behind a key frame in the file and is shown before it may need the one before.
        """
        at = int(np.searchsorted(keys, packet, "right")) - 1
        while at >= 0 and self._stamps[keys[at]] > stamp:
            at -= 1
        return int(keys[at]) if at >= 0 else 0
