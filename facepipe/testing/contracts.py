"""What every plug-in has to keep to, checked on a few images."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import SampleError
from facepipe.core.plugins import Plugin
from facepipe.core.truth import Topology, Truth
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.sample import SampleDataset
from facepipe.geometry.voxelise import voxelise
from facepipe.imaging.degrade import degrade, make_reference
from facepipe.metrics.inputs import MetricInputs
from facepipe.metrics.plugin_metric import open_metric_plugin
from facepipe.models.superres.plugin_method import open_method_plugin
from facepipe.models.vrn.plugin_regressor import open_regressor_plugin

Image8 = NDArray[np.uint8]

SIZES = (16, 32, 64)
"""Sides of low-resolution images that a method is tried at."""


class ContractError(AssertionError):
    """A plug-in does not keep to its contract."""


def check_method(name: str) -> None:
    """Check a super-resolution method.

    It declares a licence and sizes, restores at least one of 16, 32 and 64 px, gives equal images for equal
    ones, each image's result is independent of the others, it leaves its input alone, and it pickles.

    Raises:
        ContractError: one of these is not so.
        PluginError: it cannot be imported or lacks what the protocol asks for.
        PluginFailedError: it fails, or gives another shape or type.
    """
    method = open_method_plugin(name)
    _declares(method.plugin)
    sizes = [px for px in SIZES if method.fits(px)]
    if not sizes:
        raise ContractError(f"{name}: fits none of {SIZES} px")
    if method.fits(0) or method.fits(NETWORK_PX + 1):
        raise ContractError(f"{name}: claims to fit 0 px or more than {NETWORK_PX} px")
    for px in sizes:
        lowres = np.stack([degrade(face, "area", px, 0, "") for face in _faces()])
        _check_images(f"{name} at {px} px", method.build(px), lowres, method.plugin)
    if method.fingerprint(sizes[0]) != open_method_plugin(name).fingerprint(sizes[0]):
        raise ContractError(f"{name}: two fingerprints of the same plug-in differ")


def check_regressor(name: str) -> None:
    """Check a regressor: as `check_method`, on images of 128 px.

    Raises:
        ContractError: one of these is not so, or all its volumes of faces are empty.
        PluginError: it cannot be imported or lacks what the protocol asks for.
        PluginFailedError: it fails, or gives another shape or type.
    """
    regressor = open_regressor_plugin(name)
    _declares(regressor.plugin)
    faces = np.stack([make_reference(face) for face in _faces()])
    volumes = _check_images(name, regressor.build(), faces, regressor.plugin)
    if not (volumes >= 128).any():
        raise ContractError(f"{name}: its volumes of {len(faces)} faces are all empty")
    if regressor.fingerprint() != open_regressor_plugin(name).fingerprint():
        raise ContractError(f"{name}: two fingerprints of the same plug-in differ")


def check_metric(name: str) -> None:
    """Check a metric.

    It declares a licence, a range and a direction; a perfect result is at least as good as a spoilt one and
    has the bound, where the better end of the range is finite; equal inputs give equal values; what it needs
    and is missing gives None.

    Raises:
        ContractError: one of these is not so.
        PluginError: it cannot be imported or lacks what the protocol asks for.
        PluginFailedError: it fails, or leaves its range.
    """
    metric = open_metric_plugin(name)
    _declares(metric.plugin)
    description, measure = metric.description, metric.build()
    perfect, spoilt = _inputs(spoilt=False), _inputs(spoilt=True)
    best, worse = measure(perfect), measure(spoilt)
    if best is None or worse is None:
        raise ContractError(f"{name}: undefined for a face with {description.needs}")
    if metric.plugin.source.deterministic and measure(spoilt) != worse:
        raise ContractError(f"{name}: another value for equal inputs")
    sign = 1 if description.higher_is_better else -1
    if sign * best < sign * worse:
        raise ContractError(f"{name}: {best:g} for a perfect result, {worse:g} for a spoilt one")
    bound = description.high if description.higher_is_better else description.low
    if bound is not None and abs(best - bound) > 1e-3 * max(1.0, abs(bound)):
        raise ContractError(f"{name}: {best:g} for a perfect result; the range ends at {bound:g}")
    bare = MetricInputs(perfect.reference, perfect.restored)
    if description.needs != "reference image" and measure(bare) is not None:
        raise ContractError(f"{name}: a value without {description.needs}")


def check_dataset(name: str, root: Path, **options: Any) -> None:
    """Check a data set.

    It lists samples with ids of their own in the same order every time, loads at least one, its images are
    uint8 RGB, truth has the shapes that its kind says, and it pickles.

    Args:
        name: of the plug-in.
        root: a folder or file that it reads.
        options: of `facepipe.datasets.catalog.open_dataset`.

    Raises:
        ContractError: one of these is not so.
        PluginError: it cannot be imported or lacks what the protocol asks for.
    """
    dataset = open_dataset(root, name, **options)
    refs = dataset.refs()
    ids = [ref.sample_id for ref in refs]
    if not ids or len(set(ids)) != len(ids):
        raise ContractError(f"{name}: {len(ids)} samples with {len(set(ids))} ids")
    again = pickle.loads(pickle.dumps(dataset))
    if again.refs() != refs:
        raise ContractError(f"{name}: lists other samples after pickling")
    usable = 0
    for ref in refs:
        try:
            sample = dataset.load(ref)
        except SampleError:
            continue
        usable += 1
        _check_sample(f"{name}, {ref.sample_id}", sample.image, sample.truth, dataset.topology())
    if not usable:
        raise ContractError(f"{name}: not one of {len(refs)} samples can be used")
    if not dataset.truth_source().description:
        raise ContractError(f"{name}: does not say where its truth comes from")


def _declares(plugin: Plugin) -> None:
    if not plugin.source.licence.strip():
        raise ContractError(f"{plugin.source.name}: names no licence")


def _check_images(name: str, run: Callable[[Image8], Image8], images: Image8, plugin: Plugin) -> Image8:
    """Run a plug-in on a batch, again, and image by image."""
    before = images.copy()
    results = run(images)
    if (images != before).any():
        raise ContractError(f"{name}: changes the images that it is given")
    if plugin.source.deterministic:
        if (run(images) != results).any():
            raise ContractError(f"{name}: another result for equal images")
        for image, result in zip(images, results, strict=True):
            if (run(image[None])[0] != result).any():
                raise ContractError(f"{name}: an image's result depends on its neighbours in the batch")
        if (pickle.loads(pickle.dumps(run))(images[:1])[0] != results[0]).any():
            raise ContractError(f"{name}: another result after pickling")
    return results


def _check_sample(name: str, image: Image8, truth: Truth, topology: Topology | None) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ContractError(f"{name}: expected uint8 RGB (H, W, 3), got {image.dtype} {image.shape}")
    points = truth.landmarks
    wanted = {"dense": 3, "landmarks3d": 3, "landmarks2d": 2}.get(truth.kind)
    if points is not None and points.shape not in ((68, 2), (68, 3)):
        raise ContractError(f"{name}: landmarks {points.shape}, expected (68, 2) or (68, 3)")
    if truth.kind.startswith("landmarks") and (points is None or points.shape[1] != wanted):
        raise ContractError(f"{name}: truth {truth.kind} without such landmarks")
    if truth.kind == "dense" and (truth.vertices is None or topology is None):
        raise ContractError(f"{name}: truth dense without vertices or without a topology")


def _faces() -> list[Image8]:
    dataset = SampleDataset()
    return [dataset.load(ref, dense=False).image for ref in dataset.refs()[:2]]


def _inputs(spoilt: bool) -> MetricInputs:
    """A face with everything known about it, judged perfect or spoilt."""
    dataset = SampleDataset()
    sample = dataset.load(dataset.refs()[0])
    geometry = VolumeGeometry(32, 50, (1 / 3, 1.0, 1.0), 25.0)
    reference = make_reference(sample.image)
    scale = NETWORK_PX / sample.image.shape[0]
    truth = Truth(
        "dense",
        None if sample.truth.vertices is None else sample.truth.vertices * np.float32(scale),
        None if sample.truth.landmarks is None else sample.truth.landmarks * np.float32(scale),
    )
    topology = dataset.topology()
    volume = _filled(truth, topology, geometry)
    shown = reference
    judged = volume
    if spoilt:
        shown = np.clip(np.roll(reference, 5, axis=1).astype(int) + 20, 0, 255).astype(np.uint8)
        judged = np.roll(volume, (4, 3, 3), axis=(0, 1, 2))
    return MetricInputs(reference, shown, judged, volume, geometry, truth, topology, volume)


def _filled(truth: Truth, topology: Topology, geometry: VolumeGeometry) -> Image8:
    if truth.vertices is None:
        raise ContractError("the sample set has no dense truth")
    return voxelise(truth.vertices, topology.solid, geometry)
