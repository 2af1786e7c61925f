"""Image files, video frames, crops and degradations."""
