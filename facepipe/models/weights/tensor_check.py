"""Check that tensors are those of a network. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping

from facepipe.core.errors import WeightsError
from facepipe.models.weights.weights_file import Tensors


def check_shapes(
    tensors: Tensors, expected: Mapping[str, tuple[int, ...]], architecture: str, name: str
) -> None:
    """Check that tensors are a network's, each of them once and of its shape.

    Counters of batches, which old checkpoints lack, may be missing.

    Args:
        tensors: what there is.
        expected: the shape of each tensor of the network.
        architecture: of the network, for messages.
        name: of the file, for messages.

    Raises:
        WeightsError: one is missing, too many or of another shape.
    """
    needed = {key for key in expected if not key.endswith("num_batches_tracked")}
    for key in sorted(needed - tensors.keys())[:1]:
        raise WeightsError(f"{name}: it has no tensor for {key} of architecture {architecture!r}")
    for key in sorted(tensors):
        tensor, shape = tensors[key], expected.get(key)
        # Weights files hold a single number as a vector of one, which torch takes.
        if tensor.shape != shape and not (shape == () and tensor.shape == (1,)):
            raise WeightsError(
                f"{name}: a tensor of shape {tensor.shape} for {key}, where architecture {architecture!r} "
                f"has {'none' if shape is None else shape}"
            )
