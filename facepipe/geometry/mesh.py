"""Mesh colours, mesh files and mesh previews."""

from facepipe.geometry.mesh_colour import photo_colours
from facepipe.geometry.mesh_export import FORMATS, encode, upright
from facepipe.geometry.mesh_preview import preview, render

__all__ = ["FORMATS", "encode", "photo_colours", "preview", "render", "upright"]
