"""What a checkpoint's pickle may ask for, and the plain records that it gets instead.

Nothing is imported or called by a name in a file: every allowed name is mapped to a record or a plain
container here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

STORAGE_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}

MODULE_PREFIX = "torch.nn.modules."
MODULES = ("model_super_resolution.Net",)
"""Classes of pickled modules beyond torch's own: the network of the 2019 study."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function in a pickle; never imported."""

    name: str


@dataclass
class Record:
    """An instance of a module class: its attributes as written, nothing else."""

    cls: str
    state: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StorageRef:
    """A block of numbers that lies elsewhere in the file."""

    dtype: str
    key: str
    numel: int


@dataclass(frozen=True)
class TensorRef:
    """A tensor: a strided view of a storage, offsets and strides in elements."""

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def is_module(name: str) -> bool:
    """Whether a global is the class of a module, which becomes a `Record`."""
    return name.startswith(MODULE_PREFIX) or name in MODULES


def is_allowed(name: str) -> bool:
    """Whether a checkpoint may name this global."""
    return name in _CALLS or is_module(name) or name.removeprefix("torch.") in STORAGE_DTYPES


def call(function: Any, arguments: Any) -> Any:
    """Return what stands for a call that a pickle asks for.

    Raises:
        TypeError, ValueError: the function or its arguments are not those of a checkpoint.
    """
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise TypeError(f"a call of {type(function).__name__}")
    if is_module(function.name):
        return Record(function.name)
    if function.name not in _CALLS:
        raise ValueError(f"a call of {function.name}")
    return _CALLS[function.name](*arguments)


def refer_to_storage(persistent_id: Any) -> StorageRef | Global:
    """Return what stands for a persistent id: a storage, or the class of a pickled module.

    Raises:
        KeyError, ValueError: it is neither.
    """
    match persistent_id:
        case ("storage", Global(name=cls), str(key), str(), int(numel), *_) if 0 <= numel < 2**40:
            return StorageRef(STORAGE_DTYPES[cls.removeprefix("torch.")], key, numel)
        case ("module", Global() as cls, *_):
            return cls
    raise ValueError("a persistent id that is neither storage nor module")


def add_items(target: Any, items: list[Any]) -> None:
    """Put alternating keys and values into a dictionary.

    Raises:
        TypeError, ValueError: the target is no dictionary, or a key is neither text nor number.
    """
    if not isinstance(target, dict):
        raise TypeError(f"items for a {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | int):
            raise TypeError(f"a key of type {type(key).__name__}")
        target[key] = value


def _dictionary(pairs: Any = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in pairs:
        add_items(made, [key, value])
    return made


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRef:
    if not isinstance(storage, StorageRef):
        raise TypeError(f"a tensor over a {type(storage).__name__}")
    return TensorRef(storage, _whole((offset,))[0], _whole(size), _whole(stride))


def _whole(values: Any) -> tuple[int, ...]:
    if (
        not isinstance(values, tuple)
        or len(values) > 16
        or not all(type(value) is int and 0 <= value < 2**40 for value in values)
    ):
        raise ValueError("absurd sizes")
    return values


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _items(items: Any = ()) -> Any:
    return items


def _backend() -> Record:
    return Record("backend")


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dictionary,
    "__builtin__.set": _items,
    "builtins.set": _items,
    "torch.Size": _items,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.backends.thnn._get_thnn_function_backend": _backend,
}
