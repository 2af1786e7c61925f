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
from facepipe.core.errors import EnvironmentTroubleError, FacepipeError, RunConflictError
from facepipe.core.schema import FACES
from facepipe.core.tables import write_table
from facepipe.pipeline.unit import Unit
from facepipe.pipeline.verify import VERIFY, VerifyJob
from facepipe.surveil import audit, batch, rules
from facepipe.surveil.archive import Archive
from facepipe.surveil.batch_folder import BatchFolder
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.delta_table import TableChange, faces_table, files_table
from facepipe.surveil.repair import mend
from facepipe.surveil.rows import write_rows
from facepipe.surveil.spec import FACES_PER_UNIT, FILES_PER_LOOK, ITEMS, LISTED, STAGES, WHOLE, Wave
from facepipe.surveil.stage_io import SURVEIL_STAGES
from facepipe.surveil.surveil_batch import SurveilBatch

TODAY = datetime(2026, 1, 1)
FIRST, SECOND = Wave(0), Wave(1)
N_FACES = FACES_PER_UNIT + 1
NAMED = "pixels/2026-01-01/000007/store.zarr/volumes/000000#0"


@pytest.fixture
def begun(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SurveilBatch:
    """A batch of two waves: the rows of the first are there, the second has two units of each stage."""
    monkeypatch.setattr(rules, "open_detector", lambda _: BrightDetector())
    resolved = rules.resolve_rules(SurveilConfig(inbox=tmp_path, out=archive.path))
    folder = BatchFolder(archive, 7)
    begun = SurveilBatch(folder, tmp_path, resolved, "", TODAY, keep_pixels=True)
    store = begun.open_store()
    folder.write_facts({"stored": TODAY.isoformat()})
    write(folder.listed_path, LISTED, [{"path": b"a.png"}])
    items = [
        {"index": i, "wave": wave, "shard": shard} for i, (wave, shard) in enumerate([(0, 0), (1, 1), (1, 2)])
    ]
    write(folder.items_path, ITEMS, items)
    result(begun, "look", WHOLE, 0, [{"index": 0}])
    for shard, count in ((1, FACES_PER_UNIT), (2, 1)):
        result(
            begun,
            "detect",
            SECOND,
            shard,
            [{"index": i, "kind": "image", "crop_px": 2} for i in range(count)],
        )
        store.write_whole(SECOND.crops_of(shard), np.ones((count, 2, 2, 3), np.uint8), FACES_PER_UNIT)
    folder.list_faces(SECOND)
    for stage in STAGES[1:]:
        for shard, start, stop in ((0, 0, FACES_PER_UNIT), (1, FACES_PER_UNIT, N_FACES)):
            result(begun, stage, SECOND, shard, [{"index": i} for i in range(start, stop)])
    values = np.arange(8 * N_FACES, dtype=np.uint8).reshape(N_FACES, 2, 2, 2)
    for name in (SECOND.restored, SECOND.volumes, FIRST.volumes):
        store.write_whole(name, values, FACES_PER_UNIT)
    write(folder.rows_path(0), FACES, [{"face_id": "first", "volume_path": NAMED}])
    return begun


def result(begun: SurveilBatch, stage: str, wave: Wave, shard: int, rows: list[dict]) -> None:
    store = begun.open_store()
    store.write_result(Unit(stage, wave, shard), pa.Table.from_pylist(rows, store.schemas[stage]))


@pytest.fixture
def folder(begun: SurveilBatch) -> BatchFolder:
    return begun.folder


def verify(begun: SurveilBatch) -> None:
    """As a run that goes on does it: first lists and rows, then what the units made."""
    mend(begun)
    if not begun.folder.listed_path.exists():
        return  # it is begun anew
    waves = (WHOLE, SECOND) if begun.folder.items_path.exists() else (WHOLE,)
    for wave in waves:
        VerifyJob(begun, SURVEIL_STAGES).run(Unit(VERIFY, wave, 0), {})


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


def made(*units: str) -> list[str]:
    return [f"unit_results/{stage}/000001/unit-00000{shard}" for stage, shard in map(str.split, units)]


OF_FACES = [f"{stage} {shard}" for stage in STAGES[1:] for shard in (0, 1)]


@pytest.mark.parametrize(
    ("damaged", "gone"),
    [
        (None, []),
        ("listed.parquet", ["listed"]),
        ("items.parquet", ["items", "rows", *(f"unit_results/{stage}" for stage in STAGES)]),
        ("unit_results/look/all/unit-000000.parquet", ["unit_results/look"]),
        ("unit_results/detect/000001/unit-000002.parquet", made("detect 2", *OF_FACES)),
        ("crops/000001/000002/c/0/0/0/0", made("detect 2", *OF_FACES)),
        ("unit_results/restore/000001/unit-000001.parquet", made("restore 1", "regress 1", "export 1")),
        ("restored/000001/c/0/0/0/0", made("restore 0", "regress 0", "export 0")),
        ("volumes/000001/c/1/0/0/0", made("regress 1", "export 1")),
        ("unit_results/export/000001/unit-000000.parquet", made("export 0")),
        ("rows/000000.parquet", ["rows"]),
        ("volumes/000000/c/0/0/0/0", ["rows"]),
        ("faces/000001.parquet", ["faces"]),
    ],
)
def test_what_cannot_be_trusted_goes_and_all_else_stays(
    begun: SurveilBatch, damaged: str | None, gone: list[str]
) -> None:
    folder = begun.folder
    before = set(tables(folder))
    if damaged:
        path = folder.path / damaged
        path = path if path.exists() else begun.open_store().zarr_path / damaged
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    verify(begun)
    folder.faces_path(SECOND).unlink()  # it is always written again
    assert set(tables(folder)) == {name for name in before if not name.startswith(("faces", *gone))}


def test_whichever_byte_is_flipped_no_other_rows_are_read(begun: SurveilBatch) -> None:
    store, unit = begun.open_store(), Unit("restore", SECOND, 1)
    path = store.result_path(unit)
    sound, rows = path.read_bytes(), store.read_result(unit)
    seen = 0
    for place in range(0, len(sound), 7):
        path.write_bytes(sound)
        flip(path, place)
        try:
            assert store.read_result(unit).equals(rows)
        except EnvironmentTroubleError as error:
            assert "repeat the command" in str(error)
            seen += 1
    assert seen > 20


def test_a_missing_result_is_missed(folder: BatchFolder) -> None:
    """Whatever a listing of the folder says."""
    write(folder.listed_path, LISTED, [{"path": b"a.png"}] * (FILES_PER_LOOK + 1))
    with pytest.raises(EnvironmentTroubleError, match="unit-000001.parquet: missing"):
        folder.read_looked()


def test_no_row_is_written_without_what_was_made_of_it(begun: SurveilBatch) -> None:
    begun.open_store().forget(Unit("export", SECOND, 1))
    with pytest.raises(EnvironmentTroubleError, match="export/000001/unit-000001.parquet: missing"):
        write_rows(begun, SECOND)
    assert not begun.folder.rows_path(1).exists()


def test_rows_tell_which_of_a_waves_arrays_are_theirs(begun: SurveilBatch) -> None:
    write_rows(begun, SECOND)
    rows = pq.read_table(begun.folder.rows_path(1))
    assert rows.num_rows == N_FACES
    store = begun.open_store()
    assert store.array_names() == [FIRST.volumes, SECOND.volumes]
    assert not store.done("detect", SECOND) and store.done("look", WHOLE) == [0]


def test_verifying_an_archive_names_what_is_damaged(begun: SurveilBatch) -> None:
    folder, archive = begun.folder, begun.folder.archive
    image = begun.pixels / "first.png"
    image.touch()
    named = {"volume_path": NAMED, "image_path": image.relative_to(archive.path).as_posix()}
    for table, row in ((files_table(archive), {"sha256": "a" * 64}), (faces_table(archive), named)):
        change = TableChange(table)
        change.add([pa.Table.from_pylist([row], table.schema)], "2026-01-01")
        change.commit(folder.number)
    folder.delete()
    assert audit.steps(archive) == 2
    status = ["status", str(archive.path), "--verify"]
    assert "every table and volume is what was written" in CliRunner().invoke(facepipe, status).output
    volume, (table,) = begun.open_store().shard_path(FIRST.volumes, 0), files_table(archive).parts()
    for path, name in ((volume, archive.path / NAMED), (table, table)):
        sound = path.read_bytes()
        # Within the compressed voxels; within the first page.
        flip(path, 2 if path == volume else 30)
        (text,) = audit.audit(archive, lambda _: None)
        assert text.startswith(str(name))
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
    begun: SurveilBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: bool
) -> None:
    """Its files go; where its rows are in the tables already, they name the files, and these stay."""
    monkeypatch.setattr(rules, "open_detector", lambda _: BrightDetector())
    folder = begun.folder
    config = SurveilConfig(inbox=tmp_path, out=folder.archive.path)
    folder.facts_path.write_text("damaged")
    if over:
        TableChange(faces_table(folder.archive)).commit(folder.number)
    assert batch.find_begun(folder.archive, config, rules.resolve_rules(config)) == []
    assert not folder.path.exists()
    assert begun.pixels.exists() == over
    assert batch.next_number(folder.archive) == folder.number + 1
