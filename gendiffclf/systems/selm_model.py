"""SELM's model: a language model with audio and prompt as prefixes, its next-token loss, and scores of texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .selm_mapping import AudioMapper, PrefixMapper

IGNORED = -100


class SelmModel(nn.Module):
    """
    A causal language model of transformers over the sequence [audio prefix, prompt prefix, answer].

    Frames have `n_features`, each prefix `n_prefix` tokens, and the transformer of each mapper `n_layers`, `n_heads` and
    `dropout`. `tune_language_model` says whether the language model's weights are trained, too. The attribute `settings` holds
    the arguments except `language_model`. Only the answer is padded, and it comes last, so with causal attention padding has no
    effect.
    """

    # The Trainer reads this when names are missing from a checkpoint, such as those of tied weights.
    _keys_to_ignore_on_save: list[str] | None = None

    def __init__(
        self,
        language_model: nn.Module,
        n_features: int,
        *,
        n_prefix: int,
        n_layers: int,
        n_heads: int,
        dropout: float,
        tune_language_model: bool,
    ) -> None:
        super().__init__()
        width = language_model.get_input_embeddings().embedding_dim  # type: ignore[operator]
        self.settings: dict[str, Any] = {
            "n_features": n_features,
            "n_prefix": n_prefix,
            "n_layers": n_layers,
            "n_heads": n_heads,
            "dropout": dropout,
            "tune_language_model": tune_language_model,
        }
        self.language_model = language_model
        self.audio_mapper = AudioMapper(n_features, width, n_prefix, n_layers, n_heads, dropout)
        self.text_mapper = PrefixMapper(width, n_prefix, n_layers, n_heads, dropout)
        self.register_state_dict_post_hook(_drop_copies)
        self.tune(language_model=tune_language_model)

    def tune(self, *, language_model: bool) -> None:
        """Set whether the language model's weights are trained, in addition to the mappers."""
        self.language_model.requires_grad_(language_model)
        self.tunes_language_model = language_model
        self.train(self.training)

    def train(self, mode: bool = True) -> SelmModel:
        """Set the mode; a frozen language model stays in evaluation mode, without dropout."""
        super().train(mode)
        self.language_model.train(mode and self.tunes_language_model)
        return self

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embeddings of tokens, (...,) -> (..., width)."""
        return self.language_model.get_input_embeddings()(tokens)  # type: ignore[operator]

    def prefix(
        self, frames: torch.Tensor, mask: torch.Tensor, prompt: torch.Tensor, n_prompt: torch.Tensor
    ) -> torch.Tensor:
        """
        Compute the prefix of the answer, of shape (batch, 2 * n_prefix, width).

        `frames` are of shape (batch, frames, n_features), and `mask`, of shape (batch, frames), is False for padding, which must
        be finite. `prompt`, of shape (batch, tokens), holds the tokens of each prompt, padded with any token, and `n_prompt`, of
        shape (batch,), their numbers; a single row of both is used for all clips.
        """
        audio = self.audio_mapper(frames, mask)  # (batch, n_prefix, width)
        padding = torch.arange(prompt.shape[1], device=prompt.device) >= n_prompt[:, None]
        text = self.text_mapper(self.embed(prompt), padding)
        return torch.cat([audio, text.expand(len(audio), -1, -1)], dim=1)

    def forward(
        self,
        inputs: torch.Tensor,
        mask: torch.Tensor,
        prompt: torch.Tensor,
        n_prompt: torch.Tensor,
        answer: torch.Tensor,
        n_answer: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """
        Return the next-token "loss" on the answers, a scalar.

        It is the mean of -log P(token | preceding tokens) over the tokens of all answers, without prefix and padding. `answer`,
        of shape (batch, tokens), holds the tokens of each answer including the end-of-text token, padded with any token, and
        `n_answer`, of shape (batch,), their numbers; `inputs` are the frames, and the others are as for `prefix`.
        """
        prefix = self.prefix(inputs, mask, prompt, n_prompt)
        embeddings = torch.cat([prefix, self.embed(answer).to(prefix.dtype)], dim=1)
        # The logits at the last token of the prefix predict the first token of the answer.
        output = self.language_model(inputs_embeds=embeddings, logits_to_keep=answer.shape[1] + 1)
        logits = output.logits[:, :-1]  # (batch, tokens + 1, vocab) -> (batch, tokens, vocab)
        padding = torch.arange(answer.shape[1], device=answer.device) >= n_answer[:, None]
        target = answer.masked_fill(padding, IGNORED)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), ignore_index=IGNORED)
        return {"loss": loss}


def _drop_copies(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Keep one name of each shared weight, such as tied embeddings, since safetensors saves each once."""
    seen: set[tuple[int, torch.Size]] = set()
    for name, value in list(state.items()):
        key = (value.data_ptr(), value.shape)
        if value.numel() and key in seen:
            del state[name]
        seen.add(key)


def text_scores(language_model: Any, prefix: torch.Tensor, texts: Sequence[Sequence[int]]) -> torch.Tensor:
    """
    Log-probabilities of texts after a common prefix, sums over their tokens: (batch, texts), float32.

    The prefix of embeddings (batch, steps, width) passes through the model once, and its keys and values are reused; each text
    then needs a call over its tokens except the last, so one of a single token needs none. The tokens of each of the texts, of
    which there is at least one, include the end-of-text token. The language model, of transformers, is in evaluation mode.
    """
    start = language_model(inputs_embeds=prefix, use_cache=True, logits_to_keep=1)
    first = start.logits[:, -1].float().log_softmax(dim=-1)  # (batch, vocab)
    cache = start.past_key_values
    embedding = language_model.get_input_embeddings()
    scores = []
    for text in texts:
        tokens = torch.as_tensor(text, device=prefix.device)
        score = first[:, tokens[0]]  # (batch,)
        if len(tokens) > 1:
            embedded = embedding(tokens[:-1]).to(prefix.dtype).expand(len(prefix), -1, -1)  # (batch, tokens - 1, width)
            logits = language_model(inputs_embeds=embedded, past_key_values=cache, use_cache=True).logits
            cache.crop(-len(tokens[:-1]))  # the call appended this text's keys and values
            rest = logits.float().log_softmax(dim=-1)[:, torch.arange(len(tokens) - 1), tokens[1:]]
            score = score + rest.sum(dim=1)  # (batch, tokens - 1) -> (batch,)
        scores.append(score)
    return torch.stack(scores, dim=1)


def label_scores(
    scores: torch.Tensor, n_tokens: Sequence[int], n_texts: Sequence[int], *, length_normalize: bool
) -> torch.Tensor:
    """
    Scores of labels from the scores of their texts: (batch, texts) -> (batch, labels).

    Each is the logarithm of the summed probabilities of a label's texts, that is of the probability of any of them. With
    `length_normalize`, the score of each text is first divided by its number of tokens, and the result is the logarithm of their
    mean, so that labels with more texts have no advantage. Each label owns the next `n_texts` columns of `scores`.
    """
    if length_normalize:
        scores = scores / torch.as_tensor(n_tokens, dtype=scores.dtype, device=scores.device)
    columns = []
    for own in scores.split(list(n_texts), dim=1):
        total = own.logsumexp(dim=1)  # (batch, texts of the label) -> (batch,)
        columns.append(total - math.log(own.shape[1]) if length_normalize else total)
    return torch.stack(columns, dim=1)
