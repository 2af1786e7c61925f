"""Filter the samples of a data set by subset, split, pose or number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from facepipe.core.errors import SampleError, UsageError
from facepipe.core.names import unknown
from facepipe.datasets.dataset import Dataset, Sample, SampleRef, Topology, TruthSource
from facepipe.datasets.file_tree import FileTree
from facepipe.datasets.split import Split, split_of


@runtime_checkable
class KnowsYaw(Protocol):
    """A data set that can tell a sample's yaw without decoding its image."""

    def yaw_deg(self, ref: SampleRef) -> float | None:
        """Yaw in degrees, None where it is unknown.

        Raises:
            SampleError: the file that says it cannot be used.
        """


@runtime_checkable
class KnowsSplit(Protocol):
    """A data set with a split of its own."""

    def split_of(self, ref: SampleRef) -> Split:
        """The part that a sample belongs to.

        Raises:
            SampleError: the file that says it cannot be used.
        """


@dataclass(frozen=True)
class FilteredDataset:
    """The samples of a data set that pass every filter.

    Attributes:
        base: where they come from.
        subsets: names of subsets to take; all if empty.
        min_yaw_deg, max_yaw_deg: range of |yaw| to take. A sample whose yaw cannot be read passes, so that
            loading it gives the reason.
        split: the part to take, or None for all.
    """

    base: Dataset
    subsets: tuple[str, ...] = ()
    min_yaw_deg: float | None = None
    max_yaw_deg: float | None = None
    split: Split | None = None

    @property
    def name(self) -> str:
        """The name of the data set filtered."""
        return self.base.name

    @property
    def kind(self) -> str:
        """The kind of the data set filtered."""
        return self.base.kind

    @property
    def tree(self) -> FileTree | None:
        """The files of the data set filtered, where it has any."""
        return getattr(self.base, "tree", None)

    def refs(self) -> list[SampleRef]:
        """List the candidates that pass, in the order of their ids.

        Raises:
            UsageError: an unknown subset, a yaw filter without yaw, or nothing passes.
        """
        every = self.base.refs()
        known = {ref.subset for ref in every}
        for subset in self.subsets:
            if subset not in known:
                if known == {""}:
                    raise UsageError(f"{self.base.name} has no subsets, and so none of name {subset!r}")
                raise unknown(f"subset of {self.base.name}", subset, known)
        found = [ref for ref in every if self._named(ref)]
        if self.min_yaw_deg is not None or self.max_yaw_deg is not None:
            found = list(self._turned(found))
        if not found:
            raise UsageError(f"{self.base.name}: none of {len(every)} samples passes the filters")
        return found

    def load(self, ref: SampleRef, dense: bool = True) -> Sample:
        """Decode one candidate: see the data set filtered."""
        return self.base.load(ref, dense)

    def topology(self) -> Topology | None:
        """The triangles of the data set filtered."""
        return self.base.topology()

    def truth_source(self) -> TruthSource:
        """The truth's source of the data set filtered."""
        return self.base.truth_source()

    def _named(self, ref: SampleRef) -> bool:
        if self.subsets and ref.subset not in self.subsets:
            return False
        return self.split is None or self._split_of(ref) == self.split

    def _split_of(self, ref: SampleRef) -> Split | None:
        if not isinstance(self.base, KnowsSplit):
            return split_of(ref.sample_id, self.kind)
        try:
            return self.base.split_of(ref)
        except SampleError:
            return None

    def _turned(self, refs: list[SampleRef]) -> Iterator[SampleRef]:
        low = self.min_yaw_deg if self.min_yaw_deg is not None else 0.0
        high = self.max_yaw_deg if self.max_yaw_deg is not None else 180.0
        known = 0
        for ref in refs:
            try:
                yaw_deg = self._yaw_deg(ref)
            except SampleError:
                yield ref
                continue
            if yaw_deg is not None:
                known += 1
                if low <= abs(yaw_deg) <= high:
                    yield ref
        if refs and not known:
            raise UsageError(
                f"{self.base.name}: a {self.kind} data set does not tell yaw; leave the yaw filter out"
            )

    def _yaw_deg(self, ref: SampleRef) -> float | None:
        if isinstance(self.base, KnowsYaw):
            return self.base.yaw_deg(ref)
        return self.base.load(ref, dense=False).yaw_deg
