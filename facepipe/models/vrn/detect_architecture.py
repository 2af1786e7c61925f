"""Detect the architecture of a regressor from names and shapes of tensors."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

from facepipe.core.conventions import VOLUME_DEPTH
from facepipe.core.errors import WeightsError
from facepipe.models.vrn.architectures import trainable
from facepipe.models.vrn.networks import check_fit
from facepipe.models.weights import Tensors, WeightsInfo

# Checkpoints of earlier training runs abbreviate every name.
_ABBREVIATED = (
    (r"^r\.0\.", "stem.5."),
    (r"^r\.1\.", "stem.6."),
    (r"^h\.(\d+)\.", r"stages.\1.hourglass."),
    (r"^f\.(\d+)\.", r"stages.\1.head."),
    (r"^o\.(\d+)\.", r"stages.\1.predict."),
    (r"^b\.(\d+)\.", r"stages.\1.carry_features."),
    (r"^ob\.(\d+)\.", r"stages.\1.carry_volume."),
    (r"\.up\.", ".skip."),
    (r"\.l1\.", ".down."),
    (r"\.l2(?=\.)", ".inner"),
    (r"\.l3\.", ".up."),
    (r"\.n(\d)\.", r".norm\1."),
    (r"\.c(\d)\.", r".conv\1."),
    (r"\.sk\.", ".shortcut."),
)


def detect_regressor(tensors: Tensors, name: str) -> tuple[dict, WeightsInfo] | None:
    """Tell whether tensors are those of an hourglass network, under its own names or the abbreviated ones.

    A bare state dictionary does not say where its volumes lie: as those of `facepipe train vrn`, is assumed.

    Returns:
        The tensors under the network's own names, and their description; None if it is another network.

    Raises:
        WeightsError: the names are those of an hourglass network, and a tensor is missing, unknown or of
            another shape.
    """
    if "o.0.weight" in tensors and "h.0.up.n1.weight" in tensors:
        tensors = {_full_name(key): value for key, value in tensors.items()}
    if "stages.0.predict.weight" not in tensors or "stem.0.weight" not in tensors:
        return None
    shape = tensors["stages.0.predict.weight"].shape
    stages = len({key.split(".")[1] for key in tensors if key.startswith("stages.")})
    deepest = max(key.count("inner.") for key in tensors)
    if len(shape) != 4 or shape[2:] != (1, 1) or not 1 <= deepest <= 5:
        raise WeightsError(f"{name}: an hourglass network whose prediction has shape {shape}")
    slices, channels = (int(size) for size in shape[:2])
    arguments = {"channels": channels, "stages": stages, "depth": deepest, "slices": slices}
    refining = tensors.get("refinement.predict.weight")
    if refining is not None and refining.ndim == len(shape):
        arguments["refinement"] = int(refining.shape[1])
    wide = tensors.get("stages.0.hourglass.inner.context.conv1.weight")
    if wide is not None and wide.ndim == len(shape):
        arguments["context"] = int(wide.shape[0])
    check_fit(tensors, "hourglass", arguments, name)
    geometry = trainable("compact").geometry
    # Of volumes with fewer slices the same share lies before the origin.
    geometry = replace(geometry, depth=slices, z_zero=geometry.z_zero * slices / VOLUME_DEPTH)
    info = WeightsInfo(
        name=name,
        kind="regressor",
        architecture="hourglass",
        arguments=arguments,
        geometry=asdict(geometry),
        assumed=("z_zero",),
    )
    return dict(tensors), info


def _full_name(key: str) -> str:
    for pattern, replacement in _ABBREVIATED:
        key = re.sub(pattern, replacement, key)
    return key
