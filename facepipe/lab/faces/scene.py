"""A posed head with hair, clothes and glasses, ready to be drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facepipe.geometry.head import Head
from facepipe.geometry.head_labels import FRAME, HAND, HAT, LONG_HAIR, SKIN
from facepipe.geometry.morphable import Pose, posed_px
from facepipe.lab.faces.appearance_values import Look
from facepipe.lab.faces.glasses import glasses
from facepipe.lab.faces.hair import above_hat_line_mm, hat_lift_mm, standing_mm
from facepipe.lab.faces.hand import hand_place, load_hand, place_hand
from facepipe.lab.faces.named_arrays import Values
from facepipe.lab.faces.ops import NumpyOps
from facepipe.lab.faces.raster import vertex_normals

MASKS = ("sky", "lips", "eyelids", "ears", "lash")

HEM_MM = 400.0
"""How far the clothes go on below the head's lower edge."""

NECK_MM = (0.0, -75.0, -75.0)
"""Where the head turns on the body, on the mean head."""

BODY_SHARE = (0.15, 0.45, 0.25)
"""How much of the head's pitch, yaw and roll the shoulders follow."""


@dataclass(frozen=True, eq=False)
class Shell:
    """One layer of hair: points (V, 3) in picture pixels and its triangles among the scene's vertices."""

    points: NDArray[np.float32]
    triangles: NDArray[np.int32]
    share: float
    is_drape: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """Vertices and triangles in the pixels of the picture to be drawn.

    Attributes:
        points: float32 (P, 3), x right, y down, z to the camera.
        normals: float32 (P, 3), picture frame.
        place: float32 (P, 3), mm on the mean head; for glasses, their own position.
        masks: float32 (P, 5), columns as `MASKS`.
        triangles, label: opaque parts.
        lenses: triangles of spectacle lenses.
        shells: layers of hair from the inside out.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    place: NDArray[np.float32]
    masks: NDArray[np.float32]
    triangles: NDArray[np.int32]
    label: NDArray[np.uint8]
    lenses: NDArray[np.int32]
    shells: list[Shell]


def build_scene(
    head: Head, vertices_mm: NDArray[np.float32], pose: Pose, look: Look, size_px: int, hair_layers: int
) -> Scene:
    """Dress and pose a head.

    Args:
        vertices_mm: (V, 3), the head's mesh.
        pose: in pictures of 450 px.
        size_px: side of the picture to be drawn.
        hair_layers: number of shells.
    """
    place = head.model.mean
    vertices_mm = turn_body(head, vertices_mm, pose)
    flip = np.array([1, -1, 1], np.float32)
    outward = vertex_normals(vertices_mm * flip, head.triangles) * flip

    points, places = [vertices_mm], [place]
    normals, masks = [outward], [np.stack([head.sky, *(head.masks[name] for name in MASKS[1:])], 1)]
    opaque = head.label != LONG_HAIR
    hem = np.array(head.hem)
    below = np.array([0, -HEM_MM, 0], np.float32)
    points.append(vertices_mm[hem] + below)
    places.append(place[hem] + below)
    normals.append(outward[hem])
    masks.append(masks[0][hem])
    curtain = hem_band(head)
    triangles = [head.triangles[opaque], curtain]
    label = [head.label[opaque], np.full(len(curtain), SKIN, np.uint8)]
    lenses = np.zeros((0, 3), np.int32)
    if look.hat:
        brim = _hat(head, vertices_mm, outward, look)
        triangles.append(brim[1] + sum(len(p) for p in points))
        label.append(np.full(len(brim[1]), HAT, np.uint8))
        points.append(brim[0])
        places.append(place)
        normals.append(outward)
        masks.append(_plain_masks(len(place)))
    if look.glasses:
        eyes = np.stack([vertices_mm[index].mean(0) for index in head.eyes])
        worn = glasses(look, eyes, vertices_mm[head.model.landmarks])
        start = sum(len(p) for p in points)
        triangles.append(worn.frame + start)
        label.append(np.full(len(worn.frame), FRAME, np.uint8))
        lenses = worn.lenses + start
        points.append(worn.points)
        places.append(worn.points)
        normals.append(vertex_normals(worn.points * flip, np.concatenate([worn.frame, worn.lenses])) * flip)
        masks.append(_plain_masks(len(worn.points)))

    if look.hand:
        held = place_hand(look, vertices_mm[head.model.region])
        _, gripped = load_hand()
        triangles.append(gripped + sum(len(p) for p in points))
        label.append(np.full(len(gripped), HAND, np.uint8))
        points.append(held)
        places.append(hand_place(load_hand()[0]))
        normals.append(vertex_normals(held * flip, gripped) * flip)
        masks.append(_plain_masks(len(held)))

    def project(model_points: NDArray[np.float32]) -> NDArray[np.float32]:
        return posed_px(model_points, pose, size_px)

    shells = _shells(head, vertices_mm, outward, look, hair_layers, project)
    turn = (pose.rotation() * np.array([1, -1, 1])[:, None]).astype(np.float32)
    return Scene(
        points=project(np.concatenate(points)),
        normals=np.concatenate(normals) @ turn.T,
        place=np.concatenate(places),
        masks=np.concatenate(masks).astype(np.float32),
        triangles=np.concatenate(triangles).astype(np.int32),
        label=np.concatenate(label),
        lenses=lenses,
        shells=shells,
    )


def _plain_masks(count: int) -> NDArray[np.float32]:
    return np.tile(np.array([[0.9, 0, 0, 0, 0]], np.float32), (count, 1))


def _shells(
    head: Head,
    vertices_mm: NDArray[np.float32],
    outward: NDArray[np.float32],
    look: Look,
    count: int,
    project: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> list[Shell]:
    standing = standing_mm(NumpyOps, Values(look.arrays()), head.model.mean.T)
    grows = np.ascontiguousarray(head.scalp[(standing[head.scalp] > 0).any(1)])
    drape = drape_triangles(head) if look.long_hair else None
    shells = []
    if drape is not None:
        # The sheet has slits between its locks; a narrower copy behind closes them.
        inner = vertices_mm * np.array([0.91, 1, 1], np.float32) - np.array([0, 0, 6], np.float32)
        shells.append(Shell(project(inner), drape, 0.0, True))
    for k in range(count):
        share = (k + 1) / count
        if drape is not None and k % 2 == 0:
            sheet = vertices_mm + outward * np.float32(9.0 * share)
            shells.append(Shell(project(sheet), drape, share, True))
        if len(grows):
            lift = np.where(standing > 0, 0.4 + share * standing, standing)[:, None].astype(np.float32)
            shells.append(Shell(project(vertices_mm + outward * lift), grows, share, False))
    return shells


def turn_body(head: Head, vertices_mm: NDArray[np.float32], pose: Pose) -> NDArray[np.float32]:
    """Turn the shoulders back toward the camera; nothing above the throat moves."""
    pivot = np.array(NECK_MM, np.float32)
    turned = (vertices_mm - pivot) @ body_rotation(pose).T + pivot
    return np.asarray(vertices_mm + body_share(head) * (turned - vertices_mm), np.float32)


def body_rotation(pose: Pose) -> NDArray[np.float32]:
    """Turns the shoulders back, in the head's frame (3, 3)."""
    pitch, yaw, roll = BODY_SHARE
    body = replace(
        pose, pitch_rad=pose.pitch_rad * pitch, yaw_rad=pose.yaw_rad * yaw, roll_rad=pose.roll_rad * roll
    )
    return (pose.rotation().T @ body.rotation()).astype(np.float32)


