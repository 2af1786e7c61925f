"""Reconstruct photos, run the benchmark, keep an archive: what the commands of these names do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facepipe.api.results import Archive, Run
from facepipe.bench.config import BenchConfig
from facepipe.bench.run import run_benchmark, silent
from facepipe.core.config_model import validated
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import SampleError
from facepipe.core.progress import progress as shown
from facepipe.geometry.mesh import preview, upright
from facepipe.geometry.volume import front_depth
from facepipe.imaging.crop import Crop
from facepipe.imaging.images import read_image
from facepipe.reconstruct.face import (
    DEFAULT_METHOD,
    DEFAULT_REGRESSOR,
    CropMode,
    Reconstruction,
    find_crops,
    reconstruct_image,
)
from facepipe.surveil.config import SurveilConfig

if TYPE_CHECKING:
    import trimesh

Image8 = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Face:
    """A reconstructed face.

    Attributes:
        crop: uint8 RGB (S, S, 3), the square of the photo that was taken.
        volume: uint8 occupancy (D, H, W) = round(255 p), slices toward the camera.
        geometry: where its voxels lie.
    """

    crop: Image8
    volume: Image8
    geometry: VolumeGeometry
    _made: Reconstruction

    @property
    def mesh(self) -> trimesh.Trimesh:
        """The surface with the photo's colours at its vertices, closed, one part.

        x to the right, y up, z toward the viewer; one unit is the side of the crop, its centre the origin.
        """
        import trimesh

        made = self._made.mesh
        return trimesh.Trimesh(
            upright(made.vertices), made.triangles, vertex_colors=self._made.colours, process=False
        )

    @property
    def depth_px(self) -> NDArray[np.float32]:
        """(H, W), z of the front surface in reference pixels (crop / 128), NaN where there is none."""
        return front_depth(self.volume, self.geometry)

    @property
    def preview(self) -> Image8:
        """uint8 RGB, the crop beside the mesh from several sides."""
        return preview(self._made.mesh, self._made.colours, self.crop)


def reconstruct(
    photo: str | Path | Image8,
    *,
    regressor: str = DEFAULT_REGRESSOR,
    method: str = DEFAULT_METHOD,
    crop: CropMode = "auto",
    all_faces: bool = False,
) -> list[Face]:
    """Reconstruct the faces in a photo.

    Args:
        photo: a file, or uint8 RGB (H, W, 3), upright.
        regressor: what makes the volume: a name, or a plug-in's.
        method: what restores faces below 128 px.
        crop: 'face' the part around a detected face, 'full' the whole picture, 'auto' the face where there is
            one and else the whole picture.
        all_faces: every face, from left to right, instead of the most prominent one.

    Returns:
        The faces: one, unless all are asked for.

    Raises:
        UsageError: there is no such file, regressor or method, or the face detector is not installed.
        SampleError: the photo cannot be used; with a single face also where it has no volume.
    """
    image = photo if isinstance(photo, np.ndarray) else read_image(Path(photo))[0]
    crops = find_crops(image, crop, all_faces)
    faces = []
    chosen: list[Crop | None] = [*crops] or [None]
    for square in chosen:
        try:
            made = reconstruct_image(image, regressor, method, square)
        except SampleError:
            if len(crops) < 2:
                raise
            continue
        faces.append(Face(made.crop, made.volume, made.geometry, made))
    return faces


def bench(
    dataset: str | Path = "sample", out: str | Path | None = None, *, progress: bool = False, **options: Any
) -> Run:
    """Run the benchmark, or what is missing of a run that was begun.

    Args:
        dataset: folder or zip of a data set, or 'sample' for the faces that ship with facepipe.
        out: folder of the run; by default one in runs/ named by the options.
        progress: show how far it is.
        options: those of `facepipe bench` with _ for -, see `facepipe.bench.config.BenchConfig`: methods,
            low_px, degradations, regressors, metrics, crop, limit, workers, ...

    Raises:
        UsageError: an option is unknown or wrong, the data set is missing or empty.
        RunConflictError: the folder holds another run, or another process works on it.
        EnvironmentTroubleError: disk, memory or cluster failed; the same call goes on from there.
    """
    given = {"dataset": str(dataset), **({} if out is None else {"out": out}), **options}
    config = validated(BenchConfig, given, "bench", given)
    store, _ = run_benchmark(config, shown if progress else silent)
    return Run(store.path)


def surveil(inbox: str | Path, out: str | Path, *, progress: bool = False, **options: Any) -> Archive:
    """Bring an archive up to date with an inbox of images and videos, each of them once.

    Args:
        inbox: a folder.
        out: the archive's folder.
        progress: show how far it is.
        options: those of `facepipe surveil` with _ for -, see `facepipe.surveil.config.SurveilConfig`.

    Raises:
        UsageError: an option is unknown or wrong, there is no such inbox, or the folder is no archive.
        EnvironmentTroubleError: disk, memory or cluster failed; the same call goes on from there.
    """
    from facepipe.surveil import archive, driver

    given = {"inbox": inbox, "out": out, **options}
    config = validated(SurveilConfig, given, "surveil", given)
    driver.check(config)
    opened = archive.Archive(config.out)
    with opened.lock(config.wait):
        driver.run(config, opened, shown if progress else silent)
    return Archive(config.out)
