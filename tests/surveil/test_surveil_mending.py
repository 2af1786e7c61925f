"""Damage in the folder of a batch in work: what is whole stays, nothing damaged is ever used."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from inboxes import BrightDetector

from facepipe.cli import facepipe
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import EnvironmentTroubleError, FacepipeError, RunConflictError
from facepipe.core.schema import FACES, FILES
from facepipe.core.tables import write_table
from facepipe.surveil import audit, batch, rules
from facepipe.surveil.archive import Archive
from facepipe.surveil.batch_folder import BatchFolder
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.detect_stage import DETECTED
from facepipe.surveil.face_stages import EXPORTED, REGRESSED, RESTORED, Places
from facepipe.surveil.look_stage import LOOKED
from facepipe.surveil.publish import write_rows
from facepipe.surveil.repair import mend
from facepipe.surveil.spec import FACES_PER_BLOCK, FILES_PER_LOOK, ITEMS, LISTED, LOOK_WAVE, SurveilUnit
from facepipe.surveil.table_change import TableChange
from facepipe.surveil.volume_file import write_volume
from facepipe.surveil.worker import SurveilJob

TODAY = datetime(2026, 1, 1)


@pytest.fixture
def folder(archive: Archive) -> BatchFolder:
    """A batch of two waves: the rows of the first are there, the second has two shards."""
    folder = BatchFolder(archive, 7)
    folder.write_facts({"stored": TODAY.isoformat()})
    write(folder.listed_path, LISTED, [{"path": b"a.png"}])
    write(folder.items_path, ITEMS, [{"index": 0, "wave": 0}, {"index": 1, "wave": 1}])
    folder.write_part(SurveilUnit("look", LOOK_WAVE, 0), pa.Table.from_pylist([{"index": 0}], schema=LOOKED))
    for stage, schema in (
        ("detect", DETECTED),
        ("restore", RESTORED),
        ("regress", REGRESSED),
        ("export", EXPORTED),
    ):
        for shard in (0, 1):
            row = {"index": 0, "face_id": f"face{shard}", "crop": b"pixels" * 100}
            part = pa.Table.from_pylist([{k: v for k, v in row.items() if k in schema.names}], schema=schema)
            folder.write_part(SurveilUnit(stage, 1, shard), part)
    places = places_of(folder)
    for face_id in ("face0", "face1", "first"):
        volume = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
        write_volume(places.volume(face_id), volume, VolumeGeometry(2, (2, 2, 2), (1.0, 1.0, 1.0), 1.0))
    named = places.relative(places.volume("first"))
    write(folder.rows_path(0), FACES, [{"face_id": "first", "volume_path": named}])
    return folder


def places_of(folder: BatchFolder) -> Places:
    pixels = folder.archive.pixels_folder(TODAY, folder.number)
    return Places(folder.archive.path, pixels, pixels)


def write(path: Path, schema: pa.Schema, rows: list[dict]) -> None:
    write_table(path, pa.Table.from_pylist(rows, schema=schema), private=True)


def tables(folder: BatchFolder) -> dict[str, pa.Table]:
    return {
        path.relative_to(folder.path).as_posix(): pq.read_table(path)
        for path in folder.path.rglob("*.parquet")
    }


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x5A
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damaged", "gone"),
    [
        (None, []),
        ("listed.parquet", ["listed"]),
        ("items.parquet", ["items", "rows", "parts/000001"]),
        (f"parts/{LOOK_WAVE}/look/part-000000-000000.parquet", ["parts/999999"]),
        ("parts/000001/detect/part-000001-000000.parquet",
         [f"parts/000001/{stage}/part-000001" for stage in ("detect", "restore", "regress", "export")]),
        ("parts/000001/restore/part-000001-000000.parquet", ["parts/000001/restore/part-000001"]),
        ("rows/000000.parquet", ["rows"]),
        ("face1.zarr.zip", ["parts/000001/regress/part-000001"]),
        ("first.zarr.zip", ["rows"]),
    ],
)  # fmt: skip
def test_what_cannot_be_trusted_goes_and_all_else_stays(
    folder: BatchFolder, damaged: str | None, gone: list[str]
) -> None:
    before = tables(folder)
    if damaged:
        path = folder.path / damaged
        path = path if path.exists() else places_of(folder).pixels / damaged
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    mend(folder, places_of(folder))
    assert set(tables(folder)) == {name for name in before if not name.startswith(tuple(gone))}


def test_whichever_byte_is_flipped_no_other_rows_are_read(folder: BatchFolder) -> None:
    unit = SurveilUnit("restore", 1, 1)
    path = folder.part_path(unit)
    sound, rows = path.read_bytes(), folder.read_part(unit)
    seen = 0
    for place in range(0, len(sound), 7):
        path.write_bytes(sound)
        flip(path, place)
        mend(folder, places_of(folder))
        if path.exists():
            assert folder.read_part(unit).equals(rows)
        else:
            seen += 1
            with pytest.raises(EnvironmentTroubleError, match="repeat the command"):
                folder.read_part(unit)
    assert seen > 20


def test_a_missing_part_is_missed(folder: BatchFolder) -> None:
    """Whatever a listing of the folder says."""
    write(folder.listed_path, LISTED, [{"path": b"a.png"}] * (FILES_PER_LOOK + 1))
    with pytest.raises(EnvironmentTroubleError, match="part-000001-000000.parquet: cannot be read"):
        folder.read_looked()


def test_no_row_is_written_without_what_was_made_of_it(
    folder: BatchFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "open_detector", lambda _: BrightDetector())
    config = SurveilConfig(inbox=tmp_path, out=folder.archive.path)
    job = SurveilJob(folder, tmp_path, rules.resolve_rules(config), "", TODAY, keep_pixels=True)
    faces = [{"index": i, "kind": "image", "crop_px": 1} for i in range(FACES_PER_BLOCK + 1)]
    folder.write_part(SurveilUnit("detect", 1, 0), pa.Table.from_pylist(faces, DETECTED))
    part = pa.Table.from_pylist([{"index": 0, "mesh_path": "a.glb"}], EXPORTED)
    folder.write_part(SurveilUnit("export", 1, 0), part)
    with pytest.raises(EnvironmentTroubleError, match="export/part-000000-000001.parquet: cannot be read"):
        write_rows(job, 1, [0])
    assert not folder.rows_path(1).exists()


def test_verifying_an_archive_names_what_is_damaged(folder: BatchFolder) -> None:
    archive, places = folder.archive, places_of(folder)
    image = places.pixels / "first.png"
    image.touch()
    named = {"volume_path": places.relative(places.volume("first")), "image_path": places.relative(image)}
    change = TableChange(archive)
    change.add(archive.face_folder("2026-01-01"), [pa.Table.from_pylist([named], FACES)], FACES)
    change.add(archive.files_path, [pa.Table.from_pylist([{"sha256": "a" * 64}], FILES)], FILES)
    change.commit(folder.number)
    folder.delete()
    assert audit.steps(archive) == 2
    status = ["status", str(archive.path), "--verify"]
    assert "every table and volume is what was written" in CliRunner().invoke(facepipe, status).output
    volume, (table,) = places.volume("first"), archive.parts(archive.files_path)
    for path in (volume, table):
        sound = path.read_bytes()
        # Within the compressed voxels; within the first page.
        flip(path, sound.index(b"c/0/0/0") + 12 if path == volume else 30)
        (text,) = audit.audit(archive, lambda _: None)
        assert text.startswith(str(path))
        path.write_bytes(sound)
    image.unlink()
    result = CliRunner().invoke(facepipe, status)
    assert f"damaged: {image}: is missing" in result.output
    assert isinstance(result.exception, FacepipeError)
    with archive.lock():
        assert isinstance(CliRunner().invoke(facepipe, status).exception, RunConflictError)


def test_a_description_is_read_whole_or_not_at_all(folder: BatchFolder) -> None:
    facts, sound = folder.read_facts(), folder.facts_path.read_bytes()
    assert facts == {"stored": TODAY.isoformat()}
    for place in range(len(sound)):
        folder.facts_path.write_bytes(sound)
        flip(folder.facts_path, place)
        assert folder.read_facts() in ({}, facts)


@pytest.mark.parametrize("over", [False, True], ids=["in work", "over"])
def test_a_batch_without_description_is_done_again(
    folder: BatchFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: bool
) -> None:
    """Its files go; where its rows are in the tables already, they name the files, and these stay."""
    monkeypatch.setattr(rules, "open_detector", lambda _: BrightDetector())
    config = SurveilConfig(inbox=tmp_path, out=folder.archive.path)
    folder.facts_path.write_text("damaged")
    if over:
        TableChange(folder.archive).commit(folder.number)
    assert batch.find_begun(folder.archive, config, rules.resolve_rules(config)) == []
    assert not folder.path.exists()
    assert places_of(folder).pixels.exists() == over
    assert folder.archive.next_number() == folder.number + 1
