"""One process a GPU on this machine, without one: which devices there are is told by folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from distributed import Client

from facepipe.pipeline.cluster import gpus, open_cluster


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("0000:17:00.0", "0000:65:00.0"):
        (tmp_path / address).mkdir()
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    monkeypatch.delenv(gpus.VISIBLE, raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_devices_are_those_of_the_driver_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpus.local_gpus() == ["0", "1"]
    monkeypatch.setenv(gpus.VISIBLE, "1")
    assert gpus.local_gpus() == ["1"]
    monkeypatch.setenv(gpus.VISIBLE, "")
    assert gpus.local_gpus() == []
    monkeypatch.setattr(gpus, "_DRIVER", Path("/nowhere"))
    assert gpus.local_gpus() == []


@pytest.mark.usefixtures("two_gpus")
def test_each_gpu_has_a_process_of_its_own_beside_those_of_the_cores() -> None:
    with open_cluster("local", 1) as address, Client(address) as client:
        client.wait_for_workers(3, timeout=60)
        offered = [w["resources"] for w in client.scheduler_info(n_workers=-1)["workers"].values()]
        seen = client.run(lambda: (os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")))
    assert sorted(map(str, offered)) == ["{'GPU': 1}", "{'GPU': 1}", "{}"]
    assert sorted(str(device) for _, device in seen.values()) == ["0", "1", "None"]
    assert len({process for process, _ in seen.values()}) == 3
