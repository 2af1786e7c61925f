"""A hand with its forearm, held in front of a face."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import WeightsError
from facepipe.lab.faces.appearance_values import Look

HAND_FILE = Path(__file__).resolve().parents[2] / "data" / "head" / "hand.npz"

CLEARANCE_MM = 16.0
"""From the skin to the middle of the hand."""


@lru_cache(maxsize=1)
def load_hand() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Points (H, 3) of a left hand, mm: fingers along y, the palm facing -z; and its triangles.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        with np.load(HAND_FILE, allow_pickle=False) as stored:
            return stored["points"].astype(np.float32), stored["triangles"].astype(np.int32)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{HAND_FILE}: the hand cannot be read ({error}); reinstall facepipe") from error


def place_hand(look: Look, face: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay the hand on a face.

    Args:
        face: (R, 3), the vertices of the face part's skin, mm.

    Returns:
        (H, 3), mm in the head's frame. The arm comes from below, on the side where the hand lies.
    """
    points, _ = load_hand()
    x, y = look.hand_x_mm, look.hand_y_mm
    near = np.hypot(face[:, 0] - x, face[:, 1] - y) < 35.0
    depth = float(face[near, 2].max()) if near.any() else float(face[:, 2].max())
    side = 1.0 if x >= 0 else -1.0
    mirrored = points * np.array([side, 1, 1], np.float32)
    turn, tilt = look.hand_turn_rad * side, look.hand_tilt_rad
    about_z = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    turned = mirrored @ (about_z @ about_x).T
    return np.asarray(turned + np.array([x, y, depth + CLEARANCE_MM]), np.float32)


def hand_place(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where on the mean head's texture space the hand's skin is taken from: plain skin at the neck's side."""
    return np.asarray(points * 0.3 + np.array([0, 0, -140.0]), np.float32)
