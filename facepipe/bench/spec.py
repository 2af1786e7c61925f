"""The plan of a run: its conditions, arrays and units."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from facepipe.bench.external_results import ExternalResults
from facepipe.bench.network_fingerprints import (
    detector_fingerprint,
    method_fingerprint,
    regressor_fingerprint,
)
from facepipe.bench.run_store import RunStore
from facepipe.core.conventions import NETWORK_PX, VOLUME_DEPTH, VolumeGeometry
from facepipe.core.plugins import PluginSource, check_installed
from facepipe.core.tables import read_table
from facepipe.datasets.dataset import Dataset
from facepipe.datasets.file_tree import FileTree
from facepipe.models.superres.methods import get_method
from facepipe.models.vrn.backends import Backend
from facepipe.pipeline.batch_store import array_name
from facepipe.pipeline.job import Site
from facepipe.pipeline.stage import UPSTREAM
from facepipe.pipeline.unit import Unit
from facepipe.pipeline.verify import VERIFY
from facepipe.pipeline.worker_check import MAX_FILES, readable

STAGES = ("ingest", "degrade", "restore", "regress", "score")

BYTES_PER_IMAGE_PIXEL = 2.6
"""Measured: uint8 RGB face images under zstd level 1."""

BYTES_PER_VOXEL = 0.105
"""Measured: volumes of `vrn-compact` under zstd level 1 (343 kB for 128 x 128 x 200)."""

BYTES_PER_TRUTH_VOXEL = 0.0085
"""Measured: filled meshes, 0 and 255, in the same way; the largest of some."""

BYTES_PER_VERTEX = 10.8
"""Measured: float32 coordinates of true vertices, 90 % of what they take without compression."""


@dataclass(frozen=True, order=True)
class Condition:
    """degradation x low_px x method x regressor; stages before the last leave the later parts empty."""

    degradation: str = ""
    low_px: int = 0
    method: str = ""
    regressor: str = ""

    @property
    def size_key(self) -> str:
        """Degradation and size, as they stand in the names of arrays."""
        return f"{self.degradation}-{self.low_px}"

    @property
    def key(self) -> tuple[str, ...]:
        """The parts of the condition's path below a stage."""
        if not self.degradation:
            return ("all",)
        return tuple(part for part in (self.size_key, self.method, self.regressor) if part)

    @property
    def lowres(self) -> str:
        """Name of the array of low-resolution images."""
        return array_name("lowres", self.size_key)

    @property
    def restored(self) -> str:
        """Name of the array of restored images; the reference restores nothing."""
        if self.is_reference:
            return "reference"
        return array_name("restored", self.size_key, self.method)

    @property
    def volume(self) -> str:
        """Name of the array of volumes."""
        return array_name("volumes", self.size_key, self.method, self.regressor)

    @property
    def is_reference(self) -> bool:
        """Whether this is the condition without any loss."""
        return self.method == "reference"

    def reference(self) -> Condition:
        """The condition without loss of the same regressor."""
        return Condition("none", NETWORK_PX, "reference", self.regressor)

    def __str__(self) -> str:
        return "/".join(self.key)


BenchUnit = Unit[Condition]


def made_by(condition: Condition, shard: int) -> BenchUnit:
    """The unit that made the images which a regressor sees."""
    if condition.is_reference:
        return Unit("degrade", Condition(), shard)
    return Unit("restore", Condition(condition.degradation, condition.low_px, condition.method), shard)


