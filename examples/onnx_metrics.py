"""Metrics that a user's own ONNX file computes: a perceptual distance, the similarity of identities.

    facepipe bench --dataset photos --metrics onnx_metrics:lpips,onnx_metrics:identity

Lay beside this file lpips.onnx (two images in, a distance out) and identity.onnx (an image in, an embedding
out), or change the last lines. What their licences allow is the user's to know: LPIPS is BSD-2-Clause and
DISTS MIT, each with a backbone trained on ImageNet; most published face embeddings (ArcFace, AdaFace) were
trained on data for non-commercial research only.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facepipe import Metric

HERE = Path(__file__).parent


@dataclass(frozen=True)
class OnnxMetric:
    """A metric of an ONNX file.

    Attributes:
        description: column, range, direction.
        file: with one input (an embedding) or two (a distance), float32 (1, 3, size, size).
        size_px: side of the images that it reads.
        mean, std: grey levels g become (g - mean) / std, for each channel in the file's order.
        colour_order: of the file.
        licence: SPDX identifier of the file.
    """

    description: Metric
    file: Path
    size_px: int = 128
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    colour_order: str = "rgb"
    licence: str = "LicenseRef-user"
    deterministic: bool = True

    def fingerprint(self):
        settings = repr((self.size_px, self.mean, self.std, self.colour_order)).encode()
        return hashlib.sha256(settings + self.file.read_bytes()).hexdigest()

    def build(self, device):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # sums in the same order on every machine
        session = onnxruntime.InferenceSession(self.file, options)
        names = [one.name for one in session.get_inputs()]

        def run(*images):
            planes = [self.planes(image) for image in images]
            return session.run(None, dict(zip(names, planes, strict=True)))[0].ravel().astype(float)

        def distance(inputs):
            return run(inputs.reference, inputs.restored)[0]

        def similarity(inputs):
            a, b = run(inputs.reference), run(inputs.restored)
            return np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1)

        return distance if len(names) == 2 else similarity

    def planes(self, image):
        image = image[..., ::-1] if self.colour_order == "bgr" else image
        sized = cv2.resize(image, (self.size_px, self.size_px), interpolation=cv2.INTER_AREA)
        return ((sized - np.float32(self.mean)) / np.float32(self.std)).transpose(2, 0, 1)[None]


lpips = OnnxMetric(
    Metric("lpips", "LPIPS", "", 0.0, None, False, "reference image", "perceptual distance",
           "Zhang et al., CVPR 2018"),
    HERE / "lpips.onnx", size_px=128, licence="BSD-2-Clause",
)  # fmt: skip
identity = OnnxMetric(
    Metric("identity", "Identity similarity", "", -1.0, 1.0, True, "reference image",
           "cosine of the embeddings of restored and reference image", "the file's"),
    HERE / "identity.onnx", size_px=112, colour_order="bgr",
)  # fmt: skip
