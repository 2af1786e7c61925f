"""Training as a flow gives what training without one gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect_server import Prefect

from facepipe.errors import UsageError
from facepipe.vrn import train
from facepipe.vrn.plan import TrainingPlan
from facepipe.vrn.regressors import open_regressor
from facepipe.vrn.train import Setting, Trainer
from facepipe.vrn.validation import make_validation_faces
from facepipe.weights import load_tensors
from flows.training import training


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
        path = Path(training(tmp_path / "flow", "tiny", init="vrn-compact", workers=0, **options))
    assert path == tmp_path / "flow" / "tiny.safetensors"
    assert "flow train-regressor" in path.with_suffix(".md").read_text()
    initial = open_regressor("vrn-compact").file
    plan = TrainingPlan("tiny", initial_sha256=initial.sha256, **options)
    trainer = Trainer(plan, Setting(tmp_path / "a.checkpoint", workers=0), _initial(initial, plan))
    trainer.run(lambda _: None, lambda _: None)
    expected = {key: value.numpy() for key, value in trainer.network.state_dict().items()}
    np.testing.assert_equal(load_tensors(path), expected)


def _initial(file, plan: TrainingPlan):
    from facepipe.vrn.initial import initial_tensors

    return initial_tensors(file, plan.architecture.geometry)
