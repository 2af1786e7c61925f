"""A 3DMM regressor exported to ONNX, in the layout that 3DDFA_V2 publishes (Guo et al., ECCV 2020).

Lay beside this file, from https://github.com/cleardusk/3DDFA_V2 (code MIT; the Basel model behind it is for
non-commercial research): mb1_120x120.onnx (62 normalised parameters of BGR (1, 3, 120, 120)),
param_mean_std_62d_120x120.pkl and bfm_noneck_v3.pkl, and where that has no triangles tri.pkl.

    facepipe bench --dataset sample --crop face --regressors vrn-compact,tddfa_v2:TddfaV2
"""

import hashlib
import pickle
from pathlib import Path

import cv2
import numpy as np

from facepipe import FaceMesh, VolumeGeometry

SIZE_PX = 120


class TddfaV2:
    licence = "MIT AND LicenseRef-Basel-Face-Model"
    colour_order = "bgr"
    deterministic = True
    output = "mesh"
    geometry = VolumeGeometry(128, 200, (1 / 3, 1.0, 1.0), 100.0)

    def __init__(self, folder=Path(__file__).parent, network="mb1_120x120.onnx"):
        self.folder, self.network = Path(folder), network

    def fingerprint(self):
        files = [self.folder / self.network, *sorted(self.folder.glob("*.pkl"))]
        return hashlib.sha256(b"".join(hashlib.sha256(f.read_bytes()).digest() for f in files)).hexdigest()

    def build(self, device):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # sums in the same order on every machine
        session = onnxruntime.InferenceSession(self.folder / self.network, options)
        scaling = load_arrays(self.folder / "param_mean_std_62d_120x120.pkl")
        basel = load_arrays(self.folder / "bfm_noneck_v3.pkl")
        triangles = basel["tri"] if "tri" in basel else load_arrays(self.folder / "tri.pkl")
        triangles = np.asarray(triangles, np.int64).reshape(3, -1).T
        triangles = triangles - triangles.min()  # counted from 0 or from 1

        def mesh_of(image):
            small = cv2.resize(image, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_LINEAR)
            planes = (small.astype(np.float32).transpose(2, 0, 1)[None] - 127.5) / 128
            values = session.run(None, {session.get_inputs()[0].name: planes})[0].ravel()
            return FaceMesh(posed(values * scaling["std"] + scaling["mean"], basel), triangles)

        return lambda images: [mesh_of(image) for image in images]


def posed(parameters, basel):
    """Vertices (V, 3) in reference pixels from 62 parameters: a 3 x 4 pose, 40 of shape, 10 of expression."""
    pose, shape, expression = np.split(np.asarray(parameters, np.float64), [12, 52])
    pose = pose.reshape(3, 4)
    model = basel["u"].ravel() + basel["w_shp"] @ shape + basel["w_exp"] @ expression
    x, y, z = pose[:, :3] @ model.reshape(-1, 3).T + pose[:, 3:]
    # MATLAB's pixels, y up, counted from 1; their centres are at half-integers here.
    return np.stack([x - 0.5, SIZE_PX + 0.5 - y, z], axis=1) * (128 / SIZE_PX)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays and plain values; nothing else in the file is run."""

    def find_class(self, module, name):
        if module.startswith("numpy") and name in ("_reconstruct", "ndarray", "dtype", "scalar"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} in a file of arrays")


def load_arrays(path):
    with path.open("rb") as file:
        return _ArraysOnly(file).load()
