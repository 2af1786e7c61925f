"""Writing volumes to Zarr, against the library's defaults."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import zarr

from benchmarks.inputs import REGRESSOR, references
from benchmarks.measure import Row, compare, require
from facepipe.bench.run_store import RunStore
from facepipe.models.vrn.regressors import get_regressor


def rows(rounds: int) -> list[Row]:
    """A shard of volumes as a unit writes it."""
    volumes = get_regressor(REGRESSOR).build()(references())
    shape, n_volumes = volumes.shape, len(volumes)
    with TemporaryDirectory() as folder:
        number = iter(range(10**6))

        def ours() -> Path:
            store = RunStore(Path(folder, f"ours-{next(number)}"))
            store.create_array("volumes", shape, n_volumes)
            store.write_shard("volumes", 0, volumes)
            return store.path

        def usual() -> Path:
            path = Path(folder, f"usual-{next(number)}")
            array = zarr.create_array(store=str(path), shape=shape, dtype="uint8")
            for index, volume in enumerate(volumes):
                array[index] = volume
            return path

        ours_path, usual_path = ours(), usual()
        require(np.array_equal(RunStore(ours_path).read("volumes", 0, n_volumes), volumes), "ours")
        require(np.array_equal(zarr.open_array(str(usual_path), mode="r")[:], volumes), "usual")
        sizes = [_bytes(path) / n_volumes / 1000 for path in (usual_path, ours_path)]
        chunks = zarr.open_array(str(usual_path), mode="r").chunks
        return [
            compare(
                f"writing {n_volumes} volumes, with a checksum each",
                f"zarr's defaults (chunks {chunks}), volume by volume",
                usual,
                ours,
                target=2.5,
                check=f"read back equal; {sizes[0]:.0f} kB a volume, ours {sizes[1]:.0f}",
                runs=3 * rounds,
            )
        ]


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
