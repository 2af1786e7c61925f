"""What the head consists of: the drawn parts, the filled solids, the landmarks. All on the template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import trimesh
from numpy.typing import NDArray

from facepipe.geometry.head_labels import EYE_LEFT, EYE_RIGHT, LONG_HAIR, MOUTH, SKIN, TEETH, TONGUE
from facepipe.lab.faces.build.cutting import Mesh, boundary_loops, largest_component
from facepipe.lab.faces.build.source import Base

LABEL_OF_GROUP = {
    "helper-l-eye": EYE_LEFT,
    "helper-r-eye": EYE_RIGHT,
    "helper-upper-teeth": TEETH,
    "helper-lower-teeth": TEETH,
    "helper-tongue": TONGUE,
    "helper-hair": LONG_HAIR,
}

BACK_PLANE = ((7.1, 0.48), (8.05, 1.05))
"""(y, z) of two points of the plane behind the face: in front of the ears, up to the top of the forehead."""

JAW_PLANE = ((6.55, 0.60), (6.10, 1.05))
"""(y, z) of two points of the plane under the jaw."""

NECK_DM = 5.85
"""Height at which the whole head is cut off."""

EAR_LEVEL = 0.3
"""Value of the painted ear mask above which a vertex belongs to the ear."""

# Targets on the template in decimetres, the subject's left side (x > 0), moved to the nearest skin.
JAW = (
    (0.745, 7.19, 0.55), (0.735, 7.00, 0.58), (0.70, 6.82, 0.60), (0.655, 6.65, 0.63), (0.575, 6.49, 0.72),
    (0.48, 6.36, 0.88), (0.365, 6.27, 1.08), (0.21, 6.195, 1.27), (0.0, 6.165, 1.38),
)  # fmt: skip
BROW = ((0.58, 7.42, 1.21), (0.49, 7.48, 1.33), (0.39, 7.505, 1.41), (0.28, 7.50, 1.46), (0.18, 7.47, 1.49))
NOSE_BRIDGE = ((0.0, 7.30, 1.52), (0.0, 7.18, 1.57), (0.0, 7.055, 1.65), (0.0, 6.94, 1.70))
NOSE_BASE = ((0.14, 6.815, 1.50), (0.075, 6.80, 1.55), (0.0, 6.795, 1.58))
LIPS_OUTER = (
    (0.25, 6.61, 1.43), (0.155, 6.67, 1.54), (0.06, 6.71, 1.60), (0.0, 6.695, 1.61),
    (0.17, 6.545, 1.49), (0.075, 6.51, 1.55), (0.0, 6.495, 1.57),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything that does not depend on the population.

    Attributes:
        weights: (V, B) sparse; vertices of the model from those of the base.
        triangles, label: what is drawn, (T, 3) and (T,) of `facepipe.geometry.head_labels`.
        scalp: (S, 3), skin above the neck without cavities and ears: where hair grows.
        surface, solid: the face part's skin with eyes, and its closed form.
        head_solid: the closed whole head.
        region: vertices of the face part's skin.
        landmarks: (68,).
        eye_vertices: vertices of the two eyeballs.
        lash: (V,) 1 on the margin of the upper lid, 0.5 on the lower, 0 elsewhere.
        lips, eyelids, ears, cavity: float (V,) masks.
    """

    weights: sp.csr_matrix
    triangles: NDArray[np.int64]
    label: NDArray[np.uint8]
    scalp: NDArray[np.int64]
    surface: NDArray[np.int64]
    solid: NDArray[np.int64]
    head_solid: NDArray[np.int64]
    region: NDArray[np.int64]
    landmarks: NDArray[np.int64]
    eye_vertices: tuple[NDArray[np.int64], NDArray[np.int64]]
    masks: dict[str, NDArray[np.float32]]


