"""`facepipe models evaluate`: how good a network is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from facepipe.cli.evaluate_superres import evaluate_super_resolver, is_super_resolver
from facepipe.cli.figures import record_figures, refuse_recording, show
from facepipe.cli.named import named_weights
from facepipe.conventions import NETWORK_PX, VolumeGeometry
from facepipe.datasets.base import Dataset
from facepipe.datasets.crops import CROP_MODES, crop_for
from facepipe.degrade import degrade, make_reference
from facepipe.errors import FacepipeError, SampleError, UsageError
from facepipe.progress import progress
from facepipe.stages import make_truth_volume, truth_in_crop
from facepipe.vrn.regressors import open_regressor

if TYPE_CHECKING:
    from facepipe.vrn.evaluate import Case


@click.command(short_help="Measure how good a network is.")
@click.argument("name", metavar="NAME|FILE")
@click.option("--dataset", help="Folder or archive of a data set with truth, or 'sample'.")
@click.option(
    "--faces", type=click.IntRange(min=1), help="Instead: this many faces made from the seeds for tests."
)
@click.option("--crop", type=click.Choice(CROP_MODES), default="full", show_default=True, help="Part seen.")
@click.option("--limit", type=click.IntRange(min=1), help="Take only the first samples of the data set.")
@click.option("--low-px", default="", help="Also at these low resolutions, such as 16,32,64.")
@click.option("--device", default="cpu", show_default=True, help="Device of torch.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--record", metavar="TITLE", help="Write the figures into FILE and its card under this title.")
def evaluate(
    name: str,
    dataset: str | None,
    faces: int | None,
    crop: str,
    limit: int | None,
    low_px: str,
    device: str,
    as_json: bool,
    record: str | None,
) -> None:
    """Compare what a network makes of images with what is known about them.

    For a regressor: its volumes of reference images with the truth, in all, for ranges of yaw and skin tone,
    and for low resolutions enlarged bilinearly. For a super-resolver: its images, and bicubic ones, with the
    references, for the degradation that it was trained on; --dataset only, of any kind.

    Prints the mean over images of every figure that is known, with its 95 % interval (bootstrap over images).
    """
    from facepipe.datasets.catalog import open_dataset
    from facepipe.vrn import evaluate as evaluation

    if is_super_resolver(name):
        if dataset is None or faces or low_px:
            raise UsageError(f"{name} is a super-resolver: give --dataset DIR, without --faces and --low-px")
        tables = evaluate_super_resolver(name, dataset, crop, limit, device, record)
        show(tables, as_json=as_json)
        return
    named_weights(name)
    chosen = open_regressor(name)
    sizes = _sizes(low_px)
    refuse_recording(chosen.file, record)
    network = chosen.build(device)
    if dataset is None and faces is not None:
        cases, total = evaluation.factory_cases(faces, chosen.geometry, sizes), faces
    elif dataset is not None and faces is None:
        opened = open_dataset(dataset)
        total = min(len(opened.refs()), limit or len(opened.refs()))
        cases = _cases(opened, crop, total, chosen.geometry, sizes)
    else:
        raise UsageError("give either --dataset DIR or --faces N")
    with progress("images", total * (1 + len(sizes))) as advance:
        results = evaluation.evaluate(network, chosen.geometry, _counted(cases, advance))
    if not results:
        raise UsageError(f"{dataset}: none of its {total} samples can be used")
    tables = evaluation.groups(results)
    if not tables["all"]:
        raise FacepipeError(
            f"{dataset}: nothing is known about the faces of its {total} samples, so there is nothing to "
            "compare with; a data set with landmarks or meshes is needed, or --faces N"
        )
    record_figures(chosen.file, record, tables)
    show(tables, as_json=as_json)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(",") if part)
    except ValueError as error:
        raise UsageError(f"--low-px {text}: expected numbers such as 16,32,64") from error
    if not all(4 <= size <= NETWORK_PX for size in sizes):
        raise UsageError(f"--low-px {text}: expected sizes from 4 to {NETWORK_PX}")
    return sizes


def _cases(
    dataset: Dataset, crop_mode: str, count: int, geometry: VolumeGeometry, sizes: tuple[int, ...]
) -> Iterator[Case]:
    from facepipe.vrn.evaluate import LOW_DEGRADATION, Case

    topology = dataset.topology()
    for ref in dataset.refs()[:count]:
        try:
            sample = dataset.load(ref)
            crop = crop_for(sample, crop_mode)
        except SampleError as error:
            click.echo(f"left out: {ref.sample_id}, {error}", err=True)
            continue
        truth = truth_in_crop(sample.truth, crop)
        volume = None
        if topology is not None and truth.vertices is not None:
            volume = make_truth_volume(truth, topology, geometry)
        square = crop.cut(sample.image)
        case = Case(make_reference(square), truth, volume, sample.yaw_deg, sample.skin_tone)
        yield case
        for px in sizes:
            yield case.lowered(degrade(square, LOW_DEGRADATION, px, 0, ref.sample_id))


def _counted(cases: Iterator[Case], advance: Callable[[int], None]) -> Iterator[Case]:
    for case in cases:
        yield case
        advance(1)
