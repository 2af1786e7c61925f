"""What surveillance runs are made of: times, containers, frames, plans, sets of digests."""

from __future__ import annotations

import hashlib
import io
import stat
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from zarr.storage import ZipStore

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import FacepipeError, RunConflictError
from facepipe.core.files import replacing
from facepipe.geometry.volume import surface
from facepipe.imaging import passed_over
from facepipe.pipeline.batch_store import BatchStore
from facepipe.surveil.archive import Archive
from facepipe.surveil.capture_time import from_exif, from_file, from_name, from_video
from facepipe.surveil.digest_set import DigestSet
from facepipe.surveil.inbox import Listing, list_inbox
from facepipe.surveil.quality import surface_area_px2, surface_thickness_px
from facepipe.surveil.spec import (
    FRAMES_PER_SEGMENT,
    IMAGES_PER_SHARD,
    expected_frames,
    make_items,
)
from facepipe.surveil.upkeep import sweep
from facepipe.surveil.volumes import delete_pixels, read_volume, volume_name

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class TestCaptureTime:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("cam1_20240131_235959.jpg", datetime(2024, 1, 31, 23, 59, 59)),
            ("2024-01-31T23-59-59.mp4", datetime(2024, 1, 31, 23, 59, 59)),
            ("IMG 2024.01.31 23.59.59 (2).png", datetime(2024, 1, 31, 23, 59, 59)),
            ("20240131235959.png", datetime(2024, 1, 31, 23, 59, 59)),
            ("20241331_235959.png", None),
            ("19700101_000000.png", None),
            ("20990101_000000.png", None),
            ("120240131_2359590.png", None),
            ("holiday.png", None),
        ],
    )
    def test_in_a_name(self, name: str, expected: datetime | None) -> None:
        found = from_name(name, NOW)
        assert (found and found.time) == expected

    @pytest.mark.parametrize(
        ("offset", "expected", "source"),
        [
            (None, datetime(2024, 5, 1, 12), "exif-no-zone"),
            ("+02:00", datetime(2024, 5, 1, 10), "exif"),
            ("-05:30", datetime(2024, 5, 1, 17, 30), "exif"),
            ("nonsense", datetime(2024, 5, 1, 12), "exif-no-zone"),
            ("+99:00", datetime(2024, 5, 1, 12), "exif-no-zone"),
        ],
    )
    def test_in_exif(self, offset: str | None, expected: datetime, source: str) -> None:
        image = Image.new("RGB", (8, 8))
        exif = image.getexif()
        details = exif.get_ifd(0x8769)
        details[0x9003] = "2024:05:01 12:00:00"
        if offset:
            details[0x9011] = offset
        data = io.BytesIO()
        image.save(data, "JPEG", exif=exif)
        with Image.open(data) as opened:
            found = from_exif(opened, NOW)
        assert found is not None
        assert (found.time, found.source) == (expected, source)

    def test_a_clock_that_was_never_set_says_nothing(self) -> None:
        image = Image.new("RGB", (8, 8))
        image.getexif()[0x0132] = "0000:00:00 00:00:00"
        assert from_exif(image, NOW) is None

    @pytest.mark.parametrize(
        ("metadata", "expected", "source"),
        [
            ({"creation_time": "2024-05-01T12:00:00.000000Z"}, datetime(2024, 5, 1, 12), "video"),
            (
                {
                    "creation_time": "2025-05-01T12:00:00.000000Z",
                    "com.apple.quicktime.creationdate": "2024-05-01T12:00:00+0200",
                },
                datetime(2024, 5, 1, 10),
                "video",
            ),
            ({"creation_time": "2024-05-01 12:00:00"}, datetime(2024, 5, 1, 12), "video-no-zone"),
        ],
    )
    def test_in_a_video(self, metadata: dict[str, str], expected: datetime, source: str) -> None:
        found = from_video(metadata, NOW)
        assert found is not None
        assert (found.time, found.source) == (expected, source)

    @pytest.mark.parametrize("text", ["", "1904-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "yesterday"])
    def test_a_video_whose_clock_was_never_set_says_nothing(self, text: str) -> None:
        assert from_video({"creation_time": text}, NOW) is None

    def test_of_the_file(self) -> None:
        assert from_file(1_500_000).time == datetime(1970, 1, 1, 0, 0, 0, 1500)


def plan(looked: list[dict], wave_frames: int = 512) -> list[dict]:
    return list(make_items(looked, wave_frames))


def looked_at(kind: str, frames: int = 0, reason: str | None = None, ending: dict | None = None) -> dict:
    picks = [{"number": number} for number in range(0, 10 * frames, 10)]
    return {"kind": kind, "picks": picks, "ending": ending, "reason": reason, "sha256": "0"}


class TestPlan:
    def test_images_fill_shards_and_videos_stand_alone(self) -> None:
        items = plan(
            [*[looked_at("image")] * (IMAGES_PER_SHARD + 1), looked_at("video", 15), looked_at("image")]
        )
        assert [item["shard"] for item in items] == [0] * IMAGES_PER_SHARD + [1, 2, 3]
        assert {item["wave"] for item in items} == {0}
        assert [item["index"] for item in items] == list(range(len(items)))

    def test_segments_hold_every_frame_once(self) -> None:
        ending = {"reason": "too-long"}
        items = plan([looked_at("video", 2 * FRAMES_PER_SEGMENT + 3, ending=ending)], wave_frames=64)
        seen = [pick["number"] for item in items for pick in item["picks"]]
        assert seen == list(range(0, 10 * (2 * FRAMES_PER_SEGMENT + 3), 10))
        assert [item["segment"] for item in items] == [0, 1, 2]
        assert [item["ending"] for item in items] == [None, None, ending]
        assert [expected_frames(item) for item in items] == [FRAMES_PER_SEGMENT, FRAMES_PER_SEGMENT, 3]
        assert [item["wave"] for item in items] == [0, 0, 1]

    def test_a_wave_is_as_large_as_asked_for(self) -> None:
        items = plan([looked_at("image")] * 10, wave_frames=4)
        assert [item["wave"] for item in items] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
        assert all(len({item["wave"] for item in items if item["shard"] == shard}) == 1 for shard in range(3))

    def test_what_cannot_be_read_is_an_item_too(self) -> None:
        (item,) = plan([looked_at("video", 0, "unreadable-video")])
        assert (expected_frames(item), item["reason"]) == (1, "unreadable-video")


@given(st.lists(st.integers(0, 300), max_size=60), st.lists(st.integers(0, 300), max_size=20))
def test_a_digest_set_is_a_set(first: list[int], added: list[int]) -> None:
    digest = lambda number: hashlib.sha256(bytes([number % 256, number // 256])).digest()  # noqa: E731
    found = DigestSet(map(digest, first))
    for number in added:
        found.add(digest(number))
    for number in range(301):
        assert (digest(number) in found) == (number in {*first, *added})


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "holiday.png").touch()
    archive = Archive(tmp_path)
    with archive.lock(), pytest.raises(RunConflictError, match="not empty"):
        archive.create()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_an_archive_that_was_half_made_is_made(tmp_path: Path) -> None:
    (tmp_path / ".archive.json.7.tmp").write_text("{")
    archive = Archive(tmp_path)
    with archive.lock():
        archive.create()
        sweep(archive)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "archive.json"}


class TestThickness:
    GEOMETRY = VolumeGeometry(size=64, depth=64, spacing=(1.0, 1.0, 1.0), z_zero=32)

    def ball(self, radius_px: float, ramp_px: float) -> np.ndarray:
        """A ball whose occupancy falls from 1 to 0 linearly within a ramp around its radius."""
        z, y, x = np.ogrid[:64, :64, :64]
        distance = np.sqrt((z - 31.5) ** 2 + (y - 31.5) ** 2 + (x - 31.5) ** 2)
        p = np.clip(0.5 - (distance - radius_px) / ramp_px, 0, 1)
        return np.rint(255 * p).astype(np.uint8)

    @pytest.mark.parametrize("ramp_px", [5.0, 10.0])
    def test_of_a_soft_ball_is_the_inner_four_fifths_of_its_ramp(self, ramp_px: float) -> None:
        volume = self.ball(20, ramp_px)
        mesh = surface(volume, self.GEOMETRY)
        scale = self.GEOMETRY.reference_px
        assert surface_area_px2(mesh) == pytest.approx(4 * np.pi * (20 * scale) ** 2, rel=0.02)
        found = surface_thickness_px(volume, self.GEOMETRY, mesh)
        assert found == pytest.approx(0.8 * ramp_px * scale, rel=0.05)

    def test_of_a_binary_volume_is_zero(self) -> None:
        volume = np.where(self.ball(20, 1e-3) > 127, 255, 0).astype(np.uint8)
        assert surface_thickness_px(volume, self.GEOMETRY, surface(volume, self.GEOMETRY)) == 0

    def test_slices_count_by_their_spacing(self) -> None:
        # A slab across z: 6 of its slices are undecided on each side, a third of a pixel each.
        geometry = VolumeGeometry(size=128, depth=200)
        volume = np.zeros(geometry.shape, np.uint8)
        volume[60:120, 4:-4, 4:-4] = 255
        volume[54:60, 4:-4, 4:-4] = 128
        volume[120:126, 4:-4, 4:-4] = 128
        mesh = surface(volume, geometry)
        side = 2 * 120 * 120 + 4 * 120 * 72 / 3
        assert surface_thickness_px(volume, geometry, mesh) == pytest.approx(
            2 * 120 * 120 * 2 / side, rel=0.05
        )


def test_volumes_of_archives_of_today_and_before_are_read_by_their_names(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).integers(1, 256, (3, 6, 8, 8), np.uint8)
    folder = tmp_path / "pixels" / "store.zarr"
    store = BatchStore(folder, folder, private=True)
    store.create_array("volumes/000000", volumes.shape, 16, attributes={"z_zero": 2})
    store.write_shard("volumes/000000", 0, volumes)
    name = volume_name("pixels/store.zarr/volumes/000000", 1)
    found, attributes = read_volume(tmp_path, name)
    assert np.array_equal(found, volumes[1]) and attributes == {"z_zero": 2}
    delete_pixels(tmp_path, [name, "pixels/gone.png", "gone#3"])
    assert not read_volume(tmp_path, name)[0].any()
    assert np.array_equal(store.read("volumes/000000", 0, 3)[::2], volumes[::2])
    old = tmp_path / "v.zarr.zip"
    with ZipStore(old, mode="w") as zipped:
        array = zarr.create_array(
            store=zipped,
            shape=volumes[0].shape,
            chunks=volumes[0].shape,
            dtype="uint8",
            attributes={"z_zero": 1},
        )
        array[:] = volumes[0]
    found, attributes = read_volume(tmp_path, "v.zarr.zip")
    assert np.array_equal(found, volumes[0]) and attributes == {"z_zero": 1}
    old.write_bytes(old.read_bytes()[:100])
    for damaged in ("v.zarr.zip", "nowhere#0", "pixels/store.zarr/volumes/000000#99"):
        with pytest.raises(FacepipeError, match="--reprocess"):
            read_volume(tmp_path, damaged)


def test_listing_memory_does_not_grow_with_the_number_of_folders(tmp_path: Path) -> None:
    for folder in range(3):
        (tmp_path / f"{folder}").mkdir()
        for number in range(5):
            (tmp_path / f"{folder}" / f"{number}.PNG").touch()
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "notes.txt").touch()
    listing = Listing()
    paths = [file.path for file in list_inbox(tmp_path, 0, listing)]
    assert paths == sorted(paths)
    assert (len(paths), listing.files, listing.other) == (15, 15, 2)
    assert not list(list_inbox(tmp_path, timedelta(hours=1).total_seconds(), Listing()))


def test_what_is_listed_is_told_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passed_over, "can_read_heic", lambda: False)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "AVIF")
    for name, content in (
        ("a.bin", picture.getvalue()),
        ("b.MOV", b"\0\0\0\x14ftypqt  " + bytes(20)),
        ("c.webm", b"\x1aE\xdf\xa3" + bytes(20)),
        ("d.heic", b"\0\0\0\x18ftypheic" + bytes(20)),
        ("e.txt", b"text"),
        ("f.txt", b""),
        ("g.jpg", b"no picture, though it is called one: a row with a reason"),
        (".h.png", b""),
    ):
        (tmp_path / name).write_bytes(content)
    listing = Listing()
    assert [file.source for file in list_inbox(tmp_path, 0, listing)] == ["a.bin", "b.MOV", "c.webm", "g.jpg"]
    said = {passed.extensions: passed.why for passed in passed_over.summarised(listing.passed_over)}
    assert set(said) == {"1 .heic", "2 .txt", "1 .png"}
    assert "facepipe[heic]" in said["1 .heic"]


def test_writers_of_one_number_on_two_machines_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with replacing(target) as here, replacing(target) as there:
        here.write_text("here")
        there.write_text("there")
    assert target.read_text() == "here"
    for name in (here.name, there.name):
        assert fnmatch(name, ".*.tmp")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
