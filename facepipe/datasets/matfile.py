"""MATLAB files of level 5 (up to v7) that nobody vouches for: numeric arrays only, within bounds.

Only what the data sets hold is read: real numeric arrays, also inside a 1 x 1 struct. Cells, objects,
functions and text are stepped over and never interpreted. Compressed variables are inflated piece by
piece, and a variable that was not asked for is never held in memory.

Source of the layout: MathWorks, MAT-File Format (version 5). Why not SciPy: docs/decisions/045.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError

MAX_SAMPLE_MAT_BYTES = 64 * 1024 * 1024
"""Most bytes that the variables of one sample's file may take, inflated."""

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OCTAVE_HEADS = (b"# Created by Octave", b"# name:", b"Octave-1-")
_HEADER_BYTES = 128
_LONGEST_NAME_V4 = 64
_PIECE_BYTES = 1 << 20
_MAX_NAME_BYTES = 4096
_MAX_FIELDS = 1000

_COMPRESSED, _MATRIX = 15, 14
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_STRUCT = 2
_COMPLEX_FLAG = 0x0800

Arrays = dict[str, NDArray]


class _BrokenError(Exception):
    """The bytes do not follow the format; the message says how."""


def read_mat(
    data: bytes | memoryview, name: str, keys: Collection[str], max_bytes: int = MAX_SAMPLE_MAT_BYTES
) -> Arrays:
    """Read numeric variables of a .mat file.

    Args:
        data: the file's bytes.
        name: what to call the file in messages.
        keys: the variables wanted; 'model.tri' is the field `tri` of the struct `model`.
        max_bytes: most bytes that may be inflated or read for them.

    Returns:
        The wanted variables that are there, as arrays of at least two dimensions (Fortran order).

    Raises:
        SampleError: mat-v7.3 (HDF5), mat-v4, octave-text, broken-mat, mat-too-large, or mat-wrong-type where
            a wanted variable is no real numeric array.
    """
    _check_header(data, name)
    order = "<" if bytes(data[126:128]) == b"IM" else ">"
    try:
        return dict(_variables(memoryview(data)[_HEADER_BYTES:], order, frozenset(keys), max_bytes, name))
    except (_BrokenError, zlib.error, struct.error) as error:
        raise SampleError("broken-mat", f"{name}: not a sound MATLAB file: {error}") from error


def _check_header(data: bytes | memoryview, name: str) -> None:
    if any(bytes(data[at : at + 8]) == _HDF5_SIGNATURE for at in (0, 512)):
        raise SampleError(
            "mat-v7.3", f"{name}: saved as v7.3 (HDF5); save it again in MATLAB with save(..., '-v7')"
        )
    if bytes(data[:32]).startswith(_OCTAVE_HEADS):
        raise SampleError(
            "octave-text", f"{name}: saved in Octave's own format; save it again in Octave with save -v7"
        )
    if len(data) < _HEADER_BYTES or bytes(data[126:128]) not in (b"IM", b"MI"):
        if _is_v4(bytes(data[: 20 + _LONGEST_NAME_V4])):
            raise SampleError(
                "mat-v4",
                f"{name}: a MATLAB file of level 4; save it again with save -v7 (MATLAB: save(..., '-v7'))",
            )
        raise SampleError(
            "broken-mat", f"{name}: no MATLAB file of level 5 (v5 to v7): its header is missing or truncated"
        )


def _is_v4(head: bytes) -> bool:
    """Whether a file begins as those of level 4 do: with five whole numbers and a variable's name."""
    for order in "<>" if len(head) > 20 else "":
        kind, rows, columns, imaginary, length = struct.unpack(order + "5i", head[:20])
        name = head[20 : 20 + length] if 1 < length <= _LONGEST_NAME_V4 else b""
        sound = 0 <= kind < 5000 and min(rows, columns) >= 0 and imaginary in (0, 1)
        if sound and name.endswith(b"\0") and name[:-1].decode("latin-1").isidentifier():
            return True
    return False


class _Source(Protocol):
    def read(self, count: int) -> bytes: ...


