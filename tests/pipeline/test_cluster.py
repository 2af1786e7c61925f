"""Clusters that a run brings up itself: what is asked for, what is refused, and that it works."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dask
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from distributed import Client, LocalCluster
from localslurm import LocalSlurm

from facepipe.bench.driver import is_complete
from facepipe.bench.run_store import RunStore
from facepipe.core.errors import EnvironmentTroubleError, UsageError
from facepipe.pipeline.cluster import check_cluster, connect, open_cluster
from facepipe.pipeline.cluster.file import Limits, SlurmFile, read_kubernetes_file, read_slurm_file
from facepipe.pipeline.cluster.kubernetes import named_resources, open_kubernetes
from facepipe.pipeline.cluster.scaling import tasks_of_groups, wait_for, wanted, workers_of_groups
from facepipe.pipeline.cluster.slurm import SlurmCluster, job_options, load_jobqueue, open_slurm
from facepipe.pipeline.cluster.worker_settings import (
    CONFIG,
    NO_PAGES,
    WORKER_ENVIRONMENT,
    scheduler_environment,
)
from facepipe.pipeline.executor import Engine
from facepipe.pipeline.job import Reasons, Site, UnitReport

SLURM = """
wait_minutes: 1
idle_minutes: 10
folder: {folder}
cpu: {{minimum: 1, maximum: 2, memory_gb: 2, partition: short, account: faces}}
gpu: {{memory_gb: 2, directives: ["--gres=gpu:1"], prologue: [module load cuda]}}
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSlurm]:
    programs = LocalSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{programs.programs}:{os.environ['PATH']}")
    yield programs
    programs.close()


def wait_for_file(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text.format(folder=folder / "jobs"))
    return path


