"""`facepipe models evaluate`: measure a network on a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from facepipe.bench.stages import make_truth_volume, truth_in_crop
from facepipe.cli.evaluation_images import Images
from facepipe.cli.models_evaluate_superres import evaluate_super_resolver, is_super_resolver
from facepipe.cli.weights_figures import Measured, command_of, record_figures, refuse_recording, show
from facepipe.cli.weights_names import named_weights
from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import FacepipeError, UsageError
from facepipe.core.names import unknown
from facepipe.core.progress import progress
from facepipe.datasets.crops import CROP_MODES
from facepipe.datasets.split import SPLITS, Split
from facepipe.imaging.degrade import DEGRADATIONS, make_reference
from facepipe.models.vrn.regressors import open_regressor

if TYPE_CHECKING:
    from facepipe.lab.vrn.evaluate import Case, Low


@click.command(short_help="Measure how good a network is.")
@click.argument("name", metavar="NAME|FILE")
@click.option("--dataset", help="Folder or archive of a data set with truth, or 'sample'.")
@click.option(
    "--faces", type=click.IntRange(min=1), help="Instead: this many faces made from the seeds for tests."
)
@click.option("--crop", type=click.Choice(CROP_MODES), default="full", show_default=True, help="Part seen.")
@click.option("--split", type=click.Choice(SPLITS), help="Take only this part of the data set.")
@click.option("--limit", type=click.IntRange(min=1), help="Take only the first samples of the data set.")
@click.option("--low-px", default="", help="Also at these low resolutions, such as 16,32,64 (regressors).")
@click.option(
    "--degradations", help="How images are brought to low resolution, such as area,camera.  [default: area; "
    "for a super-resolver the one that it was trained on]",
)  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="Device of torch.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--record", metavar="TITLE", help="Write the figures into FILE and its card under this title.")
@click.pass_context
def evaluate(
    context: click.Context,
    name: str,
    dataset: str | None,
    faces: int | None,
    crop: str,
    split: Split | None,
    limit: int | None,
    low_px: str,
    degradations: str | None,
    device: str,
    as_json: bool,
    record: str | None,
) -> None:
    """Compare what a network makes of images with what is known about them.

    For a regressor: its volumes of reference images with the truth, in all, for ranges of yaw and skin tone,
    for grey pictures and those in colours, for the parts of the data set, and for low resolutions enlarged
    bilinearly. For a super-resolver: its images, and bicubic ones, with the references, at the size that it
    enlarges to 128 px, in all and for ranges of yaw and skin tone.

    Prints the mean over images of every figure that is known, with its 95 % interval (bootstrap over images).
    Rows 'truth itself' say what a perfect volume would get; where only 3D landmarks are known, rows 'head
    fitted to the landmarks' estimate it.
    """
    if (dataset is None) == (faces is None):
        raise UsageError("give either --dataset DIR or --faces N")
    if faces is not None:
        for option in ("crop", "split", "limit"):
            if context.get_parameter_source(option) is not ParameterSource.DEFAULT:
                raise UsageError(f"--{option} is about --dataset; faces made for tests are taken whole")
    named = _names(degradations)
    images = Images(dataset, faces, crop, split, limit)
    if is_super_resolver(name):
        if low_px:
            raise UsageError(f"{name} is a super-resolver, which has one size of images: leave --low-px away")
        measured = evaluate_super_resolver(name, images, named, device, record)
    else:
        named_weights(name)
        lows = [(degradation, px) for degradation in named or ("area",) for px in _sizes(low_px)]
        measured = _evaluate_regressor(name, images, lows, device, record)
    record_figures(measured, record, command_of(context, measured.file.info.name))
    show(measured.tables, as_json=as_json)


def _evaluate_regressor(
    name: str, images: Images, lows: Sequence[Low], device: str, record: str | None
) -> Measured:
    """Compare volumes with what is known.

    Raises:
        UsageError: no sample can be used, or the figures are to be written into weights that ship.
        FacepipeError: nothing is known about the faces.
    """
    from facepipe.lab.vrn import evaluate as evaluation

    chosen = open_regressor(name)
    refuse_recording(chosen.file, record)
    network = chosen.build(device)
    if images.faces is not None:
        cases, total = evaluation.factory_cases(images.faces, chosen.geometry, lows), images.faces
    else:
        cases, total = _cases(images, chosen.geometry, lows), images.count
    with progress("images", total * (1 + len(lows))) as advance:
        results = evaluation.evaluate(network, chosen.geometry, _counted(cases, advance))
    if not results:
        raise UsageError(f"{images.dataset}: none of its {total} samples can be used")
    tables = evaluation.groups(results)
    if not tables["all"]:
        raise FacepipeError(
            f"{images.dataset}: nothing is known about the faces of its {total} samples, so there is nothing "
            "to compare with; a data set with landmarks or meshes is needed, or --faces N"
        )
    return Measured(chosen.file, tables)


def _names(degradations: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in (degradations or "").split(",") if part.strip()))
    if degradations is not None and not names:
        raise UsageError("--degradations: expected names such as area,camera")
    for one in names:
        if one not in DEGRADATIONS:
            raise unknown("degradation", one, DEGRADATIONS)
    return names


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(",") if part)
    except ValueError as error:
        raise UsageError(f"--low-px {text}: expected numbers such as 16,32,64") from error
    if not all(4 <= size <= NETWORK_PX for size in sizes):
        raise UsageError(f"--low-px {text}: expected sizes from 4 to {NETWORK_PX}")
    return sizes


def _cases(images: Images, geometry: VolumeGeometry, lows: Sequence[Low]) -> Iterator[Case]:
    from facepipe.lab.vrn.evaluate import Case, fitted_volume

    topology = images.opened.topology()
    for ref, sample, crop in images.samples():
        truth = truth_in_crop(sample.truth, crop)
        volume = None
        if topology is not None and truth.vertices is not None:
            volume = make_truth_volume(truth, topology, geometry)
        square = crop.cut(sample.image)
        fitted = fitted_volume(truth, geometry) if volume is None else None
        case = Case(
            make_reference(square),
            truth,
            volume,
            fitted,
            sample.yaw_deg,
            sample.skin_tone,
            sample.grey,
            ref.subset,
        )
        yield case
        for low in lows:
            yield case.lowered(square, low, ref.sample_id)


def _counted(cases: Iterator[Case], advance: Callable[[int], None]) -> Iterator[Case]:
    for case in cases:
        yield case
        advance(1)
