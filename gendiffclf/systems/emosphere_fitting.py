"""The steps of an EmoSphereRegressor's `fit` and `predict`, as functions of its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from ..device import resolve_precision
from ..featurizers import SpeechFeaturizer
from ..featurizers.batching import plan_batches
from ..featurizers.checkpoint import open_checkpoint
from ..featurizers.encoder import encoding_session
from ..validation import check_choice, check_flag, check_integer, check_real, shown
from . import spherical
from .collation import collate
from .emosphere_losses import region_weights
from .emosphere_network import N_HEADS, POOLINGS, EmoSphereNetwork
from .emosphere_targets import DIMENSIONS
from .frames import clip_frames, clip_waves, frame_featurizer
from .model_folder import OF_THE_RUN
from .training import TrainingPlan, run_folder
from .tuned_encoder import TunedEncoder, padded_to

LEARNING_RATES = {"tuned": 1e-5, "frozen": 1e-3}
"""For "auto": the paper's with a tuned encoder, ours for pooling and heads alone."""
PREDICTION_LIMITS = {"frames": 16_000, "waves": 1_600_000}
"""Padded frames, or samples of waveforms, that are predicted at once."""


def checked_parameters(estimator: BaseEstimator) -> dict[str, Any]:
    """Parameters of an estimator; raises a ValueError that names the first one out of its range."""
    params = estimator.get_params(deep=False)
    check_choice("pooling", params["pooling"], POOLINGS)
    check_choice("precision", params["precision"], ("auto", "float32", "bfloat16"))
    for name in ("tune_encoder", "dynamic_weight", "distributed"):
        check_flag(name, params[name])
    for name in ("n_epochs", "batch_size", "accumulation_steps"):
        check_integer(name, params[name], 1)
    check_integer("width", params["width"], N_HEADS)
    if params["width"] % N_HEADS:
        raise ValueError(f"Got width={params['width']}, expected an even number, which two attention heads divide.")
    for name in ("dropout", "head_dropout"):
        check_real(name, params[name], 0, 1, high_open=True)
    if params["learning_rate"] != "auto":
        check_real("learning_rate", params["learning_rate"], 0, low_open=True)
    check_real("weight_decay", params["weight_decay"], 0)
    if params["max_seconds"] is not None:
        check_real("max_seconds", params["max_seconds"], 0, low_open=True)
    check_integer("verbose", params["verbose"], 0)
    if params["n_regions"] is not None:
        spherical.check_partition(params["n_regions"])
    if params["tune_encoder"]:
        _check_tunable(params)
    return params


def _check_tunable(params: dict[str, Any]) -> None:
    encoder = params["encoder"]
    if isinstance(encoder, SpeechFeaturizer) or encoder == "fbank":
        raise ValueError(
            f"Got encoder={shown(encoder)} with tune_encoder=True, expected a hub name, a folder or a loaded model; others "
            "have no weights to tune."
        )
    if params["layer"] != -1:
        raise ValueError(
            f"Got layer={params['layer']} with tune_encoder=True, expected -1: a tuned encoder gives its last."
        )


def training_seed(params: dict[str, Any]) -> int:
    """The seed of all that is random in a fit."""
    random_state = params["random_state"]
    if random_state is None and (params["checkpoints"] is not None or params["distributed"]):
        random_state = 0
    return int(check_random_state(random_state).randint(2**31 - 1))


def open_encoder(params: dict[str, Any]) -> tuple[SpeechFeaturizer | TunedEncoder, dict[str, Any]]:
    """
    The encoder, and what identifies its weights and settings.

    Returns
    -------
    encoder : SpeechFeaturizer or TunedEncoder
        A featuriser of frames, or a module of its own that can be trained.
    identity : dict
        Of types that JSON knows.
    """
    if params["tune_encoder"]:
        checkpoint = open_checkpoint(params["encoder"], None, "auto")
        return TunedEncoder.from_checkpoint(checkpoint), {"weights": checkpoint.fingerprint}
    names = ("sampling_rate", "cache", "device", "verbose")
    featurizer = frame_featurizer(params["encoder"], layer=params["layer"], **{name: params[name] for name in names})
    identity = featurizer._encoders()[0].identity
    # Precision may follow the device, on which a model need not stay.
    return featurizer, {name: value for name, value in identity.items() if name != "precision"}


