"""Methods, regressors, metrics and data sets by name, ready to be called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.bench.stages import score_images, score_volume
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import UsageError
from facepipe.core.names import unknown
from facepipe.core.plugins import plugin_names
from facepipe.datasets.catalog import open_dataset as _open_dataset
from facepipe.datasets.dataset import Dataset
from facepipe.metrics.catalogue import METRICS, Metric
from facepipe.metrics.geometry import Occupancy, TrueFace
from facepipe.metrics.inputs import MetricInputs
from facepipe.metrics.plugin_metric import Measure, open_metric_plugin
from facepipe.models.superres.base import Method
from facepipe.models.superres.methods import get_method
from facepipe.models.vrn.backends import Backend
from facepipe.models.vrn.base import VolumeRegressor
from facepipe.models.vrn.regressors import get_regressor

Image8 = NDArray[np.uint8]


@dataclass(frozen=True)
class LoadedMethod:
    """A super-resolution method.

    Attributes:
        method: which.
        device: where its network runs.
    """

    method: Method
    device: str

    @property
    def name(self) -> str:
        """What the tables call it."""
        return self.method.name

    def fits(self, low_px: int) -> bool:
        """Whether it restores images of this side."""
        return self.method.fits(low_px)

    def __call__(self, lowres: Image8) -> Image8:
        """Restore uint8 RGB (N, h, h, 3) or (h, h, 3) to (N, 128, 128, 3) or (128, 128, 3).

        Raises:
            UsageError: the images are of another shape, or of a size that the method does not fit.
        """
        images = lowres if lowres.ndim == 4 else lowres[None]
        if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            raise UsageError(f"{self.name}: expected uint8 RGB (N, h, h, 3), got {lowres.shape}")
        restored = self.method.build(images.shape[1], self.device)(images)
        return restored if lowres.ndim == 4 else restored[0]


@dataclass(frozen=True)
class LoadedRegressor:
    """A regressor.

    Attributes:
        name: what the tables call it.
        geometry: where its voxels lie.
    """

    name: str
    geometry: VolumeGeometry
    _network: VolumeRegressor

    def __call__(self, images: Image8) -> Image8:
        """Regress uint8 RGB (N, 128, 128, 3), or one image, to uint8 occupancy (N, D, H, W), or (D, H, W)."""
        return self._network(images) if images.ndim == 4 else self._network(images[None])[0]


@dataclass(frozen=True)
class LoadedMetric:
    """A metric.

    Attributes:
        description: what it is: unit, range, direction, formula, source, and what it needs.
    """

    description: Metric
    _measure: Measure

    def __call__(self, **inputs: Any) -> float | None:
        """Compute it; None where it is undefined.

        Args:
            inputs: fields of `facepipe.metrics.inputs.MetricInputs`, images at least:
                `reference` and `restored`, uint8 RGB (128, 128, 3); `volume`, `geometry` and `truth` with its
                `topology` and `truth_volume`, or `reference_volume`, for metrics of shape.

        Raises:
            UsageError: what it needs is not among the inputs.
        """
        given = MetricInputs(**inputs)
        if not given.has(self.description.needs):
            raise UsageError(
                f"metric {self.description.name!r} needs {self.description.needs}: got {', '.join(inputs)}"
            )
        return self._measure(given)


def load_method(name: str, device: str = "cpu") -> LoadedMethod:
    """Load a super-resolution method: 'bicubic', weights of that name, 'file:PATH', a plug-in.

    Raises:
        UsageError: there is none of that name; the message suggests a near one.
        WeightsError: its weights are missing or damaged.
    """
    return LoadedMethod(get_method(name), device)


def load_regressor(
    name: str = "vrn-compact", device: str = "cpu", backend: Backend = "torch"
) -> LoadedRegressor:
    """Load a regressor: weights of that name, or a plug-in.

    Raises:
        UsageError: there is none of that name; the message suggests a near one.
        WeightsError: its weights are missing or damaged.
    """
    regressor = get_regressor(name)
    return LoadedRegressor(regressor.name, regressor.geometry, regressor.build(device, backend))


def load_metric(name: str, device: str = "cpu") -> LoadedMetric:
    """Load a metric: a column of the scores, or a plug-in.

    Raises:
        UsageError: there is none of that name; the message suggests a near one.
    """
    if name in METRICS:
        return LoadedMetric(METRICS[name], lambda inputs: _measure_own(name, inputs))
    if name in plugin_names("metric") or ":" in name:
        metric = open_metric_plugin(name)
        return LoadedMetric(metric.description, metric.build(device))
    raise unknown("metric", name, [*METRICS, *plugin_names("metric"), "module:object"])


def open_dataset(path_or_name: str | Path = "sample", kind: str = "auto", **options: Any) -> Dataset:
    """Open a data set, see `facepipe.datasets.catalog.open_dataset`."""
    return _open_dataset(path_or_name, kind, **options)


def _measure_own(name: str, inputs: MetricInputs) -> float | None:
    if METRICS[name].needs == "reference image":
        return score_images(inputs.reference, inputs.restored, is_reference=False)[name]
    if inputs.volume is None or inputs.geometry is None or inputs.truth is None:
        raise UsageError(f"metric {name!r} needs a volume, its geometry and a truth")
    reference = inputs.volume if inputs.reference_volume is None else inputs.reference_volume
    true = TrueFace.of(inputs.truth, inputs.topology, inputs.truth_volume, inputs.geometry)
    return score_volume(inputs.volume, Occupancy.of(reference, inputs.geometry), true).get(name)
