"""Basel-type face models from the user's own files.

3DDFA's pair `Model_Shape.mat` + `Model_Exp.mat` (also called `Model_Expression.mat`) and face3d's `BFM.mat`
hold the same model: 53,215 vertices, 105,840 triangles, 199 shape and 29 expression columns. Neither may
be redistributed, so users bring their own: in ``$FACEPIPE_HOME/models``, or named when a data set is opened.
"""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError, UsageError
from facepipe.datasets.facepart import face_part
from facepipe.datasets.file_tree import file_sha256
from facepipe.datasets.matfile import Arrays, read_mat
from facepipe.geometry.morphable import MorphableModel

MAX_MODEL_BYTES = 2 << 30

SHAPE_NAME = "Model_Shape.mat"
EXPRESSION_NAMES = ("Model_Exp.mat", "Model_Expression.mat")
BFM_NAME = "BFM.mat"

NOTICE = (
    "no Basel face model found: the truth is landmarks only. Dense truth (IoU, NME, depth, normals) needs "
    f"{SHAPE_NAME} and {EXPRESSION_NAMES[0]} (made with 3DDFA's code) or {BFM_NAME} (with face3d's), both "
    "from the Basel Face Model 2009, which the University of Basel licenses at "
    "https://faces.dmi.unibas.ch/bfm; put them into {folder}"
)


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model: (shape, expression) of 3DDFA, or (BFM.mat,) of face3d."""

    paths: tuple[Path, ...]

    def fingerprint(self) -> str:
        """A digest of the files' bytes."""
        return hashlib.sha256("".join(map(file_sha256, self.paths)).encode()).hexdigest()

    def load(self) -> MorphableModel:
        """The face part of the model (see `facepart`), kept in memory by each process.

        Raises:
            UsageError: a file is missing, damaged, or not of the published form.
        """
        return self.load_numbered()[0]

    def load_numbered(self) -> tuple[MorphableModel, NDArray[np.intp]]:
        """The face part, and the number in the whole model of each of its vertices, ascending."""
        return _load(self.paths, tuple(path.stat().st_mtime_ns for path in self.paths))


def models_folder() -> Path:
    """Where models are looked for unless another place is named."""
    from facepipe.models.weights import imported_folder

    return imported_folder().parent / "models"


def find_model(place: Path | None = None) -> ModelFiles | None:
    """Find a model's files.

    Args:
        place: a folder that holds them, or one of the files; `models_folder` if None.

    Returns:
        The files, or None if no place was named and the default one has none.

    Raises:
        UsageError: the place that was named has no model.
    """
    folder = place if place is not None else models_folder()
    if folder.is_file():
        if folder.name not in (SHAPE_NAME, *EXPRESSION_NAMES):
            return ModelFiles((folder.resolve(),))
        folder = folder.parent
    expressions = [folder / name for name in EXPRESSION_NAMES if (folder / name).is_file()]
    if (folder / SHAPE_NAME).is_file() and expressions:
        return ModelFiles(((folder / SHAPE_NAME).resolve(), expressions[0].resolve()))
    if (folder / BFM_NAME).is_file():
        return ModelFiles(((folder / BFM_NAME).resolve(),))
    if place is not None:
        raise UsageError(
            f"{place}: no face model there; expected {SHAPE_NAME} with {EXPRESSION_NAMES[0]}, or {BFM_NAME}"
        )
    return None


def notice() -> str:
    """What to tell a user who has no model."""
    return NOTICE.format(folder=models_folder())


@lru_cache(maxsize=1)
def _load(
    paths: tuple[Path, ...],
    mtimes_ns: tuple[int, ...],  # noqa: ARG001
) -> tuple[MorphableModel, NDArray[np.intp]]:
    try:
        if len(paths) == 1:
            return face_part(_load_bfm(paths[0]))
        return face_part(_load_pair(*paths))
    except SampleError as error:
        raise UsageError(f"cannot use the face model: {error.detail}") from error


def _load_pair(shape_path: Path, expression_path: Path) -> MorphableModel:
    shape = _read(shape_path, ("mu_shape", "w", "tri", "keypoints"))
    expression = _read(expression_path, ("mu_exp", "w_exp"))
    return build_model(
        f"{shape_path.name} + {expression_path.name}",
        means=(shape["mu_shape"], expression["mu_exp"]),
        shape_basis=shape["w"],
        expression_basis=expression["w_exp"],
        triangles=shape["tri"],
        mouth=None,
        landmarks=shape["keypoints"],
    )


