"""Steps of `fit` and `predict` specific to `EmoSphereRegressor`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..featurizers import SpeechFeaturizer
from ..featurizers.checkpoint import open_checkpoint
from ..validation import check_choice, check_flag, check_integer, check_real, shown
from . import spherical
from .emosphere_losses import region_weights
from .emosphere_network import N_HEADS, POOLINGS, EmoSphereNetwork
from .emosphere_targets import DIMENSIONS
from .steps import check_training_parameters, training_arguments
from .tuned_encoder import TunedEncoder

LEARNING_RATES = {"tuned": 1e-5, "frozen": 1e-3}
"""Values of "auto": the paper's for a tuned encoder, and our own for pooling and heads alone."""

AUTO_EPOCHS = (20, 1000)
"""Minimum numbers of epochs, as in the released script, and of updates, which few clips need."""


def check_parameters(params: Mapping[str, Any]) -> None:
    """Raise a ValueError for the first parameter that is out of range."""
    check_training_parameters(params)
    if params["batch_size"] == 1:
        raise ValueError(
            "Got batch_size=1, expected an integer >= 2, since the loss is a correlation over the clips of a step; lower "
            "max_seconds to save memory."
        )
    check_real("learning_rate", params["learning_rate"], 0, low_open=True, also=("auto",))
    check_choice("pooling", params["pooling"], POOLINGS)
    for name in ("tune_encoder", "dynamic_weight"):
        check_flag(name, params[name])
    check_integer("width", params["width"], N_HEADS)
    if params["width"] % N_HEADS:
        raise ValueError(f"Got width={params['width']}, expected an even number, for {N_HEADS} attention heads.")
    check_real("head_dropout", params["head_dropout"], 0, 1, high_open=True)
    check_real("max_seconds", params["max_seconds"], 0, low_open=True, also=(None,))
    if params["n_regions"] is not None:
        spherical.check_partition(params["n_regions"])
    if params["tune_encoder"]:
        _check_tunable(params)


def _check_tunable(params: Mapping[str, Any]) -> None:
    encoder = params["encoder"]
    if encoder is None or isinstance(encoder, SpeechFeaturizer) or encoder == "fbank":
        given = type(encoder).__name__ if isinstance(encoder, SpeechFeaturizer) else shown(encoder)
        raise ValueError(
            f"Got encoder={given} with tune_encoder=True, expected a hub name, a folder or a loaded model; pass the model of a "
            "HubertFeaturizer itself, or set tune_encoder=False."
        )
    if params["layer"] != -1:
        raise ValueError(f"Got layer={params['layer']} with tune_encoder=True, expected -1, the last layer.")


def open_tuned(params: Mapping[str, Any]) -> tuple[TunedEncoder, dict[str, Any]]:
    """A trainable copy of the encoder, and the identity of its initial weights."""
    checkpoint = open_checkpoint(params["encoder"], None, do_normalize=False)  # `TunedEncoder` standardises waveforms
    model = copy.deepcopy(checkpoint.load(torch.device("cpu"), torch.float32)).requires_grad_(True)
    return TunedEncoder(model, checkpoint.sampling_rate), {"weights": checkpoint.fingerprint}


def new_network(
    params: Mapping[str, Any], encoder: TunedEncoder | None, inputs: Sequence[NDArray[np.float32]], seed: int
) -> EmoSphereNetwork:
    """A network with initial weights and fitted input scaling."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EmoSphereNetwork(
            inputs[0].shape[1] if encoder is None else encoder.n_features,
            pooling=params["pooling"],
            width=params["width"],
            n_regions=params["n_regions"] or 0,
            dropout=params["dropout"],
            head_dropout=params["head_dropout"],
            weighted_by_epoch=params["dynamic_weight"],
            encoder=encoder,
        )
    (encoder or network.scaler).fit(inputs)  # type: ignore[union-attr]
    return network


def training_examples(
    params: Mapping[str, Any],
    network: EmoSphereNetwork,
    inputs: Sequence[NDArray[np.float32]],
    ratings: NDArray[np.float64],
    names: list[str],
    value_range: tuple[float, float],
) -> list[dict[str, Any]]:
    """
    Build examples of "inputs" of the network, "target" in [0, 1] and, if there are regions, "region".

    The columns of `ratings`, of shape (n, 3) on the scale `value_range`, have `names`. The network's class weights of the
    regions are set.
    """
    low, high = value_range
    targets = ((ratings - low) / (high - low)).astype(np.float32)
    examples: list[dict[str, Any]] = [{"inputs": x, "target": y} for x, y in zip(inputs, targets, strict=True)]
    if params["n_regions"] is not None:
        points = spherical.centred(ratings, low, high)[:, [names.index(name) for name in DIMENSIONS]]
        numbers = spherical.regions(points, params["n_regions"])
        network.region_weights.copy_(region_weights(numbers, params["n_regions"]))
        for example, number in zip(examples, numbers, strict=True):
            example["region"] = number
    return examples


def new_arguments(params: Mapping[str, Any], n_examples: int) -> dict[str, Any]:
    """Arguments of `train_module` from the parameters of an estimator and the number of examples."""
    rate = params["learning_rate"]
    if rate == "auto":
        rate = LEARNING_RATES["tuned" if params["tune_encoder"] else "frozen"]
    return training_arguments(
        params,
        n_examples,
        AUTO_EPOCHS,
        learning_rate=rate,
        lr_scheduler_type="constant",
        dataloader_drop_last=True,  # the CCC over the few clips of an incomplete batch is mostly noise
    )
