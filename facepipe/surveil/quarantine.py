"""Turn errors that one input causes into its reason; everything else stops the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from facepipe.core.errors import FacepipeError, SampleError

UNEXPECTED = "unexpected-error"

T = TypeVar("T")


def attempt(step: Callable[[], T]) -> T | SampleError:
    """Do something with one input; return what it made, or why it could not.

    Raises:
        OSError, MemoryError, FacepipeError: no input is to blame.
    """
    try:
        return step()
    except SampleError as error:
        return error
    except (OSError, MemoryError, FacepipeError):
        raise
    except Exception as error:  # noqa: BLE001 - one input's surprise must not stop a hundred thousand
        return SampleError(UNEXPECTED, f"{type(error).__name__}: {error}")
