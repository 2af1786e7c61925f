"""The folder of a batch in work: its plan and the parts that its units wrote."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from facepipe.core.errors import EnvironmentTroubleError
from facepipe.core.files import write_atomically
from facepipe.core.tables import read_table, write_tables
from facepipe.surveil.archive import Archive, delete_folder
from facepipe.surveil.spec import FACES_PER_BLOCK, FILES_PER_LOOK, LOOK_WAVE, SurveilUnit


@dataclass(frozen=True)
class BatchFolder:
    """A batch on disk; what exists in it is complete.

        batch.json          when it began, under which rules
        listed.parquet      the files to look at
        items.parquet       its new inputs, cut
        parts/              <wave>/<stage>/part-<shard>-<block>.parquet; look's under the wave LOOK_WAVE
        volumes/            volumes, where the archive keeps none
        rows/               <wave>.parquet, the finished rows of a wave
        outdated.json       images, volumes and meshes that go once its rows are in the tables

    Attributes:
        archive: whose it is.
        number: of the batch.
    """

    archive: Archive
    number: int

    @property
    def path(self) -> Path:
        """The folder."""
        return self.archive.batches_path / f"{self.number:06d}"

    @property
    def listed_path(self) -> Path:
        """The files to look at."""
        return self.path / "listed.parquet"

    @property
    def items_path(self) -> Path:
        """The new inputs, cut into items."""
        return self.path / "items.parquet"

    @property
    def facts_path(self) -> Path:
        """When the batch began, under which rules; written last, it makes the folder a batch."""
        return self.path / "batch.json"

    @property
    def outdated_path(self) -> Path:
        """Which files go once the rows are in the tables."""
        return self.path / "outdated.json"

    def read_facts(self) -> dict[str, Any]:
        """Read what `write_facts` wrote; empty if the batch was never begun, or nobody can say how."""
        return dict(_read_json(self.facts_path) or {})

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Begin the batch."""
        _write_json(self.facts_path, dict(facts))

    def read_looked(self) -> pa.Table:
        """What look said of every file of the batch.

        Raises:
            EnvironmentTroubleError: a part is missing or damaged.
        """
        units = (SurveilUnit("look", LOOK_WAVE, shard) for shard in range(self.look_shards()))
        return pa.concat_tables(self.read_part(unit) for unit in units)

    def look_shards(self) -> int:
        """How many shards of files there are to look at."""
        return math.ceil(read_table(self.listed_path).num_rows / FILES_PER_LOOK)

    def rows_path(self, wave: int) -> Path:
        """The rows of a finished wave."""
        return self.path / "rows" / f"{wave:06d}.parquet"

    def wave_path(self, wave: int) -> Path:
        """What the units of a wave wrote."""
        return self.path / "parts" / f"{wave:06d}"

    def part_path(self, unit: SurveilUnit) -> Path:
        """Where a unit's part lies: its existence is what 'done' means."""
        folder = self.wave_path(unit.wave) / unit.stage
        return folder / f"part-{unit.shard:06d}-{unit.block:06d}.parquet"

    def done(self, stage: str, wave: int) -> set[tuple[int, int]]:
        """(shard, block) of the units of a stage that are done."""
        folder = self.wave_path(wave) / stage
        if not folder.is_dir():
            return set()
        names = (path.stem.split("-") for path in folder.glob("part-*.parquet"))
        return {(int(shard), int(block)) for _, shard, block in names}

    def write_part(self, unit: SurveilUnit, table: pa.Table) -> None:
        """Write a unit's part: the unit is done from the rename on."""
        write_tables(self.part_path(unit), [table], table.schema, True, FACES_PER_BLOCK)

    def read_part(self, unit: SurveilUnit) -> pa.Table:
        """Read a unit's part."""
        with self._open_part(unit) as file:
            return file.read()

    def read_block(self, unit: SurveilUnit) -> pa.Table:
        """Read those rows that detect wrote which a later unit works on."""
        with self._open_part(SurveilUnit("detect", unit.wave, unit.shard)) as file:
            return file.read_row_group(unit.block)

    def count_rows(self, wave: int, shard: int) -> int:
        """How many rows detect wrote of a shard."""
        with self._open_part(SurveilUnit("detect", wave, shard)) as file:
            return int(file.metadata.num_rows)

    def count_faces(self, wave: int, shard: int) -> list[int]:
        """How many faces are to be restored in each block of a shard."""
        with self._open_part(SurveilUnit("detect", wave, shard)) as file:
            groups = (file.read_row_group(i, columns=["crop_px"]) for i in range(file.num_row_groups))
            return [group.num_rows - group["crop_px"].null_count for group in groups]

    def shards(self, wave: int) -> list[int]:
        """The shards of a wave."""
        items = read_table(self.items_path)
        return sorted(pc.unique(items.filter(pc.field("wave") == wave)["shard"]).to_pylist())

    def read_items(self, wave: int, shard: int) -> list[dict[str, Any]]:
        """The items of a shard, in their order."""
        here = (pc.field("wave") == wave) & (pc.field("shard") == shard)
        return list(read_table(self.items_path).filter(here).to_pylist())

    def waves(self) -> int:
        """How many waves the items make."""
        last = pc.max(read_table(self.items_path)["wave"]).as_py()
        return 0 if last is None else int(last) + 1

    def is_finished(self) -> bool:
        """Whether all its rows are there, so that nothing but publishing them is left."""
        return (
            bool(self.read_facts())
            and self.items_path.exists()
            and all(self.rows_path(wave).exists() for wave in range(self.waves()))
        )

    def write_outdated(self, names: Sequence[str]) -> None:
        """Note the files below the archive that nothing names once the rows are in the tables."""
        _write_json(self.outdated_path, list(names))

    @contextmanager
    def _open_part(self, unit: SurveilUnit) -> Iterator[pq.ParquetFile]:
        """Open a unit's part, and compare what is read of it with its checksums.

        Raises:
            EnvironmentTroubleError: it is missing or damaged.
        """
        path = self.part_path(unit)
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                yield file
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise EnvironmentTroubleError(
                f"{path}: cannot be read ({' '.join(str(error).split())}); repeat the command, which makes "
                "what is damaged anew"
            ) from error

    def read_outdated(self) -> list[str]:
        """Read what `write_outdated` noted; nothing if nobody can say what."""
        return list(_read_json(self.outdated_path) or ())

    def delete_wave(self, wave: int) -> None:
        """Delete what the units of a wave wrote."""
        delete_folder(self.wave_path(wave))

    def delete_waves(self) -> None:
        """Delete all that was made by the items."""
        for path in (self.path / "rows", *self.path.glob("parts/*")):
            if path != self.wave_path(LOOK_WAVE):
                delete_folder(path)

    def delete(self) -> None:
        """Delete the batch's folder, its facts first, so that half a folder is never taken for a batch."""
        self.facts_path.unlink(missing_ok=True)
        delete_folder(self.path)


def _write_json(path: Path, content: Any) -> None:
    said = {"content": content, "crc32": _crc32(content)}
    write_atomically(path, json.dumps(said).encode(), private=True)


def _read_json(path: Path) -> Any:
    """What `_write_json` wrote; None if it is missing or damaged."""
    try:
        said = json.loads(path.read_bytes())
        return said["content"] if said["crc32"] == _crc32(said["content"]) else None
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _crc32(content: Any) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
