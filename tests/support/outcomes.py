"""What must be true of runs and archives in the end, whatever happened to them on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.surveil.archive import Archive
from facepipe.surveil.volume_file import read_volume

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
    files = [row for part in archive.parts(archive.files_path) for row in pq.read_table(part).to_pylist()]
    names = sorted(file["path"].decode() for file in files)
    assert names == sorted(str(file.relative_to(inbox)) for file in inbox.rglob("*") if file.is_file())
    assert {file["sha256"] for file in files} == {row["sha256"] for row in faces}
    hidden = {row["sha256"][:24] for row in faces if row["source"] in lost}
    assert _pixels(path, hidden) == _pixels(calm, hidden)
    assert not list(archive.batches_path.iterdir())
    assert not list(path.rglob("*.tmp"))


def _faces(archive: Archive) -> list[dict]:
    parts = [pq.read_table(part) for part in archive.parts(archive.faces_path)]
    rows = pa.concat_tables(parts).drop_columns(FROM_RUN_TO_RUN).to_pylist()
    return sorted(rows, key=lambda row: row["face_id"])


def _pixels(archive: Path, hidden: set[str]) -> dict[str, object]:
    """What is in the files of the faces, by their names."""
    files = (path for path in (archive / "pixels").rglob("*") if path.is_file())
    shown = (path for path in files if path.name[:24] not in hidden)
    return {
        path.name: read_volume(path)[0].tobytes() if path.suffix == ".zip" else path.read_bytes()
        for path in shown
    }
