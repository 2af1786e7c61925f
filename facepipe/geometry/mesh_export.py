"""Mesh files: GLB, PLY, OBJ and STL, right side up in any viewer.

All files use a right-handed frame with y up and the face looking along +z, as glTF asks for. One unit is
the side of the crop, the origin its centre at z = 0; or files have life size, in millimetres, GLB in metres
as glTF asks for. STL, OBJ and PLY say their unit in their header, GLB in `asset.extras`.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe import __version__
from facepipe.core.conventions import NETWORK_PX
from facepipe.core.names import unknown
from facepipe.geometry.mesh_colour import srgb_to_linear
from facepipe.geometry.volume import SurfaceMesh

FORMATS = ("glb", "ply", "obj", "stl")

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
_TYPES = {1: "SCALAR", 3: "VEC3"}

CROP_UNIT = "1 unit = side of the crop"
LIFE_UNIT = "unit: mm (estimated from the distance of the eyes)"
LIFE_UNIT_GLB = "unit: m (estimated from the distance of the eyes)"

_STL_HEADER_BYTES = 80
_MATERIAL = {
    "name": "skin",
    "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
    "doubleSided": False,
}
"""Without a material glTF means metal, which is dark where it has nothing to mirror. Surfaces are closed, so
that nobody sees their inside."""


def upright(vertices: NDArray[np.floating]) -> NDArray[np.float32]:
    """Map reference pixels (V, 3) to the frame of the files."""
    centre = NETWORK_PX / 2
    moved = (np.asarray(vertices, np.float64) - [centre, centre, 0.0]) / NETWORK_PX
    return (moved * [1, -1, 1]).astype(np.float32)


def encode(
    mesh: SurfaceMesh, colours: NDArray[np.uint8], file_format: str, mm_per_px: float | None = None
) -> bytes:
    """Encode a coloured mesh as the bytes of a file.

    Args:
        mesh: in reference pixels.
        colours: uint8 sRGB (V, 3). STL has no place for them.
        file_format: one of `FORMATS`.
        mm_per_px: size of a reference pixel in millimetres, for a mesh of life size; None for one of the
            crop's size.

    Raises:
        UsageError: the format is unknown.
    """
    if file_format not in FORMATS:
        raise unknown("mesh format", file_format, FORMATS)
    if file_format == "glb":
        return encode_glb(mesh, colours, mm_per_px)
    return _by_trimesh(mesh, colours, file_format, mm_per_px)


def _by_trimesh(
    mesh: SurfaceMesh, colours: NDArray[np.uint8], file_format: str, mm_per_px: float | None
) -> bytes:
    # Here, since it is slow to import and few commands write anything but GLB.
    import trimesh
    from trimesh.exchange.obj import export_obj
    from trimesh.exchange.ply import export_ply
    from trimesh.exchange.stl import export_stl

    built = trimesh.Trimesh(
        vertices=upright(mesh.vertices) * np.float32(1 if mm_per_px is None else mm_per_px * NETWORK_PX),
        faces=mesh.triangles,
        vertex_normals=mesh.normals * np.array([1, -1, 1], np.float32),
        vertex_colors=np.column_stack([colours, np.full(len(colours), 255, np.uint8)]),
        process=False,
    )
    header = f"facepipe; {CROP_UNIT if mm_per_px is None else LIFE_UNIT}"
    if file_format == "ply":
        data = bytes(export_ply(built, encoding="binary", vertex_normal=True))
        return data.replace(b"\nelement ", f"\ncomment {header}\nelement ".encode(), 1)
    if file_format == "stl":
        said = header.encode().ljust(_STL_HEADER_BYTES)
        return said + bytes(export_stl(built))[_STL_HEADER_BYTES:]
    return str(export_obj(built, include_normals=True, include_color=True, header=header)).encode()


def encode_glb(mesh: SurfaceMesh, colours: NDArray[np.uint8], mm_per_px: float | None = None) -> bytes:
    """Encode a coloured mesh as binary glTF 2.0 with normals, vertex colours and a material that is no metal.

    glTF's vertex colours are linear light, which viewers multiply with the material's; they are stored as
    floats, since 8 bits of linear light would show steps in dark skin, and 16 bits are misread by trimesh.
    (trimesh shows vertex colours of a mesh with a material if it is loaded with `skip_materials=True`.)

    Args:
        mesh: in reference pixels.
        colours: uint8 sRGB (V, 3).
        mm_per_px: size of a reference pixel in millimetres, for a mesh in metres; see `encode`.
    """
    unit_per_px = 1 / NETWORK_PX if mm_per_px is None else mm_per_px / 1000
    normals = mesh.normals * np.array([1, -1, 1], np.float32)
    index_type = np.uint16 if len(mesh.vertices) < 65535 else np.uint32
    arrays: dict[str, NDArray[Any]] = {
        "POSITION": upright(mesh.vertices) * np.float32(unit_per_px * NETWORK_PX),
        "NORMAL": normals.astype(np.float32),
        "COLOR_0": srgb_to_linear(colours).astype(np.float32),
        "indices": mesh.triangles.astype(index_type).ravel(),
    }
    binary = b""
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    for name, values in arrays.items():
        data = np.ascontiguousarray(values).tobytes()
        target = _ELEMENT_BUFFER if name == "indices" else _ARRAY_BUFFER
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(data), "target": target})
        accessors.append(_accessor(name, values, len(views) - 1))
        binary += data + bytes(-len(data) % 4)
    attributes = {name: i for i, name in enumerate(arrays) if name != "indices"}
    document = {
        "asset": {
            "version": "2.0",
            "generator": f"facepipe {__version__}",
            "extras": {"unit": CROP_UNIT if mm_per_px is None else LIFE_UNIT_GLB},
        },
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "face"}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 3, "material": 0}]}],
        "materials": [_MATERIAL],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, total),
            struct.pack("<II", len(text), _JSON_CHUNK),
            text,
            struct.pack("<II", len(binary), _BINARY_CHUNK),
            binary,
        ]
    )


def _accessor(name: str, values: NDArray[Any], view: int) -> dict[str, Any]:
    component = {"f": _FLOAT, "H": _UINT16, "I": _UINT32}[values.dtype.char]
    width = values.shape[1] if values.ndim == 2 else 1
    accessor: dict[str, Any] = {
        "bufferView": view,
        "componentType": component,
        "count": len(values),
        "type": _TYPES[width],
    }
    if name == "POSITION":
        accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
    return accessor
