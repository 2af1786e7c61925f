"""Every plug-in of this package keeps to facepipe's contract."""

import cv2
import numpy as np
import pytest

from facepipe.testing import check_dataset, check_method, check_metric, check_regressor


def test_method():
    check_method("unsharp")


def test_regressor():
    check_regressor("average-face")


def test_metric():
    check_metric("gmsd")


def test_dataset(tmp_path):
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.random.default_rng(0).integers(0, 255, (200, 200, 3)))
        np.save(tmp_path / f"{name}.npy", np.linspace(0, 199, 136).reshape(68, 2))
    check_dataset("landmark-folder", tmp_path)


def test_contract_is_broken_by_a_name_that_is_not_there():
    with pytest.raises(Exception, match="no installed package has an entry point of this name"):
        check_method("unshrap")
