"""Reconstruct photos into mesh files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2

from facepipe.core.errors import EnvironmentTroubleError, SampleError, UsageError
from facepipe.core.files import write_atomically
from facepipe.core.names import unknown
from facepipe.detect import open_detector
from facepipe.geometry.mesh import FORMATS, encode, preview
from facepipe.imaging.crop import Crop
from facepipe.imaging.images import read_image
from facepipe.models.superres.methods import get_method
from facepipe.reconstruct.face import (
    DEFAULT_METHOD,
    DEFAULT_REGRESSOR,
    CropMode,
    Image8,
    Reconstruction,
    find_crops,
    mesh_regressor,
    mm_per_px,
    reconstruct_image,
)

Unit = Literal["crop", "mm"]
"""What one unit of a mesh file is; see `facepipe.geometry.mesh_export`."""


@dataclass(frozen=True)
class Outcome:
    """What became of one photo.

    Attributes:
        photo: its path.
        files: what was written: for each face the meshes in the order of the formats, then the preview.
        note: what a person should know of it, or ''.
        error: why there are none, or None.
    """

    photo: Path
    files: list[Path] = field(default_factory=list)
    note: str = ""
    error: SampleError | None = None


@dataclass(frozen=True)
class ReconstructOptions:
    """How photos are to be reconstructed.

    Attributes:
        formats: of the meshes.
        regressor, method: see `reconstruct_image`.
        crop, all_faces: see `find_crops`.
        unit: 'crop' for meshes of the crop's size, 'mm' for life size by the mean distance of eyes.
    """

    formats: Sequence[str] = ("glb",)
    regressor: str = DEFAULT_REGRESSOR
    method: str = DEFAULT_METHOD
    crop: CropMode = "auto"
    all_faces: bool = False
    unit: Unit = "crop"


DEFAULT_OPTIONS = ReconstructOptions()


def reconstruct_photos(
    photos: Sequence[Path], out: Path, options: ReconstructOptions = DEFAULT_OPTIONS
) -> Iterator[Outcome]:
    """Reconstruct photos one by one into `<stem>.<format>` and `<stem>_preview.png`.

    With all faces wanted, they are called `<stem>-face1` and so on, from left to right. Photos of the same
    stem get a number each, so that none overwrites another's files. One that cannot be used does not stop
    the others.

    Raises:
        UsageError: a format, regressor or method is unknown, the options contradict each other, what finds
            faces is not installed, there is none of the photos, or `out` is a file; nothing was written.
        EnvironmentTroubleError: a file cannot be written.
    """
    for file_format in options.formats:
        if file_format not in FORMATS:
            raise unknown("mesh format", file_format, FORMATS)
    mesh_regressor(options.regressor)
    get_method(options.method)
    if options.all_faces and options.crop == "full":
        raise UsageError("--all-faces with --crop full: the whole picture is one face; choose one of them")
    if options.crop != "full" or options.unit == "mm":
        open_detector()
    if not any(photo.exists() for photo in photos):
        raise UsageError(f"no such file: {', '.join(str(photo) for photo in photos)}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file, a folder is needed")
    return _outcomes(photos, out, options)


def _outcomes(photos: Sequence[Path], out: Path, options: ReconstructOptions) -> Iterator[Outcome]:
    names = _Names()
    for photo in photos:
        stem = names.claim(photo.stem)
        try:
            if photo.is_dir():
                raise SampleError(
                    "folder", f"{photo}: photos are expected, not folders; name them: {photo / '*.jpg'}"
                )
            image, _ = read_image(photo)
            crops = find_crops(image, options.crop, options.all_faces)
        except SampleError as error:
            yield Outcome(photo, error=error)
            continue
        if options.all_faces and crops:
            stems = [names.claim(f"{stem}-face{number}") for number in range(1, len(crops) + 1)]
        else:
            stems = [stem]
        chosen: list[Crop | None] = [*crops] or [None]
        notes = [] if crops else ["no face found, the whole picture was taken"]
        yield _reconstructed(photo, image, dict(zip(stems, chosen, strict=True)), out, options, notes)


def _reconstructed(
    photo: Path,
    image: Image8,
    crops: dict[str, Crop | None],
    out: Path,
    options: ReconstructOptions,
    notes: list[str],
) -> Outcome:
    """Reconstruct and write the faces of a photo; one that has no volume does not stop the others."""
    files: list[Path] = []
    error = None
    for stem, crop in crops.items():
        try:
            made = reconstruct_image(image, options.regressor, options.method, crop)
            scale = mm_per_px(made) if options.unit == "mm" else None
        except SampleError as trouble:
            error = trouble
            notes.append(f"{stem}: not used: {trouble}")
            continue
        files += _write(made, out, stem, options.formats, scale)
    return Outcome(photo, files, "; ".join(notes)) if files else Outcome(photo, error=error)


def _write(
    made: Reconstruction, out: Path, stem: str, formats: Sequence[str], scale: float | None
) -> list[Path]:
    files = {out / f"{stem}.{name}": encode(made.mesh, made.colours, name, scale) for name in formats}
    picture = preview(made.mesh, made.colours, made.crop)
    _, png = cv2.imencode(".png", picture[:, :, ::-1])
    files[out / f"{stem}_preview.png"] = png.tobytes()
    for path, data in files.items():
        try:
            write_atomically(path, data)
        except OSError as error:
            raise EnvironmentTroubleError(f"{path}: cannot be written: {error.strerror or error}") from error
    return list(files)


class _Names:
    """Names for files, none of them twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim(self, wanted: str) -> str:
        """The name that is wanted, with a number where it is taken."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}-{number}"
        self._taken.add(name)
        return name
