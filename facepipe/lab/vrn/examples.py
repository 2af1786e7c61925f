"""What regressors are trained on: blocks of faces from seeds, each face in several views.

A block depends on recipe and number alone, so that any number of processes gives the same training, and
a resumed training makes its current block again.
"""

from __future__ import annotations

import itertools
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import EnvironmentTroubleError, UsageError
from facepipe.geometry.head import load_head
from facepipe.geometry.voxelise import voxelise
from facepipe.lab.faces.factory import render, sample, vertices_px
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.training.signals import SIGNALS
from facepipe.lab.vrn.augment import draw_similarity, lower, rephotograph
from facepipe.lab.vrn.photo_augment import add_dark_glasses, augment_picture, laugh
from facepipe.lab.vrn.photo_examples import PhotoSet
from facepipe.lab.vrn.proportions import reshape

FACES_PER_SEED = 2**20
"""Room for the faces of one training seed within the seeds for training."""

SAMPLES_PER_CELL = 2
"""Columns filled per cell of a target coarser than the volume, along x and y: five levels of occupancy."""


@dataclass(frozen=True)
class Recipe:
    """What blocks are made of.

    Attributes:
        seed: of the training, 0 <= seed < 2**20.
        geometry: of the volumes that the regressor will give.
        target_px: side of the grid on which the network predicts.
        faces: faces a block.
        views: how often each face appears in its block, moved and photographed anew each time.
        low_resolution: whether pictures are brought to low resolutions.
        photos: annotated photographs to mix in, None for drawn faces alone.
        photo_share: of the examples.
    """

    seed: int
    geometry: VolumeGeometry
    target_px: int
    faces: int = 64
    views: int = 4
    low_resolution: bool = False
    photos: PhotoSet | None = None
    photo_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        if not 0 <= self.seed < FACES_PER_SEED:
            raise UsageError(f"--seed {self.seed}: expected 0 to {FACES_PER_SEED - 1}")
        if self.faces < 1 or self.views < 1:
            raise UsageError(f"{self.faces} faces in {self.views} views: both must be 1 or more")

    @property
    def photographs(self) -> int:
        """Photographs a block, in place of as many drawn faces."""
        return round(self.faces * self.photo_share)

    @property
    def length(self) -> int:
        """Examples of a block."""
        return self.faces * self.views


@dataclass(frozen=True, eq=False)
class Block:
    """Examples in the order in which they are trained on.

    Attributes:
        images: uint8 RGB (N, 128, 128, 3).
        targets: uint8 (N, D, h, w), occupancy of the cells that the network predicts, 255 = full.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.uint8]


def make_block(recipe: Recipe, number: int) -> Block:
    """Make a block of a training."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng((recipe.seed, number))
    solid = load_head().model.solid
    first = recipe.seed * FACES_PER_SEED + number * recipe.faces
    subjects: list[Subject] = [*_drawn(first, recipe.faces - recipe.photographs, rng)]
    if recipe.photos is not None:
        subjects += recipe.photos.draw(recipe.photographs, rng)
    # Each face once before any comes again.
    order = np.concatenate([rng.permutation(recipe.faces) for _ in range(recipe.views)])
    images, targets = [], []
    for index in order:
        image, vertices = subjects[index].view(rng)
        images.append(lower(image, rng) if recipe.low_resolution else image)
        targets.append(target(vertices, solid, recipe.geometry, recipe.target_px))
    return Block(np.stack(images), np.stack(targets))


class Subject(Protocol):
    """A face that is looked at several times."""

    def view(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """A picture, uint8 RGB (128, 128, 3), and the mesh (V, 3) in its pixels."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A drawn face.

    Attributes:
        picture: uint8 RGB (128, 128, 3).
        vertices: (V, 3), reference pixels.
    """

    picture: NDArray[np.uint8]
    vertices: NDArray[np.float32]

    def view(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The face moved, treated and photographed anew."""
        change = draw_similarity(rng)
        image = rephotograph(augment_picture(change.image(self.picture), rng), rng)
        return image, change.points(self.vertices)


def _drawn(first: int, count: int, rng: np.random.Generator) -> list[Drawn]:
    head = load_head()
    faces = [sample(face_seed("train", first + index), head) for index in range(count)]
    faces = [laugh(replace(face, look=add_dark_glasses(face.look, rng)), head, rng) for face in faces]
    faces = [reshape(face, head, rng) for face in faces]
    return [Drawn(render(face, NETWORK_PX, head), vertices_px(face, NETWORK_PX)) for face in faces]


def target(
    vertices: NDArray[np.floating], solid: NDArray[np.integer], geometry: VolumeGeometry, side_px: int
) -> NDArray[np.uint8]:
    """Occupancy of the columns of a coarse grid over the same space as a geometry's.

    Args:
        vertices: (V, 3), reference pixels.
        solid: (T, 3), a closed surface.
        geometry: of the full volume.
        side_px: side of the coarse grid.

    Returns:
        uint8 (D, side, side): the mean over the columns of each cell.
    """
    cells = SAMPLES_PER_CELL if side_px < geometry.size else 1
    fine = side_px * cells
    spacing_z = geometry.spacing[0] * fine / geometry.size
    volume = voxelise(vertices, solid, replace(geometry, size=fine, spacing=(spacing_z, 1.0, 1.0)))
    total = np.zeros((geometry.depth, side_px, side_px), np.uint16)
    for y in range(cells):
        for x in range(cells):
            total += volume[:, y::cells, x::cells]
    return (total // cells**2).astype(np.uint8)


def blocks(recipe: Recipe, first: int, workers: int, stride: int = 1) -> Iterator[Block]:
    """Make blocks from a number on, for ever, in order and ahead of time.

    Args:
        recipe: what they are made of.
        first: number of the first block.
        workers: processes that make them; 0 makes them here, when they are asked for.
        stride: how far a block's number is from the one before.

    Raises:
        EnvironmentTroubleError: a process was killed.
    """
    if workers == 0:
        while True:
            yield make_block(recipe, first)
            first += stride
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_outlive_signals)
    waiting: deque[Future[Block]] = deque()
    try:
        numbers = itertools.count(first, stride)
        waiting.extend(pool.submit(make_block, recipe, number) for number in islice(numbers, workers + 1))
        for number in numbers:
            block = waiting.popleft().result()
            waiting.append(pool.submit(make_block, recipe, number))
            yield block
    except BrokenProcessPool as error:
        raise EnvironmentTroubleError(
            "a process that makes faces was killed, perhaps for want of memory; the same command goes on "
            "from the last checkpoint, use fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _outlive_signals() -> None:
    # Ctrl-C and Slurm ask every process to end; the one that trains may need another block before it does.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
