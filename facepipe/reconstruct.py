"""From a photo to a coloured mesh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.crop import Crop, full_crop
from facepipe.detect import face_crop, main_face, open_detector
from facepipe.errors import EnvironmentTroubleError, SampleError, UsageError
from facepipe.files import write_atomically
from facepipe.images import read_image
from facepipe.mesh import FORMATS, encode, photo_colours, preview
from facepipe.registry import unknown
from facepipe.superres.fitting import to_network_size
from facepipe.superres.methods import get_method
from facepipe.volume import SurfaceMesh, display_surface
from facepipe.vrn.regressors import WeightsRegressor, get_regressor, known_regressors

DEFAULT_REGRESSOR = "vrn-compact"
DEFAULT_METHOD = "compact-camera"

CropMode = Literal["auto", "face", "full"]
"""What is reconstructed of a photo: 'face' the part around a detected face, 'full' all of it, 'auto' the face
where there is one and else all."""

Image8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Reconstruction:
    """A face as a mesh.

    Attributes:
        mesh: in reference pixels, closed, one part.
        colours: uint8 sRGB (V, 3), from the full-resolution crop.
        crop: uint8 RGB (S, S, 3).
    """

    mesh: SurfaceMesh
    colours: Image8
    crop: Image8


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


def reconstruct_image(
    image: Image8,
    regressor: str = DEFAULT_REGRESSOR,
    method: str = DEFAULT_METHOD,
    crop: Crop | None = None,
) -> Reconstruction:
    """Reconstruct the face in an image.

    Args:
        image: uint8 RGB (H, W, 3), upright.
        regressor: the network that makes the volume.
        method: what restores crops smaller than the network's input.
        crop: the square of the image to take; by default the whole image, centred and padded.

    Raises:
        UsageError: there is no such regressor or method.
        WeightsError: its weights are missing or damaged.
        SampleError: no-face, the volume is empty; too-small.
    """
    height, width = image.shape[:2]
    square = (crop or full_crop(width, height)).cut(image)
    found = _regressor(regressor)
    volume = found.build()(to_network_size(square, method)[None])[0]
    try:
        mesh = display_surface(volume, found.geometry)
    except SampleError as error:
        raise SampleError("no-face", f"{regressor} found no face: its volume is empty") from error
    return Reconstruction(mesh, photo_colours(mesh.vertices, square), square)


def find_crops(image: Image8, mode: CropMode = "auto", all_faces: bool = False) -> list[Crop]:
    """The squares of an image to reconstruct; none where the mode is 'auto' and no face was found.

    Args:
        image: uint8 RGB (H, W, 3), upright.
        mode: see `CropMode`.
        all_faces: every face, from left to right, instead of the most prominent one.

    Raises:
        UsageError: the detector is not installed.
        SampleError: no-face-detected, where the mode is 'face'.
    """
    height, width = image.shape[:2]
    if mode == "full":
        return [full_crop(width, height)]
    faces = open_detector()(image)
    main = main_face(faces)
    if main is None and mode == "face":
        raise SampleError("no-face-detected", f"no face found in {width} x {height} px")
    wanted = sorted(faces, key=lambda face: face.box) if all_faces else [main] if main else []
    return [face_crop(face, width, height) for face in wanted]


@dataclass(frozen=True)
class Wish:
    """How photos are to be reconstructed.

    Attributes:
        formats: of the meshes.
        regressor, method: see `reconstruct_image`.
        crop, all_faces: see `find_crops`.
    """

    formats: Sequence[str] = ("glb",)
    regressor: str = DEFAULT_REGRESSOR
    method: str = DEFAULT_METHOD
    crop: CropMode = "auto"
    all_faces: bool = False


DEFAULT_WISH = Wish()


def reconstruct_photos(photos: Sequence[Path], out: Path, wish: Wish = DEFAULT_WISH) -> Iterator[Outcome]:
    """Reconstruct photos one by one into `<stem>.<format>` and `<stem>_preview.png`.

    With all faces wanted, they are called `<stem>-face1` and so on, from left to right. Photos of the same
    stem get a number each, so that none overwrites another's files. One that cannot be used does not stop
    the others.

    Raises:
        UsageError: a format, regressor or method is unknown, the wishes contradict each other, what finds
            faces is not installed, there is none of the photos, or `out` is a file; nothing was written.
        EnvironmentTroubleError: a file cannot be written.
    """
    for file_format in wish.formats:
        if file_format not in FORMATS:
            raise unknown("mesh format", file_format, FORMATS)
    _regressor(wish.regressor)
    get_method(wish.method)
    if wish.all_faces and wish.crop == "full":
        raise UsageError("--all-faces with --crop full: the whole picture is one face; choose one of them")
    if wish.crop != "full":
        open_detector()
    if not any(photo.exists() for photo in photos):
        raise UsageError(f"no such file: {', '.join(str(photo) for photo in photos)}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file, a folder is needed")
    return _outcomes(photos, out, wish)


def _regressor(name: str) -> WeightsRegressor:
    if name == "none":
        known = ", ".join(known_regressors())
        raise UsageError(f"regressor 'none' makes no volume, and a mesh needs one; choose one of {known}")
    return get_regressor(name)


def _outcomes(photos: Sequence[Path], out: Path, wish: Wish) -> Iterator[Outcome]:
    names = _Names()
    for photo in photos:
        stem = names.claim(photo.stem)
        try:
            if photo.is_dir():
                raise SampleError(
                    "folder", f"{photo}: photos are expected, not folders; name them: {photo / '*.jpg'}"
                )
            image, _ = read_image(photo)
            crops = find_crops(image, wish.crop, wish.all_faces)
        except SampleError as error:
            yield Outcome(photo, error=error)
            continue
        if wish.all_faces and crops:
            stems = [names.claim(f"{stem}-face{number}") for number in range(1, len(crops) + 1)]
        else:
            stems = [stem]
        chosen: list[Crop | None] = [*crops] or [None]
        notes = [] if crops else ["no face found, the whole picture was taken"]
        yield _reconstructed(photo, image, dict(zip(stems, chosen, strict=True)), out, wish, notes)


def _reconstructed(
    photo: Path, image: Image8, crops: dict[str, Crop | None], out: Path, wish: Wish, notes: list[str]
) -> Outcome:
    """Reconstruct and write the faces of a photo; one that has no volume does not stop the others."""
    files: list[Path] = []
    error = None
    for stem, crop in crops.items():
        try:
            made = reconstruct_image(image, wish.regressor, wish.method, crop)
        except SampleError as trouble:
            error = trouble
            notes.append(f"{stem}: not used: {trouble}")
            continue
        files += _write(made, out, stem, wish.formats)
    return Outcome(photo, files, "; ".join(notes)) if files else Outcome(photo, error=error)


def _write(made: Reconstruction, out: Path, stem: str, formats: Sequence[str]) -> list[Path]:
    files = {out / f"{stem}.{name}": encode(made.mesh, made.colours, name) for name in formats}
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
