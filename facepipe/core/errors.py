"""The errors that facepipe raises, with their exit statuses.

A message names the file or value, what was expected and the way out. Anything else that escapes is a
bug. ``exit_status`` is what the command line ends with.
"""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A text for one line of a terminal: control characters, which names may hold, become escapes."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


MISSING_FILE = "missing-file"
"""Reason of a file that was listed and is not there."""


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


class PluginError(UsageError):
    """A plug-in is not installed, cannot be imported or does not keep to its protocol."""


class PluginFailedError(FacepipeError):
    """A plug-in that could be loaded failed at its work, or gave something else than its protocol says."""


class WeightsError(FacepipeError):
    """A weights file is missing, damaged, unsafe or of an unknown kind."""


class RunConflictError(UsageError):
    """A run folder belongs to another configuration or is in use by another process."""


class EnvironmentTroubleError(FacepipeError):
    """Disk, memory or cluster failed: no sample is to blame, the run can be resumed later."""


class DamageError(EnvironmentTroubleError):
    """What lies on the disk is not what was written: only a run that begins with verifying makes it again."""
