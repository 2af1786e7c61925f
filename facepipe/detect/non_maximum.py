"""One detection for each face: of candidates that overlap, the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], max_iou: float) -> NDArray[np.intp]:
    """Indices of the candidates to keep, best score first; equal scores keep their order.

    Args:
        boxes: (N, 4) x0, y0, x1, y1.
        scores: (N,).
        max_iou: boxes whose intersection over union with a better one reaches this are dropped.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[iou(boxes[best], boxes[order]) < max_iou]
    return np.array(kept, np.intp)


def iou(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of a box (4,) with each of some boxes (N, 4)."""
    box, boxes = box.astype(np.float64), boxes.astype(np.float64)
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + areas - shared
    return shared / np.maximum(union, np.finfo(np.float64).tiny)
