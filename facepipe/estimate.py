"""What a run will cost: counts from the plan, disk from measured compression, time from a short trial."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from facepipe import stages
from facepipe.config import BenchConfig
from facepipe.conventions import NETWORK_PX
from facepipe.crop import Crop
from facepipe.datasets.base import Sample
from facepipe.errors import SampleError
from facepipe.plan import STAGES, RunSpec
from facepipe.runner import describe, plan_waves
from facepipe.superres.methods import get_method
from facepipe.truth import Truth
from facepipe.vrn.regressors import get_regressor

TRIAL_IMAGES = 8


def estimate(config: BenchConfig) -> str:
    """Describe a run that was not started, as lines of text.

    The trial takes every stage through a few images in this process on one thread; the time expected is
    that, times the samples, over the workers.

    Raises:
        UsageError: as `facepipe.runner.prepare`, or when the disk budget is too small.
    """
    spec = describe(config)
    groups = plan_waves(spec, config.keep, config.disk_gb)
    workers = config.workers or len(os.sched_getaffinity(0))
    seconds = {stage: cost * spec.n_samples / workers for stage, cost in _trial(spec).items()}
    kept = spec.bytes_per_sample() * spec.n_samples / 1e9
    at_once = spec.bytes_per_sample() * spec.shard_size * max(len(group) for group in groups) / 1e9
    rows = spec.n_samples * len(spec.score_conditions())
    units = sum(len(spec.units(stage, range(spec.n_shards))) for stage in STAGES)
    where = (
        f"{workers} workers" if config.cluster == "local" else f"{workers} workers like this machine's cores"
    )
    lines = [
        f"data set    {spec.dataset.name} ({spec.dataset.kind}): {spec.n_samples} images",
        f"methods     {', '.join(spec.methods)}",
        f"regressors  {', '.join(spec.regressors) or 'none'}",
        f"conditions  {len(spec.score_conditions())}, so {rows} rows of scores",
        f"units       {units} in {len(groups)} wave{'s' if len(groups) > 1 else ''}",
        f"disk        {min(kept, at_once):.2f} GB at a time"
        + ("" if config.keep == "scores" else f", {kept:.2f} GB kept"),
        f"time        {_duration(sum(seconds.values()))} on {where} ("
        + ", ".join(f"{stage} {_duration(value)}" for stage, value in seconds.items())
        + ")",
    ]
    return "\n".join(lines)


def _trial(spec: RunSpec) -> dict[str, float]:
    """Seconds per sample of every stage, measured on this machine."""
    images = np.random.default_rng(0).integers(0, 256, (TRIAL_IMAGES, NETWORK_PX, NETWORK_PX, 3), np.uint8)
    cost = dict.fromkeys(STAGES, 0.0)
    for ref in spec.dataset.refs():
        try:
            sample, loading = _timed(lambda ref=ref: spec.dataset.load(ref))
            row, framing = _timed(lambda ref=ref, sample=sample: stages.ingest(ref, sample, spec.crop))
        except SampleError:
            continue
        cost["ingest"] = loading + framing
        cost["degrade"] = loading + _degrading(spec, sample, row)
        break
    for condition in spec.restore_conditions():
        small = np.ascontiguousarray(images[:, : condition.low_px, : condition.low_px])
        resolver = get_method(condition.method).build(condition.low_px)
        resolver(small)
        cost["restore"] += _timed(lambda small=small, resolver=resolver: resolver(small))[1] / TRIAL_IMAGES
    per_image = _timed(lambda: stages.score_images(images[0], images[1], False))[1]
    cost["score"] = per_image * len(spec.score_conditions())
    for name, geometry in spec.regressors.items():
        network = get_regressor(name).build(backend=spec.backend)
        network(images)
        volumes, seconds = _timed(lambda network=network: network(images))
        n_conditions = sum(condition.regressor == name for condition in spec.regress_conditions())
        cost["regress"] += seconds / TRIAL_IMAGES * n_conditions
        scoring = _timed(
            lambda v=volumes, g=geometry: stages.score_volume(v[0], v[1], g, Truth(), None, None)
        )[1]
        cost["score"] += scoring * n_conditions
    return cost


def _degrading(spec: RunSpec, sample: Sample, row: Mapping[str, Any]) -> float:
    """Seconds that the images of one sample take."""
    crop = Crop(row["crop_x0"], row["crop_y0"], row["crop_size"])
    axes = (spec.degradations, spec.low_px, spec.seed)
    return float(_timed(lambda: stages.make_images(sample, crop, "trial", *axes))[1])


def _timed(work: Callable) -> tuple:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
