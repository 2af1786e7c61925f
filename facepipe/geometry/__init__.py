"""Volumes, meshes and the morphable head."""
