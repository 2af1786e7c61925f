"""Small ONNX files, written byte by byte as protobuf, so that nothing here needs the onnx package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Node = tuple[str, Sequence[str], str]
"""Operator, inputs, output."""

_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}


def write_onnx(
    path: Path,
    inputs: Mapping[str, Sequence[int]],
    nodes: Sequence[Node],
    constants: Mapping[str, np.ndarray],
    output: tuple[str, Sequence[int]],
) -> Path:
    """Write a model of float32 inputs and one float32 output, opset 13."""
    graph = b"".join(_bytes(1, _node(*node)) for node in nodes) + _bytes(2, b"graph")
    graph += b"".join(_bytes(5, _tensor(name, array)) for name, array in constants.items())
    graph += b"".join(_bytes(11, _value(name, shape)) for name, shape in inputs.items())
    graph += _bytes(12, _value(*output))
    path.write_bytes(_number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _number(2, 13)))
    return path


def _node(operator: str, inputs: Sequence[str], output: str) -> bytes:
    named = b"".join(_bytes(1, name.encode()) for name in inputs)
    return named + _bytes(2, output.encode()) + _bytes(4, operator.encode())


def _tensor(name: str, array: np.ndarray) -> bytes:
    shape = b"".join(_number(1, side) for side in array.shape)
    return shape + _number(2, _TYPES[array.dtype]) + _bytes(8, name.encode()) + _bytes(9, array.tobytes())


def _value(name: str, shape: Sequence[int]) -> bytes:
    sides = b"".join(_bytes(1, _number(1, side)) for side in shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, sides)))


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])
