"""Inspect a data set: count samples by kind, list what is missing or broken."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from facepipe.core.errors import SampleError, printable
from facepipe.datasets.dataset import Dataset, Sample, SampleRef
from facepipe.datasets.fitted import FittedDataset
from facepipe.datasets.split import SPLITS, split_of
from facepipe.imaging.passed_over import PassedOver

YAW_BINS_DEG = ((0, 30), (30, 60), (60, 90))

SAME_YAW_DEG = 1.0
"""Versions of a photo that differ by less may have the same landmarks."""

_BATCH = 256


@dataclass
class SubsetCount:
    """Counts of one subset.

    Attributes:
        images: found by listing.
        sound: of which can be used.
        truth: kind of truth -> samples.
        yaw: bin such as '30-60' -> samples with |yaw| in it; unknown yaw is not counted.
        split: part -> samples.
    """

    images: int = 0
    sound: int = 0
    truth: Counter[str] = field(default_factory=Counter)
    yaw: Counter[str] = field(default_factory=Counter)
    split: Counter[str] = field(default_factory=Counter)


@dataclass
class Problem:
    """A reason for which samples cannot be used.

    Attributes:
        count: samples.
        example: the detail of the first of them in the order of their ids.
    """

    count: int = 0
    example: str = ""


@dataclass
class Inspection:
    """What was found.

    Attributes:
        name, kind: of the data set.
        truth_source: where its truth comes from.
        notice: what would give more truth, or what is not read, or ''.
        subsets: name -> counts.
        problems: reason code -> what is wrong.
        unpaired: .mat files without an image.
        passed_over: files that are no samples, by reason.
    """

    name: str
    kind: str
    truth_source: str
    notice: str
    subsets: dict[str, SubsetCount] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    unpaired: list[str] = field(default_factory=list)
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def images(self) -> int:
        """Images found."""
        return sum(count.images for count in self.subsets.values())

    @property
    def sound(self) -> int:
        """Samples that can be used."""
        return sum(count.sound for count in self.subsets.values())


def inspect_dataset(
    dataset: Dataset,
    refs: Sequence[SampleRef],
    threads: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Inspection:
    """Read every sample of a data set once, without posing meshes.

    Args:
        dataset: to look at.
        refs: its candidates.
        threads: samples that are read at the same time; memory holds a few hundred at most.
        on_progress: told the number of samples just read.
    """
    source = dataset.truth_source()
    found = Inspection(dataset.name, dataset.kind, source.description, source.notice)
    found.passed_over = source.passed_over
    if isinstance(dataset, FittedDataset):
        found.unpaired = dataset.unpaired()

    def read(ref: SampleRef) -> tuple[SampleRef, Sample | SampleError]:
        try:
            sample = dataset.load(ref, dense=False)
        except SampleError as error:
            return ref, error
        return ref, Sample(sample.image[:0], sample.sha256, sample.truth, sample.yaw_deg)

    seen: dict[bytes, tuple[str, float]] = {}
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(refs), _BATCH):
            batch = refs[start : start + _BATCH]
            for ref, result in pool.map(read, batch):
                _count(found, ref, result)
                if isinstance(result, Sample):
                    _compare_landmarks(found, ref, result, seen)
            on_progress(len(batch))
    return found


def _count(found: Inspection, ref: SampleRef, result: Sample | SampleError) -> None:
    subset = found.subsets.setdefault(ref.subset, SubsetCount())
    subset.images += 1
    if isinstance(result, SampleError):
        problem = found.problems.setdefault(result.reason, Problem(example=result.detail))
        problem.count += 1
        return
    subset.sound += 1
    subset.truth[result.truth.kind] += 1
    subset.split[split_of(ref.sample_id, found.kind)] += 1
    if result.yaw_deg is not None:
        for low, high in YAW_BINS_DEG:
            # Faces seen slightly from behind belong to the last bin.
            if low <= abs(result.yaw_deg) < high or high == YAW_BINS_DEG[-1][1] <= abs(result.yaw_deg):
                subset.yaw[f"{low}-{high}"] += 1


def _compare_landmarks(
    found: Inspection, ref: SampleRef, sample: Sample, seen: dict[bytes, tuple[str, float]]
) -> None:
    """Note landmarks that another sample of another pose has, too.

    Args:
        found: so far.
        ref: the sample.
        sample: as it was read.
        seen: digest of landmarks -> the first sample that has them, and its yaw.
    """
    if sample.truth.landmarks is None or sample.yaw_deg is None:
        return
    key = hashlib.sha256(sample.truth.landmarks.tobytes()).digest()
    first, yaw_deg = seen.setdefault(key, (ref.sample_id, sample.yaw_deg))
    if abs(yaw_deg - sample.yaw_deg) > SAME_YAW_DEG:
        example = f"{ref.sample_id}: the very landmarks of {first}, which is turned otherwise"
        found.problems.setdefault("landmarks-copied", Problem(example=example)).count += 1


def as_text(found: Inspection) -> str:
    """The tables that `facepipe data inspect` prints."""
    title = found.kind if found.name == found.kind else f"{found.name}: {found.kind}"
    lines = [f"{title}, {found.images} images, {found.sound} usable"]
    lines += [f"truth: {found.truth_source}", ""]
    bins = [f"{low}-{high}" for low, high in YAW_BINS_DEG]
    head = ["subset", "images", "usable", *(f"yaw {name}" for name in bins), *SPLITS]
    rows = [
        [
            printable(name) or "(root)",
            str(count.images),
            str(count.sound),
            *(str(count.yaw[key]) if count.yaw else "-" for key in bins),
            *(str(count.split[part]) for part in SPLITS),
        ]
        for name, count in sorted(found.subsets.items())
    ]
    lines += _table([head, *rows])
    problems = [
        [reason, str(problem.count), printable(problem.example)]
        for reason, problem in sorted(found.problems.items())
    ]
    if found.unpaired:
        problems.append(["mat-without-image", str(len(found.unpaired)), printable(found.unpaired[0])])
    problems += [["passed-over", str(passed.count), printable(str(passed))] for passed in found.passed_over]
    lines += [
        "",
        *(_table([["problem", "count", "for example"], *problems]) if problems else ["no problems"]),
    ]
    if found.notice:
        lines += ["", f"note: {found.notice}"]
    return "\n".join(lines)


def _table(rows: list[list[str]]) -> list[str]:
    """Columns as wide as needed: words on the left, numbers on the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    numeric = [all(row[i].isdigit() or row[i] == "-" for row in rows[1:]) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]
