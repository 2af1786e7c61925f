"""Convert the module tree of a Torch7 file to the unguided VRN.

`vrn-unguided.t7` is nn.Sequential{convolution, batch norm, ReLU, residual, max-pooling, residual, residual,
(ConcatTable{Identity, hourglass with two linear layers}, CAddTable) for each stage, ConcatTable{end}}. Every
module of that tree is expected at its place, so that another network is refused and nothing is left over.
The levels of the published hourglass stand in one another on the fine side, see `published.VrnHourglass`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import WeightsError
from facepipe.models.vrn.networks import check_fit
from facepipe.models.vrn.preprocessing import Preprocessing
from facepipe.models.weights import TorchObject, WeightsInfo

VRN_GEOMETRY = VolumeGeometry(size=192, spacing=(0.5, 1.0, 1.0), z_zero=100.0)
"""Two slices are as deep as a pixel is wide; where z = 0 lies was never published: the middle is assumed."""

MAX_ELEMENTS = 2**28
_EPS = 1e-5
_MAX_LEVELS = 8
_BLOCKS = 3


def detect_torch7(root: Any, name: str) -> tuple[dict[str, NDArray[np.float32]], WeightsInfo]:
    """Take the unguided VRN out of what a Torch7 file holds.

    Args:
        root: from `weights.read_torch7`.
        name: for error messages.

    Returns:
        The tensors under the names of `published.VrnNetwork`, and their description. Input in 0..1 as Torch7
        reads images; batch norm per image if the file was saved in training mode.

    Raises:
        WeightsError: it is another network.
    """
    tree = _Tree(name)
    tree.network(root)
    arguments = {
        "channels": int(tree.tensors["predict.weight"].shape[1]),
        "stages": tree.stages,
        "depth": tree.depth,
        "slices": int(tree.tensors["predict.weight"].shape[0]),
        "nested": tree.nested,
    }
    check_fit(tree.tensors, "vrn", arguments, name)
    usage = Preprocessing("0..1", "rgb", "per-image" if tree.training else "running", "corners")
    geometry = asdict(VRN_GEOMETRY) | {"depth": arguments["slices"]}
    return tree.tensors, WeightsInfo(
        name, "regressor", "vrn", arguments, geometry=geometry, usage=usage.described(), assumed=("z_zero",)
    )


class _Tree:
    """Walks the modules; every method takes the module that should be what the method is named after."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: dict[str, NDArray[np.float32]] = {}
        self.stages = 0
        self.depth = 0
        self.nested = "coarse"
        self.training = False
        self.elements = 0

    def network(self, root: Any) -> None:
        if isinstance(root, Mapping):
            root = root.get("model", root.get("net"))
        parts = self.children(root, "Sequential", "the network")
        if len(parts) < 10 or len(parts) % 2:
            raise self.wrong("the network", f"{len(parts)} modules in a row")
        self.convolution(parts[0], "stem.0", kernel=7, step=2)
        self.norm(parts[1], "stem.1")
        self.training = self.field(parts[1], "train", "stem.1") is True
        self.plain(parts[2], "ReLU", "stem.2")
        self.residual(parts[3], "stem.3")
        self.pooling(parts[4], "stem.4")
        self.residual(parts[5], "stem.5")
        self.residual(parts[6], "stem.6")
        middle = parts[7:-1]
        self.stages = len(middle) // 2
        for index in range(self.stages):
            where = f"stages.{index}"
            straight, stack = self.children(middle[2 * index], "ConcatTable", where, 2)
            self.plain(straight, "Identity", where)
            self.stack(stack, where)
            self.plain(middle[2 * index + 1], "CAddTable", where)
        self.end(parts[-1])

    def stack(self, module: Any, where: str) -> None:
        parts = self.children(module, "Sequential", where, 5)
        self.depth = self.level(parts[:3], f"{where}.0", _MAX_LEVELS)
        self.linear(parts[3], f"{where}.1", f"{where}.2")
        self.linear(parts[4], f"{where}.4", f"{where}.5")

    def level(self, parts: Sequence[Any], where: str, allowed: int) -> int:
        """One level of an hourglass and those in it; returns how many there are."""
        if not allowed:
            raise self.wrong(where, f"more than {_MAX_LEVELS} levels")
        fine, coarse = self.children(parts[0], "ConcatTable", where, 2)
        self.plain(parts[1], "CAddTable", where)
        self.residual(parts[2], f"{where}.after")
        skip = self.children(fine, "Sequential", f"{where}.skip")
        pool, *low, up = self.children(coarse, "Sequential", f"{where}.down", at_least=8)
        self.pooling(pool, f"{where}.down")
        self.doubling(up, f"{where}.up")
        self.blocks(skip[:_BLOCKS], f"{where}.skip")
        self.blocks(low[:_BLOCKS], f"{where}.down")
        self.blocks(low[-_BLOCKS:], f"{where}.up")
        inner = skip[_BLOCKS:], low[_BLOCKS:-_BLOCKS]
        if len(inner[0]) == 1 and not inner[1]:
            self.nested = "fine"
            return 1 + self.level(
                self.children(inner[0][0], "Sequential", where, 3), f"{where}.inner", allowed - 1
            )
        if not inner[0] and len(inner[1]) == 1:
            if self.nested == "fine":
                raise self.wrong(where, "a level on the coarse side, and others on the fine one")
            return 1 + self.level(
                self.children(inner[1][0], "Sequential", where, 3), f"{where}.inner", allowed - 1
            )
        if inner[0]:
            raise self.wrong(f"{where}.skip", f"{len(skip)} modules")
        self.blocks(inner[1], f"{where}.inner")
        return 1

    def end(self, module: Any) -> None:
        (only,) = self.children(module, "ConcatTable", "head", 1)
        head, predict, enlarge, squash = self.children(only, "Sequential", "head", 4)
        self.linear(head, "head.0", "head.1")
        self.convolution(predict, "predict")
        self.plain(enlarge, "SpatialUpSamplingBilinear", "the enlargement")
        self.plain(squash, "Sigmoid", "the end")

    def linear(self, module: Any, convolution: str, norm: str) -> None:
        parts = self.children(module, "Sequential", convolution, 3)
        self.convolution(parts[0], convolution)
        self.norm(parts[1], norm)
        self.plain(parts[2], "ReLU", norm)

    def blocks(self, modules: Sequence[Any], where: str) -> None:
        if len(modules) != _BLOCKS:
            raise self.wrong(where, f"{len(modules)} blocks")
        for index, module in enumerate(modules):
            self.residual(module, f"{where}.{index}")

    def residual(self, module: Any, where: str) -> None:
        both, add = self.children(module, "Sequential", where, 2)
        self.plain(add, "CAddTable", where)
        through, around = self.children(both, "ConcatTable", where, 2)
        parts = self.children(through, "Sequential", where, 9)
        for index, kernel in enumerate((1, 3, 1)):
            self.norm(parts[3 * index], f"{where}.norm{index + 1}")
            self.plain(parts[3 * index + 1], "ReLU", where)
            self.convolution(parts[3 * index + 2], f"{where}.conv{index + 1}", kernel=kernel)
        if self.kind(around) != "Identity":
            (shortcut,) = self.children(around, "Sequential", f"{where}.shortcut", 1)
            self.convolution(shortcut, f"{where}.shortcut")

    def convolution(self, module: Any, where: str, kernel: int = 1, step: int = 1) -> None:
        cls = "SpatialConvolutionMM" if self.kind(module) == "SpatialConvolutionMM" else "SpatialConvolution"
        self.plain(module, cls, where)
        fields = ("kW", "kH", "dW", "dH", "padW", "padH")
        found = tuple(self.field(module, key, where) for key in fields)
        expected = (kernel, kernel, step, step, kernel // 2, kernel // 2)
        if found != expected or module.fields.get("groups") not in (None, 1):
            raise self.wrong(where, f"a convolution with {dict(zip(fields, found, strict=True))}")
        planes = tuple(self.field(module, key, where) for key in ("nOutputPlane", "nInputPlane"))
        weight = self.array(module, "weight", where)
        shape = (*planes, kernel, kernel)
        if weight.size != np.prod(shape):
            raise self.wrong(where, f"weights of shape {weight.shape} for a convolution of shape {shape}")
        self.tensors[f"{where}.weight"] = weight.reshape([int(size) for size in shape])
        self.tensors[f"{where}.bias"] = self.array(module, "bias", where)

    def norm(self, module: Any, where: str) -> None:
        self.plain(module, "SpatialBatchNormalization", where)
        eps = self.field(module, "eps", where)
        if not isinstance(eps, float) or abs(eps - _EPS) > 1e-3 * _EPS:
            raise self.wrong(where, f"a batch norm whose eps is {eps}; {_EPS:g} is expected")
        if "running_var" in module.fields:
            variance = self.array(module, "running_var", where)
        else:  # the form before 2016: 1 / sqrt(variance + eps)
            scale = self.array(module, "running_std", where)
            with np.errstate(divide="ignore", over="ignore"):
                variance = (1 / np.square(scale) - np.float32(_EPS)).astype(np.float32)
        for key in ("weight", "bias", "running_mean"):
            self.tensors[f"{where}.{key}"] = self.array(module, key, where)
        self.tensors[f"{where}.running_var"] = variance

    def pooling(self, module: Any, where: str) -> None:
        self.plain(module, "SpatialMaxPooling", where)
        sizes = [self.field(module, key, where) for key in ("kW", "kH", "dW", "dH")]
        padding = [module.fields.get(key, 0) for key in ("padW", "padH")]
        if sizes != [2] * 4 or padding != [0] * 2:
            raise self.wrong(where, "a pooling that is not 2x2 by 2")

    def doubling(self, module: Any, where: str) -> None:
        self.plain(module, "SpatialUpSamplingNearest", where)
        if self.field(module, "scale_factor", where) != 2:
            raise self.wrong(where, "an enlargement that is not twofold")

    def children(
        self, module: Any, cls: str, where: str, count: int | None = None, *, at_least: int = 1
    ) -> list[Any]:
        """The modules in a container."""
        self.plain(module, cls, where)
        modules = self.field(module, "modules", where)
        found = [modules[key] for key in sorted(modules)] if _is_list(modules) else []
        if len(found) != count if count is not None else len(found) < at_least:
            raise self.wrong(where, f"a {cls} of {len(found)} modules")
        return found

    def plain(self, module: Any, cls: str, where: str) -> None:
        """Expect a module of a class."""
        if self.kind(module) != cls:
            raise self.wrong(where, f"{self.kind(module)} instead of {cls}")

    def kind(self, module: Any) -> str:
        """The class of a module, whether it computes by nn or cudnn."""
        if not isinstance(module, TorchObject):
            return type(module).__name__
        return module.cls.removeprefix("nn.").removeprefix("cudnn.")

    def field(self, module: TorchObject, key: str, where: str) -> Any:
        if key not in module.fields:
            raise self.wrong(where, f"a {module.cls} without the field {key!r}")
        return module.fields[key]

    def array(self, module: TorchObject, key: str, where: str) -> NDArray[np.float32]:
        value = self.field(module, key, where)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            raise self.wrong(where, f"a {key} that is no tensor of floating-point numbers")
        self.elements += value.size  # tensors may share one storage, so a small file can hold many
        if self.elements > MAX_ELEMENTS:
            raise self.wrong(where, f"more than {MAX_ELEMENTS:,} parameters")
        return np.array(value, np.float32, order="C")

    def wrong(self, where: str, what: str) -> WeightsError:
        return WeightsError(
            f"{self.name}: a Torch7 file, but not of the unguided VRN, the only network that is taken from "
            f"one (at {where}: {what})"
        )


def _is_list(value: Any) -> bool:
    """Whether a table has the keys 1, 2, ... and no others."""
    return isinstance(value, Mapping) and set(value) == set(range(1, len(value) + 1))
