"""Miniature data sets and models in the published layouts, made from a small synthetic face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from facepipe.geometry.head import load_head

IMAGE_PX = 450

# x, y of the iBUG points on a face of half width 1, y up: jaw, brows, nose, eyes, mouth.
_JAW = [(-np.cos(a), -1.1 * np.sin(a)) for a in np.linspace(0, np.pi, 17)]
_BROWS = [
    (s * x, 0.45) for s, xs in ((-1, (0.7, 0.6, 0.5, 0.35, 0.2)), (1, (0.2, 0.35, 0.5, 0.6, 0.7))) for x in xs
]
_NOSE = [(0, y) for y in (0.25, 0.1, -0.05, -0.2)] + [(x, -0.3) for x in (-0.2, -0.1, 0, 0.1, 0.2)]
_EYE = [(-0.2, 0), (-0.08, 0.07), (0.08, 0.07), (0.2, 0), (0.08, -0.05), (-0.08, -0.05)]
_EYES = [(x - 0.42, y + 0.22) for x, y in _EYE] + [(x + 0.42, y + 0.22) for x, y in _EYE]
_MOUTH = [(0.35 * np.cos(a), -0.6 + 0.12 * np.sin(a)) for a in np.linspace(np.pi, -np.pi, 12, endpoint=False)]
_LIPS = [(0.25 * np.cos(a), -0.6 + 0.04 * np.sin(a)) for a in np.linspace(np.pi, -np.pi, 8, endpoint=False)]
LANDMARKS_XY = np.array([*_JAW, *_BROWS, *_NOSE, *_EYES, *_MOUTH, *_LIPS])


@dataclass(frozen=True)
class ModelArrays:
    """A Basel-like model: a dome that is open behind, wider than the face as ears and neck make it."""

    mean: np.ndarray
    shape_basis: np.ndarray
    expression_basis: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray


def model_arrays(
    side: int = 33, n_shape: int = 199, n_expression: int = 29, unit: float = 75_000.0
) -> ModelArrays:
    """Build a model with side x side vertices; indices are 0-based here."""
    x, y = np.meshgrid(np.linspace(-1.3, 1.3, side), np.linspace(-1.5, 1.6, side))
    z = 1.2 * np.sqrt(np.clip(1 - (x / 1.35) ** 2 - (y / 1.75) ** 2, 0, None)) + 0.25 * np.exp(
        -((x / 0.15) ** 2) - ((y + 0.2) / 0.25) ** 2
    )
    mean = np.stack([x, y, z], axis=-1).reshape(-1, 3) * unit
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    triangles = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + side], axis=1),
            np.stack([corner + 1, corner + side + 1, corner + side], axis=1),
        ]
    )
    flat = mean[:, :2] / unit
    landmarks = np.array([np.argmin(((flat - point) ** 2).sum(axis=1)) for point in LANDMARKS_XY])
    rng = np.random.default_rng(0)
    return ModelArrays(
        mean.ravel(),
        rng.normal(size=(mean.size, n_shape), scale=1e-3),
        rng.normal(size=(mean.size, n_expression), scale=0.5),
        triangles,
        landmarks,
    )


def write_pair_model(folder: Path, model: ModelArrays, expression_name: str = "Model_Exp.mat") -> None:
    """Write 3DDFA's pair of files."""
    folder.mkdir(parents=True, exist_ok=True)
    mu_exp = np.full((model.mean.size, 1), 10.0)
    scipy.io.savemat(
        folder / "Model_Shape.mat",
        {
            "mu_shape": model.mean[:, None] - mu_exp,
            "w": model.shape_basis,
            "sigma": np.ones((model.shape_basis.shape[1], 1)),
            "tri": (model.triangles.T + 1).astype(float),
            "keypoints": (model.landmarks[None] + 1).astype(float),
        },
    )
    scipy.io.savemat(folder / expression_name, {"mu_exp": mu_exp, "w_exp": model.expression_basis})


def write_bfm_model(folder: Path, model: ModelArrays) -> None:
    """Write face3d's file, with triangles turned inside out to be put right by the reader."""
    folder.mkdir(parents=True, exist_ok=True)
    mu_exp = np.full((model.mean.size, 1), 10.0)
    fields = {
        "shapeMU": model.mean[:, None] - mu_exp,
        "shapePC": model.shape_basis,
        "shapeEV": np.ones((model.shape_basis.shape[1], 1)),
        "texMU": np.zeros((model.mean.size, 1)),
        "expMU": mu_exp,
        "expPC": model.expression_basis,
        "tri": (model.triangles[:, ::-1].T + 1).astype(np.int32),
        "tri_mouth": (model.triangles[:2, ::-1].T + 1).astype(np.int32),
        "kpt_ind": (model.landmarks[None] + 1).astype(np.uint16),
    }
    scipy.io.savemat(folder / "BFM.mat", {"model": fields})


