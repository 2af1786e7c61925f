"""Training data of super-resolvers: free photographs, and faces from a folder."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import SampleError, UsageError
from facepipe.imaging.degrade import degrade, make_reference
from facepipe.imaging.images import decode_image, read_image

Image8 = NDArray[np.uint8]

FREE_PHOTOGRAPHS = {
    "skimage/data/astronaut.png": "public domain, NASA",
    "skimage/data/camera.png": "CC0, Lav Varshney",
    "skimage/data/chelsea.png": "CC0, Stefan van der Walt",
    "skimage/data/coffee.png": "CC0, Rachel Michetti",
    "skimage/data/rocket.jpg": "public domain, SpaceX",
}
"""Photographs inside packages that facepipe depends on, and their licences."""

HELD_OUT_EVERY = 10
"""Every tenth face of a folder, in the order of names, is never trained on."""

FACE_SHARE = 0.4
"""Share of training squares that are cut from faces: rendered skin alone is smoother than photos are."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


SOURCES_FILE, SOURCES_COLUMNS = "SOURCES.md", 4
"""What says whose the photographs beside it are: a table of file, package, author, licence."""


@dataclass(frozen=True)
class TrainingData:
    """Images to train on, and faces to measure on.

    Attributes:
        photographs: uint8 RGB (H, W, 3) each, both sides at least 128.
        faces: the same, from the folder; may be empty.
        held_out: faces that are never trained on; may be empty.
        provenance: of each photograph its name, author and licence, where they are known.
    """

    photographs: Sequence[Image8]
    faces: Sequence[Image8] = ()
    held_out: Sequence[Image8] = ()
    provenance: Sequence[str] = ()

    def unseen(self, images: Sequence[Image8]) -> list[Image8]:
        """Those of some images that are not trained on, each once."""
        seen = {_content(image) for image in (*self.photographs, *self.faces)}
        unseen = {_content(image): image for image in images}
        return [image for content, image in unseen.items() if content not in seen]

    @property
    def sha256(self) -> str:
        """Hex digest of all images, in their order and by what they serve for."""
        digest = hashlib.sha256()
        for images in (self.photographs, self.faces, self.held_out):
            digest.update(f"{len(images)} images".encode())
            for image in images:
                for part in _content(image):
                    digest.update(part)
        return digest.hexdigest()

    def square(self, generator: np.random.Generator) -> Image8:
        """Cut a square of random place and size (at least 128 px): a view, for reading only."""
        use_faces = bool(self.faces) and generator.random() < FACE_SHARE
        pool = self.faces if use_faces else self.photographs
        image = pool[int(generator.integers(len(pool)))]
        largest = min(image.shape[:2])
        side = round(NETWORK_PX * (largest / NETWORK_PX) ** generator.random())
        y, x = (int(generator.integers(extent - side + 1)) for extent in image.shape[:2])
        return image[y : y + side, x : x + side]


def _content(image: Image8) -> tuple[bytes, bytes]:
    """What makes an image this one: its shape and its pixels."""
    return f"{image.shape}".encode(), np.ascontiguousarray(image).tobytes()


def load_training_data(faces: Path | None, more_photographs: Path | None = None) -> TrainingData:
    """Read the free photographs, those of a folder, and the faces of another one, where they are named.

    `SOURCES.md` in the folder of photographs says whose they are, see `scripts/photographs.py`.

    Raises:
        UsageError: a folder holds no usable image of 128 px or more, or there is one face only.
    """
    photographs, provenance = [], []
    if more_photographs:
        sources = _sources(more_photographs / SOURCES_FILE)
        for name, image in _named_images(more_photographs):
            photographs.append(image)
            provenance.append(f"{name} ({sources.get(name, 'author and licence are not stated')})")
    for resource, source in FREE_PHOTOGRAPHS.items():
        provenance.append(f"{resource.rpartition('/')[2]} ({source})")
        package, _, name = resource.partition("/")
        data = importlib.resources.files(package).joinpath(name).read_bytes()
        photographs.append(decode_image(data, resource))
    images = read_folder(faces) if faces else []
    held_out = images[::HELD_OUT_EVERY]
    kept = [image for index, image in enumerate(images) if index % HELD_OUT_EVERY]
    if faces and not kept:
        raise UsageError(f"{faces}: one image, which is held out to measure on: at least two are needed")
    return TrainingData(photographs, kept, held_out, provenance)


def _sources(path: Path) -> dict[str, str]:
    """Author and licence by name of file, from the rows of a Markdown table; none where there is no file."""
    if not path.is_file():
        return {}
    rows = [line.strip().strip("|").split("|") for line in path.read_text(encoding="utf-8").splitlines()]
    cells = ([cell.strip() for cell in row] for row in rows if len(row) == SOURCES_COLUMNS)
    return {name: f"{author}, {licence}" for name, _, author, licence in cells}


def read_folder(folder: Path) -> list[Image8]:
    """Read the images of a folder in the order of their names; unreadable and small ones are left out.

    Raises:
        UsageError: there is no folder, or no image of 128 px or more in it.
    """
    return [image for _, image in _named_images(folder)]


def _named_images(folder: Path) -> list[tuple[str, Image8]]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder of images")
    images = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            try:
                image, _ = read_image(path)
            except SampleError:
                continue
            if min(image.shape[:2]) >= NETWORK_PX:
                images.append((path.name, image))
    if not images:
        raise UsageError(f"{folder}: no readable image of at least {NETWORK_PX} px in it")
    return images


def make_pair(square: Image8, degradation: str, low_px: int, seed: int, key: str) -> tuple[Image8, Image8]:
    """Degrade a square as the benchmark does.

    Returns:
        The low-resolution image (low_px, low_px, 3) and the reference (128, 128, 3), uint8 RGB.
    """
    return degrade(square, degradation, low_px, seed, key), make_reference(square)
