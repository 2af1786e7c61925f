"""Reading weights of other programs: PyTorch checkpoints old and new, and safetensors.

Only names and numbers are taken out of a file; see `pickles` for why nothing in it can run.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import WeightsError
from facepipe.models.weights.pickles import read_pickle
from facepipe.models.weights.records import Record, StorageRef, TensorRef
from facepipe.models.weights.weights_file import from_bfloat16, load_tensors

MAX_FILE_BYTES = 4 * 1024**3
TORCH7_STARTS = (b"\x03\0\0\0", b"\x04\0\0\0")
"""How a Torch7 file begins whose value is a table or an object."""

_MAX_MODULES = 10_000
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net", "generator")
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    KeyError,
    ValueError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)


def read_foreign(path: Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a checkpoint without executing anything in it.

    Understood: torch's zip format, its older stream of pickles (state dictionaries and pickled
    modules), safetensors. bfloat16 becomes float32.

    Returns:
        Tensors by name; of a pickled module, the names that its state dictionary would have.

    Raises:
        WeightsError: the file is missing, truncated, unsafe, absurdly large or of another format.
    """
    data = read_limited(path)
    if data.startswith(b"PK\x03\x04"):
        root, storages = _read_zip(data, str(path))
    elif data.startswith(b"\x80"):
        root, storages = _read_legacy(data, str(path))
    elif data[8:9] == b"{":
        return load_tensors(path)
    elif data.startswith(TORCH7_STARTS):
        raise WeightsError(
            f"{path}: a Torch7 file; what is read of such is a regressor, and needs to be imported: "
            f"facepipe models import {path} --as NAME"
        )
    else:
        raise WeightsError(f"{path}: neither a PyTorch checkpoint nor safetensors nor a binary Torch7 file")
    tensors = _Materialiser(storages, 2 * len(data), str(path)).all(_named_tensors(root, str(path)))
    if not tensors:
        raise WeightsError(f"{path}: there are no tensors in it")
    return tensors


