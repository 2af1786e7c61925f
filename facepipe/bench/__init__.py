"""The benchmark: its configuration, its stages, and the run that brings them to an end."""