class TestFile:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("cpu: {minimun: 2}", "unknown key 'minimun'.*did you mean 'minimum'"),
            ("cpus: {}", "unknown key 'cpus'.*did you mean 'cpu'"),
            ("idle_minutes: 3", "cpu is needed"),
            ("cpu: {minimum: 3, maximum: 2}", "minimum 3 is more than maximum 2"),
            ("cpu: {minimum: 0}", "minimum: expected 1 or more"),
            ("cpu: {memory_gb: .inf}", "memory_gb: expected a finite number"),
            ("wait_minutes: .inf\ncpu: {}", "wait_minutes: expected a finite number"),
            ("idle_minutes: .nan\ncpu: {}", "idle_minutes: expected a finite number"),
            ("cpu: {walltime: tomorrow}", "walltime.*tomorrow"),
            ("cpu: 4", "cpu: expected 'key: value' lines, got 4"),
            ("gpu: {queue: a}\ncpu: {}", "gpu: unknown key 'queue'"),
        ],
    )
    def test_what_is_wrong_is_named(self, text: str, message: str, tmp_path: Path) -> None:
        path = tmp_path / "cluster.yaml"
        path.write_text(text)
        with pytest.raises(UsageError, match=message) as caught:
            read_slurm_file(path)
        assert "cluster.yaml" in str(caught.value)

    def test_the_manifest_is_found_beside_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "cluster.yaml"
        path.write_text("manifest: dask.yaml\ncpu: {}\n")
        with pytest.raises(UsageError, match=r"dask\.yaml"):
            read_kubernetes_file(path)
        (tmp_path / "dask.yaml").write_text("kind: DaskCluster\n---\n---\nkind: ConfigMap\n")
        file, resources = read_kubernetes_file(path)
        assert (file.namespace, [item["kind"] for item in resources]) == (
            "facepipe",
            ["DaskCluster", "ConfigMap"],
        )
        path.write_text("manifest: dask.yaml\ncpu: {}\ngpu: {}\n")
        with pytest.raises(UsageError, match="expected one DaskWorkerGroup, found 0"):
            read_kubernetes_file(path)

    def test_the_examples_are_valid(self) -> None:
        slurm = read_slurm_file(ROOT / "deploy" / "slurm" / "cluster.yaml")
        assert slurm.gpu is not None and any("gpu" in line for line in slurm.gpu.directives)
        kubernetes, resources = read_kubernetes_file(ROOT / "deploy" / "kubernetes" / "cluster.yaml")
        assert kubernetes.gpu is not None
        assert len(resources) >= 2

    @pytest.mark.parametrize(
        ("where", "file", "message"),
        [
            ("slurm", None, "--cluster slurm needs --cluster-config"),
            ("kubernetes", None, "--cluster kubernetes needs --cluster-config"),
            ("local", "x.yaml", "--cluster-config is for"),
            ("tcp://h:1", "x.yaml", "--cluster-config is for"),
            ("slrum", None, "'local', 'slurm', 'kubernetes' or an address"),
            ("slurm", "missing.yaml", "missing.yaml"),
        ],
    )
    def test_choices_that_cannot_be_meant(self, where: str, file: str | None, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            check_cluster(where, Path(file) if file else None)

    def test_it_is_no_part_of_what_a_run_is(self) -> None:
        from facepipe.bench.config import make_config

        with_file = make_config({"cluster": "slurm", "cluster_config": "cluster.yaml"})
        assert with_file.identity() == make_config({}).identity()


def test_ctrl_c_stays_what_it_was() -> None:
    """What submits jobs would end the process at Ctrl-C without a word, from its import on."""
    script = (
        "import signal, sys; from facepipe.pipeline.cluster.slurm import load_jobqueue; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); load_jobqueue(); "
        "print('dask_jobqueue' in sys.modules, signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


class TestJobs:
    FILE = SlurmFile(
        cpu={"workers_per_job": 4, "memory_gb": 8, "partition": "short", "walltime": "02:00:00"},
        gpu={"directives": ["--gres=gpu:1"], "prologue": ["module load cuda"]},
        interface="lo",
        scratch="/scratch",
    )

    def script(self, gpu: bool, tmp_path: Path) -> str:
        file = self.FILE.model_copy(update={"folder": tmp_path})
        group = file.gpu if gpu else file.cpu
        assert group is not None
        options = job_options(file, group, gpu) | {"protocol": None}
        scheduler = {"dashboard_address": "127.0.0.1:0"}
        load_jobqueue()
        from dask_jobqueue.slurm import SLURMCluster

        with SLURMCluster(**options, n_workers=0, scheduler_options=scheduler) as cluster:
            return cluster.job_script()

    def test_a_cpu_job(self, tmp_path: Path) -> None:
        script = self.script(False, tmp_path)
        lines = script.splitlines()
        assert "#SBATCH -J facepipe-cpu" in lines
        assert "#SBATCH -p short" in lines
        assert "#SBATCH --cpus-per-task=4" in lines
        assert "#SBATCH --mem=8G" in lines
        assert "#SBATCH -t 02:00:00" in lines
        assert f"#SBATCH -o {tmp_path}/facepipe-cpu-%J.out" in lines
        command = lines[-1]
        for words in ("--nthreads 1", "--nworkers 4", "--memory-limit 1.86GiB", "--nanny", "/scratch"):
            assert words in command
        assert "GPU" not in script

    def test_a_gpu_job(self, tmp_path: Path) -> None:
        lines = self.script(True, tmp_path).splitlines()
        assert "#SBATCH --gres=gpu:1" in lines
        assert "--resources GPU=1" in lines[-1]
        assert lines.index("module load cuda") < len(lines) - 1

    def test_workers_get_the_environment_that_local_ones_get(self, tmp_path: Path) -> None:
        lines = self.script(False, tmp_path).splitlines()
        for name, value in WORKER_ENVIRONMENT.items():
            assert f"export {name}={value}" in lines


class TestScaling:
    def test_everything_while_there_is_work_and_the_minimum_afterwards(self) -> None:
        limits = Limits(minimum=2, maximum=5)
        assert [wanted(limits, idle, 60) for idle in (0, 59, 61)] == [5, 5, 2]

    def test_work_and_workers_are_counted_by_group(self, tmp_path: Path) -> None:
        with (
            dask.config.set(CONFIG),
            LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **NO_PAGES) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            assert workers_of_groups(client) == {"cpu": 1, "gpu": 0}
            long = client.submit(wait_for_file, tmp_path / "enough", pure=False)
            lacking = client.submit(time.sleep, 0, pure=False, resources={"GPU": 1})
            deadline = time.monotonic() + 60
            while client.run_on_scheduler(tasks_of_groups) != {"cpu": 1, "gpu": 1}:
                assert time.monotonic() < deadline
            with pytest.raises(EnvironmentTroubleError, match="0 of 1 gpu workers; look there"):
                wait_for(client, {"cpu": 1, "gpu": 1}, 0.3, "look there")
            (tmp_path / "enough").touch()
            long.result(60)
            del long, lacking

    def test_other_schedulers_are_told_the_same_by_their_environment(self) -> None:
        code = "import dask; print(*(dask.config.get(key) for key in {keys!r}))"
        keys = [
            "distributed.scheduler.allowed-failures",
            "distributed.scheduler.no-workers-timeout",
        ]
        done = subprocess.run(
            [sys.executable, "-c", "import distributed;" + code.format(keys=keys)],
            env=os.environ | scheduler_environment(),
            capture_output=True,
            text=True,
        )
        assert done.stdout.split() == [str(CONFIG[key]) for key in keys], done.stderr


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "facepipe", "bench", "--limit", 2, "--low-px", 32, "--shard-size", 1]
    words = [*command, "--methods", "bilinear", *arguments]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=800)


