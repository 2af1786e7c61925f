"""Fits the identity and expression bases and measures them on heads that they have not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facepipe.lab.faces.build.head_parts import Parts
from facepipe.lab.faces.build.population import draw_expression, draw_identity, local_features
from facepipe.lab.faces.build.source import Base

MM_PER_DM = 100.0

IDENTITY_MODES = 170
EXPRESSION_MODES = 56
HELD_OUT = 300

LANDMARKS_MEAN_MM = (0.0, -11.67, 3.87)
"""Where every head's landmarks have their mean: this places the origin in which hair and skin are painted,
whatever the face part is."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A linear model in millimetres, origin between the eyes and the nose (see `LANDMARKS_MEAN_MM`).

    Attributes:
        mean: (V, 3).
        shape_basis, expression_basis: (3 V, K), for coefficients of unit variance.
        kind_to_shape: (18, K), mean shape coefficients from `Attributes.terms`.
        shape_spread: (K, K) lower triangle, Cholesky factor of what the kind leaves open.
        unit_names, unit_to_expression: face units and their expression coefficients (U, E).
        residual_mm: rms distance of held-out heads from their projection, identity and expression.
    """

    mean: NDArray[np.float32]
    shape_basis: NDArray[np.float32]
    expression_basis: NDArray[np.float32]
    kind_to_shape: NDArray[np.float32]
    shape_spread: NDArray[np.float32]
    unit_names: NDArray[np.str_]
    unit_to_expression: NDArray[np.float32]
    residual_mm: tuple[float, float]


class Population:
    """Random heads in the model's topology."""

    def __init__(self, base: Base, parts: Parts) -> None:
        self.names = sorted(base.targets)
        rows = [(parts.weights @ base.targets[name]).ravel() for name in self.names]
        self._targets = np.asarray(rows, np.float32) * MM_PER_DM
        self._template = np.asarray(parts.weights @ base.vertices, np.float32).ravel() * MM_PER_DM
        self._landmarks = parts.landmarks
        self._column = {name: i for i, name in enumerate(self.names)}
        self._features = local_features(self.names)

    def offsets(self, weights: list[dict[str, float]]) -> NDArray[np.float32]:
        """Displacements (N, 3 V) in mm for target weights."""
        table = np.zeros((len(weights), len(self.names)), np.float32)
        for row, chosen in enumerate(weights):
            for name, value in chosen.items():
                table[row, self._column[name]] = value
        return np.asarray(table @ self._targets)

    def identities(
        self, rng: np.random.Generator, count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Heads (N, 3 V), each moved so that its landmarks are centred, and their kinds' terms (N, 18)."""
        drawn = [draw_identity(rng, self._features, self.names) for _ in range(count)]
        heads = self._template + self.offsets([weights for weights, _ in drawn])
        points = heads.reshape(count, -1, 3)
        points -= points[:, self._landmarks].mean(1, keepdims=True) - np.array(LANDMARKS_MEAN_MM, np.float32)
        return heads, np.array([attributes.terms() for _, attributes in drawn])

    def expressions(self, rng: np.random.Generator, count: int) -> NDArray[np.float32]:
        """Displacements (N, 3 V) of expressions."""
        ancestries = rng.choice(("african", "asian", "caucasian"), count)
        return self.offsets([draw_expression(rng, self.names, str(name)) for name in ancestries])


def fit(base: Base, parts: Parts, n_heads: int, seed: int) -> Fit:
    """Draw a population, fit both bases and the link from kinds and units to their coefficients."""
    rng = np.random.default_rng(seed)
    population = Population(base, parts)
    heads, terms = population.identities(rng, n_heads)
    mean, shape_basis, shape_rms = _principal(heads, IDENTITY_MODES, centred=True)
    scores = _project(shape_basis, heads - mean)
    link = np.linalg.lstsq(terms, scores, rcond=None)[0]
    spread = np.linalg.cholesky(np.cov((scores - terms @ link).T) + 1e-6 * np.eye(IDENTITY_MODES))
    del heads
    moves = population.expressions(rng, n_heads)
    _, expression_basis, expression_rms = _principal(moves, EXPRESSION_MODES, centred=False)
    units = [name for name in population.names if name.startswith("unit/")]
    unit_moves = population.offsets([{name: 1.0} for name in units])
    return Fit(
        mean.reshape(-1, 3).astype(np.float32),
        shape_basis,
        expression_basis,
        link.astype(np.float32),
        spread.astype(np.float32),
        np.array([name.removeprefix("unit/") for name in units]),
        _project(expression_basis, unit_moves).astype(np.float32),
        (shape_rms, expression_rms),
    )


def _principal(
    rows: NDArray[np.float32], modes: int, centred: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Mean, basis for coefficients of unit variance, and rms distance per vertex of the last rows."""
    seen, unseen = rows[:-HELD_OUT], rows[-HELD_OUT:]
    mean = seen.mean(0) if centred else np.zeros(rows.shape[1], np.float32)
    deviation = seen - mean
    variances, mixing = np.linalg.eigh((deviation @ deviation.T).astype(np.float64))
    variances, mixing = variances[::-1][:modes], mixing[:, ::-1][:, :modes]
    directions = (deviation.T @ mixing.astype(np.float32)) / np.sqrt(variances).astype(np.float32)
    basis = directions * np.sqrt(variances / len(seen)).astype(np.float32)
    return mean, np.asarray(basis), residual_mm(basis, unseen - mean)


def residual_mm(basis: NDArray[np.float32], rows: NDArray[np.float32]) -> float:
    """Root mean square distance, over vertices and rows, of rows (N, 3 V) from the span of a basis."""
    rest = rows - _project(basis, rows) @ basis.T
    return float(np.sqrt(np.square(rest).sum(1).mean() / (rows.shape[1] // 3)))


def _project(basis: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Least-squares coefficients (N, K) of rows (N, 3 V)."""
    gram = (basis.T @ basis).astype(np.float64)
    return np.linalg.solve(gram, (basis.T @ rows.T).astype(np.float64)).T.astype(np.float32)
