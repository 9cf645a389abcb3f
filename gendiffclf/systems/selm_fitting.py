"""Steps of `fit` specific to `SelmClassifier`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import nn

from ..validation import check_flag, check_integer, check_none_missing, check_real, shown
from .selm_language import (
    BYTES,
    answer_tokens,
    check_positions,
    label_answers,
    load_language_model,
    prompt_tokens,
)
from .selm_model import SelmModel
from .selm_texts import View
from .steps import check_training_parameters

AUTO_EPOCHS = (30, 500)
"""Minimum numbers of epochs and of updates; with more updates, few clips are overfitted."""
WARMUP_SHARE = 0.1
"""Share of the updates of `fit` in which the rate rises (`warmup_steps`); few-shot training starts from trained mappers."""
EXCLUDED = ("label_texts", "length_normalize", "views")
"""Parameters that the name of the checkpoint folder does not depend on: they do not affect training, or only its examples."""


def check_parameters(params: Mapping[str, Any]) -> None:
    """Raise a ValueError for the first parameter that is out of range."""
    check_training_parameters(params)
    check_real("learning_rate", params["learning_rate"], 0, low_open=True)
    check_flag("length_normalize", params["length_normalize"])
    if params["tune_language_model"] != "auto":
        check_flag("tune_language_model", params["tune_language_model"])
    for name in ("n_prefix", "n_mapper_layers", "n_heads", "few_shot_epochs"):
        check_integer(name, params[name], 1)
    if not isinstance(params["prompt"], str) or not params["prompt"].strip():
        raise ValueError(f"Got prompt={shown(params['prompt'])}, expected a string that is not blank.")


def checked_labels(y: Any, n_clips: int) -> NDArray[Any]:
    """Return the labels as an array of shape (n,); raise a ValueError if they are not classes, one per clip."""
    labels = column_or_1d(y)
    check_none_missing("y", labels)
    check_classification_targets(labels)
    if len(labels) != n_clips:
        raise ValueError(f"Got {len(labels)} labels for {n_clips} clips, expected one per clip.")
    return labels


def initial_language_model(params: Mapping[str, Any], seed: int) -> tuple[nn.Module, Any]:
    """The language model before training, and its tokenizer; a ValueError if `n_heads` does not divide its width."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        language_model, tokenizer = load_language_model(params["language_model"])
    width = language_model.get_input_embeddings().embedding_dim  # type: ignore[operator]
    if width % params["n_heads"]:
        raise ValueError(f"Got n_heads={params['n_heads']}, expected a divisor of the language model's width, {width}.")
    return language_model, tokenizer


def new_model(
    params: Mapping[str, Any], language_model: nn.Module, frames: Sequence[NDArray[np.float32]], seed: int
) -> SelmModel:
    """A model with initial mappers and fitted frame scaling."""
    tune = params["tune_language_model"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)  # other numbers than those of a language model with random weights
        model = SelmModel(
            language_model,
            frames[0].shape[1],
            n_prefix=params["n_prefix"],
            n_layers=params["n_mapper_layers"],
            n_heads=params["n_heads"],
            dropout=params["dropout"],
            tune_language_model=params["language_model"] == BYTES if tune == "auto" else bool(tune),
        )
    model.audio_mapper.scaler.fit(frames)
    return model


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
    Build training examples for `collate`, each of the frames of a clip, a prompt and an answer.

    Each of the `texts` of a clip's label is an answer to `prompt`, and each view with an answer for the label adds an example.
    "n_prompt" and "n_answer" are the lengths of "prompt" and "answer", which are zero-padded to equal lengths. A ValueError if
    the model's language model has too few positions for the answers, or the tokenizer does not distinguish the labels.
    """
    label_answers(tokenizer, texts)
    triplets: list[tuple[int, str, str]] = []
    for i, label in enumerate(labels.tolist()):
        triplets += [(i, prompt, text) for text in texts[label]]
        triplets += [(i, view.prompt, view.texts[label]) for view in views.values() if label in view.texts]
    prompts = {text: prompt_tokens(tokenizer, text) for text in {triplet[1] for triplet in triplets}}
    answers = {text: answer_tokens(tokenizer, text) for text in {triplet[2] for triplet in triplets}}
    check_positions(model.language_model, model.settings["n_prefix"], max(map(len, answers.values())))
    examples = []
    for i, question, answer in triplets:
        example = {"inputs": frames[i]}
        for name, tokens, all_tokens in (
            ("prompt", prompts[question], prompts.values()),
            ("answer", answers[answer], answers.values()),
        ):
            example[name] = np.pad(np.array(tokens), (0, max(map(len, all_tokens)) - len(tokens)))
            example[f"n_{name}"] = np.array(len(tokens))
        examples.append(example)
    return examples
