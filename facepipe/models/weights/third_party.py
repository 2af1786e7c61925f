"""Read weights of other programs: PyTorch checkpoints old and new, and safetensors.

Only names and numbers are taken out of a file; nothing in it is executed. PyTorch's files are read by
`torch.load(weights_only=True)`, whole pickled modules by the unpickler of `pickled_modules`.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import WeightsError
from facepipe.models.weights.weights_file import load_tensors

MAX_FILE_BYTES = 4 * 1024**3
MAX_NESTING = 4
TORCH7_STARTS = (b"\x03\0\0\0", b"\x04\0\0\0")
"""How a Torch7 file begins whose value is a table or an object."""

StateDicts = dict[str, dict[str, NDArray[Any]]]
"""Named tensors by the place of their dictionary in a file, such as 'state_dict'; '' is the file itself."""

_IGNORED = (
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "argparse.Namespace",
    "pathlib.PosixPath",
    "pathlib._local.PosixPath",
)
"""What notes beside the tensors are often made of (a NumPy number, the options of a run)."""
_DAMAGE = (
    pickle.UnpicklingError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    OSError,
)
"""What torch raises of damaged files."""


class _Ignored:
    """Stands for a note beside the tensors: takes whatever a file gives it and keeps none of it."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def read_third_party(path: Path) -> StateDicts:
    """Read all tensors of a checkpoint that have names, without executing anything in it.

    Understood: torch's zip format, its older stream of pickles (state dictionaries and pickled modules),
    safetensors. bfloat16 becomes float32.

    Returns:
        Each dictionary with tensors in it by its place in the file; of a pickled module, the names that its
        state dictionary would have.

    Raises:
        WeightsError: the file is missing, truncated, unsafe, absurdly large or of another format, or has no
            tensors.
    """
    data = read_limited(path)
    if data[8:9] == b"{":
        return {"": load_tensors(path)}
    if data.startswith(TORCH7_STARTS):
        raise WeightsError(
            f"{path}: a Torch7 file; what is read of such is a regressor, and needs to be imported: "
            f"facepipe models import {path} --as NAME"
        )
    if path.suffix == ".onnx":
        raise WeightsError(
            f"{path}: an ONNX file; weights are read under the names that they were trained with, so save "
            "them in PyTorch: torch.save(network.state_dict(), 'weights.pth')"
        )
    if data.startswith(b"PK\x03\x04"):
        _check_zip(data, path)
    elif not data.startswith(b"\x80"):
        raise WeightsError(f"{path}: neither a PyTorch checkpoint nor safetensors nor a binary Torch7 file")
    root = _load(data, str(path))
    found = dict(_state_dicts(root, "", str(path)))
    budget = 2 * len(data) - sum(tensor.nbytes for state in found.values() for tensor in state.values())
    if budget < 0:
        raise WeightsError(f"{path}: refused, its tensors are far larger than the file")
    if not found:
        keys = ", ".join(repr(str(key)) for key in list(root)[:8]) if isinstance(root, Mapping) else ""
        raise WeightsError(
            f"{path}: there are no named tensors in it: it holds {keys or f'a {type(root).__name__}'}; save "
            "the state dictionary alone"
        )
    return {
        place: {key: _array(tensor, key, str(path)) for key, tensor in state.items()}
        for place, state in found.items()
    }


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


def _check_zip(data: bytes, path: Path) -> None:
    """Refuse archives that would grow, that are no checkpoint, or that hold a program."""
    try:
        entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error) as error:
        raise WeightsError(f"{path}: a damaged or truncated PyTorch checkpoint ({error})") from error
    names = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in names:
        raise WeightsError(
            f"{path}: a TorchScript file, which is a program and is not run here; where it was made, save "
            "its tensors: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        )
    if "data.pkl" not in names:
        raise WeightsError(f"{path}: a zip archive, but not a PyTorch checkpoint")
    for entry in entries:
        # torch never compresses; whatever is compressed here is meant to grow.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(data):
            raise WeightsError(f"{path}: refused, its entry {entry.filename!r} is compressed")


def _load(data: bytes, name: str) -> Any:
    """Let torch read a file: as plain values if it can, as a pickled module otherwise."""
    import torch

    from facepipe.models.weights import pickled_modules

    stream = io.BytesIO(data)
    ignored: list[Any] = [(_Ignored, global_name) for global_name in _IGNORED]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(ignored):
            warnings.simplefilter("ignore")
            if pickled_modules.MODULE_PREFIX.encode() in data:
                root = torch.load(stream, "cpu", pickled_modules, weights_only=False)
            else:
                root = torch.load(stream, "cpu", weights_only=True)
    except _DAMAGE as error:
        raise WeightsError(_explained(error, name)) from error
    if data.startswith(b"\x80") and stream.read(1):
        raise WeightsError(f"{name}: damaged, its list of storages does not match its tensors")
    return root


def _explained(error: BaseException, name: str) -> str:
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and refused:
        return (
            f"{name}: refused, the pickle asks for {refused[1]!r}, which is not on the list of what a "
            "checkpoint needs; nothing was executed. Save the network's state_dict and import that"
        )
    # What torch says of its own options is of no use here.
    said = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
    return f"{name}: a damaged or truncated PyTorch checkpoint ({said or type(error).__name__})"


def _state_dicts(value: Any, place: str, name: str, level: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Dictionaries that hold tensors, and modules, with their places; outer ones first."""
    import torch

    from facepipe.models.weights.pickled_modules import PickledModule, module_tensors

    if isinstance(value, PickledModule):
        value, level = module_tensors(value, name), MAX_NESTING
    if not isinstance(value, Mapping):
        return
    tensors = {str(key): item for key, item in value.items() if isinstance(item, torch.Tensor)}
    if tensors:
        yield place, tensors
    for key, item in value.items() if level < MAX_NESTING else ():
        yield from _state_dicts(item, f"{place}.{key}" if place else str(key), name, level + 1)


def _array(tensor: Any, key: str, name: str) -> NDArray[Any]:
    import torch

    try:
        plain = tensor.detach()
        return np.asarray((plain.float() if plain.dtype == torch.bfloat16 else plain).numpy())
    except (TypeError, RuntimeError) as error:
        raise WeightsError(
            f"{name}: tensor {key!r} is of type {tensor.dtype}, which is not read here; save it as float32"
        ) from error
