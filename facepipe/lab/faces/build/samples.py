"""Chooses and renders the sample set: `python -m facepipe.lab.faces.build.samples`.

64 faces of the test seeds, balanced over yaw, side, skin tone, gender and age, taken with decent cameras:
the benchmark degrades them itself.
"""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import click
import numpy as np
from PIL import Image

from facepipe.core.path_option import PATH
from facepipe.lab.faces.factory import Face, render, sample
from facepipe.lab.faces.seeds import face_seed

COUNT = 64
CANDIDATES = 3000
YAW_EDGES_DEG = (15, 30, 60)
TONE_EDGES = (0.15, 0.35, 0.6)
AGE_EDGES = (0.42, 0.65)
JPEG_QUALITY = 90


@click.command()
@click.option("--out", type=PATH, required=True, help="Folder of the sample set.")
def main(out: Path) -> None:
    """Write the sample set."""
    faces = choose([sample(face_seed("test", index)) for index in range(CANDIDATES)])
    out.mkdir(parents=True, exist_ok=True)
    names = [f"face-{number:02d}" for number in range(len(faces))]
    size = 0
    for name, face in zip(names, faces, strict=True):
        picture = io.BytesIO()
        Image.fromarray(render(face)).save(picture, "JPEG", quality=JPEG_QUALITY, optimize=True)
        (out / f"{name}.jpg").write_bytes(picture.getvalue())
        size += len(picture.getvalue())
    np.savez_compressed(
        out / "truth.npz",
        sample_id=np.array(names),
        seed=np.array([face.seed for face in faces], np.int64),
        shape=np.array([face.shape for face in faces]),
        expression=np.array([face.expression for face in faces]),
        pose=np.array([face.pose.parameters() for face in faces]),
        skin_tone=np.array([face.skin_tone for face in faces], np.float32),
        male=np.array([face.who.male for face in faces], np.float32),
        age=np.array([face.who.age for face in faces], np.float32),
    )
    click.echo(f"{out}: {len(faces)} faces, {size / 1e6:.2f} MB of pictures")


def choose(candidates: list[Face], count: int = COUNT) -> list[Face]:
    """Pick faces one by one, each of the kinds that are fewest so far; returned in the order of seeds."""
    pool = [face for face in candidates if _is_decent(face)]
    filled: Counter[tuple[str, int]] = Counter()
    chosen = []
    for _ in range(count):
        best = min(
            pool, key=lambda face: (sum(filled[kind] * _bins(kind[0]) for kind in kinds(face)), face.seed)
        )
        pool.remove(best)
        chosen.append(best)
        filled.update(kinds(best))
    return sorted(chosen, key=lambda face: face.seed)


def kinds(face: Face) -> list[tuple[str, int]]:
    """The bins that a face falls into."""
    yaw_deg = float(np.degrees(face.pose.yaw_rad))
    return [
        ("yaw", int(np.digitize(abs(yaw_deg), YAW_EDGES_DEG))),
        ("side", int(yaw_deg > 0)),
        ("tone", int(np.digitize(face.skin_tone, TONE_EDGES))),
        ("gender", int(face.who.male > 0.5)),
        ("age", int(np.digitize(face.who.age, AGE_EDGES))),
    ]


def _bins(kind: str) -> int:
    return {"yaw": 4, "tone": 4, "age": 3}.get(kind, 2)


def _is_decent(face: Face) -> bool:
    camera = face.camera
    sharp = camera.detail == 1.0 and camera.softness_px < 0.4 and camera.grain < 0.01
    return sharp and camera.saturation > 0 and (camera.jpeg_quality == 0 or camera.jpeg_quality >= 75)


if __name__ == "__main__":
    main()
