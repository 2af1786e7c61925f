"""Remove the fixed input size from an ONNX file, so that the network takes images of any size.

An ONNX file is one protobuf message. Its graph states the shape of every input and output, and a runtime
refuses all others even where the layers, being convolutions, do not care. Here those statements are taken
out. Parameters that are also listed as inputs leave that list: only then may a runtime fold constants.
Field numbers: onnx.proto3 of the ONNX project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from facepipe.core.errors import WeightsError

MODEL_GRAPH = 7
GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO = 5, 11, 12, 13
TENSOR_NAME = 8
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR = 1
TENSOR_SHAPE = 2

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def without_shapes(model: bytes) -> bytes:
    """The same network without stated shapes, its parameters no longer inputs.

    Raises:
        WeightsError: not a protobuf message.
    """
    return b"".join(
        _field(number, _graph(value)) if number == MODEL_GRAPH else raw
        for number, value, raw in _fields(model)
    )


def _graph(graph: bytes) -> bytes:
    parameters = {
        _text(value, TENSOR_NAME) for number, value, _ in _fields(graph) if number == GRAPH_INITIALIZER
    }
    kept = []
    for number, value, raw in _fields(graph):
        if number == GRAPH_VALUE_INFO or (number == GRAPH_INPUT and _text(value, VALUE_NAME) in parameters):
            continue
        kept.append(_field(number, _value(value)) if number in (GRAPH_INPUT, GRAPH_OUTPUT) else raw)
    return b"".join(kept)


def _value(value: bytes) -> bytes:
    """A ValueInfoProto whose tensor has no shape."""
    return _replaced(value, VALUE_TYPE, lambda kind: _replaced(kind, TYPE_TENSOR, _shapeless))


def _shapeless(tensor: bytes) -> bytes:
    return b"".join(raw for number, _, raw in _fields(tensor) if number != TENSOR_SHAPE)


def _replaced(message: bytes, wanted: int, change: Callable[[bytes], bytes]) -> bytes:
    return b"".join(
        _field(number, change(value)) if number == wanted else raw for number, value, raw in _fields(message)
    )


def _text(message: bytes, wanted: int) -> str:
    return next((value.decode() for number, value, _ in _fields(message) if number == wanted), "")


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(number, content, all bytes) of each field; the content of numbers is left empty."""
    at = 0
    while at < len(message):
        key, body = _varint(message, at)
        kind = key & 7
        start = body
        if kind == _VARINT:
            _, end = _varint(message, body)
        elif kind == _BYTES:
            length, start = _varint(message, body)
            end = start + length
        elif kind in (_FIXED32, _FIXED64):
            end = body + (4 if kind == _FIXED32 else 8)
        else:
            raise WeightsError("not an ONNX file: its bytes are no protobuf message")
        if end > len(message):
            raise WeightsError("a truncated ONNX file: a field ends behind its end")
        yield key >> 3, message[start:end] if kind == _BYTES else b"", message[at:end]
        at = end


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and where the next field starts."""
    number = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
        shift += 7
    raise WeightsError("a truncated ONNX file: a number has no end")


def _field(number: int, content: bytes) -> bytes:
    """A field that holds bytes."""
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)
