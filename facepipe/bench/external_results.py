"""Results of other programs: a folder of meshes or volumes, one for each sample of a data set."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import SampleError, UsageError
from facepipe.core.names import did_you_mean
from facepipe.geometry.volume import surface
from facepipe.geometry.voxelise import voxelise
from facepipe.imaging.crop import Crop

MESH_SUFFIXES = (".obj", ".ply", ".glb", ".stl", ".off")
VOLUME_SUFFIXES = (".npy", ".npz")

Frame = Literal["image", "crop", "file"]
"""In which coordinates meshes are.

image: pixels of the photo, x right, y down, z toward the camera; z may begin anywhere.
crop: pixels of the 128-px reference, z as in `facepipe.core.conventions`.
file: as facepipe's own mesh files: y up, one unit is the side of the crop.
"""

FRAMES: tuple[Frame, ...] = get_args(Frame)

MAX_FILE_BYTES = 512 * 2**20
"""Largest file that is read: a mesh of five million vertices as text."""


@dataclass(frozen=True)
class Mesh:
    """A mesh as it stands in a file.

    Attributes:
        vertices: float64 (V, 3).
        triangles: int32 (T, 3).
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int32]


@dataclass(frozen=True)
class ExternalResults:
    """A folder of results: the meshes or volumes that another program made of a data set's images.

    A file belongs to the sample whose id is its path below the folder without suffix, or whose id ends with
    its name where only one does.

    Attributes:
        name: what the tables call it, in the column `regressor`.
        folder: where the files lie.
        frame: in which coordinates meshes are; volumes have `geometry`.
        geometry: of the volumes that are scored; meshes are voxelised in it.
    """

    name: str
    folder: Path
    frame: Frame
    geometry: VolumeGeometry

    def as_json(self) -> dict[str, Any]:
        """What run.json keeps."""
        geometry = self.geometry
        return {
            "folder": str(self.folder),
            "frame": self.frame,
            "size": geometry.size,
            "depth": geometry.depth,
            "spacing": list(geometry.spacing),
            "z_zero": geometry.z_zero,
        }

    @classmethod
    def from_json(cls, name: str, values: Mapping[str, Any]) -> ExternalResults:
        """The inverse of `as_json`."""
        spacing = (float(values["spacing"][0]), float(values["spacing"][1]), float(values["spacing"][2]))
        geometry = VolumeGeometry(values["size"], values["depth"], spacing, values["z_zero"])
        return cls(name, Path(values["folder"]), values["frame"], geometry)

    def files(self) -> Mapping[str, Path]:
        """The files by path below the folder without suffix, '/' as separator."""
        return _listed(self.folder)

    def is_volumes(self) -> bool:
        """Whether the files are volumes; a folder holds one kind."""
        return next(iter(self.files().values())).suffix.lower() in VOLUME_SUFFIXES

    def fingerprint(self) -> str:
        """A digest of names and sizes of the files and of how they are read."""
        sizes = [[key, path.stat().st_size] for key, path in self.files().items()]
        return hashlib.sha256(json.dumps([sizes, self.as_json()], sort_keys=True).encode()).hexdigest()

    def has(self, sample_id: str) -> bool:
        """Whether there is a file of a sample."""
        return sample_id in self.files() or sample_id.rsplit("/", 1)[-1] in _by_name(self.folder)

    def find(self, sample_id: str) -> Path:
        """The file of a sample.

        Raises:
            SampleError: missing-result.
        """
        found = self.files().get(sample_id) or _by_name(self.folder).get(sample_id.rsplit("/", 1)[-1])
        if found is None:
            raise SampleError("missing-result", f"{self.folder}: no file for {sample_id}")
        return found

    def volume(
        self, sample_id: str, crop: Crop, image_z: Callable[[NDArray[np.float64], NDArray], float]
    ) -> NDArray[np.uint8]:
        """The result of a sample as an occupancy volume (D, H, W) in `geometry`.

        Args:
            sample_id: of the sample.
            crop: its square in the photo.
            image_z: from a mesh in reference pixels (vertices, triangles) to how far it is to be moved along
                z; asked for meshes in image pixels only, whose z begins anywhere.

        Raises:
            SampleError: missing-result, damaged-result, empty-result, or misplaced-result.
        """
        path = self.find(sample_id)
        if path.suffix.lower() in VOLUME_SUFFIXES:
            return _checked_volume(read_volume(path), self.geometry, path)
        mesh = read_mesh(path)
        points = to_reference(mesh.vertices, self.frame, crop)
        if self.frame == "image":
            points[:, 2] += image_z(points, mesh.triangles)
        volume = voxelise(points, mesh.triangles, self.geometry)
        if not volume.any():
            raise SampleError("misplaced-result", f"{path}: the mesh lies outside the picture")
        return volume

    def mesh(self, sample_id: str) -> Mesh:
        """The result of a sample as a mesh, in the coordinates of its file; volumes in reference pixels.

        Raises:
            SampleError: as `volume`.
        """
        path = self.find(sample_id)
        if path.suffix.lower() in VOLUME_SUFFIXES:
            found = surface(_checked_volume(read_volume(path), self.geometry, path), self.geometry)
            return Mesh(found.vertices.astype(np.float64), found.triangles)
        return read_mesh(path)