class _Plain:
    """Bytes as they are."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def read(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise _BrokenError(f"it ends {count - len(piece)} bytes too early")
        self._at += count
        return bytes(piece)


class _Inflating:
    """Bytes of a zlib stream, inflated as far as they are asked for."""

    def __init__(self, data: memoryview) -> None:
        self._inflater = zlib.decompressobj()
        self._data = data
        self._at = 0
        self._ready = bytearray()

    def read(self, count: int) -> bytes:
        while len(self._ready) < count:
            wanted = max(count - len(self._ready), 1024)
            pending = self._inflater.unconsumed_tail
            if not pending:
                pending = bytes(self._data[self._at : self._at + _PIECE_BYTES])
                self._at += len(pending)
            piece = self._inflater.decompress(pending, wanted)
            if not piece and not pending:
                raise _BrokenError("a compressed variable ends too early")
            self._ready += piece
        found = bytes(self._ready[:count])
        del self._ready[:count]
        return found


class _Matrix:
    """The inside of one matrix element: a source that knows how much of it is left."""

    def __init__(self, source: _Source, count: int, order: str) -> None:
        self._source = source
        self.left = count
        self.order = order

    def read(self, count: int) -> bytes:
        if count > self.left:
            raise _BrokenError(f"a part of {count} bytes does not fit the {self.left} that are left for it")
        self.left -= count
        return self._source.read(count)

    def skip(self) -> None:
        """Step over what is left."""
        while self.left:
            self.read(min(self.left, _PIECE_BYTES))

    def tag(self) -> tuple[int, int, bytes]:
        """Read a tag: (type, size, data); data is empty unless the element is of the short form."""
        first = self.read(4)
        (word,) = struct.unpack(self.order + "I", first)
        if word >> 16:
            size = word >> 16
            if size > 4:
                raise _BrokenError(f"a short element claims {size} bytes")
            return word & 0xFFFF, size, self.read(4)[:size]
        (size,) = struct.unpack(self.order + "I", self.read(4))
        return word, size, b""

    def element(self, max_bytes: int) -> tuple[int, bytes]:
        """Read a whole element: (type, data)."""
        kind, size, data = self.tag()
        if not data and size:
            if size > max_bytes:
                raise _BrokenError(f"an element claims {size} bytes where at most {max_bytes} make sense")
            data = self.read(size)
            self.read(min(-size % 8, self.left))
        return kind, data


def _variables(
    data: memoryview, order: str, keys: frozenset[str], max_bytes: int, name: str
) -> Iterator[tuple[str, NDArray]]:
    wanted = {key.split(".")[0] for key in keys}
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack(order + "II", data[at : at + 8])
        at += 8
        if size > len(data) - at:
            raise _BrokenError(f"a variable of {size} bytes is cut off after {len(data) - at}")
        body = data[at : at + size]
        at += size
        source: _Source = _Plain(body)
        if kind == _COMPRESSED:
            source = _Inflating(body)
            kind, size = struct.unpack(order + "II", source.read(8))
        if kind != _MATRIX:
            raise _BrokenError(f"element type {kind} where a variable was expected")
        matrix = _Matrix(source, size, order)
        found = list(_matrix(matrix, "", wanted, keys, max_bytes, name)) if size else []
        max_bytes -= sum(array.nbytes for _, array in found)
        yield from found


def _matrix(
    matrix: _Matrix, prefix: str, wanted: Collection[str], keys: Collection[str], max_bytes: int, name: str
) -> Iterator[tuple[str, NDArray]]:
    """The arrays of one matrix element; `prefix` is its name where it is a field of a struct."""
    _, flags = matrix.element(16)
    if len(flags) < 4:
        raise _BrokenError("a variable has no flags")
    (flag_word,) = struct.unpack(matrix.order + "I", flags[:4])
    array_class = flag_word & 0xFF
    _, dims_bytes = matrix.element(256)
    own = matrix.element(_MAX_NAME_BYTES)[1].decode("latin-1")
    path = prefix or own
    if path not in wanted:
        return
    if array_class == _STRUCT and any(key.startswith(path + ".") for key in keys):
        yield from _fields(matrix, path, keys, max_bytes, name)
        return
    if array_class not in _CLASSES or flag_word & _COMPLEX_FLAG:
        raise SampleError("mat-wrong-type", f"{name}: {path!r} is no real numeric array")
    dims = struct.unpack(f"{matrix.order}{len(dims_bytes) // 4}i", dims_bytes)
    yield path, _numbers(matrix, path, dims, array_class, max_bytes, name)


def _numbers(
    matrix: _Matrix, path: str, dims: tuple[int, ...], array_class: int, max_bytes: int, name: str
) -> NDArray:
    count = math.prod(dims)
    if min(dims, default=-1) < 0 or len(dims) < 2:
        raise _BrokenError(f"{path!r} has the shape {dims}")
    dtype = np.dtype(_CLASSES[array_class])
    if count * max(8, dtype.itemsize) > max_bytes:
        raise SampleError(
            "mat-too-large", f"{name}: {path!r} of shape {dims} exceeds the limit of {max_bytes} bytes"
        )
    kind, data = matrix.element(max_bytes)
    if count and kind not in _STORED:
        raise _BrokenError(f"{path!r} is stored as the unknown type {kind}")
    stored = np.dtype(matrix.order + _STORED.get(kind, "f8"))
    if len(data) != count * stored.itemsize:
        raise _BrokenError(f"{path!r} of shape {dims} holds {len(data)} bytes of {stored}")
    return np.frombuffer(data, stored).astype(dtype, copy=False).reshape(dims, order="F")


def _fields(
    matrix: _Matrix, path: str, keys: Collection[str], max_bytes: int, name: str
) -> Iterator[tuple[str, NDArray]]:
    _, width_bytes = matrix.element(8)
    _, names = matrix.element(_MAX_FIELDS * 64)
    if len(width_bytes) != 4:
        raise _BrokenError(f"the struct {path!r} has no field names")
    (width,) = struct.unpack(matrix.order + "i", width_bytes)
    if width <= 0 or len(names) // width > _MAX_FIELDS:
        raise _BrokenError(f"the struct {path!r} has malformed field names")
    fields = [names[i : i + width].split(b"\0")[0].decode("latin-1") for i in range(0, len(names), width)]
    for field in fields:
        if not matrix.left:
            return
        kind, size, _ = matrix.tag()
        if kind != _MATRIX:
            raise _BrokenError(f"field {field!r} of {path!r} is no matrix")
        inner = _Matrix(matrix, size, matrix.order)
        if size:
            yield from _matrix(inner, f"{path}.{field}", keys, keys, max_bytes, name)
        inner.skip()