@dataclass(frozen=True)
class RunSpec:
    """What a worker must know of a run, a `facepipe.pipeline.stage.Batch`. Small: it travels with every unit.

    Attributes:
        path: the run's folder.
        run_id: see `facepipe.bench.driver`; empty before ingest.
        dataset: the opened data set.
        crop: which square the networks see.
        filling: how dense truth becomes a volume.
        seed: seed of random degradations.
        degradations, low_px, methods: the axes, resolved.
        regressors: name -> geometry of its volumes; empty for images only. Results of other programs are
            among them.
        results: name -> the results of another program.
        metrics: names of plug-in metrics.
        backend: what runs regressors.
        keep: 'all' or 'scores': whether arrays stay once their shard is scored.
        shard_size: samples in a shard.
        n_candidates: images listed.
        n_samples: images accepted; 0 before ingest.
        plugins: what comes from other packages, for workers to compare.
        weights: digests of the weights that the run began with, which every worker must have.
    """

    path: Path
    run_id: str
    dataset: Dataset
    crop: str
    filling: str
    seed: int
    degradations: tuple[str, ...]
    low_px: tuple[int, ...]
    methods: tuple[str, ...]
    regressors: Mapping[str, VolumeGeometry]
    metrics: tuple[str, ...]
    backend: Backend
    keep: str
    shard_size: int
    n_candidates: int
    n_samples: int = 0
    results: Mapping[str, ExternalResults] = field(default_factory=dict)
    plugins: tuple[PluginSource, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_shards(self) -> int:
        """Number of shards of the accepted samples."""
        return math.ceil(self.n_samples / self.shard_size)

    @property
    def candidate_shards(self) -> range:
        """The shards of the candidates, which ingest goes through."""
        return range(math.ceil(self.n_candidates / self.shard_size))

    @property
    def gpu_stages(self) -> Collection[str]:
        """The stages that run networks on a GPU; OpenVINO's stay on the CPU."""
        return ("restore",) if self.backend == "openvino" else ("restore", "regress")

    def open_store(self) -> RunStore:
        """The run's folder."""
        return RunStore(self.path)

    @property
    def site(self) -> Site:
        """The run's folder and some of the images that were listed for it."""
        tree: FileTree | None = getattr(self.dataset, "tree", None)
        candidates = self.open_store().candidates_path
        if tree is None or not candidates.exists():
            return Site(self.path)
        table = read_table(candidates)
        rows = table.take(list(range(0, len(table), max(1, len(table) // MAX_FILES)))).to_pylist()
        files = (tree.place(row["source_path"], row["size_bytes"]) for row in rows)
        return Site(self.path, readable(files))

    def fingerprints(self, unit: BenchUnit) -> dict[str, str]:
        """Digests of the weights that a unit uses, as they are where this is asked, named as in an identity.

        Raises:
            UsageError, WeightsError, PluginError: they, or a plug-in, are not there, damaged, or others.
        """
        check_installed(self.plugins)
        condition = unit.condition
        if unit.stage == "ingest" and self.crop == "face":
            return detector_fingerprint()
        if unit.stage == "restore":
            return method_fingerprint(condition.method, condition.low_px)
        is_network = unit.stage == "regress" and condition.regressor in self.networks
        return regressor_fingerprint(condition.regressor) if is_network else {}

    def span(self, unit: BenchUnit) -> tuple[int, int]:
        """First and past-the-last sample of a unit; of those that look at candidates, candidate."""
        total = self.n_candidates if unit.stage in (STAGES[0], VERIFY) else self.n_samples
        start = unit.shard * self.shard_size
        return start, min(start + self.shard_size, total)

    def outcome(self, unit: BenchUnit, rows: pa.Table) -> tuple[int, list[str]]:
        """How many samples a finished unit had, and the reasons of those that it quarantined."""
        start, stop = self.span(unit)
        return stop - start, [why for why in rows["reason"].to_pylist() if why not in (None, UPSTREAM)]

    def verified_together(self, unit: BenchUnit) -> list[BenchUnit]:
        """All units of the shard of a unit, in the order of their stages."""
        stages = STAGES if unit.shard < self.n_shards else STAGES[:1]
        return [
            Unit(stage, condition, unit.shard) for stage in stages for condition in self.conditions(stage)
        ]

    def needs_arrays(self, units: Sequence[BenchUnit], done: Collection[BenchUnit]) -> bool:
        """Whether the arrays of a shard must be there: they may be gone once all of it is scored."""
        return self.keep == "all" or any(unit.stage == STAGES[-1] and unit not in done for unit in units)

    @property
    def networks(self) -> list[str]:
        """The regressors that run here."""
        return [name for name in self.regressors if name not in self.results]

    def restore_conditions(self) -> list[Condition]:
        """Every degradation, size and method that fits it."""
        return [
            Condition(degradation, low_px, method)
            for degradation in self.degradations
            for low_px in self.low_px
            for method in self.methods
            if get_method(method).fits(low_px)
        ]

    def regress_conditions(self) -> list[Condition]:
        """The reference of each regressor first, then every restored condition.

        Results of other programs were made of the photos: they have no other condition.
        """
        references = [Condition("none", NETWORK_PX, "reference", name) for name in self.regressors]
        return references + [
            Condition(c.degradation, c.low_px, c.method, name)
            for name in self.networks
            for c in self.restore_conditions()
        ]

    def score_conditions(self) -> list[Condition]:
        """The rows of the table: with regressors one for each volume, without one for each restored image."""
        if self.regressors:
            return self.regress_conditions()
        return [Condition(c.degradation, c.low_px, c.method, "none") for c in self.restore_conditions()]

    def conditions(self, stage: str) -> list[Condition]:
        """The conditions of a stage."""
        if stage in ("ingest", "degrade"):
            return [Condition()]
        return {
            "restore": self.restore_conditions,
            "regress": self.regress_conditions,
            "score": self.score_conditions,
        }[stage]()

    def n_units(self, stage: str, shards: range) -> int:
        """How many units a stage has for some shards."""
        return len(self.conditions(stage)) * len(shards)

    def units(self, stage: str, shards: range) -> Iterator[BenchUnit]:
        """The units of a stage for some shards: conditions outside, shards inside."""
        return (Unit(stage, condition, shard) for condition in self.conditions(stage) for shard in shards)

    def geometries(self) -> list[VolumeGeometry]:
        """The different geometries among the regressors."""
        return sorted(set(self.regressors.values()), key=lambda geometry: geometry.key)

    def bytes_per_sample(self) -> float:
        """Disk that the arrays of one sample take, estimated from measured compression."""
        pixels = NETWORK_PX**2 + len(self.degradations) * sum(px**2 for px in self.low_px)
        pixels += len(self.restore_conditions()) * NETWORK_PX**2
        voxels = sum(self.regressors[c.regressor].size ** 2 * VOLUME_DEPTH for c in self.regress_conditions())
        return pixels * BYTES_PER_IMAGE_PIXEL + voxels * BYTES_PER_VOXEL + self._truth_bytes_per_sample()

    def _truth_bytes_per_sample(self) -> float:
        topology = self.dataset.topology() if self.regressors else None
        if topology is None:
            return 0.0
        voxels = sum(geometry.size**2 * VOLUME_DEPTH for geometry in self.geometries())
        return topology.n_vertices * BYTES_PER_VERTEX + voxels * BYTES_PER_TRUTH_VOXEL

    def shard_batches(self, disk_gb: float) -> list[range]:
        """Cut the shards into groups whose arrays fit the disk budget."""
        per_shard = self.bytes_per_sample() * self.shard_size
        width = max(1, min(self.n_shards, int(disk_gb * 1e9 / per_shard)))
        return [range(first, min(first + width, self.n_shards)) for first in range(0, self.n_shards, width)]


def truth_volume_name(geometry: VolumeGeometry) -> str:
    """Name of the array of truth volumes in a geometry."""
    return array_name("truth", "volumes", geometry.key)
