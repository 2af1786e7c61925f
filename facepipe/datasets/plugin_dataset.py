"""Data sets of other packages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from facepipe.core.plugin_checks import check_protocol, plugin_fingerprint, run_plugin
from facepipe.core.plugins import load_plugin
from facepipe.datasets.dataset import Dataset, Sample, SampleRef, Topology, TruthSource


@dataclass(frozen=True)
class PluginDataset:
    """A data set that a plug-in reads. Pickles as names: workers open their own.

    Attributes:
        kind: what it was asked for as. The plug-in is called with the root and gives a
            `facepipe.datasets.dataset.Dataset`.
        root: a folder or a file.
    """

    kind: str
    root: Path

    @property
    def name(self) -> str:
        """What tables call it."""
        return str(self._opened().name)

    def refs(self) -> list[SampleRef]:
        """List the candidates in the order of their ids."""
        listed = self._run(lambda: list(self._opened().refs()))
        return sorted(listed, key=lambda ref: (ref.sample_id, ref.source_path))

    def load(self, ref: SampleRef, dense: bool = True) -> Sample:
        """Decode one candidate.

        Raises:
            SampleError: it cannot be used.
        """
        return self._opened().load(ref, dense)

    def topology(self) -> Topology | None:
        """The shared triangles of the dense truth, or None where there is none."""
        return self._run(lambda: self._opened().topology())

    def truth_source(self) -> TruthSource:
        """Where the truth comes from, with the plug-in's source in the fingerprint."""
        source = self._run(lambda: self._opened().truth_source())
        plugin = load_plugin("dataset", self.kind)
        return TruthSource(
            source.description, plugin_fingerprint(plugin, [source.fingerprint]), source.notice
        )

    def _opened(self) -> Dataset:
        return _open(self.kind, self.root)

    def _run(self, step: Any) -> Any:
        return run_plugin("dataset", self.kind, step)


@lru_cache(maxsize=4)
def _open(kind: str, root: Path) -> Dataset:
    plugin = load_plugin("dataset", kind)
    dataset: Dataset = run_plugin("dataset", kind, lambda: plugin.value(root))
    check_protocol("dataset", kind, dataset, Dataset)
    return dataset


def open_plugin_dataset(kind: str, root: Path) -> PluginDataset:
    """Open a data set with a plug-in.

    Raises:
        PluginError: it cannot be imported, refuses the root, or does not give a data set.
    """
    _open(kind, root)
    return PluginDataset(kind, root)