def build_parts(base: Base) -> Parts:
    """Cut, close and label the template."""
    mesh = Mesh(base.vertices)
    is_skin = (base.part == "body") & ~base.cavity
    skin = base.triangles[is_skin].astype(np.int64)
    eyes = tuple(base.triangles[base.part == f"helper-{side}-eye"].astype(np.int64) for side in "lr")
    ear = base.masks["ears"] > EAR_LEVEL
    earless = skin[~ear[skin].any(1)]

    back_normal, back_offset = _plane(*BACK_PLANE, towards=(7.0, 1.6))
    jaw_normal, jaw_offset = _plane(*JAW_PLANE, towards=(7.0, 1.6))
    face = mesh.cut(mesh.cut(earless, back_normal, back_offset), jaw_normal, jaw_offset)
    face = largest_component(face, len(mesh.points))
    loops = boundary_loops(face)
    rim = max(loops, key=len)
    caps = [mesh.close(rim, _crease(mesh, rim))] + [mesh.close(loop) for loop in loops if loop is not rim]
    neck = mesh.cut(skin, np.array([0.0, 1.0, 0.0]), NECK_DM)
    neck = largest_component(neck, len(mesh.points))
    head_caps = [mesh.close(loop) for loop in boundary_loops(neck)]
    eye_loops = sorted(
        (loop for loop in loops if 20 < len(loop) < 36 and abs(mesh.points[loop].mean(0)[0]) > 0.1),
        key=lambda loop: mesh.points[loop].mean(0)[0],
    )
    mouth_loop = next(
        loop
        for loop in loops
        if abs(mesh.points[loop].mean(0)[0]) < 0.05 and mesh.points[loop][:, 2].min() > 1.3
    )
    landmarks = _landmarks(mesh, earless, eye_loops[1], mouth_loop)

    label = np.full(len(base.triangles), SKIN, np.uint8)
    label[base.cavity] = MOUTH
    for group, value in LABEL_OF_GROUP.items():
        label[base.part == group] = value
    count = len(mesh.points)
    masks = {
        name: _extend(base.masks[source], mesh)
        for name, source in (
            ("lips", "lips"),
            ("eyelids", "eyelids"),
            ("ears", "ears"),
            ("cavity", "inside-mouth"),
        )
    }
    masks["lash"] = _lashes(mesh.points, eye_loops, count)
    high = mesh.points[skin][:, :, 1].min(1) > 6.0
    return Parts(
        weights=mesh.weights,
        triangles=base.triangles.astype(np.int64),
        label=label,
        scalp=earless[high[~ear[skin].any(1)]],
        surface=np.concatenate([face, *eyes]),
        solid=np.concatenate([face, *caps, *eyes]),
        head_solid=np.concatenate([neck, *head_caps, *eyes]),
        region=np.unique(face),
        landmarks=landmarks,
        eye_vertices=(np.unique(eyes[0]), np.unique(eyes[1])),
        masks=masks,
    )


def _plane(
    first: tuple[float, float], second: tuple[float, float], towards: tuple[float, float]
) -> tuple[NDArray[np.float64], float]:
    """The plane parallel to x through two points (y, z), its normal pointing to the side of a third."""
    dy, dz = second[0] - first[0], second[1] - first[1]
    normal = np.array([0.0, -dz, dy]) / np.hypot(dy, dz)
    offset = float(normal[1] * first[0] + normal[2] * first[1])
    if normal[1] * towards[0] + normal[2] * towards[1] < offset:
        return -normal, -offset
    return normal, offset


def _crease(mesh: Mesh, rim: list[int]) -> dict[int, float]:
    """Where the two cutting planes meet on the middle plane, as a weighted sum of vertices of the rim.

    A fan around a point on both planes keeps both halves of the cap plane.
    """
    (y0, z0), (y1, z1) = BACK_PLANE
    (u0, w0), (u1, w1) = JAW_PLANE
    share = np.linalg.solve([[y1 - y0, u0 - u1], [z1 - z0, w0 - w1]], [u0 - y0, w0 - z0])[0]
    target = np.array([0.0, y0 + share * (y1 - y0), z0 + share * (z1 - z0)])
    points = mesh.points[rim]
    # Smallest weights that sum to one and give the point: stable under any deformation of the rim.
    system = np.concatenate([points.T, np.ones((1, len(rim)))])
    weights = np.linalg.lstsq(system, np.append(target, 1.0), rcond=None)[0]
    return dict(zip(rim, weights.tolist(), strict=True))