def _landmarks_z() -> np.ndarray:
    """Depths (68,) of a mean head's landmarks, in units of `LANDMARKS_XY`."""
    model = load_head().model
    points = model.mean[model.landmarks]
    return (points[:, 2] - points[:, 2].mean()) / np.ptp(points[:, 1]) * np.ptp(LANDMARKS_XY[:, 1])


@dataclass(frozen=True)
class Face:
    """What a published .mat says of one face."""

    yaw_rad: float = 0.0
    pitch_rad: float = 0.0
    roll_rad: float = 0.0
    scale: float = 1.4e-3

    def variables(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The variables of a 300W-LP .mat, landmarks consistent with a face in the image's middle."""
        turned = np.cos(self.yaw_rad) * LANDMARKS_XY[:, 0] - np.sin(self.yaw_rad) * _landmarks_z()
        points = 225 + np.stack([turned, LANDMARKS_XY[:, 1]]) * np.array([[105.0], [-105.0]])
        return {
            "Pose_Para": np.array(
                [[self.pitch_rad, self.yaw_rad, self.roll_rad, 225, 225, -60, self.scale]], np.float32
            ),
            "Shape_Para": rng.normal(size=(199, 1)),
            "Exp_Para": rng.normal(size=(29, 1), scale=0.1),
            "pt2d": points + 0.5,
            "roi": np.array([[10, 20, 459, 469]], np.int16),
        }


def write_sample(
    path: Path, face: Face, seed: int = 0, size: tuple[int, int] = (IMAGE_PX, IMAGE_PX), **extra
) -> dict:
    """Write `path`.jpg and `path`.mat; `extra` variables replace or, if None, remove published ones."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (15, 15, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR).save(f"{path}.jpg", quality=80)
    variables = face.variables(rng) | extra
    variables = {key: value for key, value in variables.items() if value is not None}
    scipy.io.savemat(f"{path}.mat", variables, do_compression=True)
    return variables


def write_300w_lp(root: Path, n: int = 3) -> None:
    """A 300W-LP of two sets with flips, landmarks and code: n photos of one and one of the other."""
    for i in range(n):
        for flip in ("", "_Flip"):
            for pose in range(2):
                name = f"AFW_{134212 + i}_1_{pose}"
                face = Face(yaw_rad=np.radians(40 * pose + 5) * (-1 if flip else 1))
                variables = write_sample(root / f"AFW{flip}" / name, face, seed=10 * i + pose)
                _write_points(root / "landmarks" / f"AFW{flip}" / f"{name}_pts.mat", variables["pt2d"].T)
    write_sample(root / "IBUG" / "IBUG_image_003_1_0", Face(yaw_rad=1.3))
    code = root / "Code" / "ModelGeneration"
    code.mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(code / "icon.jpg")


def write_synthesized(
    root: Path, shape: np.ndarray, expression: np.ndarray, head: str, image_px: int
) -> dict:
    """One synthesized face with these coefficients of the project's head; returns its variables."""
    pose = np.array([[0.1, -0.5, 0.05, image_px / 2, image_px / 2, -3.0, image_px / 320]])
    variables = write_sample(
        root / "FACES" / "face_0000001", Face(), 0, (image_px, image_px),
        Pose_Para=pose, Shape_Para=shape[:, None], Exp_Para=expression[:, None], skin_tone=np.array([[0.25]]),
    )  # fmt: skip
    (root / "facepipe-faces.json").write_text(f'{{"head": "{head}", "image_px": {image_px}, "seed": 7}}')
    return variables


def write_aflw2000(root: Path, n: int = 2) -> None:
    """An AFLW2000-3D of n images."""
    for i in range(n):
        variables = Face().variables(np.random.default_rng(i))
        points = np.concatenate([variables["pt2d"], np.linspace(-40, 80, 68)[None]])
        write_sample(
            root / f"image{i + 2:05d}", Face(yaw_rad=0.1 * i), i,
            pt2d=np.full((2, 21), -1.0), pt3d_68=points.astype(np.float32),
        )  # fmt: skip


def _write_points(path: Path, points: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"pts_2d": points, "pts_3d": points + 1.0})
