"""Faces in batches on a GPU: the same people, poses and looks as `facepipe.lab.faces.factory`, for training.

Heads, light and hair are computed as on the CPU and differ by rounding only; backgrounds are taken from a
pool that is drawn once, and grain and JPEG have their own implementation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.geometry.head import Head, load_head
from facepipe.geometry.head_labels import SKIN
from facepipe.geometry.morphable import SOURCE_PX
from facepipe.lab.faces.background import background
from facepipe.lab.faces.camera_torch import photograph_batch
from facepipe.lab.faces.draw import METERED_MM, METERED_RADIUS_MM, UNMETERED_LEVEL
from facepipe.lab.faces.factory import HAIR_LAYERS, OVERSAMPLING, Face, target_level
from facepipe.lab.faces.glasses import glasses
from facepipe.lab.faces.hair import (
    above_hat_line_mm,
    drape,
    hat_lift_mm,
    layer,
    rooted,
    standing_mm,
)
from facepipe.lab.faces.hand import place_hand
from facepipe.lab.faces.head_torch import HeadTensors
from facepipe.lab.faces.light import shine_on
from facepipe.lab.faces.named_arrays import Values
from facepipe.lab.faces.ops import dot
from facepipe.lab.faces.ops_torch import BatchValues, TorchOps
from facepipe.lab.faces.raster_torch import (
    BatchFragments,
    Hits,
    hits_of,
    rasterise_batch,
    vertex_normals_batch,
)
from facepipe.lab.faces.scene import (
    HEM_MM,
    MASKS,
    NECK_MM,
    body_rotation,
)
from facepipe.lab.faces.shadow_torch import BatchShadowMap
from facepipe.lab.faces.skin import paint, through_lens
from facepipe.lab.faces.voxelise_torch import voxelise_batch

Tensor = torch.Tensor

POOL_PICTURES = 96
"""Backgrounds drawn once; flips and brightness make each of them many."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Training examples on the factory's device.

    Attributes:
        images: uint8 (B, 3, 128, 128), RGB.
        volumes: bool (B, D, H, W).
        landmarks: float32 (B, 68, 3), reference pixels.
        triangle: int64 (B, S, S), the opaque triangle at each drawn pixel, or -1.
    """

    images: Tensor
    volumes: Tensor
    landmarks: Tensor
    triangle: Tensor


@dataclass(frozen=True, eq=False)
class _Posed:
    """A batch of heads: model frame, normals and the way to the drawn picture."""

    vertices_mm: Tensor
    outward: Tensor
    rotation: Tensor
    scale: Tensor
    translation: Tensor

    def project(self, points_mm: Tensor, size_px: int) -> Tensor:
        """(B, P, 3) in millimetres to pixels of a picture of this size."""
        turned = self.scale * (points_mm @ self.rotation.transpose(1, 2)) + self.translation
        x, y, z = turned.unbind(2)
        return torch.stack([x - 0.5, SOURCE_PX + 0.5 - y, z], 2) * (size_px / SOURCE_PX)


class TorchFactory:
    """Draws batches of faces.

    Args:
        device: of torch.
        head: the head; by default the one that ships.
    """

    def __init__(self, device: str | torch.device = "cuda", head: Head | None = None) -> None:
        self.device = torch.device(device)
        self.head = head or load_head()
        self.ops = TorchOps(self.device)
        self._size = NETWORK_PX * OVERSAMPLING
        self._parts = HeadTensors(self.head, self.device)
        pool = [background(np.random.default_rng([77, i]), NETWORK_PX) for i in range(POOL_PICTURES)]
        self._pool = self._put(np.stack(pool)).permute(0, 3, 1, 2).contiguous()

    def _put(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    @torch.no_grad()
    def __call__(self, faces: list[Face], geometry: VolumeGeometry) -> Batch:
        """Draw faces and fill their face parts."""
        looks = [face.look.arrays() for face in faces]
        look = {name: self._put(np.stack([one[name] for one in looks], -1)) for name in looks[0]}
        look = {name: value[:, 0] if value.dim() == 3 else value for name, value in look.items()}
        posed = self._pose(faces)
        truth = posed.project(posed.vertices_mm, NETWORK_PX)
        light, coverage, level, triangle = self._draw(faces, posed, look)
        target = self._put(
            np.array([target_level(face.look) * face.look.exposure for face in faces], np.float32)
        )
        exposure = (target / level.clamp(min=1e-3))[:, None, None, None]
        light, coverage = F.avg_pool2d(light, OVERSAMPLING), F.avg_pool2d(coverage, OVERSAMPLING)
        images = photograph_batch(
            light * exposure + self._behind(faces) * (1 - coverage), [f.camera for f in faces]
        )
        return Batch(
            images,
            voxelise_batch(truth, self._parts.solid, geometry),
            truth[:, self._parts.landmarks],
            triangle,
        )

    def _pose(self, faces: list[Face]) -> _Posed:
        shape = self._put(np.stack([face.shape for face in faces]))
        expression = self._put(np.stack([face.expression for face in faces]))
        moved = shape @ self._parts.shape + expression @ self._parts.expression
        vertices = self._parts.mean + moved.view(len(faces), -1, 3)
        flip = torch.tensor([1.0, -1.0, 1.0], device=self.device)
        body = self._put(np.stack([body_rotation(face.pose) for face in faces]))
        pivot = torch.tensor(NECK_MM, device=self.device)
        turned = (vertices - pivot) @ body.transpose(1, 2) + pivot
        dressed = vertices + self._parts.share * (turned - vertices)
        return _Posed(
            dressed,
            vertex_normals_batch(dressed * flip, self._parts.all) * flip,
            self._put(np.stack([face.pose.rotation() for face in faces]).astype(np.float32)),
            self._put(np.array([face.pose.scale for face in faces], np.float32))[:, None, None],
            self._put(np.array([face.pose.translation_px for face in faces], np.float32))[:, None],
        )

    def _spread(self, look: dict[str, Tensor], batch: int, count: int) -> BatchValues:
        """Looks read at every vertex of every head, heads outermost."""
        return BatchValues(look, torch.arange(batch, device=self.device).repeat_interleave(count))

    def _draw(
        self, faces: list[Face], posed: _Posed, look: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ops, batch, count = self.ops, len(faces), len(self._parts.mean)
        place_of_vertex = self._parts.mean.T.repeat(1, batch)
        values = self._spread(look, batch, count)
        standing = standing_mm(ops, values, place_of_vertex).view(batch, count, 1)
        height = above_hat_line_mm(values, place_of_vertex[1], place_of_vertex[2])
        lift = hat_lift_mm(ops, height).view(batch, count, 1)
        head = posed.vertices_mm
        flip = torch.tensor([1.0, -1.0, 1.0], device=self.device)
        below = torch.tensor([0.0, -HEM_MM, 0.0], device=self.device)
        hat = torch.where(look["hat"][:, None, None] > 0, head + posed.outward * lift, head[:, :1])
        worn, held = self._glasses(faces, head), self._hands(faces, head)
        points_mm = torch.cat([head, head[:, self._parts.hem] + below, hat, worn, held], 1)
        places = torch.cat(
            [self._parts.mean, self._parts.mean[self._parts.hem] + below, self._parts.mean]
        ).expand(batch, -1, -1)
        outward = posed.outward
        worn_normals = vertex_normals_batch(worn * flip, self._parts.worn_triangles) * flip
        held_normals = vertex_normals_batch(held * flip, self._parts.gripped) * flip
        normals = torch.cat([outward, outward[:, self._parts.hem], outward, worn_normals, held_normals], 1)
        turn = posed.rotation * flip[:, None]
        points = posed.project(points_mm, self._size)
        channels = torch.cat(
            [
                torch.cat([places, worn, self._parts.hand_place.expand(batch, -1, -1)], 1),
                normals @ turn.transpose(1, 2),
                points,
                self._parts.masks.expand(batch, -1, -1),
            ],
            2,
        )
        shadows = BatchShadowMap(points, self._parts.triangles, [face.look for face in faces])
        base = rasterise_batch(points, self._parts.triangles, self._size)
        light = torch.zeros(batch * self._size**2, 3, device=self.device)
        coverage = (base.triangle >= 0).float().view(-1)
        hits = hits_of(base, base.triangle >= 0, self._parts.triangles, channels)
        level = self._light_base(hits, look, shadows, light, batch)

        def shell(points_mm: Tensor, triangles: Tensor, share: float, is_drape: bool) -> None:
            fragments = rasterise_batch(posed.project(points_mm, self._size), triangles, self._size)
            self._blend(
                fragments, base.depth, triangles, channels, look, shadows, share, is_drape, light, coverage
            )

        wears = look["long_hair"][:, None, None] > 0
        inner = head * torch.tensor([0.91, 1.0, 1.0], device=self.device) - torch.tensor(
            [0.0, 0.0, 6.0], device=self.device
        )
        shell(torch.where(wears, inner, head[:, :1]), self._parts.drape, 0.0, True)
        for k in range(HAIR_LAYERS):
            share = (k + 1) / HAIR_LAYERS
            if k % 2 == 0:
                sheet = head + outward * (9.0 * share)
                shell(torch.where(wears, sheet, head[:, :1]), self._parts.drape, share, True)
            raised = torch.where(standing > 0, 0.4 + share * standing, standing)
            shell(head + outward * raised, self._parts.scalp, share, False)
        lenses = rasterise_batch(points, self._parts.lenses, self._size)
        seen = hits_of(lenses, lenses.depth > base.depth, self._parts.lenses, channels)
        at = BatchValues(look, seen.owner)
        light[seen.pixel] = through_lens(ops, at, light[seen.pixel].T, seen.channels[:3]).T
        shape = (batch, self._size, self._size)
        return (
            light.view(*shape, 3).permute(0, 3, 1, 2),
            coverage.view(batch, 1, *shape[1:]),
            level,
            base.triangle,
        )

    def _light_base(
        self, hits: Hits, look: dict[str, Tensor], shadows: BatchShadowMap, light: Tensor, batch: int
    ) -> Tensor:
        """Light the opaque fragments and return the brightness of each face's middle (B,)."""
        ops, values = self.ops, BatchValues(look, hits.owner)
        place, normal, position, masks = _split(hits.channels)
        label = self._parts.label[hits.triangle]
        named = Values(dict(zip(MASKS, masks, strict=True)))
        surface = paint(ops, values, label, place, normal, named)
        on_skin = rooted(ops, values, place, named.ears, surface.colour)
        surface.colour = torch.where(label == SKIN, on_skin, surface.colour)
        shone = shine_on(ops, values, surface, shadows.share(position, hits.owner))
        light[hits.pixel] = shone.T
        middle = (place - ops.row(METERED_MM)) / METERED_RADIUS_MM
        metered = (label == SKIN) & (dot(middle, middle) < 1)
        brightness = torch.log(shone.mean(0).clamp(min=1e-3)) * metered
        total = torch.zeros(batch, device=self.device).index_add_(0, hits.owner, brightness)
        weight = torch.zeros(batch, device=self.device).index_add_(0, hits.owner, metered.float())
        return torch.where(weight > 0, torch.exp(total / weight.clamp(min=1)), UNMETERED_LEVEL)

    def _blend(
        self,
        fragments: BatchFragments,
        depth: Tensor,
        triangles: Tensor,
        channels: Tensor,
        look: dict[str, Tensor],
        shadows: BatchShadowMap,
        share: float,
        is_drape: bool,
        light: Tensor,
        coverage: Tensor,
    ) -> None:
        hits = hits_of(fragments, fragments.depth > depth, triangles, channels)
        values = BatchValues(look, hits.owner)
        place, normal, position, _ = _split(hits.channels)
        surface, opacity = (drape if is_drape else layer)(self.ops, values, share, place, normal)
        lit = 0.35 + 0.65 * shadows.share(position, hits.owner)
        shone = shine_on(self.ops, values, surface, lit)
        light[hits.pixel] += (shone.T - light[hits.pixel]) * opacity[:, None]
        coverage[hits.pixel] = 1 - (1 - coverage[hits.pixel]) * (1 - opacity)

    def _glasses(self, faces: list[Face], head: Tensor) -> Tensor:
        """Points (B, G, 3) of everybody's glasses; all at one point without."""
        points = head[:, :1].repeat(1, len(self._parts.worn.points), 1)
        wearers = [i for i, face in enumerate(faces) if face.look.glasses]
        if wearers:
            index = torch.tensor(wearers, device=self.device)
            eyes = torch.stack([head[index][:, eye].mean(1) for eye in self._parts.eyes], 1).cpu().numpy()
            marks = head[index][:, self._parts.landmarks].cpu().numpy()
            made = [glasses(faces[i].look, e, m).points for i, e, m in zip(wearers, eyes, marks, strict=True)]
            points[index] = self._put(np.stack(made))
        return points

    def _hands(self, faces: list[Face], head: Tensor) -> Tensor:
        """Points (B, H, 3) of the hands in front of faces; all at one point without."""
        points = head[:, :1].repeat(1, len(self._parts.hand_place), 1)
        for i, face in enumerate(faces):
            if face.look.hand:
                skin = head[i, self._parts.region].cpu().numpy()
                points[i] = self._put(place_hand(face.look, skin))
        return points

    def _behind(self, faces: list[Face]) -> Tensor:
        seeds = np.array([face.background_seed for face in faces])
        pictures = self._pool[self._put(seeds % POOL_PICTURES)]
        mirrored = self._put((seeds // POOL_PICTURES) % 2 == 1)[:, None, None, None]
        bright = self._put(np.exp(((seeds // 1000) % 101 / 100 - 0.5) * 0.8).astype(np.float32))
        return torch.where(mirrored, pictures.flip(3), pictures) * bright[:, None, None, None]


def _split(found: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    place, normal, position, masks = found[:3], found[3:6], found[6:9], found[9:]
    length = torch.sqrt(dot(normal, normal)) + 1e-9
    return place, normal / torch.where(normal[2] < 0, -length, length), position, masks
