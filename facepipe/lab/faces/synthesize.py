"""Writes faces in 300W-LP's layout and conventions, with the coefficients of the project's own head.

    OUT/facepipe-faces.json                     which head the coefficients belong to
    OUT/FACES/face_<seed>_<index>.jpg           450 x 450
    OUT/FACES/face_<seed>_<index>.mat           Pose_Para, Shape_Para, Exp_Para, pt2d, roi, skin_tone, ...
    OUT/landmarks/FACES/face_<seed>_<index>_pts.mat    pts_2d, pts_3d (68 x 2)

A .mat of `Shape_Para` and `Exp_Para` rebuilds the dense truth exactly, as 300W-LP's do with the Basel model.
"""

from __future__ import annotations

import io
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facepipe.core.errors import EnvironmentTroubleError
from facepipe.datasets.synthetic_marker import MARKER_FILE
from facepipe.geometry.head import load_head
from facepipe.geometry.morphable import SOURCE_PX
from facepipe.lab.faces.factory import Face, render, sample, vertices_px
from facepipe.lab.faces.seeds import synthesis_seed
from facepipe.lab.set_files import mat_bytes, prepare_folder, write_file

SET = "FACES"

JPEG_QUALITY = 95

MATLAB_OFFSET_PX = 0.5
"""A continuous coordinate x is the MATLAB pixel x + 0.5."""

CHUNK = 4
"""Faces given to a worker at once."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def synthesize(
    out: Path,
    count: int,
    seed: int,
    workers: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> int:
    """Write the faces 0..count-1 of a seed; those that are already there are kept.

    Args:
        out: the data set's folder.
        count: how many faces it shall have from this seed.
        workers: processes, by default one for each core.
        advance: told how many more faces are there, including those that were.

    Returns:
        How many were made now.

    Raises:
        UsageError: the folder belongs to faces of another head, or to something else.
        EnvironmentTroubleError: it cannot be written.
    """
    try:
        prepare_folder(out, MARKER_FILE)
        (out / SET).mkdir(exist_ok=True)
        (out / "landmarks" / SET).mkdir(parents=True, exist_ok=True)
        missing = [index for index in range(count) if not _is_there(out, seed, index)]
        advance(count - len(missing))
        processes = min(workers or os.cpu_count() or 1, max(1, len(missing) // CHUNK))
        for done in _run(partial(_write_chunk, out, seed), missing, processes):
            advance(done)
    except OSError as error:
        raise EnvironmentTroubleError(
            f"{out}: cannot be written ({error}); make room or choose another folder, then run it again"
        ) from error
    return len(missing)


def name_of(seed: int, index: int) -> str:
    """A face's file name without extension."""
    return f"face_{seed}_{index:06d}"


def matlab_fields(face: Face) -> dict[str, NDArray]:
    """The variables of a face's .mat, in 300W-LP's shapes and pixel convention."""
    landmarks = _landmarks(face)
    return {
        "Pose_Para": face.pose.parameters()[None],
        "Shape_Para": face.shape.astype(np.float64)[:, None],
        "Exp_Para": face.expression.astype(np.float64)[:, None],
        "pt2d": landmarks.T.copy(),
        "roi": np.array([[1, 1, SOURCE_PX, SOURCE_PX]], np.float64),
        "skin_tone": np.array([[face.skin_tone]]),
        "male": np.array([[face.who.male]]),
        "age": np.array([[face.who.age]]),
        "seed": np.array([[float(face.seed)]]),
    }


def _landmarks(face: Face) -> NDArray[np.float64]:
    points = vertices_px(face)[load_head().model.landmarks, :2]
    return np.asarray(points, np.float64) + MATLAB_OFFSET_PX


def _is_there(out: Path, seed: int, index: int) -> bool:
    # The picture is written last.
    return (out / SET / f"{name_of(seed, index)}.jpg").exists()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started inside do linear algebra on one thread: more would be in each other's way."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run(work: Callable[[list[int]], int], indices: list[int], processes: int) -> Iterator[int]:
    chunks = [indices[i : i + CHUNK] for i in range(0, len(indices), CHUNK)]
    if processes == 1:
        yield from map(work, chunks)
        return
    context = multiprocessing.get_context("spawn")
    with one_thread_each(), ProcessPoolExecutor(processes, context, initializer=_start_worker) as pool:
        waiting: set[Future[int]] = {pool.submit(work, chunk) for chunk in chunks}
        try:
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)


def _write_chunk(out: Path, seed: int, indices: list[int]) -> int:
    for index in indices:
        _write(out, seed, index)
    return len(indices)


def _write(out: Path, seed: int, index: int) -> None:
    face = sample(synthesis_seed(seed, index))
    name = name_of(seed, index)
    points = _landmarks(face)
    write_file(out / "landmarks" / SET / f"{name}_pts.mat", mat_bytes({"pts_2d": points, "pts_3d": points}))
    write_file(out / SET / f"{name}.mat", mat_bytes(matlab_fields(face)))
    picture = io.BytesIO()
    Image.fromarray(render(face)).save(picture, "JPEG", quality=JPEG_QUALITY)
    write_file(out / SET / f"{name}.jpg", picture.getvalue())
