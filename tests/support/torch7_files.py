"""Torch7 files for the tests: a writer of the format, a VRN as its authors nested it, and what it computes.

`run` computes a module tree as the Lua modules of these names do, one by one, from torch's functions alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional


@dataclass(eq=False)
class Lua:
    """An instance of a Lua class."""

    cls: str
    fields: dict[Any, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Closure:
    """A Lua function."""

    code: bytes = b"\x1bLua"


_NAMES = {"f4": "Float", "f8": "Double", "i8": "Long", "i4": "Int", "u1": "Byte", "i2": "Short", "i1": "Char"}


class Writer:
    """Writes values in the binary form of torch.save.

    Args:
        long_bytes: 8 as on 64-bit machines, 4 as on 32-bit ones.
        versions: whether objects bear a version, as all since 2013 do.
        cuda: whether float tensors are written as those of a GPU.
    """

    def __init__(self, long_bytes: int = 8, *, versions: bool = True, cuda: bool = False) -> None:
        self.out = bytearray()
        self.long_bytes = long_bytes
        self.versions = versions
        self.cuda = cuda
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []

    def int32(self, value: int) -> None:
        self.out += struct.pack("<i", value)

    def long(self, value: int) -> None:
        self.out += value.to_bytes(self.long_bytes, "little", signed=True)

    def text(self, value: str) -> None:
        self.int32(len(value))
        self.out += value.encode("latin-1")

    def value(self, value: Any) -> None:
        if value is None:
            self.int32(0)
        elif isinstance(value, bool):
            self.int32(5)
            self.int32(value)
        elif isinstance(value, int | float):
            self.int32(1)
            self.out += struct.pack("<d", value)
        elif isinstance(value, str):
            self.int32(2)
            self.text(value)
        elif isinstance(value, Closure):
            self.int32(8)
            self.int32(self._index(value)[0])
            self.int32(len(value.code))
            self.out += value.code
            self.value({})
        elif isinstance(value, list):
            self.table(dict(enumerate(value, 1)), value)
        elif isinstance(value, dict):
            self.table(value, value)
        else:
            self.instance(value)

    def table(self, entries: dict[Any, Any], identity: Any) -> None:
        self.int32(3)
        if self._begin(identity):
            self.int32(len(entries))
            for key, value in entries.items():
                self.value(key)
                self.value(value)

    def instance(self, value: Any) -> None:
        self.int32(4)
        if not self._begin(value):
            return
        if isinstance(value, Lua):
            self._class(value.cls)
            self.value(value.fields)
            return
        array = np.asarray(value)
        name = _NAMES[array.dtype.str[1:]]
        name = "Cuda" if self.cuda and name == "Float" else name
        self._class(f"torch.{name}Tensor")
        self.int32(array.ndim)
        base = array if array.base is None or array.flags.c_contiguous else array.base
        for size in array.shape:
            self.long(size)
        for stride in array.strides:
            self.long(stride // array.itemsize)
        self.long(1 + (array.ctypes.data - base.ctypes.data) // array.itemsize)
        self.int32(4)
        if self._begin((id(base), "storage"), base):
            self._class(f"torch.{name}Storage")
            self.long(base.size)
            flat = base.ravel()
            self.out += flat.astype(f"<i{self.long_bytes}").tobytes() if name == "Long" else flat.tobytes()

    def _class(self, name: str) -> None:
        if self.versions:
            self.text("V 1")
        self.text(name)

    def _begin(self, identity: Any, kept: Any = None) -> bool:
        index, new = self._index(identity, kept)
        self.int32(index)
        return new

    def _index(self, identity: Any, kept: Any = None) -> tuple[int, bool]:
        key = identity if isinstance(identity, tuple) else id(identity)
        self.kept.append((identity, kept))  # so that no id is used twice
        new = key not in self.seen
        return self.seen.setdefault(key, len(self.seen) + 1), new


def dump(value: Any, path: Path, **how: Any) -> Path:
    """Write a value to a file."""
    writer = Writer(**how)
    writer.value(value)
    path.write_bytes(writer.out)
    return path


class Vrn:
    """Makes the module tree of a small random VRN, as the published file nests it."""

    def __init__(self, seed: int = 0, prefix: str = "nn.", *, train: bool = True) -> None:
        self.rng = np.random.default_rng(seed)
        self.prefix = prefix
        self.train = train

    def network(
        self, channels: int = 8, stages: int = 2, depth: int = 2, slices: int = 5, *, fine: bool = True
    ) -> Lua:
        parts = [
            self.convolution(3, 64, 7, 2), self.norm(64), self.module("ReLU"),
            self.residual(64, 128), self.pool(), self.residual(128, 128), self.residual(128, channels),
        ]  # fmt: skip
        for _ in range(stages):
            level = self.level(channels, depth, fine=fine)
            stack = self.sequential(*level, self.linear(channels), self.linear(channels))
            parts += [self.concat(self.module("Identity"), stack), self.module("CAddTable")]
        end = self.sequential(
            self.linear(channels),
            self.convolution(channels, slices),
            self.module("SpatialUpSamplingBilinear", owidth=192, oheight=192),
            self.module("Sigmoid"),
        )
        return self.sequential(*parts, self.concat(end))

    def level(self, channels: int, depth: int, *, fine: bool) -> list[Lua]:
        deeper = [self.sequential(*self.level(channels, depth - 1, fine=fine))] if depth > 1 else []
        inner = [] if deeper else self.blocks(channels)
        skip = self.sequential(*self.blocks(channels), *(deeper if fine else []))
        low = [*self.blocks(channels), *inner, *([] if fine else deeper), *self.blocks(channels)]
        double = self.module("SpatialUpSamplingNearest", scale_factor=2)
        both = self.concat(skip, self.sequential(self.pool(), *low, double))
        return [both, self.module("CAddTable"), self.residual(channels, channels)]

    def blocks(self, channels: int) -> list[Lua]:
        return [self.residual(channels, channels) for _ in range(3)]

    def residual(self, inputs: int, outputs: int) -> Lua:
        half = outputs // 2
        through = []
        for i, o, kernel in ((inputs, half, 1), (half, half, 3), (half, outputs, 1)):
            through += [self.norm(i), self.module("ReLU"), self.convolution(i, o, kernel)]
        around = (
            self.module("Identity")
            if inputs == outputs
            else self.sequential(self.convolution(inputs, outputs))
        )
        return self.sequential(self.concat(self.sequential(*through), around), self.module("CAddTable"))

    def linear(self, channels: int) -> Lua:
        return self.sequential(self.convolution(channels, channels), self.norm(channels), self.module("ReLU"))

    def convolution(self, inputs: int, outputs: int, kernel: int = 1, step: int = 1) -> Lua:
        weight = self.rng.normal(0, (inputs * kernel**2) ** -0.5, (outputs, inputs, kernel, kernel))
        return self.module(
            "SpatialConvolution", nInputPlane=inputs, nOutputPlane=outputs, kW=kernel, kH=kernel, dW=step,
            dH=step, padW=kernel // 2, padH=kernel // 2, weight=weight.astype(np.float32),
            bias=self.rng.normal(0, 0.1, outputs).astype(np.float32),
        )  # fmt: skip

    def norm(self, channels: int) -> Lua:
        def draw(low: float, high: float) -> np.ndarray:
            return self.rng.uniform(low, high, channels).astype(np.float32)

        return self.module(
            "SpatialBatchNormalization", eps=1e-5, momentum=0.1, affine=True, train=self.train,
            weight=draw(0.5, 1.5), bias=draw(-0.2, 0.2), running_mean=draw(-0.1, 0.1),
            running_var=draw(0.5, 1.5),
        )  # fmt: skip

    def pool(self) -> Lua:
        return self.module("SpatialMaxPooling", kW=2, kH=2, dW=2, dH=2, padW=0, padH=0, ceil_mode=False)

    def sequential(self, *modules: Lua) -> Lua:
        return self.module("Sequential", modules=list(modules))

    def concat(self, *modules: Lua) -> Lua:
        return self.module("ConcatTable", modules=list(modules))

    def module(self, cls: str, **fields: Any) -> Lua:
        own = self.prefix if cls.startswith("Spatial") or cls == "ReLU" else "nn."
        output = np.zeros(0, np.float32)
        return Lua(own + cls, {"train": self.train, "_type": "torch.FloatTensor", "output": output, **fields})


def run(module: Lua, value: Any) -> Any:
    """What a module makes of a tensor (1, C, h, w), or of a list of them."""
    fields = module.fields
    match module.cls.split(".")[1]:
        case "Sequential":
            for part in fields["modules"]:
                value = run(part, value)
            return value
        case "ConcatTable":
            return [run(part, value) for part in fields["modules"]]
        case "CAddTable":
            return sum(value[1:], value[0])
        case "Identity":
            return value
        case "ReLU":
            return torch.relu(value)
        case "Sigmoid":
            return torch.sigmoid(value)
        case "SpatialConvolution":
            weight, bias = torch.from_numpy(fields["weight"]), torch.from_numpy(fields["bias"])
            return functional.conv2d(value, weight, bias, fields["dW"], fields["padW"])
        case "SpatialBatchNormalization":
            mean, variance, weight, bias = (
                torch.from_numpy(fields[key].copy())
                for key in ("running_mean", "running_var", "weight", "bias")
            )
            return functional.batch_norm(value, mean, variance, weight, bias, fields["train"], 0.1, 1e-5)
        case "SpatialMaxPooling":
            return functional.max_pool2d(value, 2)
        case "SpatialUpSamplingNearest":
            return functional.interpolate(value, scale_factor=2.0, mode="nearest")
        case "SpatialUpSamplingBilinear":
            size = (fields["oheight"], fields["owidth"])
            return functional.interpolate(value, size=size, mode="bilinear", align_corners=True)
    raise ValueError(module.cls)
