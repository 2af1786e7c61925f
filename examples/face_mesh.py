"""MediaPipe's face mesh (Apache-2.0) with the fitted head as a regressor, and as a metric of landmarks.

Needs `pip install 'facepipe[openvino]'`.

    facepipe bench --dataset sample --regressors vrn-compact,face_mesh:FittedHead \\
        --metrics face_mesh:LandmarkError
"""

import numpy as np

from facepipe import FaceMesh, Metric, SampleError, VolumeGeometry
from facepipe.detect import Detection, main_face, open_detector
from facepipe.geometry.head import load_head
from facepipe.geometry.morphable import SOURCE_PX
from facepipe.lab.photos.face_mesh import IBUG_68, find_mesh
from facepipe.lab.photos.mesh_fit import fit_mesh

OUTER_EYES = (36, 45)
SURE = 0.5
"""Score above which the network has seen a face."""


def points_of(image):
    """(468, 3) in the image's pixels, z toward the camera; None where no face is seen."""
    side = image.shape[0]
    face = main_face(open_detector()(image))
    if face is None:  # let the network look at nearly all of the picture
        eyes, rest = ((0.35, 0.4), (0.65, 0.4)), ((0.5, 0.6), (0.4, 0.75), (0.6, 0.75))
        points = tuple((side * x, side * y) for x, y in (*eyes, *rest))
        face = Detection((0.15 * side, 0.15 * side, 0.85 * side, 0.85 * side), 1.0, points)
    mesh = find_mesh(image, face)
    return mesh.points if mesh.score >= SURE else None


class FittedHead:
    licence = "Apache-2.0"
    colour_order = "rgb"
    deterministic = True
    output = "mesh"
    geometry = VolumeGeometry(128, 200, (1 / 3, 1.0, 1.0), 100.0)

    def build(self, device):
        return lambda images: [self.mesh_of(image) for image in images]

    def mesh_of(self, image):
        points = points_of(image)
        if points is None:
            return None
        try:
            fit = fit_mesh(points * (SOURCE_PX / len(image)), SOURCE_PX)
        except SampleError:
            return None
        return FaceMesh(fit.head.vertices_px, load_head().model.solid)


class LandmarkError:
    description = Metric(
        "landmark_nme_2d", "Landmark error in the image", "", 0.0, None, False, "reference image",
        "mean distance of 68 points found in the restored and in the reference image / distance of the outer "
        "eye corners in the reference; null where no face is seen in either",
        "points: Kartynnik et al. 2019 (MediaPipe)",
    )  # fmt: skip
    licence = "Apache-2.0"
    deterministic = True

    def build(self, device):
        return lambda inputs: self.error(points_of(inputs.reference), points_of(inputs.restored))

    def error(self, expected, found):
        if expected is None or found is None:
            return None
        expected, found = (points[list(IBUG_68), :2] for points in (expected, found))
        eyes = expected[OUTER_EYES[0]] - expected[OUTER_EYES[1]]
        return np.linalg.norm(found - expected, axis=1).mean() / np.linalg.norm(eyes)