def check_identity(encoder: Any, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise a ValueError if an encoder's frames are not those that were learnt from."""
    different = sorted(name for name in expected if found.get(name) != expected[name])
    if different:
        raise ValueError(
            f"Got encoder={shown(encoder)} with another {', '.join(different)} than in fit, expected the same; set encoder to "
            "the place of the same weights, or fit anew."
        )


def encoder_inputs(
    params: dict[str, Any], encoder: SpeechFeaturizer | TunedEncoder, clips: Sequence[Any]
) -> list[NDArray[np.float32]]:
    """Frames of each clip, of shape (n_frames, d), or waveforms, of shape (n_samples,), for a tuned encoder."""
    if not isinstance(encoder, TunedEncoder):
        return clip_frames(encoder, clips, params["max_seconds"])
    waves = clip_waves(clips, encoder.rate, params["sampling_rate"], params["max_seconds"])
    return padded_to(waves, encoder.shortest)


def network_of(params: dict[str, Any], n_features: int, encoder: TunedEncoder | None) -> EmoSphereNetwork:
    """A network of the shape that the parameters say."""
    return EmoSphereNetwork(
        n_features,
        pooling=params["pooling"],
        width=params["width"],
        n_regions=params["n_regions"] or 0,
        dropout=params["dropout"],
        head_dropout=params["head_dropout"],
        weighted_by_epoch=params["dynamic_weight"],
        encoder=encoder,
    )


def new_network(
    params: dict[str, Any],
    encoder: SpeechFeaturizer | TunedEncoder,
    inputs: Sequence[NDArray[np.float32]],
    seed: int,
) -> EmoSphereNetwork:
    """A network with initial weights, and the scaling of its inputs fitted."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(encoder, TunedEncoder):
            return network_of(params, encoder.n_features, encoder.fit(inputs))
        network = network_of(params, inputs[0].shape[1], None)
    network.scaler.fit(inputs)  # type: ignore[union-attr]
    return network


def training_examples(
    params: dict[str, Any],
    network: EmoSphereNetwork,
    inputs: Sequence[NDArray[np.float32]],
    ratings: NDArray[np.float64],
    names: list[str],
    value_range: tuple[float, float],
) -> list[dict[str, Any]]:
    """
    What the network learns from; where it has regions, it gets their class weights.

    Parameters
    ----------
    inputs : sequence of ndarray
        Frames or waves.
    ratings : ndarray of shape (n, 3)
        In the caller's units and order.
    names : list of str
        Names of its columns.
    value_range : (float, float)
    """
    low, high = value_range
    examples = [
        {network.input_name: x, "target": y}
        for x, y in zip(inputs, ((ratings - low) / (high - low)).astype(np.float32), strict=True)
    ]
    if params["n_regions"] is not None:
        points = spherical.centred(ratings, low, high)[:, [names.index(name) for name in DIMENSIONS]]
        numbers = spherical.regions(points, params["n_regions"])
        network.region_weights.copy_(region_weights(numbers, params["n_regions"]))
        for example, number in zip(examples, numbers, strict=True):
            example["region"] = number
    return examples


def training_plan(params: dict[str, Any], device: torch.device, n_examples: int) -> TrainingPlan:
    """How to train, from an estimator's parameters."""
    rate = params["learning_rate"]
    if rate == "auto":
        rate = LEARNING_RATES["tuned" if params["tune_encoder"] else "frozen"]
    return TrainingPlan(
        n_epochs=params["n_epochs"],
        batch_size=params["batch_size"],
        accumulation_steps=params["accumulation_steps"],
        learning_rate=rate,
        weight_decay=params["weight_decay"],
        precision=resolve_precision(params["precision"], device),
        # CCC over the few clips that are left at the end of an epoch is mostly noise.
        drop_last=n_examples >= params["batch_size"],
        distributed=params["distributed"],
    )


def checkpoint_folder(
    params: dict[str, Any], identity: dict[str, Any], examples: Sequence[dict[str, Any]], seed: int
) -> Path | None:
    """Where checkpoints of this fit go, or None."""
    if params["checkpoints"] is None:
        return None
    named_otherwise = (*OF_THE_RUN, "encoder", "random_state", "sampling_rate")
    settings = {name: value for name, value in params.items() if name not in named_otherwise}
    return run_folder(params["checkpoints"], settings=settings, encoder=identity, seed=seed, examples=list(examples))


def predict_in_batches(
    network: EmoSphereNetwork, inputs: Sequence[NDArray[np.float32]], name: str, device: torch.device
) -> NDArray[np.float64]:
    """
    What a part of the network says of each clip.

    Parameters
    ----------
    network : EmoSphereNetwork
        Moved to `device`.
    inputs : sequence of n ndarrays
        Frames or waves.
    name : {"style", "ratings", "regions"}
    device : torch.device

    Returns
    -------
    outputs : ndarray of shape (n, k), float64
    """
    network = network.to(device).eval()
    results: list[Any] = [None] * len(inputs)
    batches = plan_batches([len(x) for x in inputs], PREDICTION_LIMITS[network.input_name])
    with encoding_session({device.type}), torch.inference_mode():
        for indices in batches:
            batch = collate([{network.input_name: inputs[i]} for i in indices])
            output = network.style(**{key: value.to(device) for key, value in batch.items()})
            if name != "style":
                output = getattr(network, name)(output)
            for i, row in zip(indices, output.double().cpu().numpy(), strict=True):
                results[i] = row
    return np.stack(results)
