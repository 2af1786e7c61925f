"""Prints README's answer: `python docs/answer.py DATASET`, a data set with dense truth.

Every image is brought to each low resolution, enlarged bilinearly or restored by the super-resolver of its
degradation, and regressed. Means of the volumes' IoU with half their 95 % intervals as a Markdown table, then
paired differences: what restoring gains in front of each regressor, and what knowing low resolution gains
over the best restoration. `facepipe bench` measures the same in its column `iou`, and all else.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import cv2
import numpy as np

from facepipe.bench.stages import make_truth_volume, truth_in_crop
from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import SampleError
from facepipe.datasets.catalog import open_dataset
from facepipe.imaging.crop import full_crop
from facepipe.imaging.degrade import degrade, make_reference
from facepipe.metrics.geometry import volume_iou
from facepipe.metrics.intervals import Estimate, mean_of
from facepipe.models.superres.methods import get_method
from facepipe.models.vrn.regressors import open_regressor

SHARP, LOW = "vrn-compact", "vrn-compact-lowres"
NOTHING = "bilinear"
DEGRADATIONS = ("area", "camera")
SIZES = (16, 32, 64)
Key = tuple[str, int, str, str]


def main(path: str) -> None:
    """Print the table and the differences of a data set."""
    cv2.setNumThreads(1)
    tell(measure(path))


def measure(path: str) -> dict[Key, np.ndarray]:
    """IoU of the samples in one order, by degradation, size, method and regressor."""
    dataset = open_dataset(path)
    topology = dataset.topology()
    assert topology is not None, f"{path}: no dense truth"
    opened = {name: open_regressor(name) for name in (SHARP, LOW)}
    networks = {name: one.build("cpu", "openvino") for name, one in opened.items()}
    geometry = opened[SHARP].geometry
    restore = {
        (name, px): get_method(name).build(px)
        for px in SIZES
        for name in (NOTHING, *(f"compact-{degradation}" for degradation in DEGRADATIONS))
    }
    found: dict[Key, list[float]] = defaultdict(list)
    for ref in dataset.refs():
        try:
            sample = dataset.load(ref)
        except SampleError as error:
            print(f"left out: {ref.sample_id}, {error}", file=sys.stderr)
            continue
        crop = full_crop(sample.image.shape[1], sample.image.shape[0])
        square = crop.cut(sample.image)
        true = make_truth_volume(truth_in_crop(sample.truth, crop), topology, geometry)
        images = {("none", NETWORK_PX, "reference"): make_reference(square)}
        for degradation in DEGRADATIONS:
            for px in SIZES:
                low = degrade(square, degradation, px, 0, ref.sample_id)
                for method in (NOTHING, f"compact-{degradation}"):
                    images[degradation, px, method] = restore[method, px](low[None])[0]
        for condition, image in images.items():
            for name, network in networks.items():
                found[(*condition, name)].append(volume_iou(network(image[None])[0], true))
    return {key: np.array(values) for key, values in found.items()}


def tell(scores: dict[Key, np.ndarray]) -> None:
    """Print the table and the differences."""
    sizes = sorted({px for degradation, px, _, _ in scores if degradation != "none"})
    degradations = sorted({degradation for degradation, *_ in scores} - {"none"})
    print("| | " + " | ".join(f"{px} px" for px in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for degradation in degradations:
        best = f"compact-{degradation}"
        for regressor in (SHARP, LOW):
            for method in (NOTHING, best):
                cells = [_text(mean_of(scores[degradation, px, method, regressor])) for px in sizes]
                print(f"| `{degradation}`, `{method}`, `{regressor}` | " + " | ".join(cells) + " |")
    for regressor in (SHARP, LOW):
        print(f"references, {regressor}: {_text(mean_of(scores['none', 128, 'reference', regressor]))}")
    for degradation in degradations:
        best = f"compact-{degradation}"
        for px in sizes:
            cell = {(m, r): scores[degradation, px, m, r] for m in (NOTHING, best) for r in (SHARP, LOW)}
            for what, difference in (
                ("restoring for the sharp one", cell[best, SHARP] - cell[NOTHING, SHARP]),
                ("restoring for the one that knows", cell[best, LOW] - cell[NOTHING, LOW]),
                ("knowing instead of restoring", cell[NOTHING, LOW] - cell[best, SHARP]),
            ):
                print(f"{degradation} {px} px, {what}: {_signed(mean_of(difference))}")
    lost = scores["none", 128, "reference", LOW] - scores["none", 128, "reference", SHARP]
    print(f"references, knowing low resolution: {_signed(mean_of(lost))}")


def _text(mean: Estimate) -> str:
    return f"{mean.mean:.3f} ± {(mean.high - mean.low) / 2:.3f}"


def _signed(mean: Estimate) -> str:
    return f"{mean.mean:+.4f} ({mean.low:+.4f} to {mean.high:+.4f})"


if __name__ == "__main__":
    main(sys.argv[1])
