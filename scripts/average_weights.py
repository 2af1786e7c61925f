"""Average two weights of the same network: `python scripts/average_weights.py FIRST SECOND SHARE OUT`.

SHARE of the second, the rest of the first, tensor by tensor, statistics of batch norm included; OUT is a
.safetensors file. Weights that one training made of others lie in one valley with them, so that a mean keeps
most of what each knows (Wortsman et al., 'Robust fine-tuning of zero-shot models', CVPR 2022).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from facepipe.models.vrn.regressors import open_regressor
from facepipe.models.weights import load_tensors, save_weights


def main(first: str, second: str, share: float, out: Path) -> None:
    """Write the mean, described as what it is."""
    one, other = open_regressor(first).file, open_regressor(second).file
    if one.info.architecture != other.info.architecture or one.info.arguments != other.info.arguments:
        sys.exit(f"{first} and {second} are different networks")
    tensors, others = load_tensors(one.path), load_tensors(other.path)
    mixed = {
        key: ((1 - share) * value.astype(np.float64) + share * others[key]).astype(value.dtype)
        if np.issubdtype(value.dtype, np.floating)
        else others[key]
        for key, value in tensors.items()
    }
    earlier = [
        *other.info.training.get("earlier", ()),
        *(str(info.training.get("command", "unknown")) for info in (one.info, other.info)),
    ]
    training = {
        **other.info.training,
        "command": f"scripts/average_weights.py {one.info.name} {other.info.name} {share:g} {out.name}",
        "started_from": f"{1 - share:g} of identity {one.identity}, {share:g} of identity {other.identity}",
        "earlier": earlier,
    }
    save_weights(out, mixed, replace(other.info, name=out.stem, training=training, figures={}))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4]))
