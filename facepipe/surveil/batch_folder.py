"""The folder of a batch in work: what it consists of, and what its units made."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from facepipe.core.files import write_atomically
from facepipe.core.tables import read_table, write_table
from facepipe.pipeline.batch_store import BatchStore
from facepipe.pipeline.unit import Unit
from facepipe.surveil.archive import Archive, delete_folder
from facepipe.surveil.detect_stage import DETECTED
from facepipe.surveil.face_stages import EXPORTED, REGRESSED, RESTORED
from facepipe.surveil.look_stage import LOOKED
from facepipe.surveil.spec import FILES_PER_LOOK, WAVE_FACES, WHOLE, Wave


@dataclass(frozen=True)
class SurveilStore(BatchStore):
    """The arrays and unit results of a batch."""

    schemas: ClassVar[Mapping[str, pa.Schema]] = {
        "look": LOOKED,
        "detect": DETECTED,
        "restore": RESTORED,
        "regress": REGRESSED,
        "export": EXPORTED,
    }


@dataclass(frozen=True)
class BatchFolder:
    """A batch on disk; what exists in it is complete.

        batch.json          when it began, under which rules
        listed.parquet      the files to look at
        items.parquet       its new inputs, cut
        unit_results/       <stage>/<wave>/unit-<shard>.parquet
        faces/              <wave>.parquet, the faces of a wave that are to be restored
        store.zarr/         arrays; where the archive keeps pixels, these lie there
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

    @property
    def results(self) -> BatchStore:
        """The results of its units."""
        return SurveilStore(self.path, private=True)

    def read_looked(self) -> pa.Table:
        """What look said of every file of the batch.

        Raises:
            EnvironmentTroubleError: a unit's result is missing or damaged.
        """
        units = (Unit("look", WHOLE, shard) for shard in range(self.look_shards()))
        return pa.concat_tables(map(self.results.read_result, units))

    def look_shards(self) -> int:
        """How many shards of files there are to look at."""
        return math.ceil(read_table(self.listed_path).num_rows / FILES_PER_LOOK)

    def rows_path(self, wave: int) -> Path:
        """The rows of a finished wave."""
        return self.path / "rows" / f"{wave:06d}.parquet"

    def faces_path(self, wave: Wave) -> Path:
        """The faces of a wave that are to be restored."""
        return self.path / "faces" / f"{wave.key[0]}.parquet"

    def list_faces(self, wave: Wave) -> None:
        """Number the faces of a wave, all of which detect has found: from then on its arrays have a size.

        Raises:
            EnvironmentTroubleError: a unit's result is missing or damaged.
        """
        faces: list[dict[str, Any]] = []
        for shard in self.shards(wave.number):
            rows = self.results.read_result(Unit("detect", wave, shard))
            cut = rows.filter(rows["crop_px"].is_valid()).select(["index", "face_id", "crop_px"])
            faces += [
                {"face_id": row["face_id"], "crop_px": row["crop_px"], "shard": shard, "row": row["index"]}
                | {"index": len(faces) + place, "crop": place}
                for place, row in enumerate(cut.to_pylist())
            ]
        write_table(self.faces_path(wave), pa.Table.from_pylist(faces, WAVE_FACES), private=True)

    def read_faces(self, wave: Wave) -> pa.Table:
        """What `list_faces` wrote: rows of `WAVE_FACES`."""
        return read_table(self.faces_path(wave))

    def count_faces(self, wave: Wave) -> int:
        """How many faces of a wave are to be restored."""
        return int(self.read_faces(wave).num_rows)

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

    def read_outdated(self) -> list[str]:
        """Read what `write_outdated` noted; nothing if nobody can say what."""
        return list(_read_json(self.outdated_path) or ())

    def forget_wave(self, wave: Wave) -> None:
        """Delete the results of the units of a wave."""
        for folder in self.results.results_path.glob(f"*/{wave.key[0]}"):
            delete_folder(folder)

    def forget_waves(self) -> None:
        """Delete all that was made by the items."""
        for path in (self.path / "rows", *self.results.results_path.glob("*")):
            if path.name != "look":
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
