"""Meshes for people: colours from the photo, files for viewers, pictures without a graphics card."""

from facepipe.mesh.colour import photo_colours
from facepipe.mesh.export import FORMATS, encode, upright
from facepipe.mesh.preview import preview, render

__all__ = ["FORMATS", "encode", "photo_colours", "preview", "render", "upright"]
