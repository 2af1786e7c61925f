"""From a photo to a coloured mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.conventions import NETWORK_PX
from facepipe.crop import full_crop
from facepipe.degrade import degrade, make_reference
from facepipe.errors import EnvironmentTroubleError, SampleError, UsageError
from facepipe.images import read_image
from facepipe.mesh import FORMATS, encode, photo_colours, preview
from facepipe.registry import unknown
from facepipe.store import write_atomically
from facepipe.superres.methods import get_method
from facepipe.volume import SurfaceMesh, largest_part, surface
from facepipe.vrn.regressors import WeightsRegressor, get_regressor, known_regressors

DEFAULT_REGRESSOR = "vrn-compact"
DEFAULT_METHOD = "bicubic"

SMOOTHING_PX = 0.8
"""Sigma of the smoothing of occupancy for display, reference pixels: slices are regressed one by one,
and without it the surface shows them as terraces."""

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
        files: what was written: meshes in the order of the formats, then the preview.
        error: why there are none, or None.
    """

    photo: Path
    files: list[Path] = field(default_factory=list)
    error: SampleError | None = None


def to_network_size(crop: Image8, method: str = DEFAULT_METHOD) -> Image8:
    """Bring a crop (S, S, 3) to network size (128, 128, 3).

    Large crops are area-averaged. Smaller ones are restored by a super-resolution method, at the largest
    size up to their own that it fits.

    Raises:
        UsageError: there is no such method.
        SampleError: too-small, the method fits no size up to the crop's.
    """
    side = crop.shape[0]
    if side >= NETWORK_PX:
        return make_reference(crop)
    resolver = get_method(method)
    low_px = next((px for px in range(side, 0, -1) if resolver.fits(px)), None)
    if low_px is None:
        raise SampleError("too-small", f"{side} px a side, and method {method!r} fits no size up to that")
    lowres = crop if low_px == side else degrade(crop, "area", low_px, seed=0, sample_id="")
    return np.asarray(resolver.build(low_px)(lowres[None])[0], np.uint8)


def reconstruct_image(
    image: Image8, regressor: str = DEFAULT_REGRESSOR, method: str = DEFAULT_METHOD
) -> Reconstruction:
    """Reconstruct the face in an image.

    Args:
        image: uint8 RGB (H, W, 3), upright; the square crop is the whole image, centred and padded.
        regressor: the network that makes the volume.
        method: what restores images smaller than the network's.

    Raises:
        UsageError: there is no such regressor or method.
        WeightsError: its weights are missing or damaged.
        SampleError: no-face, the volume is empty; too-small.
    """
    height, width = image.shape[:2]
    crop = full_crop(width, height).cut(image)
    found = _regressor(regressor)
    volume = found.build()(to_network_size(crop, method)[None])[0]
    try:
        mesh = largest_part(surface(volume, found.geometry, smoothing_px=SMOOTHING_PX))
    except SampleError as error:
        raise SampleError("no-face", f"{regressor} found no face: its volume is empty") from error
    return Reconstruction(mesh, photo_colours(mesh.vertices, crop), crop)


def reconstruct_photos(
    photos: Sequence[Path],
    out: Path,
    formats: Sequence[str] = ("glb",),
    regressor: str = DEFAULT_REGRESSOR,
    method: str = DEFAULT_METHOD,
) -> Iterator[Outcome]:
    """Reconstruct photos one by one into `<stem>.<format>` and `<stem>_preview.png`.

    Photos of the same stem get a number each, so that none overwrites another's files. One that cannot
    be used does not stop the others.

    Raises:
        UsageError: a format, regressor or method is unknown, or `out` is a file; nothing was written.
        EnvironmentTroubleError: a file cannot be written.
    """
    for file_format in formats:
        if file_format not in FORMATS:
            raise unknown("mesh format", file_format, FORMATS)
    _regressor(regressor)
    get_method(method)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file, a folder is needed")
    return _outcomes(photos, out, formats, lambda image: reconstruct_image(image, regressor, method))


def _regressor(name: str) -> WeightsRegressor:
    if name == "none":
        known = ", ".join(known_regressors())
        raise UsageError(f"regressor 'none' makes no volume, and a mesh needs one; choose one of {known}")
    return get_regressor(name)


def _outcomes(
    photos: Sequence[Path], out: Path, formats: Sequence[str], build: Callable[[Image8], Reconstruction]
) -> Iterator[Outcome]:
    for photo, stem in zip(photos, _stems(photos), strict=True):
        try:
            if photo.is_dir():
                raise SampleError(
                    "folder", f"{photo}: photos are expected, not folders; name them: {photo / '*.jpg'}"
                )
            image, _ = read_image(photo)
            made = build(image)
        except SampleError as error:
            yield Outcome(photo, error=error)
            continue
        yield Outcome(photo, files=_write(made, out, stem, formats))


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


def _stems(photos: Sequence[Path]) -> list[str]:
    """A name for each photo's files: its stem, with a number where another photo has it."""
    taken: set[str] = set()
    names = []
    for photo in photos:
        name, number = photo.stem, 1
        while name in taken:
            number += 1
            name = f"{photo.stem}-{number}"
        taken.add(name)
        names.append(name)
    return names
