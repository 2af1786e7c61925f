"""The head that ships with facepipe: a morphable model with everything that drawing it needs."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import WeightsError
from facepipe.geometry.head_attributes import Attributes
from facepipe.geometry.head_labels import EYE_LEFT, EYE_RIGHT, MOUTH, SKIN
from facepipe.geometry.morphable import MorphableModel
from facepipe.geometry.quantise import dequantise

HEAD_FILE = Path(__file__).resolve().parent.parent / "data" / "head" / "head.npz"

HEAD_NAME = "facepipe-head-1"
"""Marks parameters that belong to this head; changes whenever a rebuilt head is not compatible."""


@dataclass(frozen=True, eq=False)
class Head:
    """The head in millimetres, origin behind the bridge of the nose.

    Attributes:
        model: the morphable model; its solid is the face part (upper forehead to chin, in front of the ears).
        head_solid: int32 (S, 3), the closed whole head over the same vertices.
        triangles, label: int32 (T, 3) and uint8 (T,) of `facepipe.geometry.head_labels`, what is drawn.
        scalp: int32 (H, 3), the skin on which hair may grow.
        masks: float32 (V,) each: lips, eyelids, ears, cavity, lash.
        sky: float32 (V,), share of the sky that a vertex of the mean sees.
        eyes: vertices of the left and of the right eyeball.
        kind_to_shape, shape_spread: the distribution of shape coefficients given a person's kind.
        unit_to_expression: face unit -> float32 (E,) expression coefficients of its full strength.
        hem: vertices of the skin's lower edge, in a closed chain.
    """

    model: MorphableModel
    head_solid: NDArray[np.int32]
    triangles: NDArray[np.int32]
    label: NDArray[np.uint8]
    scalp: NDArray[np.int32]
    masks: dict[str, NDArray[np.float32]]
    sky: NDArray[np.float32]
    eyes: tuple[NDArray[np.int32], NDArray[np.int32]]
    kind_to_shape: NDArray[np.float32]
    shape_spread: NDArray[np.float32]
    unit_to_expression: dict[str, NDArray[np.float32]]
    hem: tuple[int, ...]

    @property
    def whole(self) -> MorphableModel:
        """The same model with the whole head as its solid and all its outer skin as its surface."""
        skin = np.isin(self.label, (SKIN, EYE_LEFT, EYE_RIGHT))
        return replace(self.model, solid=self.head_solid, surface=self.triangles[skin])

    def draw_shape(self, who: Attributes, rng: np.random.Generator) -> NDArray[np.float32]:
        """Shape coefficients (K,) of a random person of a kind."""
        noise = rng.normal(size=len(self.shape_spread)).astype(np.float32)
        # The tails of a Gaussian over all modes at once give faces that no person has.
        noise = np.clip(0.85 * noise, -2.0, 2.0)
        return np.asarray(who.terms() @ self.kind_to_shape + self.shape_spread @ noise, np.float32)

    def expression(self, units: dict[str, float]) -> NDArray[np.float32]:
        """Expression coefficients (E,) of face units with their strengths 0..1."""
        total = np.zeros(self.model.expression_basis.shape[1], np.float32)
        for name, strength in units.items():
            total += np.float32(strength) * self.unit_to_expression[name]
        return total


def load_head(path: Path = HEAD_FILE) -> Head:
    """Load the head (kept in memory by each process).

    Raises:
        WeightsError: the file is missing or damaged.
    """
    return _load(path)


@lru_cache(maxsize=2)
def _load(path: Path) -> Head:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = dict(stored)
        return _assemble(arrays)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: the head cannot be read ({error}); reinstall facepipe") from error


def _assemble(arrays: dict[str, NDArray]) -> Head:
    integers = {
        name: arrays[name].astype(np.int32)
        for name in (
            "triangles", "scalp", "surface", "solid", "head_solid", "region", "landmarks", "eye_left",
            "eye_right",
        )
    }  # fmt: skip
    model = MorphableModel(
        name=HEAD_NAME,
        mean=arrays["mean"],
        shape_basis=dequantise("shape", arrays),
        expression_basis=dequantise("expression", arrays),
        surface=integers["surface"],
        solid=integers["solid"],
        region=integers["region"],
        landmarks=integers["landmarks"],
    )
    units = arrays["unit_to_expression"].astype(np.float32)
    return Head(
        model=model,
        head_solid=integers["head_solid"],
        triangles=integers["triangles"],
        label=arrays["label"],
        scalp=integers["scalp"],
        masks={
            key.removeprefix("mask_"): value * np.float32(1 / 255)
            for key, value in arrays.items()
            if key.startswith("mask_")
        },
        sky=arrays["sky"] * np.float32(1 / 255),
        eyes=(integers["eye_left"], integers["eye_right"]),
        kind_to_shape=arrays["kind_to_shape"],
        shape_spread=arrays["shape_spread"].astype(np.float32),
        unit_to_expression={str(name): row for name, row in zip(arrays["unit_names"], units, strict=True)},
        hem=_lower_edge(integers["triangles"][np.isin(arrays["label"], (SKIN, MOUTH))], arrays["mean"]),
    )


def _lower_edge(triangles: NDArray[np.int32], mean: NDArray[np.float32]) -> tuple[int, ...]:
    """The chain of edges that belong to one triangle only, through the lowest of their vertices."""
    edges = {(int(t[i]), int(t[(i + 1) % 3])) for t in triangles for i in range(3)}
    after = {a: b for a, b in edges if (b, a) not in edges}
    start = min(after, key=lambda vertex: float(mean[vertex, 1]))
    chain = [start]
    while after[chain[-1]] != start:
        chain.append(after[chain[-1]])
    return tuple(chain)