def open_results(text: str) -> tuple[str, Path]:
    """Name and folder of NAME=FOLDER, or of a folder alone, whose name is taken.

    Raises:
        UsageError: no such folder, or no mesh or volume in it.
    """
    name, sign, rest = text.partition("=")
    folder = Path(rest if sign else text).expanduser().absolute()
    name = name.strip() if sign else folder.name
    if not name:
        raise UsageError(f"{text}: expected NAME=FOLDER, as in deca=results/deca")
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; expected meshes or volumes, one for each sample")
    _listed.cache_clear()
    _by_name.cache_clear()
    if not _listed(folder):
        raise UsageError(
            f"{folder}: no result in it; expected files {', '.join((*MESH_SUFFIXES, *VOLUME_SUFFIXES))} "
            "named as the samples of the data set"
        )
    return name, folder


def check_names(results: ExternalResults, sample_ids: list[str]) -> None:
    """Refuse results none of which, or many of which not, are named as samples are.

    Raises:
        UsageError: more than a tenth of the files belong to no sample; the message names one.
    """
    ends: dict[str, int] = {}
    for sample_id in sample_ids:
        ends[sample_id.rsplit("/", 1)[-1]] = ends.get(sample_id.rsplit("/", 1)[-1], 0) + 1
    known = set(sample_ids) | {end for end, count in ends.items() if count == 1}
    names = list(results.files())
    strangers = [name for name in names if name not in known and name.rsplit("/", 1)[-1] not in known]
    if len(strangers) > len(names) / 10:
        near = did_you_mean(strangers[0], sample_ids)
        raise UsageError(
            f"{results.folder}: {len(strangers)} of {len(names)} files are named as no sample is, as "
            f"{strangers[0]!r}{near}; a file is named by the id of its sample, as {sample_ids[0]!r}, "
            "and results of a part of a data set need the same --subsets, --split or --limit"
        )


def geometry_of(folder: Path) -> VolumeGeometry:
    """The geometry of a folder's results: of its volumes as VRN writes them, for meshes facepipe's own.

    VRN's volumes have 200 slices, each half a pixel of their grid thick (Jackson et al. 2017), z = 0 in the
    middle.

    Raises:
        UsageError: the first volume cannot be read or is not square.
    """
    first = next(iter(_listed(folder).values()))
    if first.suffix.lower() not in VOLUME_SUFFIXES:
        return VolumeGeometry()
    try:
        shape = read_volume(first).shape
    except SampleError as error:
        raise UsageError(str(error)) from error
    if len(shape) != 3 or shape[1] != shape[2]:
        raise UsageError(f"{first}: an array of shape {shape}; expected (slices, side, side)")
    return VolumeGeometry(shape[1], shape[0], (0.5, 1.0, 1.0), shape[0] / 2)


