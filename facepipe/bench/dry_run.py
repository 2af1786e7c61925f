"""Estimate what a run costs: units from the plan, disk from measured compression, time from a short trial."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from facepipe.bench import stages
from facepipe.bench.config import BenchConfig
from facepipe.bench.driver import describe, plan_shard_batches
from facepipe.bench.spec import STAGES, RunSpec
from facepipe.core.errors import SampleError, UsageError
from facepipe.datasets.dataset import SampleRef
from facepipe.imaging.crop import Crop
from facepipe.metrics.geometry import Occupancy, TrueFace
from facepipe.models.superres.methods import get_method
from facepipe.models.vrn.regressors import get_regressor

TRIAL_SAMPLES = 2


def estimate(config: BenchConfig) -> str:
    """Describe a run that was not started, as lines of text.

    The trial does the work of every stage for the first samples in this process; the time expected is the
    processor's for that, times the samples, over the workers. What else runs on this machine makes no
    difference, and starting workers and writing arrays is not counted.

    Raises:
        UsageError: as `facepipe.bench.driver.prepare`, when the disk budget is too small, or when no sample
            can be used.
    """
    spec = describe(config)
    groups = plan_shard_batches(spec, config.keep, config.disk_gb)
    workers = config.workers or len(os.sched_getaffinity(0))
    seconds = {stage: cost * spec.n_samples / workers for stage, cost in _trial(spec).items()}
    kept = spec.bytes_per_sample() * spec.n_samples / 1e9
    at_once = spec.bytes_per_sample() * spec.shard_size * max(len(group) for group in groups) / 1e9
    rows = spec.n_samples * len(spec.score_conditions())
    units = sum(spec.n_units(stage, range(spec.n_shards)) for stage in STAGES)
    cores = f"{workers} idle core{'s' if workers > 1 else ''}"
    where = f"{cores} {'of' if config.cluster == 'local' else 'like those of'} this machine"
    lines = [
        f"data set    {spec.dataset.name} ({spec.dataset.kind}): {spec.n_samples} images",
        f"methods     {', '.join(spec.methods)}",
        f"regressors  {', '.join(spec.regressors) or 'none'}",
        f"conditions  {len(spec.score_conditions())}, so {rows} rows of scores",
        f"units       {units} in {len(groups)} batch{'es' if len(groups) > 1 else ''} of shards",
        f"disk        {min(kept, at_once):.2f} GB at a time"
        + ("" if config.keep == "scores" else f", {kept:.2f} GB kept"),
        f"time        {_duration(sum(seconds.values()))} of work on {where} ("
        + ", ".join(f"{stage} {_duration(value)}" for stage, value in seconds.items())
        + ")",
    ]
    return "\n".join(lines)


class _Clock:
    """Processor time by stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def counting(self, stage: str, times: int = 1) -> Iterator[None]:
        """Count what is done meanwhile as if it were done so many times."""
        began = time.process_time()
        yield
        self.seconds[stage] += times * (time.process_time() - began)


def _trial(spec: RunSpec) -> dict[str, float]:
    """Seconds of processor time that every stage takes for a sample, measured on the first ones.

    Raises:
        UsageError: no sample can be used.
    """
    refs = list(islice(_usable(spec), TRIAL_SAMPLES))
    if not refs:
        raise UsageError(f"{spec.dataset.name}: none of its {spec.n_samples} images can be used")
    _take_through(spec, refs[0], _Clock())  # networks are loaded and functions compiled once only
    clock = _Clock()
    for ref in refs:
        _take_through(spec, ref, clock)
    return {stage: seconds / len(refs) for stage, seconds in clock.seconds.items()}


def _usable(spec: RunSpec) -> Iterator[SampleRef]:
    for ref in spec.dataset.refs():
        with suppress(SampleError):
            stages.ingest(ref, spec.dataset.load(ref), spec.crop)
            yield ref


def _take_through(spec: RunSpec, ref: SampleRef, clock: _Clock) -> None:
    """Do the work of a run for one sample; of a regressor's volumes only one is timed, for all."""
    with clock.counting("ingest"):
        row = stages.ingest(ref, spec.dataset.load(ref, dense=False), spec.crop)
    crop = Crop(row["crop_x0"], row["crop_y0"], row["crop_size"])
    axes = (spec.degradations, spec.low_px, spec.seed)
    with clock.counting("degrade"):
        sample = spec.dataset.load(ref)
        reference, lowres = stages.make_images(sample, crop, ref.sample_id, *axes)
        truth = stages.truth_in_crop(sample.truth, crop)
    restored = reference
    for condition in spec.restore_conditions():
        with clock.counting("restore"):
            resolver = get_method(condition.method).build(condition.low_px)
            restored = resolver(lowres[condition.degradation, condition.low_px][None])[0]
        with clock.counting("score", times=max(1, len(spec.regressors))):
            stages.score_images(reference, restored, False)
    topology = spec.dataset.topology()
    filled = {}
    if topology is not None:
        for geometry in spec.geometries():
            with clock.counting("degrade"):
                filled[geometry] = stages.make_truth_volume(truth, topology, geometry, spec.filling)
    for name, geometry in spec.regressors.items():
        count = sum(condition.regressor == name for condition in spec.regress_conditions())
        if name in spec.results:
            with clock.counting("regress"):
                volume = stages.external_volume(spec.results[name], ref.sample_id, crop, truth, topology)
            with clock.counting("score"):
                true = TrueFace.of(truth, topology, filled.get(geometry), geometry)
                stages.score_volume(volume, Occupancy.of(volume, geometry), true)
            continue
        network = get_regressor(name).build(backend=spec.backend)
        of_reference = network(reference[None])[0]
        with clock.counting("regress", times=count):
            volume = network(restored[None])[0]
        with clock.counting("score", times=count):
            true = TrueFace.of(truth, topology, filled.get(geometry), geometry)
            stages.score_volume(volume, Occupancy.of(of_reference, geometry), true)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
