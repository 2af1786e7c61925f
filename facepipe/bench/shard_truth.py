"""What scoring compares a shard's samples with: read and worked out once for all conditions."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import Condition, RunSpec, truth_volume_name
from facepipe.core.truth import Topology, Truth, TruthKind
from facepipe.metrics.geometry import Occupancy, TrueFace


class ShardTruth:
    """The references of a shard and what is known about its faces; a sample is read when first asked for.

    Args:
        store: the run's folder.
        condition: the one without loss, of the regressor whose volumes are scored.
        span: first and past-the-last sample.
        spec: the run.
    """

    def __init__(self, spec: RunSpec, store: RunStore, condition: Condition, span: tuple[int, int]) -> None:
        self.images: NDArray[np.uint8] = store.read("reference", *span)
        """uint8 RGB (n, 128, 128, 3)."""
        self._store, self._condition, self._start = store, condition, span[0]
        self._geometry = spec.regressors.get(condition.regressor)
        self._topology: Topology | None = spec.dataset.topology()
        self._faces: dict[int, tuple[Occupancy, TrueFace]] = {}

    def face(self, row: int, kind: TruthKind) -> tuple[Occupancy, TrueFace]:
        """What the regressor made of a sample's reference, and what is known about its face.

        Args:
            row: of the sample in the shard.
            kind: of its truth.
        """
        if row not in self._faces:
            self._faces[row] = self._read(row, kind)
        return self._faces[row]

    def _read(self, row: int, kind: TruthKind) -> tuple[Occupancy, TrueFace]:
        geometry = self._geometry
        if geometry is None:
            raise ValueError("a run without regressors has no volumes to score")
        volume = None
        if kind == "dense" and self._topology is not None:
            volume = self._one(truth_volume_name(geometry), row)
        truth = read_truth(self._store, kind, self._start + row)
        reference = Occupancy.of(self._one(self._condition.volume, row), geometry)
        return reference, TrueFace.of(truth, self._topology, volume, geometry)

    def _one(self, name: str, row: int) -> NDArray[Any]:
        return self._store.read(name, self._start + row, self._start + row + 1)[0]


def read_truth(store: RunStore, kind: TruthKind, index: int) -> Truth:
    """The truth of a sample, in reference coordinates, as degrading left it.

    Args:
        store: the run's folder.
        kind: of the truth.
        index: of the sample.
    """
    if kind == "none":
        return Truth()
    landmarks = store.read("truth/landmarks", index, index + 1)[0]
    has_landmarks = bool(np.isfinite(landmarks[:, :2]).any())
    flat = bool(np.isnan(landmarks[:, 2]).all())
    vertices = store.read("truth/vertices", index, index + 1)[0] if kind == "dense" else None
    return Truth(kind, vertices, (landmarks[:, :2] if flat else landmarks) if has_landmarks else None)


def shard_truth(spec: RunSpec, store: RunStore, condition: Condition, span: tuple[int, int]) -> ShardTruth:
    """What a shard's volumes are compared with; kept until another shard or condition is asked for.

    Args:
        spec: the run.
        store: its folder.
        condition: the one without loss, of the regressor whose volumes are scored.
        span: first and past-the-last sample of the shard.
    """
    made_from = ["reference", "truth/landmarks"] + ([condition.volume] if spec.regressors else [])
    stats = [store.shard_path(name, span[0] // spec.shard_size).stat() for name in made_from]
    state = tuple((stat.st_ino, stat.st_mtime_ns) for stat in stats)
    key = (str(store.path), str(condition), span, state)
    kept = _KEPT.get(key)
    if kept is None:
        kept = ShardTruth(spec, store, condition, span)
        _KEPT.clear()
        _KEPT[key] = kept
    return kept


_KEPT: dict[Hashable, ShardTruth] = {}
"""The one that was last asked for, by what it was made from."""
