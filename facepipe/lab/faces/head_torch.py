"""The head with hair, clothes and glasses as tensors: one topology for every picture of a batch.

Vertices are those of the head, then the copy of its lower edge, the cap, the glasses and the hand. Who does
not wear something has all its vertices in one point.
"""

from __future__ import annotations

import numpy as np
import torch

from facepipe.geometry.head import Head
from facepipe.geometry.head_attributes import draw_attributes
from facepipe.geometry.head_labels import FRAME, HAND, HAT, LONG_HAIR, SKIN
from facepipe.lab.faces.appearance import draw_look
from facepipe.lab.faces.glasses import Glasses, glasses
from facepipe.lab.faces.hand import hand_place, load_hand
from facepipe.lab.faces.scene import MASKS, body_share, drape_triangles, hem_band

Tensor = torch.Tensor


class HeadTensors:
    """Constants of the head on a device; triangles are int64 (T, 3).

    Attributes:
        mean, shape, expression: (V, 3), (K, 3 V), (E, 3 V).
        share: (V, 1), how far vertices follow the body.
        solid, all, scalp, drape, triangles, lenses, worn_triangles, gripped: triangles of the face part, the
            head, hair's ground, long hair, everything opaque, lenses, glasses and the hand alone.
        landmarks, region, hem, eyes: vertex numbers.
        label: (T,) of `triangles`; masks: (P, 5), as `facepipe.lab.faces.scene.MASKS`.
        worn: glasses on the mean head; hand_place: (H, 3).
    """

    def __init__(self, head: Head, device: torch.device) -> None:
        model, whole = head.model, head

        def put(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        count = len(model.mean)
        self.mean = put(model.mean)
        self.shape = put(model.shape_basis.T.copy())
        self.expression = put(model.expression_basis.T.copy())
        self.share = put(body_share(whole))
        self.solid = put(model.solid).long()
        self.all = put(whole.triangles).long()
        self.scalp = put(whole.scalp).long()
        self.drape = put(drape_triangles(whole)).long()
        self.landmarks = put(model.landmarks).long()
        self.region = put(model.region).long()
        self.hem = torch.tensor(whole.hem, device=device)
        self.eyes = [put(index).long() for index in whole.eyes]
        opaque = whole.triangles[whole.label != LONG_HAIR]
        band = hem_band(whole)
        hat_start = count + len(whole.hem)
        worn_start = hat_start + count
        self.worn = _template_glasses(whole)
        self.worn_triangles = put(np.concatenate([self.worn.frame, self.worn.lenses])).long()
        hand_points, gripped = load_hand()
        hand_start = worn_start + len(self.worn.points)
        self.gripped = put(gripped).long()
        self.hand_place = put(hand_place(hand_points))
        pieces = [opaque, band, whole.scalp + hat_start, self.worn.frame + worn_start, gripped + hand_start]
        self.triangles = put(np.concatenate(pieces)).long()
        self.lenses = put(self.worn.lenses + worn_start).long()
        labels = [
            whole.label[whole.label != LONG_HAIR],
            *(
                np.full(len(piece), kind)
                for piece, kind in zip(pieces[1:], (SKIN, HAT, FRAME, HAND), strict=True)
            ),
        ]
        self.label = put(np.concatenate(labels).astype(np.int64))
        masks = np.stack([whole.sky, *(whole.masks[name] for name in MASKS[1:])], 1)
        plain = np.tile(
            np.array([[0.9, 0, 0, 0, 0]], np.float32), (count + len(self.worn.points) + len(hand_points), 1)
        )
        self.masks = put(np.concatenate([masks, masks[list(whole.hem)], plain]).astype(np.float32))


def _template_glasses(head: Head) -> Glasses:
    """Glasses on the mean head: their triangles are everybody's."""
    rng = np.random.default_rng(0)
    look = draw_look(rng, draw_attributes(rng))
    eyes = np.stack([head.model.mean[index].mean(0) for index in head.eyes])
    return glasses(look, eyes, head.model.mean[head.model.landmarks])
