"""Train one network in several processes, one for each GPU, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from facepipe.core.errors import UsageError


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: its number, 0 for the one that validates, reports and writes.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, reports and writes."""
        return self.rank == 0

    def joined(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with gradients averaged over all ranks; it shares its parameters with ``network``."""
        if self.count == 1:
            return network
        ids = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=ids)

    def agreed(self, seconds: float, asked: int, device: torch.device) -> tuple[float, int]:
        """What all ranks hold to be so, so that all stop at the same step.

        Args:
            seconds: so far; clocks differ, the first rank's counts.
            asked: signal that asks this rank to end, 0 for none; the greatest counts, whichever has it.
            device: of this rank.
        """
        if self.count == 1:
            return seconds, asked
        shared = torch.tensor([seconds if self.first else 0.0, asked], dtype=torch.float64, device=device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return float(shared[0]), int(shared[1])


@contextmanager
def join_ranks(device: str) -> Iterator[tuple[Ranks, str]]:
    """Join the processes that torchrun started; alone where it did not.

    Args:
        device: a torch device; of 'cuda' each rank of a machine gets its own.

    Yields:
        This process's rank, and its device.

    Raises:
        UsageError: the machine has fewer GPUs than processes.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(), device
        return
    if device == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"process {local} of this machine has no GPU of its own: it has {torch.cuda.device_count()}; "
                "use torchrun --nproc-per-node with that number"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Ranks(dist.get_rank(), count), device
    finally:
        dist.destroy_process_group()
