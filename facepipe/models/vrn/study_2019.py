"""Convert the state dictionary of the 2019 study's network to `published.ThirdsNetwork`.

The names are those of the study's own code (angelomenezes/3DFaceReconstruction, model_hourglass.py), which is
that of alexandru-dinu/3D-face-reconstruction: `res1.cb.cbr1.bn`, `hourglass.0.hg.afterpool.1...`,
`chantojoints.1` and so on. Its data loader feeds OpenCV's BGR as (grey - 128) / 128.
"""

from __future__ import annotations

import re
from dataclasses import asdict

import numpy as np

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import WeightsError
from facepipe.models.vrn.networks import check_fit
from facepipe.models.vrn.preprocessing import Preprocessing
from facepipe.models.weights import Tensors, WeightsInfo

_RENAMED = (
    (r"\.skip\.conv\.", ".shortcut."),
    (r"\.cb\.cbr(\d)\.bn\.", r".norm\1."),
    (r"\.cb\.cbr(\d)\.conv\.", r".conv\1."),
    (r"^res1\.", "stem.0."),
    (r"^res2\.", "stem.1."),
    (r"^res3\.", "stem.2."),
    (r"^hourglass\.(\d+)\.", r"stages.\1.hourglass."),
    (r"\.(?:hg|num1res)(?=\.)", ".inner"),
    (r"\.afterpool\.", ".down."),
    (r"\.lowres\.", ".up."),
    (r"^Residual\.(\d+)\.", r"stages.\1.head.0."),
    (r"^lin1\.(\d+)\.bn\.", r"stages.\1.head.1."),
    (r"^lin1\.(\d+)\.conv\.", r"stages.\1.head.3."),
    (r"^chantojoints\.(\d+)\.", r"stages.\1.predict."),
    (r"^lin2\.(\d+)\.", r"stages.\1.carry_features."),
    (r"^jointstochan\.(\d+)\.", r"stages.\1.carry_volume."),
)

STUDY_GEOMETRY = VolumeGeometry(spacing=(128 / 450, 1.0, 1.0), z_zero=80.0)
"""Slices are pixels of images of 450 px, of which the network saw 128; where z = 0 lies was never published:
where most regressors trained here have it is assumed."""

LANDMARK_MAPS = 68
_LANDMARK_BRANCH = ("res_lands.", "lands_conv.0.", "lands_lin.")


def detect_study(tensors: Tensors, name: str) -> tuple[dict, WeightsInfo] | None:
    """Tell by the names of tensors whether they are the study's network.

    The branch for landmark maps and what the last stage would hand on have no part in the volume: they are
    left out if they are what they should be.

    Returns:
        The tensors under the names of `published.ThirdsNetwork`, and their description, with the input as
        the published scripts feed it; None if it is another network.

    Raises:
        WeightsError: a tensor is missing, unknown or of another shape, or the network was trained with
            landmark maps as a second input.
    """
    renamed = {_full_name(key): value for key, value in tensors.items()}
    if "stages.0.predict.weight" not in renamed or "res1.cb.cbr1.bn.weight" not in tensors:
        return None
    predict = renamed["stages.0.predict.weight"].shape
    stages = 1 + max(int(key.split(".")[1]) for key in renamed if key.startswith("stages."))
    depth = 1 + max(key.count(".inner") for key in renamed if ".down." in key)
    modules = len({key.split(".")[4] for key in renamed if key.startswith("stages.0.hourglass.skip.")})
    if len(predict) != 4:
        raise WeightsError(f"{name}: its prediction has weights of shape {predict}, a convolution has 4 axes")
    slices, channels = predict[:2]
    arguments = {
        "channels": channels, "stages": stages, "modules": modules, "depth": depth, "slices": slices
    }  # fmt: skip
    kept = {key: value for key, value in renamed.items() if not key.startswith(_LANDMARK_BRANCH)}
    _check_landmark_branch({key: renamed[key] for key in renamed.keys() - kept.keys()}, channels, name)
    last = f"stages.{stages - 1}.carry_"
    handed_on = {key: kept.pop(key).shape for key in [*kept] if key.startswith(last)}
    expected = {
        f"{last}features.weight": (channels, channels, 1, 1), f"{last}features.bias": (channels,),
        f"{last}volume.weight": (channels, slices, 1, 1), f"{last}volume.bias": (channels,),
    }  # fmt: skip
    if handed_on not in ({}, expected):
        raise WeightsError(f"{name}: what the last stage hands on has shapes {handed_on}, not {expected}")
    check_fit(kept, "thirds", arguments, name)
    geometry = asdict(STUDY_GEOMETRY) | {"depth": slices}
    usage = Preprocessing("128ths", "bgr").described()
    return kept, WeightsInfo(
        name, "regressor", "thirds", arguments, geometry=geometry, usage=usage, assumed=("z_zero",)
    )


def _full_name(key: str) -> str:
    for pattern, replacement in _RENAMED:
        key = re.sub(pattern, replacement, key)
    return key


def _check_landmark_branch(tensors: Tensors, channels: int, name: str) -> None:
    """Check that a branch for landmark maps is one, and that no training ever ran through it."""
    half = channels // 2
    shapes = {
        f"res_lands.conv1.{key}": shape
        for key, shape in (("weight", (half, LANDMARK_MAPS, 1, 1)), ("bias", (half,)))
    } | {
        "res_lands.conv2.weight": (half, half, 3, 3),
        "res_lands.conv2.bias": (half,),
        "res_lands.conv3.weight": (channels, half, 1, 1),
        "res_lands.conv3.bias": (channels,),
        "res_lands.shortcut.weight": (channels, LANDMARK_MAPS, 1, 1),
        "res_lands.shortcut.bias": (channels,),
        "lands_conv.0.weight": (LANDMARK_MAPS, channels, 3, 3),
        "lands_conv.0.bias": (LANDMARK_MAPS,),
        "lands_lin.weight": (2, 126 * 126),
        "lands_lin.bias": (2,),
    }
    for index, width in ((1, LANDMARK_MAPS), (2, half), (3, half)):
        for key in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"res_lands.norm{index}.{key}"] = (width,)
        shapes[f"res_lands.norm{index}.num_batches_tracked"] = ()
    for key, tensor in tensors.items():
        if tensor.shape != shapes.get(key):
            raise WeightsError(
                f"{name}: tensor {key} of its branch for landmark maps has shape {tensor.shape}, "
                f"and {shapes.get(key, 'none of that name')} is expected"
            )
    statistics = [tensor for key, tensor in tensors.items() if key.endswith("running_mean")]
    if any(np.any(tensor) for tensor in statistics):
        raise WeightsError(
            f"{name}: this network was trained with landmark maps as a second input, which no regressor gets "
            "here; import a checkpoint that was trained without them"
        )
