"""From a volume to a coloured mesh file, against the usual way."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from benchmarks.inputs import case
from benchmarks.measure import Row, compare, require
from facepipe.geometry.mesh import encode, photo_colours
from facepipe.geometry.volume import SURFACE_LEVEL, SurfaceMesh, surface


def usual_vertices(volume: NDArray[np.uint8]) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
    """Marching cubes over the whole volume: vertices (V, 3) as slice, row, column, and triangles (T, 3).

    An empty border closes the surface where the volume reaches that of its grid, as ours is closed there.
    """
    vertices, triangles, _, _ = marching_cubes(np.pad(volume.astype(np.float32), 1), SURFACE_LEVEL)
    return vertices - 1, triangles


def usual_file(volume: NDArray[np.uint8], image: NDArray[np.uint8], path: Path) -> None:
    """Marching cubes over the whole volume, the colour of the nearest pixel's centre, a text OBJ."""
    vertices, triangles = usual_vertices(volume)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    tree = cKDTree(np.stack([rows.ravel(), columns.ravel()], axis=1))
    colours = image.reshape(-1, 3)[tree.query(vertices[:, 1:])[1]] / 255
    with path.open("w") as file:
        for (z, y, x), (r, g, b) in zip(vertices, colours, strict=True):
            file.write(f"v {x} {y} {z} {r} {g} {b}\n")
        for a, b, c in triangles + 1:
            file.write(f"f {a} {b} {c}\n")


def our_mesh() -> SurfaceMesh:
    """The isosurface on the occupied box, with normals."""
    return surface(case().volume, case().geometry)


def rows(rounds: int) -> list[Row]:
    """GLB against OBJ."""
    volume, image, geometry = case().volume, case().reference, case().geometry
    mesh = our_mesh()
    theirs, _ = usual_vertices(volume)
    scale = np.array(geometry.spacing) * geometry.reference_px
    expected = ((theirs + 0.5 - [geometry.z_zero, 0, 0]) * scale)[:, ::-1]
    paired = len(expected) == len(mesh.vertices)
    off = max(_farthest(expected, mesh.vertices), _farthest(mesh.vertices, expected)) if paired else np.inf
    require(off < 1e-4, f"vertices by {off:.1e} px")
    with TemporaryDirectory() as folder:

        def ours() -> None:
            mesh = our_mesh()
            Path(folder, "ours.glb").write_bytes(encode(mesh, photo_colours(mesh.vertices, image), "glb"))

        return [
            compare(
                "volume to coloured mesh file (GLB, with normals)",
                "marching cubes, nearest pixel's colour, text OBJ",
                lambda: usual_file(volume, image, Path(folder, "usual.obj")),
                ours,
                target=7,
                check=f"{len(theirs)} vertices within {off:.0e} px",
                runs=3 * rounds,
            )
        ]


def _farthest(points: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """The largest distance from a point to the nearest of the others."""
    return float(cKDTree(others).query(points)[0].max())
