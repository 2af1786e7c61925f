"""Every error that facepipe raises on purpose.

A message names the file or value, what was expected and the way out. Anything else that escapes is a
bug. ``exit_status`` is what the command line ends with.
"""

from __future__ import annotations


class FacepipeError(Exception):
    """Base class: the work failed for a reason that the user can act on."""

    exit_status = 1


class UsageError(FacepipeError):
    """The command, a name or the configuration was wrong; nothing was started."""

    exit_status = 2


class SampleError(FacepipeError):
    """One sample cannot be used; it is quarantined and the rest goes on.

    Args:
        reason: a short stable code for the table, such as ``truncated-image``.
        detail: one sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class WeightsError(FacepipeError):
    """A weights file is missing, damaged, unsafe or of an unknown kind."""


class RunConflictError(UsageError):
    """A run folder belongs to another configuration or is in use by another process."""


class EnvironmentTroubleError(FacepipeError):
    """Disk, memory or cluster failed: no sample is to blame, the run can be resumed later."""
