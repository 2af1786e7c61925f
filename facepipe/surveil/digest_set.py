"""A memory-saving set of digests."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16
"""Of each digest so much is kept: two of 10^9 inputs are alike with a probability of 10^-21."""


class DigestSet:
    """A set of digests of at least 16 bytes: 16 bytes each for what it begins with, more for what is added.

    Args:
        digests: what it begins with; of more than 16 bytes the first are taken.
    """

    def __init__(self, digests: Iterable[bytes] = ()) -> None:
        joined = bytearray()
        for digest in digests:
            joined += digest[:DIGEST_BYTES]
        pairs = np.frombuffer(joined, ">u8").reshape(-1, 2).astype(np.uint64)
        order = np.argsort(pairs[:, 0], kind="stable")
        self._high: NDArray[np.uint64] = np.ascontiguousarray(pairs[order, 0])
        self._low: NDArray[np.uint64] = np.ascontiguousarray(pairs[order, 1])
        self._added: set[bytes] = set()

    def add(self, digest: bytes) -> None:
        """Add one."""
        self._added.add(digest[:DIGEST_BYTES])

    def __contains__(self, digest: bytes) -> bool:
        if digest[:DIGEST_BYTES] in self._added:
            return True
        high, low = (np.uint64(int.from_bytes(digest[i : i + 8], "big")) for i in (0, 8))
        start, stop = np.searchsorted(self._high, high), np.searchsorted(self._high, high, side="right")
        return bool((self._low[start:stop] == low).any())
