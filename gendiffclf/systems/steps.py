"""Steps of `fit` and `predict` common to the systems: parameters, frames, seeds, training arguments, checkpoints, batches."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from ..device import resolve_device, resolve_precision
from ..featurizers.batching import map_batches
from ..featurizers.encoder import encoding_session
from ..featurizers.padding import pad
from ..validation import check_choice, check_flag, check_integer, check_real, check_verbose, shown
from .frames import Frames, frame_featurizer, given_frames, truncated
from .model_folder import RUNTIME_PARAMETERS

PRECISIONS = ("auto", "float32", "bfloat16")
MAX_BATCH = 64
"""Maximum number of clips per batch of prediction."""


def check_training_parameters(params: Mapping[str, Any]) -> None:
    """Raise a ValueError for the first parameter that is out of range, of those common to all systems."""
    check_choice("precision", params["precision"], PRECISIONS)
    check_flag("distributed", params["distributed"])
    check_integer("n_epochs", params["n_epochs"], 1, also=("auto",))
    for name in ("batch_size", "accumulation_steps"):
        check_integer(name, params[name], 1)
    check_real("dropout", params["dropout"], 0, 1, high_open=True)
    check_real("weight_decay", params["weight_decay"], 0)
    check_verbose(params["verbose"])
    if not isinstance(params["checkpoints"], str | os.PathLike | None):
        raise ValueError(f"Got checkpoints={shown(params['checkpoints'])}, expected a folder or None.")


def training_seed(params: Mapping[str, Any]) -> int:
    """Seed of a fit, from `random_state`."""
    random_state = params["random_state"]
    if random_state is None and (params["checkpoints"] is not None or params["distributed"]):
        random_state = 0
    return int(check_random_state(random_state).randint(2**31 - 1))


def encode(
    params: Mapping[str, Any], clips: Sequence[Any], expected: Mapping[str, Any] | None = None
) -> tuple[Frames, dict[str, Any]]:
    """
    Encode n clips into frames of shape (n_frames, d), float32, with a frozen encoder.

    With `encoder=None`, `clips` are frames already. The second result identifies the encoder's weights and settings, as JSON
    types; a ValueError if they differ from the `expected` ones.
    """
    encoder, featurizer = params["encoder"], None
    if encoder is None:
        frames = given_frames(clips)
        identity: dict[str, Any] = {"features": "given", "n_features": frames[0].shape[1]}
    else:
        settings = {name: params[name] for name in ("sampling_rate", "cache", "device", "verbose")}
        featurizer = frame_featurizer(encoder, layer=params["layer"], **settings)
        identity = featurizer._identity()
    different = sorted(name for name, value in (expected or {}).items() if identity.get(name) != value)
    if different:
        raise ValueError(
            f"Got encoder={shown(encoder)} whose {', '.join(different)} differ from those in fit, expected the same encoder; "
            "set encoder to the path of the same weights, or fit again."
        )
    if featurizer is not None:
        cut = [truncated(clip, featurizer.sampling_rate, params.get("max_seconds")) for clip in clips]
        frames = list(featurizer.transform(cut))
    return frames, identity


def training_arguments(
    params: Mapping[str, Any], n_examples: int, bounds: tuple[int, int], **changes: Any
) -> dict[str, Any]:
    """
    Arguments of `train_module` from the parameters of an estimator, with changes.

    `bounds` are the minimum numbers of epochs and of updates for `n_epochs="auto"`.
    """
    n_epochs, device = params["n_epochs"], resolve_device(params["device"])
    if n_epochs == "auto":
        per_update = params["batch_size"] * params["accumulation_steps"] * group_size(params)
        min_epochs, min_updates = bounds
        n_epochs = max(min_epochs, math.ceil(min_updates / max(n_examples // per_update, 1)))
    return {
        "num_train_epochs": n_epochs,
        "per_device_train_batch_size": params["batch_size"],
        "gradient_accumulation_steps": params["accumulation_steps"],
        "learning_rate": params["learning_rate"],
        "weight_decay": params["weight_decay"],
        "bf16": resolve_precision(params["precision"], device) == torch.bfloat16,
        "distributed": params["distributed"],
        "verbose": params["verbose"],
        "device": device,
        **changes,
    }


def group_size(params: Mapping[str, Any]) -> int:
    """Number of processes that train one model, before they have formed a group."""
    return int(os.environ.get("WORLD_SIZE", 1)) if params["distributed"] else 1


def checkpoint_folder(
    params: Mapping[str, Any],
    identity: Mapping[str, Any],
    examples: Sequence[Mapping[str, Any]],
    seed: int,
    excluded: Collection[str] = (),
) -> Path | None:
    """
    Return the folder for the checkpoints of a fit, below that of the parameter `checkpoints`, or None.

    Its name is a hash of all arguments and the number of processes, without the parameters `excluded`, which affect the weights
    only through the examples. Fits to other data or with other parameters, as in a grid search, thus never share checkpoints.
    """
    if params["checkpoints"] is None:
        return None
    excluded = {*RUNTIME_PARAMETERS, "encoder", "random_state", "sampling_rate", *excluded}
    settings = {name: value for name, value in params.items() if name not in excluded}
    return Path(params["checkpoints"]) / joblib.hash([settings, identity, list(examples), seed, group_size(params)])


def map_padded(
    function: Callable[[Tensor, Tensor], Any], inputs: Sequence[NDArray[np.float32]], limit: int, device: torch.device
) -> list[Any]:
    """
    Apply a function to padded batches of frames or waveforms, and return one result per clip, in order.

    `function` gets a padded batch of shape (batch, longest, ...) and its mask of shape (batch, longest), both on `device`, and
    returns a sequence of `batch` results. Batches have at most `limit` padded steps; one that does not fit in memory is halved.
    """

    def batch_results(batch: list[NDArray[np.float32]]) -> list[Any]:
        padded, mask = pad(batch)
        return list(function(padded.to(device), mask.to(device)))

    lengths = [max(len(x), limit / MAX_BATCH) for x in inputs]
    with encoding_session({device.type}), torch.inference_mode():
        return map_batches(batch_results, inputs, lengths, limit)
