"""MATLAB files: equal to SciPy's reader on sound ones, a reason on every other."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from facepipe.core.errors import SampleError
from facepipe.datasets.matfile import read_mat


def saved(variables: dict, compress: bool = True) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, variables, do_compression=compress)
    return file.getvalue()


VARIABLES = {
    "Pose_Para": np.arange(7, dtype=np.float32)[None],
    "Shape_Para": np.linspace(-1e6, 1e6, 199)[:, None],
    "roi": np.array([[1, -2, 3, 300]], np.int16),
    "pt2d": np.random.default_rng(0).normal(size=(2, 68)),
    "empty": np.zeros((0, 3)),
    "cube": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
}


@pytest.mark.parametrize("compress", [True, False])
def test_equal_to_scipy(compress: bool) -> None:
    data = saved({**VARIABLES, "text": "left out", "cells": np.array([1, "a"], object)}, compress)
    expected = scipy.io.loadmat(io.BytesIO(data))
    found = read_mat(data, "a.mat", VARIABLES)
    assert found.keys() == VARIABLES.keys()
    for key, array in found.items():
        np.testing.assert_array_equal(array, expected[key])


def test_only_what_was_asked_for_is_returned() -> None:
    assert read_mat(saved(VARIABLES), "a.mat", ["roi", "missing"]).keys() == {"roi"}


@pytest.mark.parametrize("compress", [True, False])
def test_fields_of_a_struct(compress: bool) -> None:
    fields = {"tri": np.arange(12).reshape(3, 4), "note": "text", "shapeMU": np.ones((6, 1))}
    found = read_mat(saved({"model": fields}, compress), "BFM.mat", ["model.tri", "model.shapeMU"])
    assert found.keys() == {"model.tri", "model.shapeMU"}
    np.testing.assert_array_equal(found["model.tri"], fields["tri"])
    np.testing.assert_array_equal(found["model.shapeMU"], fields["shapeMU"])


def test_big_endian_and_numbers_stored_in_a_smaller_type() -> None:
    flags = struct.pack(">IIII", 6, 8, 6, 0)
    dims = struct.pack(">IIii", 5, 8, 1, 3)
    name = struct.pack(">II", 1, 1) + b"x" + b"\0" * 7
    values = struct.pack(">HH", 3, 2) + bytes([1, 2, 250, 0])
    body = flags + dims + name + values
    data = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(body)) + body
    np.testing.assert_array_equal(read_mat(data, "x", ["x"])["x"], [[1.0, 2.0, 250.0]])
    np.testing.assert_array_equal(scipy.io.loadmat(io.BytesIO(data))["x"], [[1.0, 2.0, 250.0]])


@pytest.mark.parametrize("offset", [0, 512])
def test_v73_is_named(offset: int) -> None:
    data = b"MATLAB 7.3 MAT-file".ljust(offset)[:offset] + b"\x89HDF\r\n\x1a\n" + b"\0" * 600
    with pytest.raises(SampleError, match="-v7") as caught:
        read_mat(data, "new.mat", ["x"])
    assert caught.value.reason == "mat-v7.3"


@pytest.mark.parametrize("value", ["text", np.array([1, "a"], object), {"a": 1}, np.array([[1 + 2j]])])
def test_a_wanted_variable_that_is_no_numeric_array(value: object) -> None:
    with pytest.raises(SampleError) as caught:
        read_mat(saved({"Pose_Para": value}), "a.mat", ["Pose_Para"])
    assert caught.value.reason == "mat-wrong-type"


def test_a_bomb_is_not_inflated() -> None:
    data = saved({"x": np.zeros((4000, 4000))})
    assert len(data) < 200_000
    with pytest.raises(SampleError) as caught:
        read_mat(data, "bomb.mat", ["x"])
    assert caught.value.reason == "mat-too-large"
    # What is not wanted is stepped over without being inflated.
    assert read_mat(data, "bomb.mat", ["y"]) == {}


def test_a_size_that_lies_about_the_data() -> None:
    inner = struct.pack("<IIIIIIii", 6, 8, 6, 0, 5, 8, 1, 1) + struct.pack("<HHI", 1, 1, ord("x"))
    inner += struct.pack("<II", 9, 1 << 31) + zlib.compress(b"\0" * 100)
    packed = zlib.compress(struct.pack("<II", 14, (1 << 31) + len(inner)) + inner)
    data = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed
    with pytest.raises(SampleError) as caught:
        read_mat(data, "liar.mat", ["x"])
    assert caught.value.reason == "broken-mat"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_never_gives_anything_but_a_reason(data: st.DataObject) -> None:
    sound = bytearray(saved(VARIABLES, data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 4))):
        sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    cut = sound[: data.draw(st.integers(0, len(sound)))] if data.draw(st.booleans()) else sound
    try:
        found = read_mat(bytes(cut), "damaged.mat", VARIABLES)
    except SampleError as error:
        assert error.reason in {"broken-mat", "mat-v7.3", "mat-v4", "mat-too-large", "mat-wrong-type"}
    else:
        assert found.keys() <= VARIABLES.keys()


@pytest.mark.parametrize(
    ("data", "reason", "way_out"),
    [
        (b"# Created by Octave 8.4.0\n# name: pt2d\n# type: matrix\n", "octave-text", "save -v7"),
        (b"Octave-1-L" + bytes(200), "octave-text", "save -v7"),
        (None, "mat-v4", "-v7"),
    ],
)
def test_other_formats_say_how_to_save(data: bytes | None, reason: str, way_out: str) -> None:
    if data is None:
        file = io.BytesIO()
        scipy.io.savemat(file, {"pt2d": np.ones((2, 68))}, format="4")
        data = file.getvalue()
    with pytest.raises(SampleError, match=way_out) as caught:
        read_mat(data, "a.mat", ["pt2d"])
    assert caught.value.reason == reason


def test_a_bomb_inside_a_struct_is_not_inflated() -> None:
    data = saved({"model": {"tri": np.zeros((4000, 4000))}})
    with pytest.raises(SampleError) as caught:
        read_mat(data, "bomb.mat", ["model.tri"])
    assert caught.value.reason == "mat-too-large"


def test_not_a_mat_file_at_all() -> None:
    for data in (b"", b"text", b"\0" * 500):
        with pytest.raises(SampleError) as caught:
            read_mat(data, "a.mat", ["x"])
        assert caught.value.reason == "broken-mat"
