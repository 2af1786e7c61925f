"""A batch on disk: its arrays, the results of its units, and what is done. Nothing else touches Zarr.

Arrays have one chunk a sample and one shard a block of samples; a unit writes whole shards of arrays that
were created at full shape, so that concurrent writers never share a file. Results are Parquet files, written
to a temporary name, synced and renamed: a file that exists is complete, and its unit is done. Disks fail all
the same: each chunk and each shard's index carries a CRC-32C (Zarr's `crc32c` codec), each page of a result a
CRC-32 (Parquet's page checksums), and whatever is read is compared with them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facepipe.core.errors import DamageError, UsageError
from facepipe.core.files import make_private_folder, write_atomically
from facepipe.core.tables import read_checked, write_table
from facepipe.pipeline.unit import Key, Unit

if TYPE_CHECKING:  # few of those who ask for tables open an array, and zarr takes half a second to import
    import zarr

_ARRAY_CONFIG = {"write_empty_chunks": True}

_LONGEST_NAME = 200
"""File systems take 255 bytes."""
_BEFORE_DIGEST = 80

# Damaged bytes may promise any size, so that a lack of memory says nothing about the machine here.
_DAMAGE = (RuntimeError, ValueError, TypeError, LookupError, OSError, MemoryError)

_RESULT = re.compile(r"unit-\d{6}\.parquet")
_WAY_OUT = "repeat the command, which makes it again"


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
class ArraySpec:
    """What one sample of an array is.

    Attributes:
        shape: of one sample.
        dtype: NumPy's name of its type.
        attributes: of the array, such as spacing and z_zero of volumes.
    """

    shape: tuple[int, ...]
    dtype: str = "uint8"
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchStore:
    """The folder of one batch.

    Attributes:
        path: the folder.
        arrays_folder: where its arrays lie, if not in `store.zarr` below it.
        private: nobody but their owner may read its files.
    """

    path: Path
    arrays_folder: Path | None = None
    private: bool = False

    schemas: ClassVar[Mapping[str, pa.Schema]] = {}
    """The columns of the results of each stage."""

    @property
    def zarr_path(self) -> Path:
        """All arrays."""
        return self.arrays_folder or self.path / "store.zarr"

    @property
    def results_path(self) -> Path:
        """The results of units."""
        return self.path / "unit_results"

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
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec

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
            compressors=(ZstdCodec(level=1), Crc32cCodec()),
            attributes=dict(attributes or {}),
            config=_ARRAY_CONFIG,
        )
        for file, content in described.items():
            data = content.to_bytes()
            path = self.zarr_path / file
            if not path.is_file() or path.read_bytes() != data:
                write_atomically(path, data, self.private)

    def array_names(self) -> list[str]:
        """Names of all arrays, sorted."""
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
        """Read the samples [start, stop) of an array.

        Raises:
            UsageError: there is no such array.
            DamageError: a shard does not match its checksums.
        """
        try:
            return np.asarray(self._array(name)[start:stop])
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno:
                raise  # what the disk will not give now says nothing about the file
            raise _damaged(self.zarr_path / name, error) from error

    def write_shard(self, name: str, shard: int, values: NDArray[Any]) -> None:
        """Write one whole shard.

        Args:
            name: the array.
            shard: which block of samples.
            values: (n, ...) with n the block's number of samples: the shard size, or fewer at the end.
        """
        array = self._array(name)
        size = array.shards[0]
        start = shard * size
        expected = min(size, array.shape[0] - start)
        if len(values) != expected:
            raise ValueError(f"{name} shard {shard}: {expected} samples expected, got {len(values)}")
        path = self.shard_path(name, shard)
        if self.private:
            make_private_folder(path.parent)
        try:
            array[start : start + expected] = values
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno:
                raise
            # Zarr may read a shard that is there before it writes it, and fails on a damaged one. Others stay
            # in place until they are replaced: whoever reads meanwhile finds no gap, which reads as zeros.
            path.unlink(missing_ok=True)
            array[start : start + expected] = values
        if self.private:
            path.chmod(0o600)

    def write_whole(self, name: str, values: NDArray[Any], shard_size: int) -> None:
        """Create an array and write all of it: for one that a single unit makes."""
        self.create_array(name, values.shape, shard_size, str(values.dtype))
        for shard in range(-(-len(values) // shard_size)):
            self.write_shard(name, shard, values[shard * shard_size : (shard + 1) * shard_size])

    def read_one(self, name: str, index: int) -> NDArray[Any]:
        """Read one sample that must have been written.

        Raises:
            UsageError: there is no such array.
            DamageError: its shard is missing, or it does not match its checksum.
        """
        path = self.shard_path(name, index // self._array(name).shards[0])
        if _is_absent(path):
            raise DamageError(f"{path}: missing; {_WAY_OUT}")
        return np.asarray(self.read(name, index, index + 1)[0])

    def sync_array(self, name: str) -> None:
        """Flush all shards of an array to the disk."""
        for path in sorted((self.zarr_path / name / "c").rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())

    def erase(self, name: str, indices: Collection[int]) -> None:
        """Overwrite some samples with zeros; a shard of which nothing is left, or that is damaged, goes."""
        for partial in (self.zarr_path / name).rglob("*.partial"):  # of one that was killed doing this
            partial.unlink(missing_ok=True)
        array = self._array(name)
        size = array.shards[0]
        for shard in sorted({index // size for index in indices}):
            start, stop = shard * size, min((shard + 1) * size, array.shape[0])
            erased = [index for index in range(start, stop) if index in indices]
            if len(erased) == stop - start or self.broken(name, shard):
                self.delete_shard(name, shard)
            else:
                values = self.read(name, start, stop)
                values[np.array(erased) - start] = 0
                self.write_shard(name, shard, values)

    def delete_shard(self, name: str, shard: int) -> None:
        """Delete the file of one shard, if it is there."""
        self.shard_path(name, shard).unlink(missing_ok=True)

    def shard_path(self, name: str, shard: int) -> Path:
        """Where the file of one shard lies."""
        inner = self._array(name).ndim - 1
        return self.zarr_path.joinpath(name, "c", str(shard), *["0"] * inner)

    def broken(self, name: str, shard: int) -> str:
        """What is wrong with a shard; '' where all of it matches its checksums."""
        return self._tried(name, lambda array: self._check(array, name, shard))

    def broken_whole(self, name: str, length: int) -> str:
        """What is wrong with an array of so many samples; '' where all of it matches its checksums."""

        def check(array: zarr.Array) -> None:
            if array.shape[0] != length:
                raise ValueError(f"{array.shape[0]} samples instead of {length}")
            for shard in range(-(-length // array.shards[0])):
                self._check(array, name, shard)

        return self._tried(name, check)

    def _check(self, array: zarr.Array, name: str, shard: int) -> None:
        size = array.shards[0]
        if _is_absent(self.shard_path(name, shard)):
            raise FileNotFoundError("missing")
        self.read(name, shard * size, (shard + 1) * size)

    def _tried(self, name: str, check: Callable[[zarr.Array], None]) -> str:
        if not self.has_array(name):
            return f"the array {name} is missing"
        try:
            check(self._array(name))
        except FileNotFoundError:
            return f"the shard of {name} is missing"
        except (DamageError, *_DAMAGE) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            return f"the shard of {name} cannot be read ({_one_line(error.__cause__ or error)})"
        return ""

    def delete_array(self, name: str) -> None:
        """Delete an array, if it is there."""
        if (folder := self.zarr_path / name).exists():
            shutil.rmtree(folder)

    def _array(self, name: str) -> zarr.Array:
        folder = self.zarr_path / name
        try:
            stat = (folder / "zarr.json").stat()
        except FileNotFoundError as error:
            raise UsageError(f"{self.zarr_path}: there is no array {name!r}") from error
        return _open_array(str(folder), stat.st_ino, stat.st_mtime_ns)

    def result_path(self, unit: Unit[Any]) -> Path:
        """Where a unit's result lies: its existence is what 'done' means."""
        folder = self.results_path / unit.stage / array_name(*unit.condition.key)
        return folder / f"unit-{unit.shard:06d}.parquet"

    def done(self, stage: str, condition: Key) -> list[int]:
        """The shards of a stage and condition that are done, in their order."""
        folder = self.result_path(Unit(stage, condition, 0)).parent
        return sorted(int(name[5:11]) for name in _names(folder) if _RESULT.fullmatch(name))

    def missing(self, units: Iterable[Unit[Any]]) -> Iterator[Unit[Any]]:
        """Those of some units that are not done, in their order, one after the other: there may be a million.

        What is done of a stage and condition is known from when its first unit is looked at.
        """
        done: dict[tuple[str, tuple[str, ...]], set[int]] = {}
        for unit in units:
            group = unit.stage, unit.condition.key
            if group not in done:
                done[group] = set(self.done(unit.stage, unit.condition))
            if unit.shard not in done[group]:
                yield unit

    def result_schema(self, stage: str, table: pa.Schema) -> pa.Schema:  # noqa: ARG002
        """The columns of a stage's results; a store may let a table have more.

        Args:
            stage: of the unit.
            table: columns that are to be written or were found.
        """
        return self.schemas[stage]

    def write_result(self, unit: Unit[Any], table: pa.Table) -> None:
        """Write a unit's result: the unit is done from the rename on."""
        schema = self.result_schema(unit.stage, table.schema)
        write_table(self.result_path(unit), table.select(schema.names).cast(schema), self.private)

    def read_result(self, unit: Unit[Any]) -> pa.Table:
        """Read a unit's result, by its name: a network file system may list a folder as it was a while ago.

        Raises:
            DamageError: it is missing or damaged.
        """
        path = self.result_path(unit)
        try:
            return read_checked(path, lambda found: self.result_schema(unit.stage, found))
        except FileNotFoundError as error:
            raise DamageError(f"{path}: missing; {_WAY_OUT}") from error
        except (pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno:
                raise  # what the disk will not give now says nothing about the file
            raise _damaged(path, error) from error

    def forget(self, unit: Unit[Any]) -> None:
        """Delete a unit's result: it is not done any more."""
        self.result_path(unit).unlink(missing_ok=True)

    def has_results(self) -> bool:
        """Whether any unit is done, as far as the folder says."""
        return any(self.results_path.rglob("unit-*.parquet"))

    def sweep_temporary(self) -> None:
        """Delete what killed writers left behind; call only while nothing writes."""
        for path in (*self.path.glob(".*.tmp"), *self.results_path.rglob(".*.tmp")):
            path.unlink(missing_ok=True)
        # Zarr's local store writes 'c/0/0/<name>.<hex>.partial' before its rename.
        for path in (*self.zarr_path.rglob("*.partial"), *self.zarr_path.rglob(".*.tmp")):
            path.unlink(missing_ok=True)


def _is_absent(shard: Path) -> bool:
    """Whether Zarr would take a shard for zeros: an empty file is none to it."""
    return not shard.is_file() or shard.stat().st_size == 0


def _names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return set()


def _damaged(path: Path, error: BaseException) -> DamageError:
    return DamageError(f"{path}: damaged ({_one_line(error)}); {_WAY_OUT}")


def _one_line(error: BaseException) -> str:
    """What an error of a library says in one line, or what it is where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _is_array(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_bytes())["node_type"] == "array")
    except (ValueError, TypeError, LookupError):
        return False


@lru_cache(maxsize=512)
def _open_array(folder: str, inode: int, mtime_ns: int) -> zarr.Array:  # noqa: ARG001 - part of the key
    import zarr
    from zarr.storage import LocalStore

    # As text, '::' would make a chain of addresses. Without configuration a shard of zeros has no file.
    return zarr.open_array(LocalStore(folder), mode="r+").with_config(_ARRAY_CONFIG)
