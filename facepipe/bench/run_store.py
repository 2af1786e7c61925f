"""The folder of a benchmark run: a batch store with run.json, lists of samples and tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from facepipe.core.errors import FacepipeError, RunConflictError, UsageError
from facepipe.core.files import write_atomically
from facepipe.core.locks import is_locked, take_lock
from facepipe.core.schema import SAMPLES, SCORES
from facepipe.pipeline.batch_store import BatchStore

RUN_FORMAT = 1

_REASON = [("reason", pa.string()), ("detail", pa.string())]
INGEST_RESULT = pa.schema([*SAMPLES, *_REASON])
ARRAY_RESULT = pa.schema([("index", pa.int64()), ("seconds", pa.float64()), *_REASON])
"""A row for each sample of a unit that writes arrays."""
SCORE_RESULT = pa.schema([*SCORES, ("index", pa.int64()), *_REASON])


@dataclass(frozen=True)
class RunStore(BatchStore):
    """The folder of one run."""

    schemas: ClassVar[Mapping[str, pa.Schema]] = {
        "ingest": INGEST_RESULT,
        "degrade": ARRAY_RESULT,
        "restore": ARRAY_RESULT,
        "regress": ARRAY_RESULT,
        "score": SCORE_RESULT,
    }

    def result_schema(self, stage: str, table: pa.Schema) -> pa.Schema:
        """The columns of a stage's results; scores may have metrics of plug-ins behind the others."""
        schema = self.schemas[stage]
        if stage != "score":
            return schema
        more = [field for field in table if field.name not in schema.names and field.type == pa.float64()]
        return pa.schema([*schema, *more])

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
    def lists_path(self) -> Path:
        """The data set's lists, as long as the run is not complete."""
        return self.path / "lists"

    @property
    def refs_path(self) -> Path:
        """The accepted candidates, as the data set listed them."""
        return self.lists_path / "refs.parquet"

    @property
    def candidates_path(self) -> Path:
        """All candidates, as the data set listed them."""
        return self.lists_path / "candidates.parquet"

    @property
    def units_path(self) -> Path:
        """The results of the units that wrote the arrays of a complete run, where these were kept."""
        return self.path / "units.parquet"

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

    # -- what is deleted --------------------------------------------------------------------------

    def delete_arrays(self) -> None:
        """Delete all arrays, and what is known of the units that wrote them."""
        shutil.rmtree(self.zarr_path, ignore_errors=True)
        self.units_path.unlink(missing_ok=True)

    def delete_results(self) -> None:
        """Delete what only a run that is not complete needs: the results of all units, and the lists."""
        for folder in (self.results_path, self.lists_path):
            shutil.rmtree(folder, ignore_errors=True)

    def delete_array_results(self) -> None:
        """Delete the results of every stage that reads or writes arrays: they will be done again."""
        for folder in self.results_path.glob("*/"):
            if folder.name != "ingest":
                shutil.rmtree(folder)

    def sweep_temporary(self) -> None:
        """Delete what killed writers left behind; call only while holding the lock."""
        super().sweep_temporary()
        for path in self.lists_path.glob(".*.tmp"):
            path.unlink(missing_ok=True)
