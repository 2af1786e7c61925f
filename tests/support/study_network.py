"""The 2019 study's network with the attribute names of its published checkpoints, for the tests."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class _NormReluConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.relu(self.bn(features)))


class _Through(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.cbr1 = _NormReluConv(inputs, half)
        self.cbr2 = _NormReluConv(half, half, 3)
        self.cbr3 = _NormReluConv(half, outputs)


class _Around(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.cb = _Through(inputs, outputs)
        self.skip = _Around(inputs, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        around = features if self.skip.conv is None else self.skip.conv(features)
        return self.cb.cbr3(self.cb.cbr2(self.cb.cbr1(features))) + around


class _Hourglass(nn.Module):
    def __init__(self, channels: int, reductions: int, modules: int) -> None:
        super().__init__()

        def row() -> nn.Sequential:
            return nn.Sequential(*(_Residual(channels, channels) for _ in range(modules)))

        self.skip = row()
        self.afterpool = row()
        if reductions > 1:
            self.hg = _Hourglass(channels, reductions - 1, modules)
        else:
            self.num1res = row()
        self.lowres = row()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        low = self.afterpool(functional.max_pool2d(features, 3))
        low = self.lowres(self.hg(low) if hasattr(self, "hg") else self.num1res(low))
        low = low.repeat_interleave(3, 2).repeat_interleave(3, 3)
        around = features.shape[2] - low.shape[2]
        before, after = around // 2, around - around // 2
        return functional.pad(low, (before, after, before, after)) + self.skip(features)


class StudyNetwork(nn.Module):
    """The network, by default small; with a branch for landmark maps that takes no part, as the study's."""

    def __init__(
        self,
        channels: int = 8,
        stacks: int = 2,
        modules: int = 2,
        reductions: int = 2,
        slices: int = 5,
        *,
        landmarks: bool = True,
    ) -> None:
        super().__init__()
        self.res1 = _Residual(3, 64)
        self.res2 = _Residual(64, 128)
        self.res3 = _Residual(128, channels)
        if landmarks:
            self.res_lands = _Residual(68, channels)
        self.hourglass = nn.ModuleList(_Hourglass(channels, reductions, modules) for _ in range(stacks))
        self.Residual = nn.ModuleList(
            nn.Sequential(*(_Residual(channels, channels) for _ in range(modules))) for _ in range(stacks)
        )
        self.lin1 = nn.ModuleList(_NormReluConv(channels, channels) for _ in range(stacks))
        self.chantojoints = nn.ModuleList(nn.Conv2d(channels, slices, 1) for _ in range(stacks))
        self.lin2 = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks))
        self.jointstochan = nn.ModuleList(nn.Conv2d(slices, channels, 1) for _ in range(stacks))
        if landmarks:
            self.lands_conv = nn.Sequential(nn.Conv2d(channels, 68, 3), nn.ReLU())
            self.lands_lin = nn.Linear(126 * 126, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, slices, h, w) of images (N, 3, h, w)."""
        features = self.res3(self.res2(self.res1(image)))
        for index in range(len(self.hourglass)):
            head = self.lin1[index](self.Residual[index](self.hourglass[index](features)))
            logits = self.chantojoints[index](head)
            features = features + self.lin2[index](head) + self.jointstochan[index](logits)
        return logits


def lively(network: StudyNetwork) -> StudyNetwork:
    """Give every batch norm that sees images statistics and weights that matter."""
    generator = torch.Generator().manual_seed(1)
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
            if not name.startswith("res_lands"):
                module.running_mean.uniform_(-0.1, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval()
