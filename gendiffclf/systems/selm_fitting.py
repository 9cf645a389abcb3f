"""The steps of a SelmClassifier's `fit` and `predict`, as functions of its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ..device import resolve_precision
from ..featurizers import SpeechFeaturizer
from ..featurizers.batching import map_halving
from ..featurizers.encoder import encoding_session
from ..validation import check_choice, check_flag, check_integer, check_real, shown
from .collation import pad
from .frames import frame_featurizer
from .model_folder import OF_THE_RUN
from .selm_language import BYTES, answer_tokens, check_room, load_language_model, prompt_tokens
from .selm_model import SelmModel
from .selm_texts import View
from .training import TrainingPlan, run_folder

PREDICTED_AT_ONCE = 64
WARMUP_SHARE = 0.1


def checked_parameters(estimator: BaseEstimator) -> dict[str, Any]:
    """Parameters of an estimator; raises a ValueError that names the first one out of its range."""
    params: dict[str, Any] = estimator.get_params(deep=False)
    check_choice("precision", params["precision"], ("auto", "float32", "bfloat16"))
    for name in ("length_normalize", "distributed"):
        check_flag(name, params[name])
    if params["tune_language_model"] != "auto":
        check_flag("tune_language_model", params["tune_language_model"])
    at_least_one = (
        "n_prefix",
        "n_mapper_layers",
        "n_heads",
        "n_epochs",
        "few_shot_epochs",
        "batch_size",
        "accumulation_steps",
    )
    for name in at_least_one:
        check_integer(name, params[name], 1)
    check_real("dropout", params["dropout"], 0, 1, high_open=True)
    check_real("learning_rate", params["learning_rate"], 0, low_open=True)
    check_real("weight_decay", params["weight_decay"], 0)
    check_integer("verbose", params["verbose"], 0)
    if not isinstance(params["prompt"], str) or not params["prompt"].strip():
        raise ValueError(f"Got prompt={shown(params['prompt'])}, expected a text of words.")
    return params


def checked_labels(y: Any, n_clips: int) -> NDArray[Any]:
    """Labels as an array of shape (n,); raises a ValueError if they are no classes, or not one for each clip."""
    labels = column_or_1d(y)
    check_classification_targets(labels)
    if len(labels) != n_clips:
        raise ValueError(f"Got {len(labels)} labels for {n_clips} clips, expected one for each.")
    return labels


def open_encoder(params: Mapping[str, Any]) -> tuple[SpeechFeaturizer, dict[str, Any]]:
    """The featuriser of frames, and what identifies its weights and settings, of types that JSON knows."""
    names = ("sampling_rate", "cache", "device", "verbose")
    featurizer = frame_featurizer(params["encoder"], layer=params["layer"], **{name: params[name] for name in names})
    identity = featurizer._encoders()[0].identity
    # Precision may follow the device, on which a model need not stay.
    return featurizer, {name: value for name, value in identity.items() if name != "precision"}


def model_of(params: Mapping[str, Any], language_model: torch.nn.Module, n_features: int) -> SelmModel:
    """A model of the shape that the parameters say."""
    tune = params["tune_language_model"]
    width = language_model.get_input_embeddings().embedding_dim  # type: ignore[operator]
    if width % params["n_heads"]:
        raise ValueError(
            f"Got n_heads={params['n_heads']}, expected a divisor of {width}, the width of the language model."
        )
    return SelmModel(
        language_model,
        n_features,
        n_prefix=params["n_prefix"],
        n_layers=params["n_mapper_layers"],
        n_heads=params["n_heads"],
        dropout=params["dropout"],
        tune_language_model=params["language_model"] == BYTES if tune == "auto" else bool(tune),
    )


def new_model(params: Mapping[str, Any], frames: Sequence[NDArray[np.float32]], seed: int) -> tuple[SelmModel, Any]:
    """A model with initial mappers and fitted scaling of frames, and its tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        language_model, tokenizer = load_language_model(params["language_model"])
        model = model_of(params, language_model, frames[0].shape[1])
    model.audio_mapper.scaler.fit(frames)
    return model, tokenizer


