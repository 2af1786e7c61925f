"""A picture without contrast is quarantined, not scored."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe.bench.stages import ingest
from facepipe.core.errors import SampleError
from facepipe.datasets.dataset import Sample, SampleRef


def test_what_was_scaled_wrongly_has_no_contrast() -> None:
    picture = np.random.default_rng(0).integers(0, 200, (200, 200, 1), np.uint8).repeat(3, 2)
    ref = SampleRef("ir", "", "ir.png", 1)
    assert ingest(ref, Sample(picture, ""), "full")["sample_id"] == "ir"
    with pytest.raises(SampleError, match=r"ir\.png: 98 of 100 values lie within \d+ of 255") as caught:
        ingest(ref, Sample(picture // 20, ""), "full")
    assert caught.value.reason == "no-contrast"
