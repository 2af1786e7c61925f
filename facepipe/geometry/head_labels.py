"""Labels of the head's triangles: skin, eye, tooth and so on."""

from __future__ import annotations

SKIN = 0
EYE_LEFT = 1
EYE_RIGHT = 2
TEETH = 3
TONGUE = 4
MOUTH = 5
"""The inside of the mouth, the nose and the eye sockets."""
LONG_HAIR = 6
"""The drape over the back of the head and the shoulders."""
FRAME = 7
"""Frames of glasses."""
HAT = 8
HAND = 9
