"""Any folder of photographs as a data set with dense truth: 300W-LP's layout, heads fitted to face meshes.

OUT/facepipe-photos.json              which head the coefficients belong to
OUT/photos.parquet                    a row for each photograph and turned view: how good, or why left out
OUT/<folder>/<name>.jpg               450 x 450, the photograph around its face
OUT/<folder>/<name>.mat               Pose_Para, Shape_Para, Exp_Para, pt2d, roi, skin_tone, person, ...
OUT/<folder>_turned/<name>_<n>.jpg    views turned further out of the picture plane, each with its .mat
OUT/landmarks/<folder>/<name>_pts.mat pts_2d, pts_3d (68 x 2)
OUT/parts/                            what is done, a file for each unit of work
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from facepipe.core.errors import EnvironmentTroubleError, SampleError, UsageError
from facepipe.core.tables import read_table, write_table
from facepipe.datasets.annotated import INDEX_FILE, MARKER_FILE, TURNED_SUFFIX, split_of_person
from facepipe.datasets.dataset import SampleRef
from facepipe.datasets.file_tree import FileTree
from facepipe.datasets.photos import PhotosDataset
from facepipe.lab.photos.annotation import Annotated, annotate, annotated_fields, person_number
from facepipe.lab.photos.profile import draw_turn, leaves_picture, turned
from facepipe.lab.set_files import mat_bytes, prepare_folder, write_file
from facepipe.pipeline.cluster import connect, open_cluster
from facepipe.pipeline.executor import Engine
from facepipe.pipeline.job import Reasons, Site, UnitReport, environment_trouble
from facepipe.pipeline.worker_check import MAX_FILES, readable

UNIT_PHOTOS = 16
JPEG_QUALITY = 95
STAGE = "annotate"
PLAIN_SET = "PHOTOS"
"""Folder of photographs that lie in none."""

SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("photo", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("split", pa.string()),
        ("turned_deg", pa.float64()),
        ("yaw_deg", pa.float64()),
        ("pitch_deg", pa.float64()),
        ("roll_deg", pa.float64()),
        ("skin_tone", pa.float64()),
        ("grey", pa.bool_()),
        ("photo_px", pa.float64()),
        ("mesh_score", pa.float64()),
        ("residual", pa.float64()),
        ("depth_residual", pa.float64()),
        ("outliers", pa.float64()),
        ("unlikelihood", pa.float64()),
    ],
    # What the table means, for whoever finds it alone.
    {"residual": "mean distance in the picture of mesh and head, sizes of the face", "split": "by person"},
)


@dataclass(frozen=True)
class Unit:
    """Some photographs, annotated together.

    Attributes:
        refs: the photographs.
        first: place of the first one in the folder's list.
    """

    refs: tuple[SampleRef, ...]
    first: int

    @property
    def stage(self) -> str:
        """The only stage there is."""
        return STAGE

    def __str__(self) -> str:
        """What messages call it."""
        return f"photographs {self.first} to {self.first + len(self.refs) - 1}"

    @property
    def part(self) -> str:
        """Name of the file that says it is done: another one when a photograph changes its name or size."""
        known = "\n".join(f"{ref.source_path} {ref.size_bytes}" for ref in self.refs)
        return f"{hashlib.sha256(known.encode()).hexdigest()[:20]}.parquet"


@dataclass(frozen=True)
class AnnotationJob:
    """Annotating a folder of photographs.

    Attributes:
        photos: the folder or archive.
        out: the data set's folder.
        person: a pattern for a photograph's path; what its groups (or all of it) match names the person. ''
            takes every photograph for another person's.
        views: turned views of each photograph.
    """

    photos: Path
    out: Path
    person: str = ""
    views: int = 0
    gpu_stages: tuple[str, ...] = field(default=(), init=False)

    @property
    def parts(self) -> Path:
        """Folder of the units that are done, with these views and persons."""
        key = hashlib.sha256(f"{self.person}\n{self.views}".encode()).hexdigest()[:8]
        return self.out / "parts" / key

    @property
    def site(self) -> Site:
        """The data set's folder and some of the photographs."""
        tree, refs = FileTree(self.photos), PhotosDataset(self.photos).refs()
        chosen = refs[:: max(1, len(refs) // MAX_FILES)]
        return Site(self.out, readable(tree.place(ref.source_path, ref.size_bytes) for ref in chosen))

    def units(self) -> list[Unit]:
        """All units.

        Raises:
            UsageError: the folder is missing or holds no photograph, or two would get the same name.
        """
        refs = PhotosDataset(self.photos).refs()
        names: dict[str, str] = {}
        for ref in refs:
            other = names.setdefault(name_in_set(ref), ref.source_path)
            if other != ref.source_path and not ref.sample_id == other.rsplit(".", 1)[0]:
                raise UsageError(
                    f"{self.photos}: {other} and {ref.source_path} would get the same name; rename one"
                )
        return [Unit(tuple(refs[i : i + UNIT_PHOTOS]), i) for i in range(0, len(refs), UNIT_PHOTOS)]

    def span(self, unit: Unit) -> tuple[int, int]:
        """First and past-the-last index of a unit's photographs."""
        return unit.first, unit.first + len(unit.refs)

    def run(self, unit: Unit, skip: Reasons, device: str) -> UnitReport:  # noqa: ARG002
        """Annotate a unit's photographs and write what they came to."""
        began = time.monotonic()
        cv2.setNumThreads(1)
        with environment_trouble(unit):
            rows = []
            for index, ref in enumerate(unit.refs, unit.first):
                if index in skip:
                    rows.append(_left_out(ref, *skip[index]))
                else:
                    rows += self._photograph(ref)
            self.parts.mkdir(parents=True, exist_ok=True)
            write_table(self.parts / unit.part, pa.Table.from_pylist(rows, SCHEMA))
        failed = sum(bool(row["reason"]) for row in rows)
        return UnitReport(len(unit.refs), failed, time.monotonic() - began)

    def probe(self, unit: Unit, index: int, skip: Reasons, device: str) -> None:  # noqa: ARG002
        """Annotate one photograph and forget it."""
        cv2.setNumThreads(1)
        try:
            annotate(PhotosDataset(self.photos).load(unit.refs[index - unit.first]).image)
        except SampleError:
            return

    def _photograph(self, ref: SampleRef) -> list[dict[str, Any]]:
        try:
            face = annotate(PhotosDataset(self.photos).load(ref).image)
        except SampleError as error:
            return [_left_out(ref, error.reason, error.detail)]
        person = person_of(ref.source_path, self.person)
        name = name_in_set(ref)
        rows = [self._write(name, ref, face, person, 0.0)]
        rng = np.random.default_rng(person_number(ref.sample_id))
        for number in range(self.views):
            turn = draw_turn(face.head.pose.yaw_rad, rng)
            if turn is None:
                break
            image, head = turned(face.image, face.head, turn)
            if leaves_picture(head):
                continue
            folder, _, stem = name.partition("/")
            view = replace(face, image=image, head=head)
            rows.append(self._write(f"{folder}{TURNED_SUFFIX}/{stem}_{number + 1}", ref, view, person, turn))
        return rows

    def _write(
        self, name: str, ref: SampleRef, face: Annotated, person: str, turn_rad: float
    ) -> dict[str, Any]:
        fields = annotated_fields(face, person)
        points = fields["pt2d"].T.copy()
        picture = io.BytesIO()
        Image.fromarray(face.image).save(picture, "JPEG", quality=JPEG_QUALITY)
        # The picture is written last.
        write_file(
            self.out / "landmarks" / f"{name}_pts.mat", mat_bytes({"pts_2d": points, "pts_3d": points})
        )
        write_file(self.out / f"{name}.mat", mat_bytes(fields))
        write_file(self.out / f"{name}.jpg", picture.getvalue())
        pose, fit = face.head.pose, face.fit
        return {
            "sample_id": name,
            "photo": ref.source_path,
            "reason": "",
            "detail": "",
            "split": split_of_person(person_number(person)),
            "turned_deg": math.degrees(turn_rad),
            "yaw_deg": math.degrees(pose.yaw_rad),
            "pitch_deg": math.degrees(pose.pitch_rad),
            "roll_deg": math.degrees(pose.roll_rad),
            "skin_tone": face.skin_tone,
            "grey": face.grey,
            "photo_px": face.crop.size,
            "mesh_score": face.mesh_score,
            "residual": fit.residual,
            "depth_residual": fit.depth_residual,
            "outliers": fit.outliers,
            "unlikelihood": fit.unlikelihood,
        }


def annotate_folder(
    job: AnnotationJob,
    cluster: str = "local",
    workers: int | None = None,
    cluster_config: Path | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> pa.Table:
    """Annotate every photograph of a folder that is not annotated yet.

    Args:
        job: which photographs, and where to.
        cluster, workers, cluster_config: see `facepipe.pipeline.cluster.open_cluster`.
        advance: told how many more of them are done, including those that were.

    Returns:
        The rows of photos.parquet.

    Raises:
        UsageError: there are no photographs, the pattern is none, or the folder belongs to something else.
        EnvironmentTroubleError: it cannot be written, or the cluster failed.
    """
    units = job.units()
    _check_pattern(job.person)
    try:
        prepare_folder(job.out, MARKER_FILE)
        missing = [unit for unit in units if not (job.parts / unit.part).exists()]
        advance(sum(len(unit.refs) for unit in units) - sum(len(unit.refs) for unit in missing))
        if missing:
            with open_cluster(cluster, workers, cluster_config) as address, connect(address) as client:
                Engine(client, job).run(missing, lambda unit, _: advance(len(unit.refs)))
        table = pa.concat_tables(read_table(job.parts / unit.part) for unit in units)
        table = table.sort_by([("photo", "ascending"), ("sample_id", "ascending")])
        write_table(job.out / INDEX_FILE, table)
    except OSError as error:
        raise EnvironmentTroubleError(
            f"{job.out}: cannot be written ({error}); make room or choose another folder, then run it again"
        ) from error
    return table


def name_in_set(ref: SampleRef) -> str:
    """A photograph's name in the data set: its first folder, then the rest of its path as one name."""
    folder, _, rest = (
        ref.sample_id.rpartition("/") if ref.sample_id.count("/") < 2 else _first_folder(ref.sample_id)
    )
    return f"{folder or PLAIN_SET}/{rest}"


def _first_folder(sample_id: str) -> tuple[str, str, str]:
    folder, slash, rest = sample_id.partition("/")
    return folder, slash, rest.replace("/", "_")


def person_of(path: str, pattern: str) -> str:
    """Who is in a photograph, as far as its path tells.

    Args:
        path: below the folder.
        pattern: a regular expression, '' for none; its groups, or where it has none all that it matches, name
            the person. Where it is not found, or is none, the path does.
    """
    found = re.search(pattern, path) if pattern else None
    if found is None:
        return path
    return " ".join(group for group in found.groups() if group) or found[0]


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--person {pattern}: no regular expression ({error})") from error


def _left_out(ref: SampleRef, reason: str, detail: str) -> dict[str, Any]:
    return {"sample_id": name_in_set(ref), "photo": ref.source_path, "reason": reason, "detail": detail}