def body_share(head: Head) -> NDArray[np.float32]:
    """How far each vertex (V, 1) follows the body instead of the head."""
    share = np.clip((-head.model.mean[:, 1:2] - 95.0) / 75.0, 0.0, 1.0)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def hem_band(head: Head) -> NDArray[np.int32]:
    """Triangles between the skin's lower edge and its copy further down, which is numbered from V on."""
    hem = np.array(head.hem)
    band = np.arange(len(hem)) + len(head.model.mean)
    after, band_after = np.roll(hem, -1), np.roll(band, -1)
    pair = np.concatenate([np.stack([hem, band, after], 1), np.stack([after, band, band_after], 1)])
    return np.asarray(pair, np.int32)


def _hat(
    head: Head, vertices_mm: NDArray[np.float32], outward: NDArray[np.float32], look: Look
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """A knitted cap: the scalp above a line, moved outwards with a rolled edge."""
    height = above_hat_line_mm(look, head.model.mean[:, 1], head.model.mean[:, 2])
    over = head.scalp[(height[head.scalp] > 0).any(1)]
    lift = hat_lift_mm(NumpyOps, height)
    return (vertices_mm + outward * lift[:, None]).astype(np.float32), np.ascontiguousarray(over)


def drape_triangles(head: Head) -> NDArray[np.int32]:
    """Long hair at the sides and behind; the rest of the sheet would cover the face."""
    sheet = head.triangles[head.label == LONG_HAIR]
    corners = head.model.mean[sheet]
    centre = corners.mean(1)
    behind = ((centre[:, 2] < -65.0) | (centre[:, 1] > 99.0)) & (corners[:, :, 2].max(1) < -30.0)
    return np.ascontiguousarray(sheet[behind])
