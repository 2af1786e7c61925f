"""Reading Torch7 files (`.t7`, binary form) without Lua: plain values come out, nothing in a file runs.

The format, as torch/File.lua and the C sources of its tensors write it, little-endian: an int32 type, then
the value. Numbers are doubles, booleans and counts int32, strings a count and bytes. Tables and torch objects
bear an int32 index, and a second mention is the index alone. A torch object names its version and class;
tensors and storages follow in a form of their own, every other class as a table of its fields.
"""

from __future__ import annotations

import contextlib
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import WeightsError
from facepipe.models.weights.third_party import TORCH7_STARTS, read_limited

MAX_DEPTH = 150
_MAX_AXES = 16
_NIL, _NUMBER, _STRING, _TABLE, _TORCH, _BOOLEAN = range(6)
_FUNCTIONS = (6, 7, 8)

_ELEMENTS = {
    "Byte": "|u1",
    "Char": "|i1",
    "Short": "<i2",
    "Int": "<i4",
    "Half": "<f2",
    "Float": "<f4",
    "Double": "<f8",
    "Cuda": "<f4",
} | {
    f"Cuda{name}": dtype
    for name, dtype in (
        ("Byte", "|u1"),
        ("Char", "|i1"),
        ("Short", "<i2"),
        ("Int", "<i4"),
        ("Half", "<f2"),
        ("Double", "<f8"),
    )
}
_LONGS = ("Long", "CudaLong")


@dataclass
class TorchObject:
    """An instance of a Lua class: its name and its fields, which may contain the object itself.

    Attributes:
        cls: such as 'nn.Sequential'.
        fields: by name.
    """

    cls: str
    fields: dict[Any, Any] = field(default_factory=dict, repr=False)


def is_torch7(path: Path) -> bool:
    """Whether a file begins as a Torch7 file whose value is an object or a table."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) in TORCH7_STARTS
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_torch7(path: Path) -> Any:
    """Read the first value of a Torch7 file in binary form.

    Integers of type long have 8 bytes, or 4 where the file was written on a 32-bit machine.

    Returns:
        float, str, bool, None, dict (tables; whole numbers among keys are int), numpy arrays (tensors and
        storages, read-only views of the file's bytes) and `TorchObject`.

    Raises:
        WeightsError: the file is missing, truncated, damaged or too large, or holds Lua functions.
    """
    data = read_limited(path)
    try:
        return _Reader(data, str(path), long_bytes=8).value()
    except WeightsError:
        narrow = _Reader(data, str(path), long_bytes=4)
        with contextlib.suppress(WeightsError):
            value = narrow.value()
            if not narrow.left():  # read with the wrong width, values end anywhere
                return value
        raise


class _Reader:
    """A cursor over the bytes, with the objects met so far."""

    def __init__(self, data: bytes, name: str, long_bytes: int) -> None:
        self.data = data
        self.name = name
        self.long_bytes = long_bytes
        self.at = 0
        self.depth = 0
        self.seen: dict[int, Any] = {}

    def value(self) -> Any:
        kind = self.int32()
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            return struct.unpack("<d", self.take(8))[0]
        if kind == _STRING:
            return self.text()
        if kind == _BOOLEAN:
            return bool(self.int32())
        if kind in _FUNCTIONS:
            raise WeightsError(
                f"{self.name}: refused, it holds a Lua function; save the bare network with Torch's "
                "net:clearState() and torch.save"
            )
        if kind not in (_TABLE, _TORCH):
            raise self.damaged(f"no value has type {kind}")
        index = self.int32()
        if index in self.seen:
            return self.seen[index]
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.damaged(f"its values are nested more than {MAX_DEPTH} deep")
        made = self.table(index) if kind == _TABLE else self.instance(index)
        self.depth -= 1
        return made

    def table(self, index: int) -> dict[Any, Any]:
        count = self.int32()
        if not 0 <= count <= self.left() // 8:  # a key and a value have a type of 4 bytes each
            raise self.damaged(f"a table of {count} entries in {self.left()} bytes")
        made: dict[Any, Any] = {}
        self.seen[index] = made
        for _ in range(count):
            key = self.value()
            if isinstance(key, float) and key.is_integer():
                key = int(key)
            if not isinstance(key, int | float | str):
                raise self.damaged(f"a table with a key of type {type(key).__name__}")
            made[key] = self.value()
        return made

    def instance(self, index: int) -> Any:
        version = self.text()
        # Before versions were written, the class stood in their place.
        cls = self.text() if version.startswith("V ") else version
        element = self.element(cls, "Tensor")
        if element is not None:
            self.seen[index] = None  # a tensor cannot contain itself
            self.seen[index] = self.tensor(element)
            return self.seen[index]
        element = self.element(cls, "Storage")
        if element is not None:
            self.seen[index] = self.storage(element)
            return self.seen[index]
        made = TorchObject(cls)
        self.seen[index] = made
        fields = self.value()
        if not isinstance(fields, dict):
            raise self.damaged(f"an object of class {cls!r} whose fields are no table")
        made.fields = fields
        return made

    def element(self, cls: str, kind: str) -> str | None:
        """The element type of a class of tensors or storages, None for other classes."""
        if not cls.startswith("torch.") or not cls.endswith(kind):
            return None
        name = cls.removeprefix("torch.").removesuffix(kind)
        return f"<i{self.long_bytes}" if name in _LONGS else _ELEMENTS.get(name)

    def tensor(self, element: str) -> NDArray[Any]:
        axes = self.int32()
        if not 0 <= axes <= _MAX_AXES:
            raise self.damaged(f"a tensor of {axes} axes")
        shape, strides = self.longs(axes), self.longs(axes)
        offset = self.longs(1)[0] - 1  # Lua counts from 1
        storage = self.value()
        count = math.prod(shape) if axes else 0
        if not count:
            return np.empty(0, element)
        if not isinstance(storage, np.ndarray) or storage.dtype != np.dtype(element) or storage.ndim != 1:
            raise self.damaged(f"a tensor of {count} elements without a storage of its type")
        reach = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
        if min(*shape, *strides, offset) < 0 or count > storage.size or reach >= storage.size:
            raise self.damaged(f"a tensor of shape {shape} reaches beyond its storage of {storage.size}")
        # An axis of one element may bear any stride.
        steps = tuple(
            step * storage.itemsize if size > 1 else 0 for size, step in zip(shape, strides, strict=True)
        )
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)

    def storage(self, element: str) -> NDArray[Any]:
        count = self.longs(1)[0]
        item = np.dtype(element).itemsize
        if not 0 <= count <= self.left() // item:
            raise self.damaged(f"a storage of {count} elements in {self.left()} bytes")
        return np.frombuffer(self.take(count * item), element)

    def text(self) -> str:
        return str(bytes(self.take(self.int32())), "latin-1")

    def int32(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)

    def longs(self, count: int) -> tuple[int, ...]:
        size = self.long_bytes
        return tuple(int.from_bytes(self.take(size), "little", signed=True) for _ in range(count))

    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= self.left():
            raise self.damaged(f"{count} bytes are expected where {self.left()} are left")
        self.at += count
        return memoryview(self.data)[self.at - count : self.at]

    def damaged(self, what: str) -> WeightsError:
        return WeightsError(
            f"{self.name}: a damaged or truncated Torch7 file, or not one in binary form ({what}, at byte "
            f"{self.at}); fetch it anew"
        )
