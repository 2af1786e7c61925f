"""Frames of videos: which are looked at, at what time, and that each is decoded once."""

from __future__ import annotations

import os
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from clips import number_of, packet_times, plain, write_stamped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facepipe.core.errors import SampleError
from facepipe.imaging.pixel_aspect import PixelAspects, parse_pixel_aspects
from facepipe.imaging.video import (
    Frame,
    VideoBounds,
    VideoContent,
    open_regular,
    read_content,
    read_frames,
)
from facepipe.imaging.video_index import FramePick, FrameRule, PacketIndex

EVERY_FRAME = FrameRule(1)
BOUNDS = VideoBounds(100_000, 10_000, 1e6)
SQUARE = PixelAspects()

CODECS = [
    (".mp4", "mpeg4", 2), (".mp4", "libx264", 3), (".mov", "libx264", 0), (".mkv", "libx264", 2),
    (".mkv", "mjpeg", 0), (".webm", "libvpx", 0), (".webm", "libvpx-vp9", 0),
]  # fmt: skip


def content_of(path: Path, rule: FrameRule, bounds: VideoBounds = BOUNDS) -> VideoContent:
    with path.open("rb") as file:
        return read_content(file, "clip", rule, bounds, SQUARE)


def decoded(path: Path, picks: list[FramePick], segment: int = 7) -> list[tuple[FramePick, Frame | None]]:
    """What segments of a video give, each read as a worker reads it."""
    found: list[tuple[FramePick, Frame | None]] = []
    with path.open("rb") as file:
        for begin in range(0, len(picks), segment):
            found += read_frames(file, "clip", picks[begin : begin + segment], BOUNDS.max_pixels, SQUARE)
    return found


def only_frame(path: Path, aspects: PixelAspects = SQUARE) -> np.ndarray:
    with path.open("rb") as file:
        content = read_content(file, "clip", EVERY_FRAME, BOUNDS, aspects)
        ((_, frame),) = read_frames(file, "clip", content.picks, BOUNDS.max_pixels, aspects)
    assert frame is not None
    return frame.image


class TestChoice:
    @given(
        later=st.lists(st.integers(-3000, 100_000), max_size=200),
        per_second=st.sampled_from([0.1, 0.3, 1.0, 3.0, 7.5, 100.0]),
    )
    def test_of_each_span_of_time_the_first_frame_is_taken_once(
        self, later: list[int], per_second: float
    ) -> None:
        stamps = [0, *later]
        index = PacketIndex(Fraction(1, 1000))
        for stamp in stamps:
            index.add(stamp, is_key=True, pos=0)
        picks, is_bounded = index.choose(FrameRule(None, per_second), 10_000, 1e6)
        assert not is_bounded
        spans = [stamp * Fraction(str(per_second)) // 1000 for stamp in stamps]
        assert Counter(pick.stamp * Fraction(str(per_second)) // 1000 for pick in picks) == Counter(
            set(spans)
        )
        for pick in picks:
            span = pick.stamp * Fraction(str(per_second)) // 1000
            assert pick.stamp == min(s for s, of in zip(stamps, spans, strict=True) if of == span)
            assert pick.number == sum(stamp < pick.stamp for stamp in stamps)
            assert pick.seconds == pick.stamp / 1000
        assert [pick.until for pick in picks] == [*(pick.stamp for pick in picks[1:]), None]

    @given(rate=st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(15)]))
    def test_of_a_constant_rate_a_frame_a_second(self, rate: Fraction) -> None:
        index = PacketIndex(1 / rate)
        for stamp in range(round(rate * 20)):
            index.add(stamp, is_key=stamp == 0, pos=0)
        picks, _ = index.choose(FrameRule(), 10_000, 1e6)
        assert [int(pick.seconds) for pick in picks] == list(range(20))
        assert all(0 <= pick.seconds - int(pick.seconds) < 1 / rate for pick in picks)

    def test_bounds_leave_the_next_frame_to_be_named(self) -> None:
        index = PacketIndex(Fraction(1, 10))
        for stamp in range(100):
            index.add(stamp, is_key=True, pos=0)
        for frames, seconds in ((3, 1e6), (100, 3.0), (100, 2.5)):
            picks, is_bounded = index.choose(FrameRule(), frames, seconds)
            assert [pick.number for pick in picks] == [0, 10, 20, 30]
            assert is_bounded

    def test_a_clock_that_began_long_before_is_taken_to_begin_with_the_video(self) -> None:
        for begin, expected in ((500, [0.5, 1.0]), (4_000_300, [0.0, 1.0])):
            index = PacketIndex(Fraction(1, 1000))
            for stamp in range(begin, begin + 1100, 100):
                index.add(stamp, is_key=True, pos=0)
            picks, _ = index.choose(FrameRule(), 100, 1e6)
            assert [pick.seconds for pick in picks] == expected

    def test_what_an_edit_list_cuts_away_is_no_frame(self) -> None:
        index = PacketIndex(Fraction(1, 10))
        for stamp in range(10):
            index.add(stamp, is_key=stamp % 5 == 0, pos=0, is_shown=stamp >= 3)
        picks, _ = index.choose(EVERY_FRAME, 100, 1e6)
        assert [(pick.number, pick.packet, pick.key_packet) for pick in picks[:3]] == [
            (0, 3, 0), (1, 4, 0), (2, 5, 5),
        ]  # fmt: skip

    @pytest.mark.parametrize("stamp", [2**62, -(2**62)])
    def test_absurd_timestamps(self, stamp: int) -> None:
        index = PacketIndex(Fraction(1001, 3))
        for one in (0, stamp, 5):
            index.add(one, is_key=True, pos=0)
        picks, is_bounded = index.choose(FrameRule(None, 29.97), 100, 1e7)
        assert is_bounded
        assert all(abs(pick.seconds) < 1e7 for pick in picks[:-1])


