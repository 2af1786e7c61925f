"""Two hourglass networks that others published, at their full size.

`ThirdsNetwork` is that of the study of 2019 (two stacks, two blocks wherever one stands in Newell's paper,
four reductions by 3 at full resolution). `VrnNetwork` is the unguided network of Jackson et al., ICCV 2017.
Both return logits, and read RGB in [-1, 1] as facepipe trains them; how those of others are run, their
weights say (`usage`). Sources: the layer lists of the published checkpoints.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from facepipe.models.vrn.hourglass import ResidualBlock, StackedNetwork, StackedStage

Nesting = Literal["coarse", "fine"]


def _blocks(count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels, channels, bias=True) for _ in range(count)))


class ThirdsHourglass(nn.Module):
    """An hourglass whose levels are three times as coarse as the one above.

    A side that is no multiple of 3 loses its rest on the way down and gets zeros around it on the way up.

    Args:
        depth: levels; the side must be at least 3**depth.
        channels: channels in and out.
        modules: residual blocks at each place.
    """

    def __init__(self, depth: int, channels: int, modules: int) -> None:
        super().__init__()
        self.skip = _blocks(modules, channels)
        self.down = _blocks(modules, channels)
        self.inner = (
            ThirdsHourglass(depth - 1, channels, modules) if depth > 1 else _blocks(modules, channels)
        )
        self.up = _blocks(modules, channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (N, channels, h, w) to the same shape."""
        coarse = self.up(self.inner(self.down(functional.max_pool2d(features, 3))))
        coarse = functional.interpolate(coarse, scale_factor=3.0, mode="nearest")
        missing_y, missing_x = (features.shape[axis] - coarse.shape[axis] for axis in (2, 3))
        top, left = missing_y // 2, missing_x // 2
        return self.skip(features) + functional.pad(coarse, (left, missing_x - left, top, missing_y - top))


class ThirdsStage(StackedStage):
    """An hourglass with its prediction; all but the last hand features and prediction on.

    Args:
        channels, depth, modules: of the hourglass.
        slices: slices of the volume.
        last: whether no stage follows.
    """

    def __init__(self, channels: int, depth: int, modules: int, slices: int, *, last: bool) -> None:
        super().__init__()
        self.hourglass = ThirdsHourglass(depth, channels, modules)
        self.head = nn.Sequential(
            _blocks(modules, channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )
        self.predict = nn.Conv2d(channels, slices, 1)
        self.carry_features = None if last else nn.Conv2d(channels, channels, 1)
        self.carry_volume = None if last else nn.Conv2d(slices, channels, 1)


class ThirdsNetwork(StackedNetwork):
    """The study's network: (N, 3, h, w) to logits (N, slices, h, w) of each stage, the best one last.

    It has 9,746,774 parameters. The checkpoint of 2019 has 10,173,196: 330,998 more in a branch for landmark
    maps and 95,424 in what the last stage would hand on. Neither has a part in the volume, neither is here.

    Args:
        channels: width of the features.
        stages: number of hourglasses.
        modules: residual blocks at each place.
        depth: levels of each hourglass.
        slices: slices of the volume.
    """

    def __init__(
        self, channels: int = 224, stages: int = 2, modules: int = 2, depth: int = 4, slices: int = 200
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ResidualBlock(3, 64, bias=True),
            ResidualBlock(64, 128, bias=True),
            ResidualBlock(128, channels, bias=True),
        )
        self.stages = nn.ModuleList(
            ThirdsStage(channels, depth, modules, slices, last=index == stages - 1) for index in range(stages)
        )


class VrnHourglass(nn.Module):
    """An hourglass with three residual blocks at each place and one more after each addition.

    Args:
        depth: levels.
        channels: channels in and out.
        nested: where the next level stands. 'coarse': between the blocks that see the halved image, as in
            Newell's paper; the side must be divisible by 2**depth. 'fine': behind the blocks that see the
            image as it is, as in the checkpoint of 2017, which so halves it once only, at every level anew.
    """

    def __init__(self, depth: int, channels: int, nested: Nesting = "coarse") -> None:
        super().__init__()
        self.fine = nested == "fine" and depth > 1
        self.skip = _blocks(3, channels)
        self.down = _blocks(3, channels)
        self.inner = VrnHourglass(depth - 1, channels, nested) if depth > 1 else _blocks(3, channels)
        self.up = _blocks(3, channels)
        self.after = ResidualBlock(channels, channels, bias=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (N, channels, h, w) to the same shape."""
        skipped = self.skip(features)
        coarse = self.down(functional.max_pool2d(features, 2))
        if self.fine:
            skipped = self.inner(skipped)
        else:
            coarse = self.inner(coarse)
        coarse = functional.interpolate(self.up(coarse), scale_factor=2.0, mode="nearest")
        return self.after(skipped + coarse)


class VrnNetwork(nn.Module):
    """The unguided VRN, 19,184,968 parameters: (N, 3, 4h, 4w) to one prediction (N, slices, h, w).

    Each stack is added to its input; only the end predicts a volume.

    Args:
        channels: width of the features.
        stages: number of hourglasses.
        depth: levels of each hourglass.
        slices: slices of the volume.
        nested: where the levels stand in one another, see `VrnHourglass`; 'fine' in the checkpoint of 2017.
    """

    def __init__(
        self,
        channels: int = 256,
        stages: int = 2,
        depth: int = 4,
        slices: int = 200,
        nested: Nesting = "coarse",
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            ResidualBlock(64, 128, bias=True),
            nn.MaxPool2d(2),
            ResidualBlock(128, 128, bias=True),
            ResidualBlock(128, channels, bias=True),
        )
        self.stages = nn.ModuleList(
            nn.Sequential(VrnHourglass(depth, channels, nested), *_linear(channels), *_linear(channels))
            for _ in range(stages)
        )
        self.head = nn.Sequential(*_linear(channels))
        self.predict = nn.Conv2d(channels, slices, 1)

    @property
    def last_prediction(self) -> nn.Conv2d:
        """The convolution that ends in the logits."""
        return self.predict

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits, as a list of one."""
        features = self.stem(image)
        for stage in self.stages:
            features = features + stage(features)
        return [self.predict(self.head(features))]


def _linear(channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU()
