"""Weights of networks: safetensors with a description of themselves, and safe readers for other formats.

Tensors are numpy arrays; torch is imported only to read a PyTorch checkpoint.
"""

from facepipe.models.weights.card import CURVE, card_text, is_curve, model_card, sparkline, write_card
from facepipe.models.weights.figures import COMMANDS, FITTED_HEAD, TRUTH_ITSELF, telling_figures, wrong_figure
from facepipe.models.weights.info import FILE_SUFFIXES, WeightsInfo, check_name
from facepipe.models.weights.listing import Listed, count_parameters, list_text, listed
from facepipe.models.weights.model_store import (
    broken_weights,
    find_weights,
    imported_folder,
    list_weights,
    remove_weights,
    shipped_folder,
)
from facepipe.models.weights.network_search import find_network
from facepipe.models.weights.tensor_check import check_shapes
from facepipe.models.weights.third_party import read_third_party
from facepipe.models.weights.torch7 import TorchObject, is_torch7, read_torch7
from facepipe.models.weights.weights_file import (
    Tensors,
    WeightsFile,
    is_weights,
    load_tensors,
    open_weights,
    save_weights,
    weights_at,
)

__all__ = [
    "COMMANDS",
    "CURVE",
    "FILE_SUFFIXES",
    "FITTED_HEAD",
    "TRUTH_ITSELF",
    "Listed",
    "Tensors",
    "TorchObject",
    "WeightsFile",
    "WeightsInfo",
    "broken_weights",
    "card_text",
    "check_name",
    "check_shapes",
    "count_parameters",
    "find_network",
    "find_weights",
    "imported_folder",
    "is_curve",
    "is_torch7",
    "is_weights",
    "list_text",
    "list_weights",
    "listed",
    "load_tensors",
    "model_card",
    "open_weights",
    "read_third_party",
    "read_torch7",
    "remove_weights",
    "save_weights",
    "shipped_folder",
    "sparkline",
    "telling_figures",
    "weights_at",
    "write_card",
    "wrong_figure",
]
