"""Steps of `fit` and `predict` that the systems share: parameters, frames, seeds, plans, checkpoints, and batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from ..device import resolve_precision
from ..featurizers.batching import map_halving, plan_batches
from ..featurizers.encoder import encoding_session
from ..validation import check_choice, check_flag, check_integer, check_real, shown
from .collation import pad
from .frames import Frames, clip_frames, frame_featurizer, given_frames
from .model_folder import OF_THE_RUN
from .training import TrainingPlan, run_folder

PRECISIONS = ("auto", "float32", "bfloat16")
AT_ONCE = 64
"""Clips that are predicted at once, at most."""


def check_training_parameters(params: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the first of the parameters that all systems have and that is out of its range."""
    check_choice("precision", params["precision"], PRECISIONS)
    check_flag("distributed", params["distributed"])
    for name in ("n_epochs", "batch_size", "accumulation_steps"):
        check_integer(name, params[name], 1)
    check_real("dropout", params["dropout"], 0, 1, high_open=True)
    if params["learning_rate"] != "auto":
        check_real("learning_rate", params["learning_rate"], 0, low_open=True)
    check_real("weight_decay", params["weight_decay"], 0)
    check_integer("verbose", params["verbose"], 0)
    if not isinstance(params["checkpoints"], str | os.PathLike | None):
        raise ValueError(f"Got checkpoints={shown(params['checkpoints'])}, expected a folder, or None.")


def training_seed(params: Mapping[str, Any]) -> int:
    """The seed of all that is random in a fit."""
    random_state = params["random_state"]
    if random_state is None and (params["checkpoints"] is not None or params["distributed"]):
        random_state = 0
    return int(check_random_state(random_state).randint(2**31 - 1))


def encode(
    params: Mapping[str, Any], clips: Sequence[Any], expected: Mapping[str, Any] | None = None
) -> tuple[Frames, dict[str, Any]]:
    """
    Frames of clips from a frozen encoder.

    Parameters
    ----------
    params : mapping
        Parameters of an estimator.
    clips : sequence of n clips
        Or of arrays of frames, with `encoder=None`.
    expected : mapping, optional
        Identity of the encoder that was learnt from.

    Returns
    -------
    frames : list of n ndarrays of shape (n_frames, d), float32
    identity : dict
        What identifies the encoder's weights and settings, of types that JSON knows.

    Raises
    ------
    AudioError
        If a clip cannot be read.
    ValueError
        If the encoder is another than the expected one.
    """
    if params["encoder"] is None:
        frames = given_frames(clips)
        identity: dict[str, Any] = {"features": "given", "n_features": frames[0].shape[1]}
        check_identity(None, identity, expected)
        return frames, identity
    names = ("sampling_rate", "cache", "device", "verbose")
    featurizer = frame_featurizer(params["encoder"], layer=params["layer"], **{name: params[name] for name in names})
    # Precision may follow the device, on which a model need not stay.
    identity = {name: value for name, value in featurizer._encoders()[0].identity.items() if name != "precision"}
    check_identity(params["encoder"], identity, expected)
    return clip_frames(featurizer, clips, params.get("max_seconds")), identity


def check_identity(encoder: Any, found: Mapping[str, Any], expected: Mapping[str, Any] | None) -> None:
    """Raise a ValueError if an encoder's frames are not those that were learnt from."""
    different = sorted(name for name in expected or {} if found.get(name) != (expected or {})[name])
    if different:
        raise ValueError(
            f"Got encoder={shown(encoder)} with another {', '.join(different)} than in fit, expected the same; set encoder to "
            "the place of the same weights, or fit anew."
        )


def training_plan(params: Mapping[str, Any], device: torch.device, **changes: Any) -> TrainingPlan:
    """How to train, from an estimator's parameters and what its system does otherwise."""
    names = ("n_epochs", "batch_size", "accumulation_steps", "learning_rate", "weight_decay", "distributed")
    settings = {name: params[name] for name in names} | {"precision": resolve_precision(params["precision"], device)}
    return TrainingPlan(**{**settings, **changes})


def checkpoint_folder(
    params: Mapping[str, Any],
    identity: Mapping[str, Any],
    examples: Sequence[Mapping[str, Any]],
    seed: int,
    apart: Collection[str] = (),
) -> Path | None:
    """
    Where checkpoints of a fit go, or None.

    Parameters
    ----------
    params, identity, examples, seed
        What the weights depend on.
    apart : collection of str
        Parameters that they do not depend on, or that are in the examples.
    """
    if params["checkpoints"] is None:
        return None
    apart = {*OF_THE_RUN, "encoder", "random_state", "sampling_rate", *apart}
    settings = {name: value for name, value in params.items() if name not in apart}
    return run_folder(params["checkpoints"], settings=settings, encoder=identity, seed=seed, examples=list(examples))


def map_batches(
    function: Callable[[Tensor, Tensor], Any],
    inputs: Sequence[NDArray[np.float32]],
    limit: int,
    device: torch.device,
) -> list[Any]:
    """
    What a function of batches says of each clip.

    Parameters
    ----------
    function : callable
        From a padded batch of shape (batch, longest, ...) and its mask of shape (batch, longest), both on `device`, to a
        sequence of `batch` results.
    inputs : sequence of n ndarrays of shape (length, ...)
        Frames or waves.
    limit : int
        Bound on the steps of a padded batch. A batch that does not fit in memory is halved.
    device : torch.device

    Returns
    -------
    results : list of n objects
        In the order of `inputs`.
    """

    def batch_results(indices: list[int]) -> list[Any]:
        padded, mask = pad([inputs[i] for i in indices])
        return list(function(padded.to(device), mask.to(device)))

    results: list[Any] = [None] * len(inputs)
    batches = plan_batches([max(len(x), limit / AT_ONCE) for x in inputs], limit)
    with encoding_session({device.type}), torch.inference_mode():
        for indices in batches:
            for i, result in zip(indices, map_halving(batch_results, indices), strict=True):
                results[i] = result
    return results
