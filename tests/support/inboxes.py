"""Hand-made inboxes, and a detector that needs no network. In a module of its own, so that worker processes
can import it, and runnable, so that a run can be killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facepipe.core.progress import progress
from facepipe.datasets.catalog import open_dataset
from facepipe.detect import Detection
from facepipe.surveil import driver, rules
from facepipe.surveil.archive import Archive
from facepipe.surveil.config import SurveilConfig

FATAL = (255, 0, 255)
"""Colour of the upper left pixel of a picture that kills whoever looks for faces in it."""


@dataclass(frozen=True)
class BrightDetector:
    """Takes every bright patch on a black canvas for a face.

    Attributes:
        seconds: how long it takes.
        revision: part of its fingerprint.
        fatal: whether `FATAL` pictures kill.
    """

    seconds: float = 0.0
    revision: int = 1
    fatal: bool = True
    name: str = "bright"

    @property
    def fingerprint(self) -> str:
        return f"bright-{self.revision}"

    def __call__(self, image: np.ndarray) -> list[Detection]:
        time.sleep(self.seconds)
        if self.fatal and tuple(image[0, 0]) == FATAL:
            os.kill(os.getpid(), signal.SIGKILL)
        bright = cv2.dilate((image.max(axis=2) > 60).astype(np.uint8), np.ones((9, 9), np.uint8))
        _, _, patches, _ = cv2.connectedComponentsWithStats(bright)
        found = []
        for x, y, width, height, area in sorted(patches[1:].tolist()):
            if area < 100:
                continue
            at = np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.6], [0.4, 0.8], [0.6, 0.8]], np.float32)
            points = at * [width, height] + [x, y]
            box = (float(x), float(y), float(x + width), float(y + height))
            found.append(Detection(box, 0.9, points.astype(np.float32)))
        return found


def sample_faces(n: int) -> list[np.ndarray]:
    """The middle of shipped faces, uint8 RGB."""
    dataset = open_dataset("sample", "auto")
    faces = (dataset.load(ref).image for ref in dataset.refs()[:n])
    margins = ((face, face.shape[0] // 5) for face in faces)
    return [np.maximum(face[margin:-margin, margin:-margin], 70) for face, margin in margins]


def canvas(*placed: tuple[np.ndarray, int, int, int], width: int = 320, height: int = 240) -> np.ndarray:
    """A black picture with faces, each given with its x, y and side."""
    picture = np.zeros((height, width, 3), np.uint8)
    for face, x, y, side in placed:
        picture[y : y + side, x : x + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return picture


def write(path: Path, picture: np.ndarray) -> Path:
    """Write a picture (RGB) and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(path.suffix, picture[:, :, ::-1])
    path.write_bytes(data.tobytes())
    return path


def write_clip(path: Path, pictures: list[np.ndarray], fps: float = 10.0) -> Path:
    """Write a clip and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    code = "mp4v" if path.suffix == ".mp4" else "MJPG"
    height, width = pictures[0].shape[:2]
    clip = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), fps, (width, height))
    assert clip.isOpened()
    for picture in pictures:
        clip.write(np.ascontiguousarray(picture[:, :, ::-1]))
    clip.release()
    return path


def without_length(path: Path) -> Path:
    """Take from a Matroska file what it says of its length, as if it had been written to a pipe."""
    data = path.read_bytes()
    assert data.count(b"\x44\x89\x88") == 1
    path.write_bytes(data.replace(b"\x44\x89\x88", b"\xec\x89\x88"))  # the duration becomes a void
    return path


def main() -> None:
    """Run `INBOX OUT ADDRESS` with the bright detector, slowly."""
    from inboxes import BrightDetector  # by this name it can be pickled, by that of a script it cannot

    inbox, out, address = sys.argv[1:]
    rules.open_detector = lambda _: BrightDetector(seconds=0.1)
    config = SurveilConfig(inbox=inbox, out=out, cluster=address, settle_seconds=0, wave_frames=3)
    archive = Archive(config.out)
    with archive.lock():
        driver.run(config, archive, progress)


if __name__ == "__main__":
    main()
