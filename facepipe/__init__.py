"""facepipe: how much of a 3D face survives low resolution, and which super-resolution brings it back."""

__version__ = "0.1.0"
