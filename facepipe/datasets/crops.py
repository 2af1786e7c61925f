"""Which square of an image the networks see."""

from __future__ import annotations

from facepipe.crop import Crop, full_crop
from facepipe.datasets.base import Sample


def crop_for(sample: Sample, mode: str) -> Crop:  # noqa: ARG001
    """The crop of a sample, in source coordinates."""
    height, width = sample.image.shape[:2]
    return full_crop(width, height)