class TestSlurm:
    @pytest.mark.slow
    def test_a_benchmark_through_jobs_equals_one_in_local_processes(
        self, slurm: LocalSlurm, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        done = bench("--out", run, "--cluster", "slurm", "--cluster-config", write(tmp_path, SLURM))
        assert done.returncode == 0, done.stderr
        assert json.loads((run / "run.json").read_text())["networks_on"] == "GPU workers"
        scripts = slurm.scripts()
        assert sum("--resources GPU=1" in script for script in scripts) == 1
        assert sum("-p short" in script for script in scripts) >= 1
        slurm.wait()
        # Certificates live as long as the cluster.
        assert not [path for path in (tmp_path / "jobs").iterdir() if path.name.startswith("tls-")]
        assert bench("--out", tmp_path / "local", "--workers", 1).returncode == 0
        tables = [
            pq.read_table(folder / "scores.parquet").drop_columns(["seconds"])
            for folder in (run, tmp_path / "local")
        ]
        assert tables[0].equals(tables[1])
        assert is_complete(RunStore(run))

    @pytest.mark.slow
    def test_jobs_come_and_go_and_lost_ones_are_replaced(
        self, slurm: LocalSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("facepipe.pipeline.cluster.scaling.SECONDS_BETWEEN_LOOKS", 0.3)
        monkeypatch.setattr("facepipe.pipeline.cluster.slurm.LOOKS_UNTIL_LOST", 3)
        text = SLURM.split("gpu:")[0].replace("maximum: 2", "maximum: 2, workers_per_job: 2")
        file = read_slurm_file(write(tmp_path, text.replace("idle_minutes: 10", "idle_minutes: 0.02")))
        with open_slurm(file) as address, connect(address) as client:

            def until(n: int) -> None:
                deadline = time.monotonic() + 120
                while workers_of_groups(client) != {"cpu": n, "gpu": 0}:
                    assert time.monotonic() < deadline, workers_of_groups(client)
                    time.sleep(0.1)

            assert workers_of_groups(client) == {"cpu": 2, "gpu": 0}
            busy = client.submit(time.sleep, 600, pure=False)
            until(4)
            time.sleep(2)  # it must have been seen to be missed
            slurm.kill(2)
            until(2)
            until(4)
            busy.cancel()
            until(2)
        slurm.wait()

    def test_only_the_cluster_s_own_certificate_opens_its_scheduler(
        self, slurm: LocalSlurm, tmp_path: Path
    ) -> None:
        with open_slurm(read_slurm_file(write(tmp_path, SLURM.split("gpu:")[0]))) as address:
            assert address.startswith("tls://")
            (folder,) = (path for path in (tmp_path / "jobs").iterdir() if path.name.startswith("tls-"))
            assert folder.stat().st_mode & 0o77 == 0
            code = (
                "from distributed import Client; from distributed.security import Security\n"
                f"Client({address!r}, security=Security.temporary(), timeout='5s')"
            )
            stranger = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            assert stranger.returncode == 1
            assert "certificate verify failed" in stranger.stderr or "SSL" in stranger.stderr

    def test_jobs_that_never_start(self, slurm: LocalSlurm, tmp_path: Path) -> None:
        text = SLURM.replace("wait_minutes: 1", "wait_minutes: 0.02").replace(
            "idle_minutes", "python: 'false'\nidle_minutes"
        )
        with (
            pytest.raises(EnvironmentTroubleError, match="0 of 1 cpu workers.*squeue"),
            open_slurm(read_slurm_file(write(tmp_path, text))),
        ):
            pass
        slurm.wait()

    def test_a_refused_job(self, slurm: LocalSlurm, tmp_path: Path) -> None:
        (slurm.programs / "sbatch").write_text("#!/bin/sh\necho invalid partition >&2; exit 1\n")
        with (
            pytest.raises(EnvironmentTroubleError, match="Slurm refused a job.*invalid partition"),
            open_slurm(read_slurm_file(write(tmp_path, SLURM))),
        ):
            pass

    def test_without_slurm_nothing_is_started(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with (
            pytest.raises(UsageError, match="sbatch and scancel not found"),
            open_cluster("slurm", None, write(tmp_path, SLURM)),
        ):
            pass


class TestKubernetes:
    def test_a_run_s_cluster_has_a_name_of_its_own(self) -> None:
        _, resources = read_kubernetes_file(ROOT / "deploy" / "kubernetes" / "cluster.yaml")
        cluster, gpu_worker = named_resources(resources, "mine")
        assert cluster["metadata"]["name"] == "mine"
        assert cluster["spec"]["scheduler"]["service"]["selector"]["dask.org/cluster-name"] == "mine"
        assert "--resources" in gpu_worker["spec"]["containers"][0]["args"]
        # The manifest itself is as it was.
        again = next(item for item in resources if item["kind"] == "DaskCluster")
        assert again["metadata"]["name"] != "mine"

    def test_without_a_cluster_the_message_says_what_must_work(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        with (
            pytest.raises(UsageError, match="kubectl get nodes"),
            open_kubernetes(*read_kubernetes_file(ROOT / "deploy" / "kubernetes" / "cluster.yaml")),
        ):
            pass


def test_what_is_used_of_the_clusters_exists() -> None:
    from dask_kubernetes.operator import KubeCluster
    from distributed import SpecCluster

    assert {"custom_cluster_spec", "namespace", "shutdown_on_close", "resource_timeout", "quiet"} <= set(
        inspect.signature(KubeCluster).parameters
    )
    assert "worker_group" in inspect.signature(KubeCluster.scale).parameters
    assert "custom_spec" in inspect.signature(KubeCluster.add_worker_group).parameters
    assert issubclass(SlurmCluster, SpecCluster)


@dataclass(frozen=True)
class OneUnit:
    """A job of one unit, which is the job itself."""

    site: Site
    stage: str = "score"
    gpu_stages: tuple[str, ...] = ()

    def span(self, unit: OneUnit) -> tuple[int, int]:
        return 0, 1

    def run(self, unit: OneUnit, skip: Reasons, device: str) -> UnitReport:
        return UnitReport(1, 0, 0.0)

    def probe(self, unit: OneUnit, index: int, skip: Reasons, device: str) -> None:
        pass


def test_a_cluster_without_workers_is_trouble_of_the_environment(tmp_path: Path) -> None:
    quick = CONFIG | {"distributed.scheduler.no-workers-timeout": "1s"}
    with (
        dask.config.set(quick),
        LocalCluster(n_workers=0, processes=False, **NO_PAGES) as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(EnvironmentTroubleError, match="no worker was there.*start workers"),
    ):
        Engine(client, OneUnit(Site(tmp_path))).run([OneUnit(Site(tmp_path))])
