"""The part of `facepipe models evaluate` that is about super-resolvers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from facepipe.cli.evaluation_images import Images
from facepipe.cli.weights_figures import Measured, refuse_recording
from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import UsageError
from facepipe.core.progress import progress
from facepipe.models.superres.methods import known_methods, open_network
from facepipe.models.weights import weights_at

if TYPE_CHECKING:
    from facepipe.lab.superres.evaluate import Pair, Source

DEFAULT_DEGRADATION = "area"


def is_super_resolver(name_or_file: str) -> bool:
    """Whether this is the name of a method, or the path of weights of kind 'superres'."""
    file = weights_at(name_or_file)
    return name_or_file in known_methods() if file is None else file.info.kind == "superres"


def evaluate_super_resolver(
    name: str, images: Images, degradations: Sequence[str], device: str, record: str | None
) -> Measured:
    """Compare restored images with their references, beside bicubic interpolation.

    Args:
        name: a method with weights, or a weights file.
        images: where the references come from.
        degradations: none for the one that the network was trained on.
        device: a torch device.
        record: refuse to go on if there is a title and the weights ship.

    Raises:
        UsageError: no sample can be used, or the figures are to be written into weights that ship.
    """
    from facepipe.lab.superres.evaluate import compare_groups

    network = open_network(name)
    info = network.file.info
    refuse_recording(network.file, record)
    low_px = NETWORK_PX // (info.scale or 1)
    chosen = degradations or (info.degradation or DEFAULT_DEGRADATION,)
    pairs: dict[str, list[Pair]] = {degradation: [] for degradation in chosen}
    with progress("images", images.count) as advance:
        for source in _sources(images):
            for degradation in chosen:
                pairs[degradation].append(source.pair(degradation, low_px))
            advance(1)
    if not all(pairs.values()):
        raise UsageError(f"{images.dataset}: none of its {images.count} samples can be used")
    resolver = network.build(low_px, device)
    tables = {}
    for degradation, made in pairs.items():
        for group, means in compare_groups(resolver, made).items():
            tables[f"{degradation} {low_px} px" + ("" if group == "all" else f", {group}")] = means
    return Measured(network.file, tables)


def _sources(images: Images) -> Iterator[Source]:
    from facepipe.lab.superres.evaluate import Source, factory_sources

    if images.faces is not None:
        yield from factory_sources(images.faces)
        return
    for ref, sample, crop in images.samples():
        yield Source(crop.cut(sample.image), ref.sample_id, sample.yaw_deg, sample.skin_tone)
