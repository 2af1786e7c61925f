"""A run on disk: every path, every array, every part. Nothing else touches the Zarr files of a run.

Its tables are written by `facepipe.core.tables` and read by that or, in SQL, by `facepipe.results`; which
modules open Parquet files at all is listed in the tests of the import rules.

Arrays have one chunk a sample and one shard a block of samples; a unit writes whole shards of arrays
that were created at full shape, so that concurrent writers never share a file. Tables and parts are
written to a temporary name, synced and renamed: a file that exists is complete. Disks fail all the same:
a part carries a checksum of its own rows, beside those that it holds of the arrays.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.storage import LocalStore

from facepipe.core.errors import EnvironmentTroubleError, FacepipeError, RunConflictError, UsageError
from facepipe.core.files import write_atomically
from facepipe.core.locks import is_locked, take_lock
from facepipe.core.tables import write_table

RUN_FORMAT = 1
_ARRAY_CONFIG = {"write_empty_chunks": True}
_CRC_KEY = b"facepipe.crc32"

_LONGEST_NAME = 200
"""File systems take 255 bytes."""
_BEFORE_DIGEST = 80


def array_name(*parts: str) -> str:
    """Join the parts of an array's name; a part's unusual characters are percent-encoded.

    A part that is then too long for the name of a folder, as of a method `file:PATH`, ends in its digest.
    """
    return "/".join(_folder_name(part) for part in parts)


def _folder_name(part: str) -> str:
    name = quote(part, safe="-_.+@ ")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_BEFORE_DIGEST]}-{hashlib.sha256(part.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class RunStore:
    """The folder of one run."""

    path: Path

    @property
    def run_json_path(self) -> Path:
        """Configuration, versions, hashes."""
        return self.path / "run.json"

    @property
    def samples_path(self) -> Path:
        """The accepted samples; row order = index along the arrays' first axis."""
        return self.path / "samples.parquet"

    @property
    def failures_path(self) -> Path:
        """What was quarantined, and why."""
        return self.path / "failures.parquet"

    @property
    def scores_path(self) -> Path:
        """One row per sample and condition."""
        return self.path / "scores.parquet"

    @property
    def refs_path(self) -> Path:
        """The accepted candidates, as the data set listed them."""
        return self.path / "parts" / "refs.parquet"

    @property
    def candidates_path(self) -> Path:
        """All candidates, as the data set listed them."""
        return self.path / "parts" / "candidates.parquet"

    @property
    def parts_path(self) -> Path:
        """What units wrote."""
        return self.path / "parts"

    @property
    def zarr_path(self) -> Path:
        """All arrays."""
        return self.path / "store.zarr"

    @property
    def checksums_path(self) -> Path:
        """What the parts of a complete run claimed about its arrays, where these were kept."""
        return self.path / "checksums.parquet"

    @property
    def report_path(self) -> Path:
        """The report's folder."""
        return self.path / "report"

    # -- run.json ---------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether this folder holds a run."""
        return self.run_json_path.is_file()

    def read_run(self) -> dict[str, Any]:
        """Read run.json.

        Raises:
            UsageError: the folder is no run.
            FacepipeError: its run.json is damaged.
        """
        try:
            run = json.loads(self.run_json_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageError(
                f"{self.path}: no run here (a run folder holds run.json); `facepipe bench --out` makes one"
            ) from error
        except (OSError, ValueError) as error:
            raise self.damaged(f"cannot be read: {error}") from error
        if not isinstance(run, dict) or run.get("format") != RUN_FORMAT:
            raise self.damaged(f"not a run of format {RUN_FORMAT}")
        return run

    def damaged(self, what: str) -> FacepipeError:
        """The error of a run.json that is not to be used."""
        return FacepipeError(
            f"{self.run_json_path}: {what}; restore it from a copy, or delete the folder {self.path} and "
            "repeat its bench command"
        )

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Write run.json."""
        text = json.dumps({"format": RUN_FORMAT, **run}, indent=2, default=str, ensure_ascii=False)
        write_atomically(self.run_json_path, text.encode())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run against other processes; the kernel lets go of it however this one ends.

        Raises:
            RunConflictError: another process works on this run.
            UsageError: there can be no such folder.
        """
        existed = self.path.is_dir()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = take_lock(self.path / ".lock")
        except BlockingIOError as error:
            raise RunConflictError(
                f"{self.path}: another process is working on this run; wait or choose another --out"
            ) from error
        except OSError as error:
            raise UsageError(f"--out {self.path}: no run can be there: {error.strerror}") from error
        with lock:
            try:
                yield
            finally:
                if not self.exists():
                    (self.path / ".lock").unlink(missing_ok=True)
                    if not existed and not any(self.path.iterdir()):
                        self.path.rmdir()

    def is_in_use(self) -> bool:
        """Whether a process holds the run at this moment."""
        return is_locked(self.path / ".lock")

    # -- arrays -----------------------------------------------------------------------------------

    def create_array(
        self,
        name: str,
        shape: Sequence[int],
        shard_size: int,
        dtype: str = "uint8",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Create an array of (samples, ...) at full shape, or mend the description of one that exists.

        The description is worked out in memory and written where the file of that name says anything
        else: what was written into the array stays.
        """
        inner = tuple(shape[1:])
        described: dict[str, Any] = {}
        zarr.create_array(
            store=described,
            name=name,
            shape=tuple(shape),
            chunks=(1, *inner),
            shards=(shard_size, *inner),
            dtype=dtype,
            fill_value=0,
            compressors=ZstdCodec(level=1),
            attributes=dict(attributes or {}),
            config=_ARRAY_CONFIG,
        )
        for file, content in described.items():
            data = content.to_bytes()
            path = self.zarr_path / file
            if not path.is_file() or path.read_bytes() != data:
                write_atomically(path, data)

    def array_names(self) -> list[str]:
        """Names of all arrays of the run, sorted."""
        files = self.zarr_path.rglob("zarr.json") if self.zarr_path.exists() else []
        folders = (file.parent for file in files if _is_array(file))
        return sorted(str(folder.relative_to(self.zarr_path)) for folder in folders)

    def has_array(self, name: str) -> bool:
        """Whether an array was created."""
        return (self.zarr_path / name / "zarr.json").exists()

    def attributes(self, name: str) -> dict[str, Any]:
        """The attributes of an array, such as spacing and z_zero of volumes."""
        return dict(self._array(name).attrs)

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Read the samples [start, stop) of an array."""
        return np.asarray(self._array(name)[start:stop])

    def write_shard(self, name: str, shard: int, values: NDArray[Any]) -> list[int]:
        """Write one whole shard.

        Args:
            name: the array.
            shard: which block of samples.
            values: (n, ...) with n the block's number of samples: the shard size, or fewer at the end.

        Returns:
            The CRC-32 of each sample's bytes.
        """
        array = self._array(name)
        size = array.shards[0]
        start = shard * size
        expected = min(size, array.shape[0] - start)
        if len(values) != expected:
            raise ValueError(f"{name} shard {shard}: {expected} samples expected, got {len(values)}")
        # Zarr reads a shard that is there before it writes it, and fails on a damaged one.
        self.delete_shard(name, shard)
        array[start : start + expected] = values
        return [zlib.crc32(np.ascontiguousarray(value).data) for value in values]

    def delete_shard(self, name: str, shard: int) -> None:
        """Delete the file of one shard, if it is there."""
        self.shard_path(name, shard).unlink(missing_ok=True)

    def shard_path(self, name: str, shard: int) -> Path:
        """Where the file of one shard lies."""
        inner = self._array(name).ndim - 1
        return self.zarr_path.joinpath(name, "c", str(shard), *["0"] * inner)

    def _array(self, name: str) -> zarr.Array:
        folder = self.zarr_path / name
        try:
            stat = (folder / "zarr.json").stat()
        except FileNotFoundError as error:
            raise UsageError(f"{self.path}: the run has no array {name!r}") from error
        return _open_array(str(folder), stat.st_ino, stat.st_mtime_ns)

    def delete_arrays(self) -> None:
        """Delete all arrays, and what is known of their content."""
        shutil.rmtree(self.zarr_path, ignore_errors=True)
        self.checksums_path.unlink(missing_ok=True)

    # -- parts ------------------------------------------------------------------------------------

    def part_path(self, stage: str, condition: Sequence[str], shard: int) -> Path:
        """Where a unit's part lies: its existence is what 'done' means."""
        folder = self.parts_path / stage / array_name(*condition)
        return folder / f"part-{shard:06d}.parquet"

    def done_shards(self, stage: str, condition: Sequence[str]) -> set[int]:
        """The shards of a stage and condition that are done."""
        folder = self.part_path(stage, condition, 0).parent
        try:
            names = [path.name for path in folder.iterdir()]
        except FileNotFoundError:
            return set()
        return {int(name[5:11]) for name in names if name.startswith("part-") and name.endswith(".parquet")}

    def write_part(self, stage: str, condition: Sequence[str], shard: int, table: pa.Table) -> None:
        """Write a unit's part: the unit is done from the rename on."""
        claim = {_CRC_KEY: str(_crc32_of_rows(table)).encode()}
        write_table(self.part_path(stage, condition, shard), table.replace_schema_metadata(claim))

    def read_part(self, stage: str, condition: Sequence[str], shard: int) -> pa.Table:
        """Read a unit's part.

        Raises:
            EnvironmentTroubleError: it is missing or damaged.
        """
        path = self.part_path(stage, condition, shard)
        try:
            # One file of a few rows: what reads whole data sets on many threads costs three times as much.
            with pq.ParquetFile(path) as file:
                table = file.read(use_threads=False)
            claim = (table.schema.metadata or {}).get(_CRC_KEY)
            sound = claim is not None and claim == str(_crc32_of_rows(table)).encode()
            trouble = "" if sound else "its rows do not match their checksum"
        except FileNotFoundError as error:
            raise EnvironmentTroubleError(
                f"{path}: missing; repeat the run's command, which makes it anew"
            ) from error
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno:
                raise  # what the disk will not give now says nothing about the file
            trouble = " ".join(str(error).split())
        if trouble:
            raise EnvironmentTroubleError(
                f"{path}: damaged ({trouble}); repeat the run's command, which makes it anew"
            )
        return table.replace_schema_metadata(None)

    def delete_part(self, stage: str, condition: Sequence[str], shard: int) -> None:
        """Forget that a unit is done."""
        self.part_path(stage, condition, shard).unlink(missing_ok=True)

    def iter_parts(self, stage: str, condition: Sequence[str], shards: range) -> Iterator[pa.Table]:
        """The parts of a stage and condition, shard after shard.

        They are opened by name: a network file system may list a folder as it was a while ago.

        Raises:
            EnvironmentTroubleError: one is missing or damaged.
        """
        for shard in shards:
            yield self.read_part(stage, condition, shard)

    def has_parts(self) -> bool:
        """Whether any unit is done, as far as the folder says."""
        return any(self.parts_path.rglob("part-*.parquet"))

    def delete_parts(self) -> None:
        """Delete all parts."""
        shutil.rmtree(self.parts_path, ignore_errors=True)

    def delete_array_parts(self) -> None:
        """Delete the parts of every stage that reads or writes arrays: they will be done again."""
        for folder in self.parts_path.glob("*/"):
            if folder.name != "ingest":
                shutil.rmtree(folder)

    def sweep_temporary(self) -> None:
        """Delete what killed writers left behind; call only while holding the lock."""
        for path in (*self.path.glob(".*.tmp"), *self.parts_path.rglob(".*.tmp")):
            path.unlink(missing_ok=True)
        # Zarr's local store writes 'c/0/0/<name>.<hex>.partial' before its rename.
        for path in self.zarr_path.rglob("*.partial"):
            path.unlink(missing_ok=True)


def _crc32_of_rows(table: pa.Table) -> int:
    """The CRC-32 of what a table says, however its file encodes it."""
    said = [table.schema.remove_metadata().to_string(), table.to_pydict()]
    return zlib.crc32(json.dumps(said, default=str).encode())


def _is_array(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_bytes())["node_type"] == "array")
    except (ValueError, TypeError, LookupError):
        return False


@lru_cache(maxsize=512)
def _open_array(folder: str, inode: int, mtime_ns: int) -> zarr.Array:  # noqa: ARG001 - part of the key
    # As text, a path with '::' in it would be taken for a chain of addresses.
    return zarr.open_array(LocalStore(folder), mode="r+", config=_ARRAY_CONFIG)
