"""Finished runs and archives as tables and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facepipe.bench.driver import load_spec
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import Condition, RunSpec
from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import UsageError
from facepipe.core.names import unknown
from facepipe.geometry.volume import front_depth
from facepipe.metrics.catalogue import Metric
from facepipe.report.page import write_report
from facepipe.results.aggregate import ConditionSummary, aggregate
from facepipe.results.query import ask_table
from facepipe.results.runs import open_store, read_metrics, read_run_table, read_scores
from facepipe.results.table import result_table_text

Image8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Run:
    """A benchmark run in a folder.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def scores(self) -> pa.Table:
        """A row for each face and condition; `to_pandas()` where pandas is installed, `polars.from_arrow`."""
        return read_scores(self.path)

    @property
    def samples(self) -> pa.Table:
        """A row for each face: where it comes from, its crop, pose and skin tone."""
        return read_run_table(self._store.samples_path)

    @property
    def failures(self) -> pa.Table:
        """A row for each face that could not be used, with the reason."""
        return read_run_table(self._store.failures_path)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What run.json says: configuration, versions, weights, plug-ins, counts."""
        return open_store(self.path).facts

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What each metric's column means, those of plug-ins too."""
        return read_metrics(self.path)

    def summary(self) -> list[ConditionSummary]:
        """Mean and 95 % interval of every metric in every condition."""
        return aggregate(self.scores)

    def query(self, sql: str) -> pa.Table:
        """Ask the tables a question in SQL; the views are scores, samples, failures and runs."""
        return ask_table(self.path, sql)

    def report(self) -> Path:
        """Write the report page and return its path."""
        return write_report(self.path)

    def reference(self, sample_id: str) -> Image8:
        """uint8 RGB (128, 128, 3), the image without loss."""
        return self._read("reference", sample_id)

    def lowres(self, sample_id: str, *, low_px: int, degradation: str | None = None) -> Image8:
        """uint8 RGB (low_px, low_px, 3); without a degradation the run's first."""
        return self._read(self._condition("", low_px, degradation, None).lowres, sample_id)

    def restored(self, sample_id: str, *, method: str, low_px: int, degradation: str | None = None) -> Image8:
        """uint8 RGB (128, 128, 3), what a method made of the low-resolution image."""
        return self._read(self._condition(method, low_px, degradation, None).restored, sample_id)

    def volume(
        self,
        sample_id: str,
        *,
        method: str = "reference",
        low_px: int | None = None,
        degradation: str | None = None,
        regressor: str | None = None,
    ) -> Image8:
        """uint8 occupancy (D, H, W), what a regressor made of a restored image.

        Args:
            sample_id: which face.
            method: what restored it; 'reference' for the image without loss.
            low_px: side of the low-resolution image; not for the reference.
            degradation, regressor: the run's first where they are not given.

        Raises:
            UsageError: the run has no such sample, condition or arrays.
        """
        return self._read(self._condition(method, low_px, degradation, regressor, True).volume, sample_id)

    def depth_px(self, sample_id: str, **condition: Any) -> NDArray[np.float32]:
        """(H, W), z of the volume's front surface in reference pixels, NaN where there is none.

        Args:
            sample_id: which face.
            condition: as `volume` takes it.
        """
        regressor = condition.get("regressor") or next(iter(self._spec.regressors), "")
        return front_depth(self.volume(sample_id, **condition), self.geometry(regressor))

    def geometry(self, regressor: str | None = None) -> VolumeGeometry:
        """Where the voxels of a regressor's volumes lie; of the run's first where none is named."""
        known = self._spec.regressors
        name = regressor or next(iter(known), "none")
        if name not in known:
            raise unknown("regressor", name, known)
        return known[name]

    @property
    def _store(self) -> RunStore:
        return open_store(self.path).store

    @cached_property
    def _spec(self) -> RunSpec:
        return load_spec(self._store)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.samples["sample_id"].to_pylist())}

    def _condition(
        self,
        method: str,
        low_px: int | None,
        degradation: str | None,
        regressor: str | None,
        regressed: bool = False,
    ) -> Condition:
        spec = self._spec
        if regressed:
            self.geometry(regressor)
            regressor = regressor or next(iter(spec.regressors))
        if method == "reference":
            return Condition("none", NETWORK_PX, "reference", regressor or "")
        degradation = degradation or spec.degradations[0]
        for kind, name, known in (
            ("degradation", degradation, spec.degradations),
            ("low_px", str(low_px), [str(px) for px in spec.low_px]),
            ("method", method, ("", *spec.methods)),
        ):
            if name not in known:
                raise unknown(kind, name, [value for value in known if value])
        return Condition(degradation, int(low_px or 0), method, regressor or "")

    def _read(self, array: str, sample_id: str) -> Any:
        if sample_id not in self._index:
            raise unknown("sample", sample_id, self._index)
        if not self._store.has_array(array):
            raise UsageError(
                f"{self.path}: no array {array}: it was cleaned, or the run kept only its tables"
            )
        row = self._index[sample_id]
        return self._store.read(array, row, row + 1)[0]

    def __str__(self) -> str:
        return result_table_text(self.path, styled=False)


@dataclass(frozen=True)
class Archive:
    """A surveillance archive in a folder.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def faces(self) -> pa.Table:
        """A row for each face, and one for each frame or file without a usable face."""
        return self.query("select * from faces")

    @property
    def stages(self) -> pa.Table:
        """How fast each stage of each run was."""
        return self.query("select * from stages")

    def query(self, sql: str) -> pa.Table:
        """Ask the tables a question in SQL; the views are faces and stages."""
        return ask_table(self.path, sql)


def open_run(path: str | Path) -> Run:
    """Open a benchmark run.

    Raises:
        UsageError: there is none.
        FacepipeError: its run.json is damaged.
    """
    return Run(open_store(Path(path)).store.path)


def open_archive(path: str | Path) -> Archive:
    """Open a surveillance archive.

    Raises:
        UsageError: there is none.
    """
    from facepipe.surveil.archive import Archive as Folder

    if not Folder(Path(path)).exists():
        raise UsageError(f"{path}: no archive here; `facepipe surveil INBOX --out ARCHIVE` makes one")
    return Archive(Path(path))
