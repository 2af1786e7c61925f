"""How fast facepipe is, each step against the usual way of doing it: `python -m benchmarks`."""
