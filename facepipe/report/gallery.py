"""Choose faces of a run from the best to the worst, and read everything that was made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import Condition, truth_volume_name
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import SampleError
from facepipe.geometry.volume import SurfaceMesh, front_depth
from facepipe.metrics.catalogue import Metric
from facepipe.report.meshes import light_mesh
from facepipe.results.runs import read_run_table

N_FACES = 3
MOST_CELLS = 90
"""Restored images of all faces together; more would make the page heavy."""


@dataclass(frozen=True)
class Cell:
    """One image of a face and what was regressed from it.

    Attributes:
        condition: how the image came about; None for the truth, which has no image of its own.
        image: uint8 RGB (128, 128, 3), or None for the truth.
        depth_px: float32 (128, 128) or in the regressor's size, or None without a volume.
        mesh: or None without a volume, or where it is empty.
        scores: the sample's row of the table.
    """

    condition: Condition | None
    image: NDArray[np.uint8] | None
    depth_px: NDArray[np.float32] | None
    mesh: SurfaceMesh | None
    scores: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A face at one degradation and size: the low-resolution image and what each method made of it."""

    degradation: str
    low_px: int
    lowres: NDArray[np.uint8]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Face:
    """A sample of the gallery.

    Attributes:
        sample_id: which.
        rank: 'best', 'median' or 'worst', or '' for a run of one sample.
        value: the mean over conditions by which it was ranked.
        reference: the reference image and its volume.
        truth: the true surface, or None.
        rows: by degradation and size.
    """

    sample_id: str
    rank: str
    value: float
    reference: Cell
    truth: Cell | None
    rows: tuple[Row, ...]


def rank_samples(scores: pa.Table, metric: Metric, count: int) -> list[tuple[str, str, float]]:
    """The best, the median and the worst sample by the mean of a metric over all restored images.

    Args:
        scores: rows of one run.
        metric: by what to rank.
        count: how many: 1 is the median, 2 are best and worst, 3 are all.

    Returns:
        (sample_id, rank, mean), best first.
    """
    restored = scores.filter(pc.not_equal(scores["method"], "reference"))
    restored = restored.filter(pc.is_finite(restored[metric.name]))
    means = restored.group_by("sample_id").aggregate([(metric.name, "mean")])
    pairs = sorted(
        zip(means["sample_id"].to_pylist(), means[f"{metric.name}_mean"].to_pylist(), strict=True),
        key=lambda pair: (-pair[1] if metric.higher_is_better else pair[1], pair[0]),
    )
    if len(pairs) <= 1:
        return [(sample_id, "", value) for sample_id, value in pairs]
    places = {"best": 0, "median": len(pairs) // 2, "worst": len(pairs) - 1}
    wanted = {1: ("median",), 2: ("best", "worst"), 3: ("best", "median", "worst")}[min(count, len(pairs))]
    return [(pairs[places[name]][0], name, pairs[places[name]][1]) for name in wanted]


def read_gallery(store: RunStore, scores: pa.Table, metric: Metric) -> list[Face]:
    """Read the faces of the gallery; none where the run's arrays were not kept.

    Only the first regressor is shown, and as many degradations, sizes and methods as a page can hold.
    """
    conditions = [
        condition
        for condition in dict.fromkeys(_condition(row) for row in _condition_rows(scores))
        if not condition.is_reference
        and store.has_array(condition.restored)
        and store.has_array(condition.lowres)
    ]
    if not conditions or not store.has_array("reference"):
        return []
    conditions = [condition for condition in conditions if condition.regressor == conditions[0].regressor]
    degradations = list(dict.fromkeys(condition.degradation for condition in conditions))
    n_first = sum(condition.degradation == degradations[0] for condition in conditions)
    n_faces = min(max(MOST_CELLS // n_first, 1), N_FACES)
    fitting = degradations[: max(MOST_CELLS // (n_first * n_faces), 1)]
    conditions = [condition for condition in conditions if condition.degradation in fitting][:MOST_CELLS]
    samples = read_run_table(store.samples_path)["sample_id"].to_pylist()
    index_of = {name: i for i, name in enumerate(samples)}
    return [
        _read_face(store, scores, index_of[sample_id], (sample_id, rank, value), conditions)
        for sample_id, rank, value in rank_samples(scores, metric, n_faces)
    ]


def _read_face(
    store: RunStore,
    scores: pa.Table,
    index: int,
    ranked: tuple[str, str, float],
    conditions: Sequence[Condition],
) -> Face:
    own = scores.filter(pc.equal(scores["sample_id"], ranked[0])).to_pylist()
    by_condition = {_condition(row): row for row in own}
    cell = lambda condition: _read_cell(store, index, condition, by_condition.get(condition, {}))  # noqa: E731
    degradations = list(dict.fromkeys(condition.degradation for condition in conditions))
    places = {(c.degradation, c.low_px): c.lowres for c in conditions if c in by_condition}
    rows = [
        Row(
            degradation,
            low_px,
            store.read(places[degradation, low_px], index, index + 1)[0],
            tuple(
                cell(c)
                for c in conditions
                if (c.degradation, c.low_px) == (degradation, low_px) and c in by_condition
            ),
        )
        for degradation, low_px in sorted(places, key=lambda at: (degradations.index(at[0]), at[1]))
    ]
    reference = conditions[0].reference()
    truth = _read_truth(store, index, reference) if own[0]["truth"] == "dense" else None
    return Face(*ranked, cell(reference), truth, tuple(rows))


def _read_cell(store: RunStore, index: int, condition: Condition, scores: Mapping[str, Any]) -> Cell:
    image = store.read(condition.restored, index, index + 1)[0]
    depth_px, mesh = _read_volume(store, condition.volume, index)
    return Cell(condition, image, depth_px, mesh, scores)


def _read_truth(store: RunStore, index: int, reference: Condition) -> Cell | None:
    if not store.has_array(reference.volume):
        return None
    name = truth_volume_name(_geometry(store, reference.volume))
    depth_px, mesh = _read_volume(store, name, index)
    return None if mesh is None else Cell(None, None, depth_px, mesh, {})


def _read_volume(
    store: RunStore, name: str, index: int
) -> tuple[NDArray[np.float32] | None, SurfaceMesh | None]:
    if not store.has_array(name):
        return None, None
    geometry = _geometry(store, name)
    volume = store.read(name, index, index + 1)[0]
    try:
        mesh = light_mesh(volume, geometry)
    except SampleError:
        mesh = None
    return front_depth(volume, geometry), mesh


def _geometry(store: RunStore, name: str) -> VolumeGeometry:
    attributes = store.attributes(name)
    depth, size, _ = store.read(name, 0, 0).shape[1:]
    spacing_z, spacing_y, spacing_x = attributes["spacing"]
    return VolumeGeometry(size, depth, (spacing_z, spacing_y, spacing_x), attributes["z_zero"])


def _condition_rows(scores: pa.Table) -> list[dict[str, Any]]:
    columns = ["degradation", "low_px", "method", "regressor"]
    return scores.select(columns).group_by(columns, use_threads=False).aggregate([]).to_pylist()


def _condition(row: Mapping[str, Any]) -> Condition:
    return Condition(row["degradation"], row["low_px"], row["method"], row["regressor"])