class TestDecoding:
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_each_chosen_frame_is_decoded_once(self, tmp_path: Path, data: st.DataObject) -> None:
        """None twice, none never, each the picture that it says, at its packet's time."""
        suffix, codec, b_frames = data.draw(st.sampled_from(CODECS))
        gaps = data.draw(st.lists(st.integers(20, 3000), min_size=1, max_size=40))
        stamps = [sum(gaps[:i]) for i in range(len(gaps) + 1)]
        path = write_stamped(
            tmp_path / f"clip{suffix}",
            [plain(number) for number in range(len(stamps))],
            stamps,
            codec=codec,
            b_frames=b_frames,
            gop=data.draw(st.integers(1, 20)),
        )
        rule = data.draw(st.sampled_from([EVERY_FRAME, FrameRule(3), FrameRule(), FrameRule(None, 4.0)]))
        content = content_of(path, rule)
        assert content.ending is None
        times = packet_times(path)
        # Matroska cannot begin before 0 s, and an edit list may cut the last frame away.
        assert len(stamps) - len(times) <= bool(b_frames)
        found = decoded(path, content.picks, data.draw(st.integers(1, 9)))
        assert Counter(pick.number for pick, _ in found) == Counter(pick.number for pick in content.picks)
        for pick, frame in found:
            assert frame is not None
            assert frame.number == number_of(frame.image) == pick.number
            assert frame.seconds == pick.seconds == times[pick.number]

    @pytest.mark.parametrize("codec", ["mpeg4", "mjpeg", "libx264"])
    def test_avi(self, tmp_path: Path, codec: str) -> None:
        path = write_stamped(
            tmp_path / "clip.avi", [plain(i) for i in range(40)], range(40), 10, codec, gop=6
        )
        times = packet_times(path)
        found = decoded(path, content_of(path, FrameRule(None, 2.0)).picks, 3)
        wanted = [next(n for n, time in enumerate(times) if time >= i / 2) for i in range(8)]
        assert [number_of(frame.image) for _, frame in found if frame][:8] == wanted
        assert [pick.seconds for pick, _ in found][:8] == [times[number] for number in wanted]

    def test_each_second_of_a_changing_rate_is_looked_at(self, tmp_path: Path) -> None:
        """30, then 15, then 30 frames a second, as phones do in the dark."""
        stamps = [*range(0, 4000, 33), *range(4000, 9000, 67), *range(9000, 12_000, 33)]
        path = write_stamped(tmp_path / "phone.mp4", [plain(i) for i in range(len(stamps))], stamps)
        seconds = [frame.seconds for _, frame in decoded(path, content_of(path, FrameRule()).picks) if frame]
        assert [int(second) for second in seconds] == list(range(12))
        assert all(after - before < 1.07 for before, after in pairwise(seconds))

    def test_a_key_frame_that_is_no_whole_picture(self, tmp_path: Path) -> None:
        path = write_stamped(
            tmp_path / "refresh.mp4", [plain(i) for i in range(48)], range(0, 1920, 40), codec="libx264",
            options={"intra-refresh": "1"},
        )  # fmt: skip
        for pick, frame in decoded(path, content_of(path, EVERY_FRAME).picks):
            assert frame is not None
            assert number_of(frame.image) == pick.number

    def test_a_packet_without_a_picture_is_stood_for_by_the_next(self, tmp_path: Path) -> None:
        path = write_stamped(tmp_path / "c.avi", [plain(i) for i in range(30)], range(30), 10, "mjpeg")
        picks = content_of(path, FrameRule()).picks
        blank_packet(path, 10)
        frames = [frame for _, frame in decoded(path, picks) if frame]
        assert [(frame.number, frame.seconds, number_of(frame.image)) for frame in frames] == [
            (0, 0.0, 0), (11, 1.1, 11), (20, 2.0, 20),
        ]  # fmt: skip

    def test_what_cannot_be_decoded_is_none(self, tmp_path: Path) -> None:
        path = write_stamped(tmp_path / "c.avi", [plain(i) for i in range(6)], range(6), 10, "mjpeg")
        picks = content_of(path, EVERY_FRAME).picks
        blank_packet(path, 2)
        assert {pick.number: frame is None for pick, frame in decoded(path, picks)} == {
            number: number == 2 for number in range(6)
        }

    def test_colours_are_rgb(self, tmp_path: Path) -> None:
        red = np.zeros((64, 64, 3), np.uint8)
        red[..., 0] = 200
        image = only_frame(write_stamped(tmp_path / "red.avi", [red], [0], 10, "mjpeg"))
        assert image.mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=6)


