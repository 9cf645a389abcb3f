"""SELM's language model and its tokenizer, pretrained ones of transformers or small ones, also as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..featurizers.checkpoint import quiet_progress
from ..optional import require

BYTES = "bytes"
# Small enough to be trained from scratch on one core, together with the mappers.
BYTE_MODEL = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}
END = "<|endoftext|>"


def load_language_model(name: str | os.PathLike[str]) -> tuple[nn.Module, Any]:
    """
    Load a causal language model, in float32 and evaluation mode on the CPU, and its tokenizer, with an end-of-text token.

    The `name` is one on the Hugging Face hub, a folder written by `save_pretrained`, or "bytes": a small GPT-2 over bytes with
    random weights, drawn from torch's global random state. An OSError if the folder or name does not exist or cannot be
    reached; a ValueError if `name` is neither a string nor a path, or the tokenizer has no end-of-text token.
    """
    transformers = require("transformers")
    if not isinstance(name, str | os.PathLike):
        raise ValueError(
            f"Got language_model of type {type(name).__name__}, expected a name, a folder or 'bytes'; save a loaded model "
            "and its tokenizer with save_pretrained(folder), and pass the folder."
        )
    if name == BYTES:
        tokenizer = byte_tokenizer()
        config = transformers.GPT2Config(
            vocab_size=len(tokenizer),
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **BYTE_MODEL,
        )
        return transformers.GPT2LMHeadModel(config).eval(), tokenizer
    try:
        with quiet_progress():
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
            model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype="float32").eval()
    except (OSError, ValueError) as error:
        raise type(error)(
            f"Got language_model={str(name)!r}, expected a hub name or the folder of a causal language model and its "
            f"tokenizer: {error}"
        ) from error
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"Got language_model={str(name)!r} whose tokenizer has no end-of-text token, expected one; set "
            "tokenizer.eos_token and save the tokenizer to the folder of the model."
        )
    return model, tokenizer


def byte_tokenizer() -> Any:
    """A tokenizer with the 256 bytes and an end-of-text token as its vocabulary."""
    tokenizers, transformers = require("tokenizers"), require("transformers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate([*alphabet, END])}
    fast = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    fast.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = tokenizers.decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=fast, eos_token=END)


def answer_tokens(tokenizer: Any, text: str) -> list[int]:
    """
    Tokens of an answer and the end-of-text token.

    The answer is preceded by a space, since most tokenizers have a single token for a common word with its space.
    """
    return [*tokenizer(" " + text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def label_answers(tokenizer: Any, texts: Mapping[Any, Sequence[str]]) -> list[list[int]]:
    """Tokens of the answers of all labels, in order; the tokenizer must distinguish the `texts`."""
    answers: dict[tuple[int, ...], str] = {}
    for text in (text for several in texts.values() for text in several):
        other = answers.setdefault(tuple(answer_tokens(tokenizer, text)), text)
        if other != text:
            raise ValueError(
                f"Got label_texts {other!r} and {text!r} with the same tokens, expected different ones; choose words that the "
                "tokenizer of language_model knows."
            )
    return list(map(list, answers))


def prompt_tokens(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a prompt."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def check_positions(language_model: Any, n_prefix: int, longest: int) -> None:
    """Raise a ValueError if both prefixes and an answer of `longest` tokens exceed the language model's positions."""
    available = getattr(language_model.config, "max_position_embeddings", None)
    needed = 2 * n_prefix + longest
    if available is not None and needed > available:
        raise ValueError(
            f"Got n_prefix={n_prefix} and an answer of {longest} tokens, which need {needed} positions, expected at most "
            f"the {available} of the language model; choose a smaller n_prefix or a shorter answer."
        )


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
