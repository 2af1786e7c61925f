"""The part of `facepipe models evaluate` that is about super-resolvers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facepipe.cli.figures import Tables, record_figures, refuse_recording
from facepipe.conventions import NETWORK_PX
from facepipe.datasets.base import Dataset
from facepipe.datasets.crops import crop_for
from facepipe.degrade import degrade, make_reference
from facepipe.errors import SampleError, UsageError
from facepipe.progress import progress
from facepipe.superres.methods import known_methods, open_network
from facepipe.weights import open_weights

if TYPE_CHECKING:
    from facepipe.superres.evaluate import Pair

DEFAULT_DEGRADATION = "area"


def is_super_resolver(name_or_file: str) -> bool:
    """Whether this is the name of a method, or the path of weights of kind 'superres'."""
    if name_or_file.endswith(".safetensors"):
        return open_weights(Path(name_or_file)).info.kind == "superres"
    return name_or_file in known_methods()


def evaluate_super_resolver(
    name: str, dataset: str, crop_mode: str, limit: int | None, device: str, record: str | None
) -> Tables:
    """Compare restored images of a data set with their references, beside bicubic interpolation.

    Raises:
        UsageError: no sample can be used, or the figures are to be written into weights that ship.
    """
    from facepipe.datasets.catalog import open_dataset
    from facepipe.superres.evaluate import compare

    network = open_network(name)
    info = network.file.info
    refuse_recording(network.file, record)
    opened = open_dataset(dataset)
    count = min(len(opened.refs()), limit or len(opened.refs()))
    low_px = NETWORK_PX // (info.scale or 1)
    degradation = info.degradation or DEFAULT_DEGRADATION
    with progress("images", count) as advance:
        pairs = []
        for pair in _pairs(opened, crop_mode, count, degradation, low_px):
            pairs.append(pair)
            advance(1)
    if not pairs:
        raise UsageError(f"{dataset}: none of its {count} samples can be used")
    tables = {f"{degradation} {low_px} px": compare(network.build(low_px, device), pairs)}
    record_figures(network.file, record, tables)
    return tables


def _pairs(dataset: Dataset, crop_mode: str, count: int, degradation: str, low_px: int) -> Iterator[Pair]:
    from facepipe.superres.evaluate import Pair

    for ref in dataset.refs()[:count]:
        try:
            sample = dataset.load(ref)
            square = crop_for(sample, crop_mode).cut(sample.image)
        except SampleError as error:
            click.echo(f"left out: {ref.sample_id}, {error}", err=True)
            continue
        yield Pair(degrade(square, degradation, low_px, 0, ref.sample_id), make_reference(square))
