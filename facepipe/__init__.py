"""facepipe: how much of a 3D face survives low resolution, and which super-resolution brings it back."""

from pathlib import Path

from facepipe.core.numba_cache import find_cache

__version__ = "0.1.0"

find_cache(Path(__file__).parent)
