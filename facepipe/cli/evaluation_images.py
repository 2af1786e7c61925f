"""The images on which `facepipe models evaluate` measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import click

from facepipe.core.errors import SampleError
from facepipe.datasets.crops import crop_for
from facepipe.datasets.dataset import Dataset, Sample, SampleRef
from facepipe.datasets.split import Split
from facepipe.imaging.crop import Crop


@dataclass(frozen=True)
class Images:
    """A data set's samples, or faces made for tests.

    Attributes:
        dataset: folder, archive or 'sample'; None for faces.
        faces: how many faces; None for a data set.
        crop: part of a sample's image that is seen.
        split: part of the data set, None for all.
        limit: of samples, None for all.
    """

    dataset: str | None
    faces: int | None
    crop: str
    split: Split | None
    limit: int | None

    @cached_property
    def opened(self) -> Dataset:
        """The data set."""
        from facepipe.datasets.catalog import open_dataset

        return open_dataset(str(self.dataset), split=self.split)

    @property
    def count(self) -> int:
        """How many images there are, those that cannot be used among them."""
        if self.faces is not None:
            return self.faces
        total = len(self.opened.refs())
        return min(total, self.limit or total)

    def samples(self) -> Iterator[tuple[SampleRef, Sample, Crop]]:
        """Load samples: reference, sample and its crop. Say of those that cannot be used why."""
        for ref in self.opened.refs()[: self.count]:
            try:
                sample = self.opened.load(ref)
                crop = crop_for(sample, self.crop)
            except SampleError as error:
                click.echo(f"left out: {ref.sample_id}, {error}", err=True)
                continue
            yield ref, sample, crop
