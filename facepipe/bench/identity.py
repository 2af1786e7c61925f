"""The identity of a run: everything that determines its results, with a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facepipe import __version__
from facepipe.bench.config import BenchConfig
from facepipe.bench.network_fingerprints import (
    detector_fingerprint,
    method_fingerprint,
    regressor_fingerprint,
)
from facepipe.bench.spec import RunSpec
from facepipe.bench.stages import REVISION
from facepipe.core.errors import RunConflictError
from facepipe.datasets.dataset import SampleRef
from facepipe.models.superres.methods import get_method


def identity_of(config: BenchConfig, spec: RunSpec, refs: Sequence[SampleRef]) -> dict[str, Any]:
    """Everything that determines a run's tables, as plain JSON values.

    Args:
        config: of the run.
        spec: what it was resolved to.
        refs: the candidates.
    """
    return config.identity() | {
        "dataset": config.dataset if config.dataset == "sample" else str(Path(config.dataset).resolve()),
        "shard_size": config.shard_size,
        "methods": list(spec.methods),
        "regressors": list(spec.regressors),
        "weights": _fingerprints(spec),
        "truth": spec.dataset.truth_source().fingerprint,
        "files": digest([[ref.sample_id, ref.size_bytes] for ref in refs]),
        "facepipe": __version__,
        "revision": REVISION,
    }


def check_same(run: Path, before: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse to go on with a run as another one.

    Args:
        run: its folder.
        before: its identity.
        identity: that of the configuration at hand.

    Raises:
        RunConflictError: they differ; the message says in what.
    """
    differences = [
        _difference(key, before.get(key), identity.get(key))
        for key in sorted(before.keys() | identity.keys())
        if before.get(key) != identity.get(key)
    ]
    if differences:
        raise RunConflictError(
            f"{run} holds a run of another configuration ({'; '.join(filter(None, differences))}); "
            "choose another --out, or delete that folder"
        )


def _fingerprints(spec: RunSpec) -> dict[str, str]:
    """Digests of everything that methods, regressors and the detector, where one is used, are made of."""
    sizes = [(name, px) for name in spec.methods for px in spec.low_px if get_method(name).fits(px)]
    found: dict[str, str] = {}
    for name, px in sizes:
        found |= method_fingerprint(name, px)
    if spec.crop == "face":
        found |= detector_fingerprint()
    for name in spec.networks:
        found |= regressor_fingerprint(name)
    return found | {f"results {name}": results.fingerprint() for name, results in spec.results.items()}


def _difference(key: str, before: Any, after: Any) -> str:
    """Name a difference; digests tell a person nothing but that something changed."""
    if key == "files":
        return "files: the data set's images are not the same ones"
    if key == "truth":
        return "truth: its source is not the same"
    if key == "weights":
        changed = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
        return f"weights of {', '.join(changed)} changed" if changed else ""
    if key == "revision":
        return "facepipe: this version computes some figures differently than the one that began the run"
    return f"{key}: {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def digest(value: Any) -> str:
    """The sha256 hex digest of a value's JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
