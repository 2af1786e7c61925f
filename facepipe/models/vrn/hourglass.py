"""Hourglass networks that regress an occupancy volume, one output channel for each slice.

The idea is that of Jackson et al., ICCV 2017, with pre-activated bottleneck blocks as in Newell et al.,
ECCV 2016: a stem brings the image to a quarter of its size, hourglasses look at it at several scales,
and each of them predicts the volume, so that training can supervise all of them. A refinement may follow
that looks at the image once more at half its size.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Three pre-activated convolutions (1x1, 3x3, 1x1) around a shortcut.

    Args:
        inputs: channels in.
        outputs: channels out; where they differ the shortcut is a 1x1 convolution.
        bias: whether the convolutions have one.
        inner: width inside; None: half of `outputs`.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False, inner: int | None = None) -> None:
        super().__init__()
        inner = outputs // 2 if inner is None else inner
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=bias)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=bias)
        self.norm3 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=bias)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h, w)."""
        hidden = self.conv1(torch.relu(self.norm1(features)))
        hidden = self.conv2(torch.relu(self.norm2(hidden)))
        hidden = self.conv3(torch.relu(self.norm3(hidden)))
        return hidden + self.shortcut(features)


class Hourglass(nn.Module):
    """Halve, go one level deeper, double again, and add what was there before.

    Args:
        depth: levels; the side must be divisible by 2**depth.
        channels: channels in and out.
        context: width inside a further block on the coarse side of every level but the first, where width is
            cheap and the whole head is in view; 0: there is none. A new one changes nothing.
        within: whether this is a level within another.
    """

    def __init__(self, depth: int, channels: int, context: int = 0, *, within: bool = False) -> None:
        super().__init__()
        self.skip = ResidualBlock(channels, channels)
        self.down = ResidualBlock(channels, channels)
        self.context = _idle_block(channels, context) if context and within else None
        self.inner = (
            Hourglass(depth - 1, channels, context, within=True)
            if depth > 1
            else ResidualBlock(channels, channels)
        )
        self.up = ResidualBlock(channels, channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (N, channels, h, w) to the same shape."""
        coarse = self.down(functional.max_pool2d(features, 2))
        if self.context is not None:
            coarse = self.context(coarse)
        coarse = self.up(self.inner(coarse))
        return self.skip(features) + functional.interpolate(coarse, scale_factor=2.0, mode="nearest")


def _idle_block(channels: int, inner: int) -> ResidualBlock:
    block = ResidualBlock(channels, channels, inner=inner)
    nn.init.zeros_(block.conv3.weight)
    return block


class StackedStage(nn.Module):
    """What stages of every stacked hourglass do; the subclasses say what they are made of."""

    hourglass: nn.Module
    head: nn.Module
    predict: nn.Module
    carry_features: nn.Module | None
    carry_volume: nn.Module | None

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features for what follows and this stage's logits (N, slices, h, w).

        The features are those of the next stage; of the last one, those that it predicted from.
        """
        head = self.head(self.hourglass(features))
        logits = self.predict(head)
        if self.carry_features is None or self.carry_volume is None:
            return head, logits
        return features + self.carry_features(head) + self.carry_volume(logits), logits


class StackedNetwork(nn.Module):
    """A stem and stages one after the other; the subclasses say what they are made of."""

    stem: nn.Sequential
    stages: nn.ModuleList

    @property
    def last_prediction(self) -> nn.Conv2d:
        """The convolution that ends in the last stage's logits."""
        return cast(nn.Conv2d, cast(StackedStage, self.stages[-1]).predict)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits of every stage, the best one last."""
        _, predictions = self.through_stages(self.stem(image))
        return predictions

    def through_stages(self, features: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the features that the last stage predicted from, and the logits of every stage."""
        predictions = []
        for stage in self.stages:
            features, logits = stage(features)
            predictions.append(logits)
        return features, predictions


class Stage(StackedStage):
    """An hourglass with its head and its prediction of the volume.

    Args:
        channels: width of the features.
        depth: levels of the hourglass.
        slices: slices of the volume.
        last: whether no stage follows; others hand features and prediction on.
        context: see `Hourglass`.
    """

    def __init__(self, channels: int, depth: int, slices: int, *, last: bool, context: int = 0) -> None:
        super().__init__()
        self.hourglass = Hourglass(depth, channels, context)
        self.head = nn.Sequential(
            ResidualBlock(channels, channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
        )
        self.predict = nn.Conv2d(channels, slices, 1)
        # Most voxels are empty: starting from p = 0.12 instead of 0.5 saves the first few hundred steps.
        self.predict.bias = nn.Parameter(torch.full((slices,), -2.0))
        self.carry_features = None if last else nn.Conv2d(channels, channels, 1)
        self.carry_volume = None if last else nn.Conv2d(slices, channels, 1)


class Refinement(nn.Module):
    """Corrects a volume on a grid twice as fine, with features of the image that are as fine.

    A new one corrects by zero: it only enlarges logits in two steps that were enlarged in one.

    Args:
        near: channels of the fine features.
        far: channels of the coarse ones, from which the volume was predicted.
        width: of its own features.
        slices: slices of the volume.
    """

    def __init__(self, near: int, far: int, width: int, slices: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(near, width, 1)
        self.far = nn.Conv2d(far, width, 1)
        self.blocks = nn.Sequential(
            ResidualBlock(width, width), ResidualBlock(width, width), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.predict = nn.Conv2d(width, slices, 1)
        nn.init.zeros_(self.predict.weight)
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]

    def forward(self, near: torch.Tensor, far: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Map (N, near, 2h, 2w), (N, far, h, w) and (N, slices, h, w) to logits (N, slices, 2h, 2w)."""
        features = self.near(near) + _doubled(self.far(far))
        return _doubled(logits) + self.predict(self.blocks(features))


def _doubled(features: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)


HALF_LAYERS, HALF_CHANNELS = 4, 96
"""Layers of the stem after which features are half the image's size, and their channels."""


class HourglassNetwork(StackedNetwork):
    """The whole network: RGB in [-1, 1], (N, 3, 4h, 4w), to logits (N, slices, h, w) of each stage.

    Args:
        channels: width of the features.
        stages: number of hourglasses.
        depth: levels of each hourglass.
        slices: slices of the volume.
        refinement: width of a `Refinement` of the last stage's logits, which are (N, slices, 2h, 2w) then;
            0: there is none.
        context: width inside further blocks at the coarse scales, see `Hourglass`.
    """

    def __init__(
        self,
        channels: int = 128,
        stages: int = 1,
        depth: int = 4,
        slices: int = 200,
        refinement: int = 0,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            ResidualBlock(64, HALF_CHANNELS),
            nn.MaxPool2d(2),
            ResidualBlock(HALF_CHANNELS, 128),
            ResidualBlock(128, channels),
        )
        self.stages = nn.ModuleList(
            Stage(channels, depth, slices, last=index == stages - 1, context=context)
            for index in range(stages)
        )
        self.refinement = Refinement(HALF_CHANNELS, channels, refinement, slices) if refinement else None

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits of every stage, the best one last."""
        if self.refinement is None:
            return super().forward(image)
        near = self.stem[:HALF_LAYERS](image)
        features, predictions = self.through_stages(self.stem[HALF_LAYERS:](near))
        return [*predictions[:-1], self.refinement(near, features, predictions[-1])]
