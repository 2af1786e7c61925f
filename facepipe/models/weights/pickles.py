"""Reading pickles without unpickling: a small interpreter that builds records and calls nothing.

Python's unpickler is a machine that calls whatever the file names. Here every opcode is one of a few
harmless ones, globals are names on a list, and the "calls" that a checkpoint needs (rebuild a tensor,
make an ordered dictionary, make a module) become plain records. Nothing of a file is ever executed.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

from facepipe.core.errors import WeightsError
from facepipe.models.weights.records import (
    Global,
    Record,
    StorageRef,
    add_items,
    call,
    is_allowed,
    refer_to_storage,
)

MAX_OPCODES = 2_000_000


class _Mark:
    """The stack's mark object."""


def read_pickle(stream: BinaryIO, name: str, storages: dict[str, StorageRef] | None = None) -> Any:
    """Interpret one pickle up to its STOP; the stream is left right behind it.

    Args:
        stream: seekable.
        name: for error messages.
        storages: receives every storage that the pickle refers to, by key.

    Returns:
        Plain containers and numbers with `Record`, `TensorRef` and `Global` among them.

    Raises:
        WeightsError: it is truncated, malformed, too long, or asks for anything that is not allowed.
    """
    machine = _Machine(name, {} if storages is None else storages)
    try:
        with warnings.catch_warnings():
            # Of escapes in strings of damaged files.
            warnings.simplefilter("ignore", DeprecationWarning)
            for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
                if count > MAX_OPCODES:
                    raise WeightsError(f"{name}: a pickle of more than {MAX_OPCODES} steps is no checkpoint")
                machine.step(opcode.name, argument)
        return machine.result
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise WeightsError(f"{name}: a damaged or truncated pickle ({error})") from error


class _Machine:
    """The stack machine; every method that handles an opcode bears the opcode's name."""

    def __init__(self, name: str, storages: dict[str, StorageRef]) -> None:
        self.name = name
        self.storages = storages
        self.result: Any = None
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _LITERALS:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif opcode not in ("PROTO", "FRAME"):
            handler: Callable[[Any], None] | None = getattr(self, f"op_{opcode.lower()}", None)
            if handler is None:
                raise WeightsError(
                    f"{self.name}: refused, the pickle uses {opcode}, which no checkpoint needs"
                )
            handler(argument)

    def op_stop(self, _: Any) -> None:
        self.result = self.stack.pop()

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_global(self, argument: str) -> None:
        module, _, attribute = argument.partition(" ")
        self.stack.append(self._global(f"{module}.{attribute}"))

    def op_stack_global(self, _: Any) -> None:
        attribute, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self._global(f"{module}.{attribute}"))

    def _global(self, name: str) -> Global:
        if is_allowed(name):
            return Global(name)
        raise WeightsError(
            f"{self.name}: refused, the pickle asks for {name!r}, which is not on the list of what a "
            "checkpoint needs; nothing was executed. Save the network's state_dict and import that"
        )

    def _marked(self) -> list[Any]:
        items: list[Any] = []
        while not isinstance(item := self.stack.pop(), _Mark):
            items.append(item)
        return items[::-1]

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._marked()))

    def op_tuple1(self, _: Any) -> None:
        self.stack.append((self.stack.pop(),))

    def op_tuple2(self, _: Any) -> None:
        last, first = self.stack.pop(), self.stack.pop()
        self.stack.append((first, last))

    def op_tuple3(self, _: Any) -> None:
        last, middle, first = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append((first, middle, last))

    def op_list(self, _: Any) -> None:
        self.stack.append(self._marked())

    def op_dict(self, _: Any) -> None:
        items = self._marked()
        self.stack.append({})
        add_items(self.stack[-1], items)

    def op_append(self, _: Any) -> None:
        item = self.stack.pop()
        self._extend([item])

    def op_appends(self, _: Any) -> None:
        items = self._marked()
        self._extend(items)

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError(f"items for a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def op_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        add_items(self.stack[-1], [key, value])

    def op_setitems(self, _: Any) -> None:
        items = self._marked()
        add_items(self.stack[-1], items)

    def op_binpersid(self, _: Any) -> None:
        reference = refer_to_storage(self.stack.pop())
        if isinstance(reference, StorageRef):
            self.storages[reference.key] = reference
        self.stack.append(reference)

    def op_newobj(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(call(function, arguments))

    def op_reduce(self, argument: Any) -> None:
        self.op_newobj(argument)

    def op_build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Record) and isinstance(state, dict):
            target.state.update(state)
        elif not isinstance(target, dict):  # attributes of a dictionary, such as versions, are not needed
            raise TypeError(f"state for a {type(target).__name__}")


_NUMBERS = ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = (
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
)
_LITERALS = frozenset((*_NUMBERS, *_TEXTS))
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": _Mark,
}
