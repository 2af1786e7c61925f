"""Digests of networks, named as in the identity of a run.

Raises of all: UsageError, WeightsError: there is no such network here, or it is damaged.
"""

from __future__ import annotations

from facepipe.detect import open_detector
from facepipe.models.superres.methods import get_method
from facepipe.models.vrn.regressors import get_regressor


def method_fingerprint(name: str, low_px: int) -> dict[str, str]:
    """The digest of a method at a size."""
    return {f"{name}@{low_px}": get_method(name).fingerprint(low_px)}


def regressor_fingerprint(name: str) -> dict[str, str]:
    """The digest of a regressor."""
    return {name: get_regressor(name).fingerprint()}


def detector_fingerprint() -> dict[str, str]:
    """The digest of the detector that `--crop face` uses."""
    detector = open_detector()
    return {f"detector {detector.name}": detector.fingerprint}
