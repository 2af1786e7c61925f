"""facepipe: how much of a 3D face survives low resolution, and which super-resolution brings it back.

    import facepipe as fp

    face, = fp.reconstruct("photo.jpg")
    run = fp.bench("photos", out="runs/x", methods=["bicubic", "espcn"], low_px=[16, 32])
    run.scores.to_pandas()

Names are loaded when they are first used; torch when a network is.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facepipe.core.numba_cache import find_cache

if TYPE_CHECKING:
    from facepipe.api.loading import (
        load_method as load_method,
    )
    from facepipe.api.loading import (
        load_metric as load_metric,
    )
    from facepipe.api.loading import (
        load_regressor as load_regressor,
    )
    from facepipe.api.loading import (
        open_dataset as open_dataset,
    )
    from facepipe.api.results import (
        Archive as Archive,
    )
    from facepipe.api.results import (
        Run as Run,
    )
    from facepipe.api.results import (
        open_archive as open_archive,
    )
    from facepipe.api.results import (
        open_run as open_run,
    )
    from facepipe.api.work import (
        Face as Face,
    )
    from facepipe.api.work import (
        bench as bench,
    )
    from facepipe.api.work import (
        reconstruct as reconstruct,
    )
    from facepipe.api.work import (
        surveil as surveil,
    )
    from facepipe.core.conventions import VolumeGeometry as VolumeGeometry
    from facepipe.core.errors import (
        FacepipeError as FacepipeError,
    )
    from facepipe.core.errors import (
        SampleError as SampleError,
    )
    from facepipe.core.errors import (
        UsageError as UsageError,
    )
    from facepipe.core.truth import Topology as Topology
    from facepipe.core.truth import Truth as Truth
    from facepipe.datasets.dataset import (
        Sample as Sample,
    )
    from facepipe.datasets.dataset import (
        SampleRef as SampleRef,
    )
    from facepipe.datasets.dataset import (
        TruthSource as TruthSource,
    )
    from facepipe.geometry.mesh_volume import FaceMesh as FaceMesh
    from facepipe.metrics.catalogue import Metric as Metric
    from facepipe.metrics.inputs import MetricInputs as MetricInputs
    from facepipe.models.superres.script_network import ScriptNetwork as ScriptNetwork

__version__ = "0.1.0"

_PLACES = {
    "api.loading": ("load_method", "load_metric", "load_regressor", "open_dataset"),
    "api.results": ("Archive", "Run", "open_archive", "open_run"),
    "api.work": ("Face",),
    "core.conventions": ("VolumeGeometry",),
    "core.errors": ("FacepipeError", "SampleError", "UsageError"),
    "core.truth": ("Topology", "Truth"),
    "datasets.dataset": ("Sample", "SampleRef", "TruthSource"),
    "geometry.mesh_volume": ("FaceMesh",),
    "metrics.catalogue": ("Metric",),
    "metrics.inputs": ("MetricInputs",),
    "models.superres.script_network": ("ScriptNetwork",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

_ROOMS = ("bench", "reconstruct", "surveil")
"""Packages that are called like functions."""

__all__ = ["__version__", *_MODULES, *_ROOMS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"facepipe.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'facepipe' has no attribute {name!r}")
    return getattr(import_module(f"facepipe.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


find_cache(Path(__file__).parent)