def to_reference(points: NDArray[np.floating], frame: Frame, crop: Crop) -> NDArray[np.float64]:
    """Bring points (V, 3) from the coordinates of a file to reference pixels."""
    values = np.array(points, np.float64)
    if frame == "crop":
        return values
    if frame == "file":
        return values * [NETWORK_PX, -NETWORK_PX, NETWORK_PX] + [NETWORK_PX / 2, NETWORK_PX / 2, 0.0]
    return np.asarray(crop.to_reference(values), np.float64)


def read_mesh(path: Path) -> Mesh:
    """Read a mesh file of any topology; nothing beside it, as its textures, is opened.

    Raises:
        SampleError: damaged-result, or empty-result: no triangle in it.
    """
    import trimesh

    try:
        data = _bytes(path)
        loaded = trimesh.load_scene(data, file_type=path.suffix[1:].lower(), process=False)
        mesh = loaded.to_geometry()
        vertices = np.asarray(mesh.vertices, np.float64)
        triangles = np.asarray(getattr(mesh, "faces", np.zeros((0, 3))), np.int32)
    except (OSError, MemoryError, SampleError):
        raise
    except Exception as error:
        raise SampleError("damaged-result", f"{path}: {type(error).__name__}: {error}") from error
    if not len(triangles):
        raise SampleError("empty-result", f"{path}: no triangle in it; a surface is needed")
    if not np.isfinite(vertices).all():
        raise SampleError("damaged-result", f"{path}: a vertex is NaN or infinite")
    return Mesh(vertices, triangles)


def read_volume(path: Path) -> NDArray[Any]:
    """Read an array (D, H, W) from .npy, or from the only or the array `volume` of an .npz.

    Raises:
        SampleError: damaged-result.
    """
    data = _bytes(path)  # what the disk will not give says nothing about the file
    try:
        loaded = np.load(data, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            names = loaded.files
            return np.asarray(loaded["volume" if "volume" in names else names[0]])
        return np.asarray(loaded)
    except (OSError, ValueError, KeyError, IndexError, EOFError, BadZipFile) as error:
        raise SampleError("damaged-result", f"{path}: no array can be read ({error})") from error


def _bytes(path: Path) -> io.BytesIO:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SampleError("damaged-result", f"{path}: larger than {MAX_FILE_BYTES // 2**20} MiB")
    return io.BytesIO(path.read_bytes())


def _checked_volume(values: NDArray[Any], geometry: VolumeGeometry, path: Path) -> NDArray[np.uint8]:
    """Occupancy as round(255 p), from uint8, bool, or probabilities 0..1."""
    if values.shape != geometry.shape:
        raise SampleError(
            "damaged-result", f"{path}: an array of shape {values.shape}, the others have {geometry.shape}"
        )
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8:
        volume = values
    elif np.issubdtype(values.dtype, np.floating) and values.min() >= 0 and values.max() <= 1:
        volume = np.rint(values * 255).astype(np.uint8)
    else:
        raise SampleError(
            "damaged-result",
            f"{path}: values {values.dtype} from {values.min()} to {values.max()}; expected uint8, bool, or "
            "probabilities from 0 to 1",
        )
    if not (volume >= 128).any():
        raise SampleError("empty-result", f"{path}: no voxel is inside")
    return volume


@lru_cache(maxsize=8)
def _listed(folder: Path) -> dict[str, Path]:
    suffixes = (*MESH_SUFFIXES, *VOLUME_SUFFIXES)
    paths = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes)
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths if path.is_file()}


@lru_cache(maxsize=8)
def _by_name(folder: Path) -> dict[str, Path]:
    """The files by name alone, where only one has it."""
    found: dict[str, Path | None] = {}
    for key, path in _listed(folder).items():
        name = key.rsplit("/", 1)[-1]
        found[name] = None if name in found else path
    return {name: path for name, path in found.items() if path is not None}