def _load_bfm(path: Path) -> MorphableModel:
    needed = [f"model.{key}" for key in ("shapeMU", "expMU", "shapePC", "expPC", "tri", "kpt_ind")]
    arrays = _read(path, needed, optional=("model.tri_mouth",))
    return build_model(
        path.name,
        means=(arrays["model.shapeMU"], arrays["model.expMU"]),
        shape_basis=arrays["model.shapePC"],
        expression_basis=arrays["model.expPC"],
        triangles=arrays["model.tri"],
        mouth=arrays.get("model.tri_mouth"),
        landmarks=arrays["model.kpt_ind"],
    )


def build_model(
    name: str,
    means: tuple[NDArray, NDArray],
    shape_basis: NDArray,
    expression_basis: NDArray,
    triangles: NDArray,
    mouth: NDArray | None,
    landmarks: NDArray,
) -> MorphableModel:
    """Check the arrays of a published model and put them into the project's form.

    Args:
        name: of the model, for messages and records.
        means: of shape and of expression, whose sum is the mean face: 3 V numbers each, x1 y1 z1 x2 ...
        shape_basis, expression_basis: (3 V, K).
        triangles: (T, 3) or (3, T), 1-based.
        mouth: triangles that close the mouth, likewise, or None.
        landmarks: 68 vertex numbers, 1-based.

    Raises:
        SampleError: model-wrong-shape, model-not-finite or model-bad-index.
    """
    n_vertices = means[0].size // 3
    arrays = (("mean", means[0]), ("mean", means[1]), ("basis", shape_basis), ("basis", expression_basis))
    for (what, array), of in zip(arrays, ("shape", "expression") * 2, strict=True):
        if (array.size if what == "mean" else array.shape[0]) != 3 * n_vertices or array.ndim != 2:
            raise SampleError(
                "model-wrong-shape",
                f"{name}: the {what} of {of} is {array.shape}; expected {3 * n_vertices} rows, three "
                f"for each of the {n_vertices} vertices of the mean shape",
            )
        if not np.isfinite(array.min() + array.max()):
            raise SampleError("model-not-finite", f"{name}: the {what} of {of} has NaN or infinite numbers")
    indices = landmarks.ravel().astype(np.int64) - 1
    if indices.shape != (68,):
        raise SampleError("model-wrong-shape", f"{name}: {indices.size} landmarks; expected 68")
    skin = _triangles(triangles, name)
    if mouth is not None:
        skin = np.concatenate([skin, _triangles(mouth, name)])
    for what, found in (("landmarks", indices), ("triangles", skin)):
        if found.min() < 0 or found.max() >= n_vertices:
            raise SampleError(
                "model-bad-index",
                f"{name}: {what} name vertices {found.min() + 1}..{found.max() + 1} of {n_vertices}",
            )
    vertices = np.asarray(means[0].ravel() + means[1].ravel(), np.float32).reshape(-1, 3)
    skin = _outward(vertices, skin)
    return MorphableModel(
        name=name,
        mean=vertices,
        shape_basis=np.ascontiguousarray(shape_basis, np.float32),
        expression_basis=np.ascontiguousarray(expression_basis, np.float32),
        surface=skin,
        solid=skin,
        region=np.unique(skin).astype(np.int32),
        landmarks=indices.astype(np.int32),
    )


def _triangles(stored: NDArray, name: str) -> NDArray[np.int32]:
    if stored.ndim != 2 or 3 not in stored.shape:
        raise SampleError("model-wrong-shape", f"{name}: triangles of shape {stored.shape}; expected 3 x T")
    rows = stored if stored.shape[1] == 3 else stored.T
    return np.ascontiguousarray(rows.astype(np.int64) - 1, np.int32)


def _outward(vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Orient the triangles of a face, which is open behind, so that most of it looks toward the camera."""
    a, b, c = (vertices[triangles[:, i]].astype(np.float64) for i in range(3))
    ab, ac = b - a, c - a
    facing = float(np.sum(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]))
    return triangles if facing >= 0 else np.ascontiguousarray(triangles[:, ::-1])


def _read(path: Path, needed: tuple[str, ...] | list[str], optional: tuple[str, ...] = ()) -> Arrays:
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        arrays = read_mat(data, str(path), [*needed, *optional], MAX_MODEL_BYTES)
    except (OSError, ValueError) as error:
        raise SampleError("model-unreadable", f"{path}: cannot be read ({error})") from error
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise SampleError("model-missing-key", f"{path}: no variable {', '.join(missing)} in it")
    return arrays