def blank_packet(path: Path, number: int) -> None:
    """Overwrite the data of a packet with zeros."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
        data = bytes(packets[number])
    content = path.read_bytes()
    assert content.count(data) == 1
    path.write_bytes(content.replace(data, bytes(len(data))))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_what_the_container_says_of_itself(tmp_path: Path, suffix: str) -> None:
    said = {"creation_time": "2024-01-31T23:59:59.000000Z"}
    path = write_stamped(tmp_path / f"c{suffix}", [plain(0)], [0], metadata=said)
    assert said.items() <= content_of(path, EVERY_FRAME).metadata.items()
    silent = write_stamped(tmp_path / f"d{suffix}", [plain(0)], [0])
    assert "creation_time" not in content_of(silent, EVERY_FRAME).metadata


class TestShape:
    corner = np.zeros((48, 64, 3), np.uint8)
    corner[:24, :32] = 255

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
    @pytest.mark.parametrize(
        ("aspect", "shape"),
        [
            (Fraction(2), (48, 128)),
            (Fraction(1, 2), (96, 64)),
            (Fraction(12, 11), (48, 70)),
            (None, (48, 64)),
        ],
    )
    def test_pixels_are_made_square(self, tmp_path: Path, suffix: str, aspect, shape) -> None:
        path = write_stamped(tmp_path / f"c{suffix}", [self.corner], [0], aspect=aspect)
        image = only_frame(path)
        assert image.shape[:2] == shape
        height, width = shape
        assert image[: height // 2 - 4, : width // 2 - 4].min() > 200
        assert image[height // 2 + 4 :].max() < 50
        assert image[:, width // 2 + 4 :].max() < 50

    @pytest.mark.parametrize(
        ("rotation_deg", "bright"), [(0, (0, 0)), (90, (-1, 0)), (180, (-1, -1)), (-90, (0, -1))]
    )
    def test_pictures_are_turned_after_that(self, tmp_path: Path, rotation_deg: int, bright) -> None:
        """Counter-clockwise, as players do."""
        path = write_stamped(
            tmp_path / "c.mp4", [self.corner], [0], aspect=Fraction(2), rotation_deg=rotation_deg
        )
        image = only_frame(path)
        assert image.shape[:2] == ((48, 128) if rotation_deg in (0, 180) else (128, 48))
        corners = {(y, x): image[y, x].min() > 200 for y in (0, -1) for x in (0, -1)}
        assert [corner for corner, is_bright in corners.items() if is_bright] == [bright]

    def test_a_ratio_for_those_that_say_none(self, tmp_path: Path) -> None:
        silent = write_stamped(tmp_path / "silent.avi", [self.corner], [0], 10, "mjpeg")
        says = write_stamped(tmp_path / "says.mkv", [self.corner], [0], aspect=Fraction(2))
        for text, expected in (("3:1", (48, 192)), ("64x48=1:2,3:1", (96, 64)), ("64x50=1:2", (48, 64))):
            assert only_frame(silent, parse_pixel_aspects(text)).shape[:2] == expected
            assert only_frame(says, parse_pixel_aspects(text)).shape[:2] == (48, 128)

    @pytest.mark.parametrize("text", ["2", "2:0", "0:1", "wide", "100:1", "64x=2:1"])
    def test_ratios_that_are_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="2:1|at most 10"):
            parse_pixel_aspects(text)


class TestBounds:
    @pytest.fixture
    def clip(self, tmp_path: Path) -> Path:
        return write_stamped(tmp_path / "c.mp4", [plain(i) for i in range(40)], range(0, 8000, 200))

    def test_frames_and_seconds(self, clip: Path) -> None:
        for rule, bounds in (
            (FrameRule(5), VideoBounds(10**6, 3, 1e6)),
            (FrameRule(), VideoBounds(10**6, 3, 1e6)),
            (FrameRule(), VideoBounds(10**6, 100, 3.0)),
        ):
            content = content_of(clip, rule, bounds)
            assert [pick.number for pick in content.picks] == [0, 5, 10]
            assert content.ending is not None
            assert (content.ending.reason, content.ending.number, content.ending.seconds) == (
                "too-long",
                15,
                3.0,
            )
        assert content_of(clip, FrameRule(5), VideoBounds(10**6, 8, 8.0)).ending is None

    def test_pixels_are_counted_once_they_are_square(self, tmp_path: Path) -> None:
        path = write_stamped(tmp_path / "c.mp4", [plain(0)], [0], aspect=Fraction(3))
        assert content_of(path, EVERY_FRAME, VideoBounds(64 * 3 * 48, 9, 9.0)).picks
        with pytest.raises(SampleError, match="192 x 48.*--max-pixels"):
            content_of(path, EVERY_FRAME, VideoBounds(64 * 3 * 48 - 1, 9, 9.0))

    @pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
    def test_a_video_that_was_cut_says_so(self, tmp_path: Path, suffix: str) -> None:
        path = write_stamped(
            tmp_path / f"c{suffix}", [plain(i) for i in range(60)], range(60), 10, "mjpeg" if suffix == ".avi"
            else "mpeg4", metadata={"title": "x"},
        )  # fmt: skip
        assert content_of(path, EVERY_FRAME).ending is None
        data = path.read_bytes()
        if suffix == ".mp4":  # its table of contents lies at the end
            at = data.index(b"moov") - 4
            path.write_bytes(data[:at][: at // 2] + bytes(at - at // 2) + data[at:])
        else:
            path.write_bytes(data[: len(data) // 2])
        content = content_of(path, EVERY_FRAME)
        if suffix == ".mp4":
            assert any(frame is None for _, frame in decoded(path, content.picks))
            return
        assert content.ending is not None
        assert content.ending.reason == "truncated-video"
        assert 10 < content.ending.number == len(content.picks) < 50
        assert all(frame is not None for _, frame in decoded(path, content.picks))

    def test_neither_links_nor_pipes_are_opened(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        os.mkfifo(tmp_path / "pipe")
        for name in ("link", "pipe", "nothing"):
            with pytest.raises(SampleError):
                open_regular(os.fsencode(tmp_path / name))

    def test_playlists_are_no_videos(self, clip: Path, tmp_path: Path) -> None:
        for text in (f"#EXTM3U\n#EXTINF:1,\nfile://{clip}\n", f"ffconcat version 1.0\nfile {clip}\n"):
            path = tmp_path / "list.mp4"
            path.write_text(text)
            with pytest.raises(SampleError) as caught:
                content_of(path, EVERY_FRAME)
            assert caught.value.reason == "not-a-video"

    def test_sound_alone_is_no_video(self, tmp_path: Path) -> None:
        path = tmp_path / "sound.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=44_100)
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate = 44_100
            container.mux(stream.encode(silence))
            container.mux(stream.encode())
        with pytest.raises(SampleError) as caught:
            content_of(path, EVERY_FRAME)
        assert caught.value.reason == "not-a-video"

    def test_damage_ends_in_frames_or_a_reason(self, clip: Path) -> None:
        whole = clip.read_bytes()
        generator = np.random.default_rng(0)
        for _ in range(60):
            damaged = bytearray(whole)
            for at in generator.integers(0, len(whole), 3):
                damaged[at] = generator.integers(256)
            clip.write_bytes(bytes(damaged))
            try:
                content = content_of(clip, FrameRule(4))
            except SampleError as error:
                assert error.reason in ("not-a-video", "unreadable-video", "too-many-pixels")
                continue
            found = decoded(clip, content.picks)
            assert [pick.number for pick, _ in sorted(found, key=lambda pair: pair[0].number)] == [
                pick.number for pick in content.picks
            ]
