"""Networks of a challenge's repository, such as NTIRE's efficient super-resolution, as methods.

A team's entry is a file with a class, a checkpoint, and the lines of `select_model` in test_demo.py, which
become the arguments here. Change the folder and the teams to those that you have:

    git clone https://github.com/Amazingren/NTIRE2026_ESR
    facepipe bench --dataset sample --methods bicubic,challenge_networks:team01,challenge_networks:team22
"""

from pathlib import Path

from facepipe import ScriptNetwork

REPOSITORY = Path(__file__).parent / "NTIRE2026_ESR"


def team(name, network, checkpoint=None, **options):
    """A team's network: models/NAME.py and model_zoo/NAME.pth, enlarging four times."""
    weights = REPOSITORY / "model_zoo" / (checkpoint or f"{name}.pth")
    return ScriptNetwork(REPOSITORY / "models" / f"{name}.py", network, weights, **options)


team01 = team("team01_PDS", "PDS")
team11 = team("team11_VSCINet", "VSCINet", low_px=(16, 32, 64))
team22 = team(
    "team22_SPANV2_ESR", "SPANV2_ESR", "team22_spanv2_c2.pth",
    arguments={
        "num_in_ch": 3, "num_out_ch": 3, "feature_channels": 32, "bias": False, "use_span_attn": False,
    },
)  # fmt: skip
