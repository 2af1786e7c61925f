"""What must be true of runs and archives in the end, whatever happened to them on the way."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.pipeline.batch_store import BatchStore
from facepipe.surveil.archive import Archive
from facepipe.surveil.delta_table import faces_table, files_table
from facepipe.surveil.volumes import read_volume

FROM_RUN_TO_RUN = ("stored", "image_path", "volume_path", "mesh_path")
"""Columns of faces that say when and in which batch; the names of the files are compared as files."""


def tables(run: Path) -> tuple[pa.Table, pa.Table]:
    """Scores, but for how long they took, and samples."""
    scores = pq.read_table(run / "scores.parquet").drop_columns(["seconds"])
    return scores, pq.read_table(run / "samples.parquet")


def check_run(run: Path, calm: Path, rows: int, lost: Mapping[str, str]) -> None:
    """Nothing of a benchmark is lost or double, everybody is accounted for, nothing is left behind.

    Args:
        run: what went through it.
        calm: the undisturbed run.
        rows: how many there are.
        lost: by sample, why it was given up.
    """
    scores, samples = tables(run)
    expected_scores, expected_samples = tables(calm)
    assert scores.equals(expected_scores)
    assert samples.equals(expected_samples)
    columns = (
        scores[name].to_pylist() for name in ("sample_id", "degradation", "low_px", "method", "regressor")
    )
    keys = list(zip(*columns, strict=True))
    assert len(set(keys)) == len(keys) == rows
    failures = pq.read_table(run / "failures.parquet").to_pylist()
    assert {row["sample_id"]: row["reason"] for row in failures} == lost
    left = [path for path in run.rglob("*") if path.name.endswith((".tmp", ".partial"))]
    assert left == [] and not (run / "unit_results").exists()


def check_archive(path: Path, calm: Path, inbox: Path, lost: Mapping[str, str]) -> None:
    """The same of an archive: `lost` has names of files below the inbox."""
    archive = Archive(path)
    faces, expected = _faces(archive), _faces(Archive(calm))
    given_up = {row["source"]: row["reason"] for row in faces if row["source"] in lost}
    assert given_up == lost
    assert [row for row in faces if row["source"] not in lost] == [
        row for row in expected if row["source"] not in lost
    ]
    ids = [row["face_id"] for row in faces]
    assert len(set(ids)) == len(ids)
    files = [row for part in files_table(archive).parts() for row in pq.read_table(part).to_pylist()]
    names = sorted(file["path"].decode() for file in files)
    assert names == sorted(str(file.relative_to(inbox)) for file in inbox.rglob("*") if file.is_file())
    assert {file["sha256"] for file in files} == {row["sha256"] for row in faces}
    hidden = {row["sha256"][:24] for row in faces if row["source"] in lost}
    assert _pixels(path, hidden) == _pixels(calm, hidden)
    assert len(stored_volumes(path)) == sum(row["volume_path"] is not None for row in _rows(archive))
    assert not list(archive.batches_path.iterdir())
    assert not [file for file in path.rglob("*") if file.name.endswith((".tmp", ".partial"))]


def stored_volumes(archive: Path) -> list[str]:
    """The checksums of all volumes in an archive that are not erased, whether a row names them or not."""
    found = []
    for folder in (archive / "pixels").glob("*/*/store.zarr"):
        store = BatchStore(folder, folder)
        for name in store.array_names():
            assert name.startswith("volumes/"), f"{folder / name}: left over"
            volumes = store.read(name, 0, 10**9)
            found += [f"{zlib.crc32(volume.tobytes()):08x}" for volume in volumes if volume.any()]
    return found


def _rows(archive: Archive) -> list[dict]:
    parts = [pq.read_table(part) for part in faces_table(archive).parts()]
    return pa.concat_tables(parts).to_pylist()


def _faces(archive: Archive) -> list[dict]:
    rows = [{k: v for k, v in row.items() if k not in FROM_RUN_TO_RUN} for row in _rows(archive)]
    return sorted(rows, key=lambda row: row["face_id"])


def _pixels(archive: Path, hidden: set[str]) -> dict[str, bytes]:
    """Images and meshes by the names of their files, volumes by their faces'."""
    files = (path for path in (archive / "pixels").rglob("*") if path.suffix in (".png", ".glb"))
    found = {path.name: path.read_bytes() for path in files if path.name[:24] not in hidden}
    for row in _rows(Archive(archive)):
        if row["volume_path"] and row["face_id"][:24] not in hidden:
            found[row["face_id"]] = read_volume(archive, row["volume_path"])[0].tobytes()
    return found
