"""A change of an archive's tables: it happens at once or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.core.tables import write_tables
from facepipe.surveil.archive import Archive, read_part


class TableChange:
    """Files to add to tables and to take from them; `commit` makes it so.

    Args:
        archive: whose tables; its lock must be held until the end.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._facts = archive.read_facts()
        self._added: list[Path] = []
        self._dropped: list[Path] = []

    def add(self, folder: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
        """Write rows as a new file of a table's folder; no file where there are none."""
        name = f"part-{self._facts.change + 1:08d}-{len(self._added):06d}.parquet"
        path = folder / name
        if write_tables(path, tables, schema, private=True):
            self._added.append(path)
        else:
            path.unlink()

    def drop(self, part: Path) -> None:
        """Take a file from its table."""
        self._dropped.append(part)

    def rewrite(self, part: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
        """Put other rows in the place of those of a file."""
        self.drop(part)
        self.add(part.parent, tables, schema)

    def merge(self, folder: Path, parts: list[Path], schema: pa.Schema, small_rows: int) -> None:
        """Merge the newest files of a folder into one, as far back as they have fewer rows than that."""
        tail: list[Path] = []
        for part in reversed(parts if len(parts) > 1 else []):
            if pq.read_metadata(part).num_rows >= small_rows:
                break
            tail.insert(0, part)
        if len(tail) > 1:
            for part in tail:
                self.drop(part)
            rows = (pa.Table.from_batches([batch]) for part in tail for batch in read_part(part))
            self.add(folder, rows, schema)

    def commit(self, batch: int | None = None) -> None:
        """Make the change, and delete the files that it dropped.

        Args:
            batch: the number of a batch that is over: its rows are in the tables, or never will be.
        """
        if not (self._added or self._dropped or batch):
            return
        dropped = {self._name(path) for path in self._dropped}
        kept = (name for name in self._facts.parts if name not in dropped)
        self._archive.write_facts(
            replace(
                self._facts,
                change=self._facts.change + 1,
                batch=max(batch or 0, self._facts.batch),
                parts=tuple(sorted([*kept, *map(self._name, self._added)])),
            )
        )
        for path in self._dropped:
            path.unlink(missing_ok=True)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._archive.path).as_posix()
