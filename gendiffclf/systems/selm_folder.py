"""Conversion of a fitted `SelmClassifier`'s language model, texts and views to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..optional import require
from .selm_texts import View


def language_description(language_model: Any, tokenizer: Any) -> dict[str, Any]:
    """Architecture of a language model and its tokenizer as JSON types; a TypeError if the tokenizer is not a fast one."""
    if not tokenizer.is_fast:
        raise TypeError(
            f"Got a tokenizer of type {type(tokenizer).__name__}, expected a fast tokenizer, which can be saved as JSON; "
            "convert it and save it to the folder of the language model before fit."
        )
    return {
        "config": language_model.config.to_diff_dict() | {"model_type": language_model.config.model_type},
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        "end_of_text": tokenizer.eos_token,
    }


def language_from_description(description: Mapping[str, Any]) -> tuple[nn.Module, Any]:
    """Return a language model whose weights are not loaded yet, and its tokenizer."""
    transformers, tokenizers = require("transformers"), require("tokenizers")
    settings = dict(description["config"])
    config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype="float32")
    backend = tokenizers.Tokenizer.from_str(description["tokenizer"])
    return model.eval(), transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=description["end_of_text"]
    )


def plain_texts(label_texts: Mapping[Any, Any] | None) -> list[Any] | None:
    """Return pairs of label and text, since keys in JSON must be strings."""
    return None if label_texts is None else [[label, text] for label, text in label_texts.items()]


def texts_from_plain(pairs: list[Any] | None) -> dict[Any, Any] | None:
    """Inverse of `plain_texts`; tuples become lists."""
    return None if pairs is None else {label: text for label, text in pairs}


def plain_views(views: Any) -> Any:
    """Return the names of views, or a list of [name, prompt, pairs of label and text]."""
    if not isinstance(views, Mapping):
        return list(views)
    return [[name, view.prompt, plain_texts(view.texts)] for name, view in views.items()]


def views_from_plain(views: list[Any]) -> Any:
    """Inverse of `plain_views`."""
    if all(isinstance(view, str) for view in views):
        return list(views)
    return {name: View(prompt, texts_from_plain(texts) or {}) for name, prompt, texts in views}