def _landmarks(
    mesh: Mesh, skin: NDArray[np.int64], left_eye: list[int], mouth: list[int]
) -> NDArray[np.int64]:
    points = mesh.points
    surface = trimesh.Trimesh(points, skin, process=False)

    def on_skin(target: tuple[float, float, float], mirror: bool) -> int:
        goal = np.array(target) * [-1 if mirror else 1, 1, 1]
        nearest, _, triangle = trimesh.proximity.closest_point(surface, goal[None])
        corners = skin[triangle[0]]
        share = trimesh.triangles.points_to_barycentric(points[corners][None], nearest)[0]
        return mesh.add(dict(zip(corners.tolist(), share.tolist(), strict=True)))

    def both(targets: tuple[tuple[float, float, float], ...]) -> tuple[list[int], list[int]]:
        return [on_skin(t, True) for t in targets], [on_skin(t, False) for t in targets]

    found = np.zeros(68, np.int64)
    right, left = both(JAW[:-1])
    found[0:8], found[8], found[9:17] = right, on_skin(JAW[-1], False), left[::-1]
    right, left = both(BROW)
    found[17:22], found[22:27] = right, left[::-1]
    found[27:31] = [on_skin(t, False) for t in NOSE_BRIDGE]
    right, left = both(NOSE_BASE[:2])
    found[31:33], found[33], found[34:36] = right, on_skin(NOSE_BASE[2], False), left[::-1]
    right, left = both(LIPS_OUTER)
    found[48:51], found[51], found[52:55] = right[:3], left[3], left[2::-1]
    found[55:57], found[57], found[58:60] = left[4:6], left[6], right[5:3:-1]
    outer, up_out, up_in, inner, low_in, low_out = _eye(points, left_eye)
    found[42:48] = [inner, up_in, up_out, outer, low_out, low_in]
    mirrored = [_mirror(points, i) for i in (outer, up_out, up_in, inner, low_in, low_out)]
    found[36:42] = mirrored
    found[60:68] = _inner_lips(points, mouth)
    return found


def _mirror(points: NDArray[np.float64], vertex: int) -> int:
    return int(np.square(points - points[vertex] * [-1, 1, 1]).sum(1).argmin())


def _eye(points: NDArray[np.float64], loop: list[int]) -> tuple[int, int, int, int, int, int]:
    """Outer corner, upper lid outside and inside, inner corner, lower lid inside and outside."""
    rim = np.array(loop)
    x, y = points[rim, 0], points[rim, 1]
    outer, inner = rim[x.argmax()], rim[x.argmin()]
    middle = np.interp(x, [x.min(), x.max()], [points[inner, 1], points[outer, 1]])
    upper, lower = rim[y > middle], rim[y < middle]

    def at(row: NDArray[np.int64], share: float) -> int:
        goal = points[outer, 0] + share * (points[inner, 0] - points[outer, 0])
        return int(row[np.abs(points[row, 0] - goal).argmin()])

    return int(outer), at(upper, 0.33), at(upper, 0.67), int(inner), at(lower, 0.67), at(lower, 0.33)


def _inner_lips(points: NDArray[np.float64], loop: list[int]) -> list[int]:
    """The iBUG points 60 to 67 on the rim of the mouth opening."""
    rim = np.array(loop)
    right, left = int(points[rim, 0].argmin()), int(points[rim, 0].argmax())
    first = np.roll(rim, -right)[: (left - right) % len(rim) + 1]
    second = np.roll(rim, -left)[: (right - left) % len(rim) + 1]
    upper, lower = (first, second) if points[first, 1].mean() > points[second, 1].mean() else (second, first)
    reach = points[rim[left], 0] * 0.42

    def at(row: NDArray[np.int64], x: float) -> int:
        return int(row[np.abs(points[row, 0] - x).argmin()])

    top = [at(upper, x) for x in (-reach, 0.0, reach)]
    bottom = [at(lower, x) for x in (reach, 0.0, -reach)]
    return [int(rim[right]), *top, int(rim[left]), *bottom]


def _lashes(points: NDArray[np.float64], loops: list[list[int]], count: int) -> NDArray[np.float32]:
    mask = np.zeros(count, np.float32)
    for loop in loops:
        rim = points[loop]
        x, y = rim[:, 0], rim[:, 1]
        line = np.interp(x, [x.min(), x.max()], [y[x.argmin()], y[x.argmax()]])
        mask[loop] = np.where(y >= line, 1.0, 0.5)
    return mask


def _extend(mask: NDArray[np.float32], mesh: Mesh) -> NDArray[np.float32]:
    return np.asarray(np.clip(mesh.weights @ mask, 0, 1), np.float32)
