"""Training as a flow gives what training without one gives."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import click
import numpy as np
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect_server import Prefect

from facepipe.cli.train_vrn import vrn
from facepipe.core.errors import UsageError
from facepipe.lab.training.hardware import hardware
from facepipe.lab.vrn import train
from facepipe.lab.vrn.initial_weights import start_from
from facepipe.lab.vrn.regressor_plan import TrainingPlan
from facepipe.lab.vrn.train import Setting, Trainer
from facepipe.lab.vrn.validation import make_validation_faces
from facepipe.models.vrn.regressors import open_regressor
from facepipe.models.weights import load_tensors
from flows.training import training

SIMPLE = (str, int, float)


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.filterwarnings("default")
def test_the_flow_gives_the_same_weights(
    prefect: Prefect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "make_validation_faces", lambda _: make_validation_faces(1))
    options = {"steps": 1, "batch": 2, "views": 1, "seed": 5}
    with temporary_settings({PREFECT_API_URL: prefect.url, PREFECT_HOME: tmp_path / "prefect-home"}):
        with pytest.raises(UsageError, match="either --steps or --minutes"):
            training(tmp_path / "flow", "tiny")
        with pytest.raises(UsageError, match="import it first"):
            training(tmp_path / "flow", "tiny", steps=1, init="x.pth")
        with get_client(sync_client=True) as client:
            texts = [artifact.data for artifact in client.read_artifacts() if artifact.type == "markdown"]
        explained = [text for text in texts if "import it first: facepipe models import x.pth" in text]
        assert len(explained) == 1
        again = f"prefect deployment run training --watch -p out={tmp_path / 'flow'} -p name=tiny -p steps=1"
        assert again in explained[0]
        assert "facepipe status" not in explained[0]
        path = Path(training(tmp_path / "flow", "tiny", init="vrn-compact", workers=0, **options))
    assert path == tmp_path / "flow" / "tiny.safetensors"
    card = path.with_suffix(".md").read_text()
    assert "flow train-regressor" in card
    assert hardware("cpu", 1) in card
    initial = open_regressor("vrn-compact").file
    plan = TrainingPlan("tiny", initial_sha256=initial.identity, **options)
    setting = Setting(tmp_path / "a.checkpoint", workers=0)
    trainer = Trainer(plan, setting, start_from(initial, plan.architecture))
    trainer.run(lambda _: None, lambda _: None)
    trainer.calibrate()
    expected = {key: value.numpy() for key, value in trainer.network.state_dict().items()}
    np.testing.assert_equal(load_tensors(path), expected)


def test_the_flow_has_the_options_of_the_command() -> None:
    with click.Context(vrn) as context:
        options = {option.name: option.get_default(context) for option in vrn.params}
    parameters = signature(training.fn).parameters
    assert parameters.keys() == options.keys()
    for name in parameters.keys() - {"out"}:
        assert parameters[name].default == (options[name] if isinstance(options[name], SIMPLE) else None)
