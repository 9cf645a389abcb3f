"""What of a fitted SelmClassifier is in the JSON of its folder, beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..optional import require
from .selm_texts import View


def language_description(language_model: Any, tokenizer: Any) -> dict[str, Any]:
    """
    A language model's architecture and its tokenizer, of types that JSON knows.

    Raises
    ------
    TypeError
        If the tokenizer is one of Python code, which has no description.
    """
    if not tokenizer.is_fast:
        raise TypeError(
            f"Got a tokenizer of type {type(tokenizer).__name__}, expected a fast one, which JSON can hold; convert it, and "
            "save it into the language model's folder before fit."
        )
    return {
        "config": language_model.config.to_diff_dict() | {"model_type": language_model.config.model_type},
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        "end_of_text": tokenizer.eos_token,
    }


def language_from_description(description: Mapping[str, Any]) -> tuple[nn.Module, Any]:
    """A language model with weights still to be loaded, and its tokenizer."""
    transformers, tokenizers = require("transformers"), require("tokenizers")
    settings = dict(description["config"])
    config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype="float32")
    backend = tokenizers.Tokenizer.from_str(description["tokenizer"])
    return model.eval(), transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=description["end_of_text"]
    )


def plain_texts(label_texts: Mapping[Any, Any] | None) -> list[Any] | None:
    """Pairs of label and text, since JSON's names are texts and labels need not be."""
    return None if label_texts is None else [[label, text] for label, text in label_texts.items()]


def texts_from_plain(pairs: list[Any] | None) -> dict[Any, Any] | None:
    """What `plain_texts` was given, lists in place of tuples."""
    return None if pairs is None else {label: text for label, text in pairs}


def plain_views(views: Any) -> Any:
    """Names of views, or a list of [name, prompt, pairs of label and text]."""
    if not isinstance(views, Mapping):
        return list(views)
    return [[name, view.prompt, plain_texts(view.texts)] for name, view in views.items()]


def views_from_plain(views: list[Any]) -> Any:
    """What `plain_views` was given."""
    if all(isinstance(view, str) for view in views):
        return list(views)
    return {name: View(prompt, texts_from_plain(texts) or {}) for name, prompt, texts in views}
