"""Weights files of facepipe: safetensors whose metadata describes the network.

The metadata holds two strings: ``facepipe``, the JSON form of `WeightsInfo`, and ``tensors_sha256``,
a digest over all tensors, so that a damaged file is noticed and never computed with.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as save_safetensors

from facepipe.core.errors import UsageError, WeightsError
from facepipe.core.files import write_atomically
from facepipe.core.paths import absolute
from facepipe.models.weights.info import WeightsInfo, parse_info

Tensors = Mapping[str, NDArray[Any]]

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "C64": "<c8", "BOOL": "|b1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip
"""Types of safetensors that become arrays; the bits of bfloat16 are read as integers first."""

MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_FILE_BYTES = 8 * 1024**3
_INFO_KEY = "facepipe"
_DIGEST_KEY = "tensors_sha256"
_OMITTED = ("usage", "assumed", "origin")
"""Fields that are written where they say something: facepipe of before them reads the other files too."""
_IDENTITY_FIELDS = ("kind", "architecture", "arguments", "scale", "geometry", "usage")
"""What of a description has a part in a network's output. All else is about it: its name, licence and source,
what it was trained on, how good it was found to be."""


@dataclass(frozen=True)
class WeightsFile:
    """A weights file that was found, and what it says about itself.

    Attributes:
        path: the file.
        info: its description.
        shipped: True if it comes with facepipe, False if it was imported or named by path.
    """

    path: Path
    info: WeightsInfo = field(compare=False)
    shipped: bool = False

    @property
    def sha256(self) -> str:
        """Hex digest of the file's bytes, figures and card text included; what runs bind to is `identity`."""
        state = self.path.stat()
        return _sha256(self.path, state.st_size, state.st_mtime_ns)

    @property
    def identity(self) -> str:
        """Hex digest of all that determines what the network gives, see `_IDENTITY_FIELDS`, and its tensors.

        Measuring, renaming or describing a network leaves it as it is. Cheap: the digest of the tensors is
        in the file's header, and tensors that do not match it are refused when they are loaded.

        Raises:
            WeightsError: the file has no such digest, and its tensors cannot be read.
        """
        state = self.path.stat()
        return _identity(self.path, state.st_size, state.st_mtime_ns)


def is_weights(path: Path) -> bool:
    """Whether a file is one of facepipe's own: safetensors with a description."""
    try:
        open_weights(path)
    except WeightsError:
        return False
    return True


def open_weights(path: Path, *, shipped: bool = False) -> WeightsFile:
    """Read the description of a weights file, not its tensors.

    Raises:
        WeightsError: the file is missing, truncated, damaged or not a weights file of facepipe.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    return WeightsFile(path, _info(path, state.st_size, state.st_mtime_ns), shipped)


def weights_at(name_or_file: str) -> WeightsFile | None:
    """Open what a user named if it is a weights file (`*.safetensors`), imported or not; None for a name.

    Raises:
        UsageError: there is no such file.
        WeightsError: it is truncated, damaged or not a weights file of facepipe.
    """
    if not name_or_file.endswith(".safetensors"):
        return None
    path = absolute(name_or_file)
    try:
        return open_weights(path)
    except WeightsError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            raise UsageError(f"{path}: no such file") from error
        raise


@functools.lru_cache(maxsize=256)
def _info(path: Path, size: int, mtime_ns: int) -> WeightsInfo:  # noqa: ARG001
    metadata = _metadata(path, size)
    if _INFO_KEY not in metadata:
        raise WeightsError(
            f"{path}: safetensors without a facepipe description; 'facepipe models import' adds one"
        )
    return parse_info(path, metadata[_INFO_KEY])


@functools.lru_cache(maxsize=256)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@functools.lru_cache(maxsize=256)
def _identity(path: Path, size: int, mtime_ns: int) -> str:
    described = asdict(_info(path, size, mtime_ns))
    tensors = _metadata(path, size).get(_DIGEST_KEY) or tensors_sha256(load_tensors(path))
    parts = [tensors, {key: described[key] for key in _IDENTITY_FIELDS}]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _metadata(path: Path, size: int) -> dict[str, str]:
    """Read the metadata strings from a safetensors header (8 bytes of length, then JSON)."""
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
                raise WeightsError(f"{path}: not a safetensors file, or a truncated one")
            header = json.loads(stream.read(length))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not a safetensors file (its header is no JSON)") from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError(f"{path}: not a safetensors file (its metadata are no strings)")
    expected = 8 + length + _data_bytes(path, header)
    if size != expected:
        what = "truncated" if size < expected else "damaged"
        raise WeightsError(
            f"{path}: {what}, it should have {expected} bytes by its header and has {size}; import or "
            "install it anew"
        )
    return metadata


def _data_bytes(path: Path, header: Mapping[str, Any]) -> int:
    """How many bytes of tensors follow a safetensors header."""
    ends = [0]
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if not isinstance(offsets, list) or [type(offset) for offset in offsets] != [int, int]:
            raise WeightsError(f"{path}: not a safetensors file (tensor {name!r} has no place in it)")
        ends.append(offsets[1])
    return max(ends)


def load_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read and verify the tensors of a weights file, or of any safetensors. bfloat16 becomes float32.

    Raises:
        WeightsError: it is missing or damaged, its digest does not match, or a tensor is of a type that numpy
            has not.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise WeightsError(f"{path}: {size} bytes, at most {MAX_FILE_BYTES} are read")
        tensors = {name: _array(path, name, entry) for name, entry in deserialize(path.read_bytes())}
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    expected = _metadata(path, size).get(_DIGEST_KEY)
    if expected is not None and expected != tensors_sha256(tensors):
        raise WeightsError(
            f"{path}: damaged, its tensors do not match their digest; import or install it anew"
        )
    return tensors


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> NDArray[Any]:
    if entry["dtype"] not in _DTYPES:
        raise WeightsError(
            f"{path}: tensor {name!r} is of type {entry['dtype']}, which is not read here; save it as float32"
        )
    array = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return from_bfloat16(array) if entry["dtype"] == "BF16" else array


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Float32 values of bfloat16 bits: they are the upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def tensors_sha256(tensors: Tensors) -> str:
    """Hex digest over names, types, shapes and values, independent of the order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_weights(path: Path, tensors: Tensors, info: WeightsInfo) -> WeightsFile:
    """Write a weights file under a temporary name and rename it; equal input gives equal bytes."""
    arrays = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    described = asdict(info)
    for key in _OMITTED:
        if not described[key]:
            del described[key]
    metadata = {
        _INFO_KEY: json.dumps(described, sort_keys=True, ensure_ascii=False),
        _DIGEST_KEY: tensors_sha256(arrays),
    }
    write_atomically(path, _with_sorted_header(save_safetensors(arrays, metadata=metadata)))
    return open_weights(path)


def _with_sorted_header(data: bytes) -> bytes:
    # The writer keeps metadata in a hash map, whose order differs from one process to the next.
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]