def training_examples(
    model: SelmModel,
    tokenizer: Any,
    frames: Sequence[NDArray[np.float32]],
    labels: NDArray[Any],
    texts: Mapping[Any, Sequence[str]],
    prompt: str,
    views: Mapping[str, View],
) -> list[dict[str, Any]]:
    """
    Triplets of a clip, a prompt and an answer.

    Parameters
    ----------
    model : SelmModel
        Whose language model must have room for the answers.
    tokenizer : PreTrainedTokenizer
    frames : sequence of n ndarrays of shape (n_frames, d)
    labels : ndarray of shape (n,)
    texts : mapping of label to texts
        Each text of a clip's label is an answer to `prompt`.
    prompt : str
    views : mapping of str to View
        Each that has an answer for a clip's label adds an example.

    Returns
    -------
    examples : list of dict
        As `collation.collate` takes them: "frames", "prompt", "n_prompt", "answer", "n_answer". Prompts and answers are
        padded with zeros to one length.
    """
    triplets: list[tuple[int, str, str]] = []
    for i, label in enumerate(labels.tolist()):
        triplets += [(i, prompt, text) for text in texts[label]]
        triplets += [(i, view.prompt, view.texts[label]) for view in views.values() if label in view.texts]
    prompts = {text: prompt_tokens(tokenizer, text) for text in {triplet[1] for triplet in triplets}}
    answers = {text: answer_tokens(tokenizer, text) for text in {triplet[2] for triplet in triplets}}
    check_room(model.language_model, len(model.audio_mapper.mapper.constants), list(answers.values()))
    examples = []
    for i, question, answer in triplets:
        example = {"frames": frames[i]}
        for name, tokens, all_tokens in (
            ("prompt", prompts[question], prompts.values()),
            ("answer", answers[answer], answers.values()),
        ):
            example[name] = np.pad(np.array(tokens), (0, max(map(len, all_tokens)) - len(tokens)))
            example[f"n_{name}"] = np.array(len(tokens))
        examples.append(example)
    return examples


def training_plan(params: Mapping[str, Any], device: torch.device, *, few_shot: bool) -> TrainingPlan:
    """How to train, from an estimator's parameters; few-shot training starts from trained mappers and needs no warm-up."""
    return TrainingPlan(
        n_epochs=params["few_shot_epochs"] if few_shot else params["n_epochs"],
        batch_size=params["batch_size"],
        accumulation_steps=params["accumulation_steps"],
        learning_rate=params["learning_rate"],
        weight_decay=params["weight_decay"],
        precision=resolve_precision(params["precision"], device),
        warmup_share=0.0 if few_shot else WARMUP_SHARE,
        schedule="linear",
        distributed=params["distributed"],
    )


def checkpoint_folder(
    params: Mapping[str, Any], identity: Mapping[str, Any], examples: Sequence[dict[str, Any]], seed: int
) -> Path | None:
    """Where checkpoints of this fit go, or None."""
    if params["checkpoints"] is None:
        return None
    # Texts, prompt and views are in the examples, and the encoder in its identity.
    apart = (*OF_THE_RUN, "encoder", "label_texts", "length_normalize", "random_state", "sampling_rate", "views")
    settings = {name: value for name, value in params.items() if name not in apart}
    return run_folder(params["checkpoints"], settings=settings, encoder=identity, seed=seed, examples=list(examples))


def map_prefixes(
    function: Any,
    model: SelmModel,
    tokenizer: Any,
    frames: Sequence[NDArray[np.float32]],
    prompt: str,
    device: torch.device,
) -> list[Any]:
    """
    What `function` makes of the prefix of each clip.

    Parameters
    ----------
    function : callable
        From a Tensor of shape (batch, 2 * n_prefix, width) to a sequence of `batch` results.
    model : SelmModel
        Moved to `device`.
    tokenizer : PreTrainedTokenizer
    frames : sequence of n ndarrays of shape (n_frames, d)
    prompt : str
    device : torch.device

    Returns
    -------
    results : list of n objects
        In the order of `frames`.
    """
    model.to(device).eval()
    tokens = torch.tensor([prompt_tokens(tokenizer, prompt)], device=device)  # (1, tokens)
    n_tokens = torch.tensor([tokens.shape[1]], device=device)

    def batch_results(indices: list[int]) -> list[Any]:
        padded, mask = pad([frames[i] for i in indices])
        return list(function(model.prefix(padded.to(device), mask.to(device), tokens, n_tokens)))

    # Clips of like length share a batch, so that little of it is padding.
    order = sorted(range(len(frames)), key=lambda i: len(frames[i]))
    results: list[Any] = [None] * len(frames)
    with encoding_session({device.type}), torch.inference_mode():
        for start in range(0, len(order), PREDICTED_AT_ONCE):
            indices = order[start : start + PREDICTED_AT_ONCE]
            for i, result in zip(indices, map_halving(batch_results, indices), strict=True):
                results[i] = result
    return results