def read_limited(path: Path) -> bytes:
    """Read a whole file of at most `MAX_FILE_BYTES`.

    Raises:
        WeightsError: it is missing, unreadable or larger.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise WeightsError(f"{path}: {size} bytes, at most {MAX_FILE_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_legacy(data: bytes, name: str) -> tuple[Any, dict[str, bytes]]:
    """Read magic, protocol, system information, the object, storage keys and raw storages in turn."""
    stream = io.BytesIO(data)
    if read_pickle(stream, name) != _LEGACY_MAGIC or read_pickle(stream, name) != 1001:
        raise WeightsError(f"{name}: a pickle, but not a PyTorch checkpoint")
    system = read_pickle(stream, name)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise WeightsError(f"{name}: written on a big-endian machine; save it anew on a common one")
    references: dict[str, StorageRef] = {}
    root = read_pickle(stream, name, references)
    keys = read_pickle(stream, name)
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in references for key in keys):
        raise WeightsError(f"{name}: damaged, its list of storages does not match its tensors")
    return root, {key: _read_storage(stream, references[key], name) for key in keys}


def _read_storage(stream: BinaryIO, storage: StorageRef, name: str) -> bytes:
    n_bytes = storage.numel * _item_bytes(storage)
    if int.from_bytes(stream.read(8), "little") != storage.numel or n_bytes > MAX_FILE_BYTES:
        raise WeightsError(f"{name}: damaged or truncated, a storage has another length than its tensors say")
    raw = stream.read(n_bytes)
    if len(raw) != n_bytes:
        raise WeightsError(f"{name}: truncated, a storage should have {n_bytes} bytes and has {len(raw)}")
    return raw


def _item_bytes(storage: StorageRef) -> int:
    return 2 if storage.dtype == "bfloat16" else np.dtype(storage.dtype).itemsize


def _read_zip(data: bytes, name: str) -> tuple[Any, dict[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            for entry in entries.values():
                # torch never compresses; whatever is compressed here is meant to grow.
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(data):
                    raise WeightsError(f"{name}: refused, its entry {entry.filename!r} is compressed")
            pickles = [path for path in entries if path == "data.pkl" or path.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise WeightsError(f"{name}: a zip archive, but not a PyTorch checkpoint")
            folder = pickles[0].removesuffix("data.pkl")
            order = f"{folder}byteorder"
            if order in entries and archive.read(order) != b"little":
                raise WeightsError(f"{name}: written on a big-endian machine; save it anew on a common one")
            root = read_pickle(io.BytesIO(archive.read(pickles[0])), name)
            keys = {tensor.storage.key for tensor in _named_tensors(root, name).values()}
            return root, {key: archive.read(f"{folder}data/{key}") for key in keys}
    except _ZIP_ERRORS as error:
        raise WeightsError(f"{name}: a damaged or truncated PyTorch checkpoint ({error})") from error


def _named_tensors(root: Any, name: str) -> dict[str, TensorRef]:
    """The tensors of a state dictionary, of one inside a wrapper, or of a pickled module."""
    if isinstance(root, Record):
        return _module_tensors(root, name)
    if isinstance(root, Mapping):
        direct = {str(key): value for key, value in root.items() if isinstance(value, TensorRef)}
        if direct:
            return direct
        for wrapper in _WRAPPERS:
            inner = root.get(wrapper)
            if isinstance(inner, Mapping) and any(isinstance(value, TensorRef) for value in inner.values()):
                return {str(key): value for key, value in inner.items() if isinstance(value, TensorRef)}
            if isinstance(inner, Record):
                return _named_tensors(inner, name)
        found = ", ".join(repr(str(key)) for key in list(root)[:8])
        raise WeightsError(
            f"{name}: no state dictionary, and none under a name that is looked for "
            f"({', '.join(_WRAPPERS)}): it holds {found or 'nothing'}; save the state dictionary alone"
        )
    raise WeightsError(f"{name}: neither a state dictionary nor a module; there are no tensors to find in it")


def _module_tensors(root: Record, name: str) -> dict[str, TensorRef]:
    found: dict[str, TensorRef] = {}
    waiting = [("", root)]
    for _ in range(_MAX_MODULES):
        if not waiting:
            return found
        prefix, module = waiting.pop()
        for group in ("_parameters", "_buffers"):
            for key, value in _mapping(module.state.get(group)).items():
                if isinstance(value, TensorRef):
                    found[f"{prefix}{key}"] = value
        for key, child in _mapping(module.state.get("_modules")).items():
            if isinstance(child, Record):
                waiting.append((f"{prefix}{key}.", child))
    raise WeightsError(f"{name}: refused, it has more than {_MAX_MODULES} modules or they contain themselves")


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


class _Materialiser:
    """Turns references into arrays within a budget of bytes."""

    def __init__(self, storages: Mapping[str, bytes], budget: int, name: str) -> None:
        self.storages = storages
        self.budget = budget
        self.name = name

    def all(self, references: Mapping[str, TensorRef]) -> dict[str, NDArray[Any]]:
        return {key: self.one(key, tensor) for key, tensor in references.items()}

    def one(self, key: str, tensor: TensorRef) -> NDArray[Any]:
        storage = tensor.storage
        item = _item_bytes(storage)
        count = math.prod(tensor.size)
        reach = tensor.offset + sum(
            (size - 1) * step for size, step in zip(tensor.size, tensor.stride, strict=False)
        )
        raw = self.storages.get(storage.key, b"")
        if (
            len(tensor.size) != len(tensor.stride)
            or count > storage.numel
            or (count and reach >= storage.numel)
            or len(raw) != storage.numel * item
        ):
            raise WeightsError(f"{self.name}: tensor {key!r} reaches beyond its storage; the file is damaged")
        self.budget -= count * item
        if self.budget < 0:
            raise WeightsError(f"{self.name}: refused, its tensors are far larger than the file")
        brain = storage.dtype == "bfloat16"
        flat = np.frombuffer(raw, "<u2" if brain else storage.dtype)
        if not count:
            flat = flat[:0].reshape(tensor.size)
        else:
            strides = tuple(step * item for step in tensor.stride)
            flat = np.lib.stride_tricks.as_strided(
                flat[tensor.offset :], tensor.size, strides, writeable=False
            )
        array = np.array(flat, order="C")
        return from_bfloat16(array) if brain else array
