"""Prediction methods of `SelmClassifier`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ..device import resolve_device
from ..featurizers.inputs import as_items
from ..validation import check_choice, check_integer, shown
from .selm_language import check_positions, label_answers, prompt_tokens
from .selm_model import SelmModel, label_scores, text_scores
from .selm_texts import View, checked_label_texts, sorted_labels
from .steps import encode, map_padded

PREDICTION_LIMIT = 64_000
"""Padded frames per batch of prediction."""


class SelmPrediction:
    """Methods of a fitted `SelmClassifier`."""

    device: str
    label_texts: Mapping[Any, str | Sequence[str]] | None
    length_normalize: bool
    network_: SelmModel
    tokenizer_: Any
    trained_labels_: list[Any]
    views_: dict[str, View]
    prompt_: str
    encoder_identity_: dict[str, Any]

    @property
    def classes_(self) -> NDArray[Any]:
        """Sorted labels that are predicted."""
        if not hasattr(self, "trained_labels_"):
            raise AttributeError("Got classes_ before fit, expected it after; call fit first.")
        return np.array(list(self._texts(self.trained_labels_)))

    def predict(self, X: Any) -> NDArray[Any]:
        """
        Predict the most probable label of each clip.

        Parameters
        ----------
        X : list of n clips

        Returns
        -------
        labels : ndarray of shape (n,)
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """
        Predict the probabilities of the labels, a softmax over the scores of their texts.

        Parameters
        ----------
        X : list of n clips

        Returns
        -------
        probabilities : ndarray of shape (n, K), float64
            Columns as in `classes_`.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        AudioError
            If a clip cannot be read.
        ValueError
            If `label_texts` is invalid, or the encoder differs from that in `fit`.
        """
        check_is_fitted(self)
        texts = self._texts(self.trained_labels_)
        tokens = label_answers(self.tokenizer_, texts)
        n_tokens = list(map(len, tokens))
        n_texts = list(map(len, texts.values()))
        model = self.network_
        check_positions(model.language_model, model.settings["n_prefix"], max(n_tokens))

        def probabilities(prefix: Tensor) -> NDArray[np.float64]:
            scores = text_scores(model.language_model, prefix, tokens).double()
            scores = label_scores(scores, n_tokens, n_texts, length_normalize=self.length_normalize)
            return np.asarray(scores.softmax(dim=1).cpu().numpy())

        return np.stack(self._map(probabilities, X, self.prompt_))

    def generate(self, X: Any, *, view: str | None = None, max_new_tokens: int = 20) -> list[str]:
        """
        Generate free-text answers of the language model by greedy decoding.

        Parameters
        ----------
        X : list of n clips
        view : str, optional
            A view used in training, whose prompt to use; None uses `prompt`.
        max_new_tokens : int >= 1, default=20
            Maximum length of an answer, in tokens.

        Returns
        -------
        answers : list of n str

        Raises
        ------
        NotFittedError
            If called before `fit`.
        AudioError
            If a clip cannot be read.
        ValueError
            If there is no such view, or the language model has too few positions.
        """
        check_is_fitted(self)
        check_integer("max_new_tokens", max_new_tokens, 1)
        if view is not None and not self.views_:
            raise ValueError(
                f"Got view={shown(view)}, expected None, since fit had no views; fit with views=['vad'], say."
            )
        if view is not None:
            check_choice("view", view, self.views_)
        check_positions(self.network_.language_model, self.network_.settings["n_prefix"], max_new_tokens)
        prompt = self.prompt_ if view is None else self.views_[view].prompt
        model, end = self.network_.language_model, self.tokenizer_.eos_token_id

        def answers(prefix: Tensor) -> Any:
            return model.generate(  # type: ignore[operator]
                inputs_embeds=prefix,
                attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=end,
            ).cpu()

        generated = self._map(answers, X, prompt)
        return [self.tokenizer_.decode(tokens, skip_special_tokens=True).strip() for tokens in generated]

    def _map(self, function: Callable[[Tensor], Any], X: Any, prompt: str) -> list[Any]:
        """Apply a function to batches of the clips' prefixes, of shape (batch, 2 * n_prefix, width)."""
        frames, _ = encode(self.get_params(deep=False), as_items(X), self.encoder_identity_)  # type: ignore[attr-defined]
        device = resolve_device(self.device)
        model = self.network_.to(device).eval()
        tokens = torch.tensor([prompt_tokens(self.tokenizer_, prompt)], device=device)  # (1, tokens)
        n_tokens = torch.tensor([tokens.shape[1]], device=device)

        def apply(padded: Tensor, mask: Tensor) -> Any:
            return function(model.prefix(padded, mask, tokens, n_tokens))

        return map_padded(apply, frames, PREDICTION_LIMIT, device)

    def _texts(self, trained: list[Any], needed: Sequence[Any] = ()) -> dict[Any, tuple[str, ...]]:
        """Texts of the labels of `label_texts`, by default the `trained` ones; labels in `needed` must have one."""
        if self.label_texts is None:
            return checked_label_texts({label: str(label) for label in trained})
        texts = checked_label_texts(self.label_texts)
        missing = sorted_labels(label for label in needed if label not in texts)
        if missing:
            raise ValueError(
                f"Got label_texts for {shown(list(texts))}, expected also {shown(missing)}, which occur in y; add a text for "
                "each, or set label_texts=None."
            )
        return texts
