"""A fixed split for training, validation and test that depends on names only."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

Split = Literal["training", "validation", "test"]

SPLITS: tuple[Split, ...] = ("training", "validation", "test")

_SHARES = (0.8, 0.9)
"""Up to which share of the hash's range photos belong to training and to validation."""

_SMALL_NUMBERS = re.compile(r"(_\d{1,2}){0,2}$")


def photo_of(sample_id: str) -> str:
    """The photo that a sample was made from.

    300W-LP calls its files `<SET>_<photo>_<pose>`, where the photo's name ends with the number of the face
    in it for AFW, HELEN and IBUG (`AFW_134212_1_0`); 300W-3D leaves the pose out; flips have the same
    names in a folder of their own. So up to two numbers of at most two digits at the end are dropped,
    which puts all poses, flips and faces of one photo together, across both sets.
    """
    return _SMALL_NUMBERS.sub("", sample_id.rsplit("/", 1)[-1])


def split_of(sample_id: str, kind: str = "") -> Split:
    """Which part a sample belongs to: 80, 10 and 10 % of the photos, by a hash of the photo's name.

    Args:
        sample_id: of the sample.
        kind: of its data set; all of AFLW2000-3D is a test set.
    """
    if kind == "aflw2000-3d":
        return "test"
    digest = hashlib.sha256(photo_of(sample_id).encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return SPLITS[sum(share >= limit for limit in _SHARES)]
