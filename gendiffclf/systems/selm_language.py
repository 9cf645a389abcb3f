"""SELM's language model and its tokenizer: from transformers by name or folder, or a small one of random weights."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..featurizers.checkpoint import quiet_progress
from ..optional import require

if TYPE_CHECKING:
    from torch import nn

BYTES = "bytes"
# Small enough to be trained from nothing with the mappers, on one core.
BYTE_MODEL = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}
END = "<|endoftext|>"


def load_language_model(name: str | os.PathLike[str]) -> tuple[nn.Module, Any]:
    """
    A causal language model and its tokenizer.

    Parameters
    ----------
    name : str or path-like
        A name on the Hugging Face hub, a folder of `save_pretrained`, or "bytes": a small GPT-2 over bytes with random
        weights from torch's current random state.

    Returns
    -------
    model : Module
        In float32 and evaluation mode, on the CPU.
    tokenizer : PreTrainedTokenizer
        With an end-of-text token.

    Raises
    ------
    OSError
        If there is no such folder or name, or no way to reach it.
    ValueError
        If `name` is neither a text nor a path, or the tokenizer has no end-of-text token.
    """
    transformers = require("transformers")
    if not isinstance(name, str | os.PathLike):
        raise ValueError(
            f"Got language_model of type {type(name).__name__}, expected a name, a folder or 'bytes'; save a loaded model "
            "and its tokenizer with save_pretrained(folder), and give the folder."
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
            "tokenizer.eos_token, and save the tokenizer into the model's folder."
        )
    return model, tokenizer


def byte_tokenizer() -> Any:
    """A tokenizer whose tokens are the 256 bytes of UTF-8 and an end-of-text token; it needs no file."""
    tokenizers, transformers = require("tokenizers"), require("transformers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate([*alphabet, END])}
    fast = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    fast.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = tokenizers.decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=fast, eos_token=END)


def answer_tokens(tokenizer: Any, text: str) -> list[int]:
    """
    Tokens of an answer, and the end of the text.

    A blank stands before it, as before a word within a sentence: most tokenizers have one token for a common word there.
    """
    return [*tokenizer(" " + text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def prompt_tokens(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a prompt."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def check_room(language_model: Any, n_prefix: int, longest: int) -> None:
    """
    Raise if an answer of so many tokens does not fit behind the prefixes.

    Raises
    ------
    ValueError
        If the language model has fewer positions than both prefixes and the answer take.
    """
    room = getattr(language_model.config, "max_position_embeddings", None)
    needed = 2 * n_prefix + longest
    if room is not None and needed > room:
        raise ValueError(
            f"Got n_prefix={n_prefix} and an answer of {longest} tokens, {needed} in all, expected at most "
            f"the {room} positions of the language model; choose a smaller n_prefix, or a shorter answer."
        )
