"""A speech encoder of transformers that is fine-tuned with the layers on top of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..featurizers.encoder import VARIANCE_EPS
from ..featurizers.padding import PADDABLE, exact_padding, frame_count, paddable, receptive_field
from .collation import moments


class TunedEncoder(nn.Module):
    """
    Maps waveforms to the last hidden state; the convolutional layers are frozen, the transformer is fine-tuned.

    `model`, a speech encoder of transformers, becomes part of this module, so pass a copy. `sampling_rate` is in Hz. Waveforms
    are standardised by the mean and standard deviation over all training samples, as in the released code of EmoSphere-SER.
    SpecAugment and layer dropout of the encoder are disabled.

    Shape
    -----
    (batch, n_samples), (batch, n_samples) -> (batch, n_frames, hidden_size), (batch, n_frames)
    """

    def __init__(self, model: Any, sampling_rate: int) -> None:
        super().__init__()
        if not paddable(model):
            raise ValueError(
                f"Got an encoder of type {model.config.model_type!r} to tune, expected one of {', '.join(PADDABLE)}; use "
                "other types frozen, with tune_encoder=False."
            )
        model.config.apply_spec_augment = False
        model.config.layerdrop = 0.0
        model.feature_extractor._freeze_parameters()  # HubertModel has no freeze_feature_encoder, which calls it
        if hasattr(model, "masked_spec_embed"):
            model.masked_spec_embed.requires_grad_(False)
        self.model = model
        self.rate = sampling_rate
        self.mean = nn.Buffer(torch.zeros(()))
        self.deviation = nn.Buffer(torch.ones(()))

    def description(self) -> dict[str, Any]:
        """Return everything except the weights, as JSON types."""
        return {"config": json.loads(self.model.config.to_json_string()), "sampling_rate": self.rate}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> TunedEncoder:
        """Create an encoder whose weights are not loaded yet."""
        from transformers import AutoConfig, AutoModel

        with torch.random.fork_rng(devices=[]):
            model = AutoModel.from_config(AutoConfig.for_model(**description["config"]))
        return cls(model, description["sampling_rate"])

    @property
    def n_features(self) -> int:
        """Size of a frame."""
        return self.model.config.hidden_size

    @property
    def min_samples(self) -> int:
        """Number of samples of the shortest clip that has a frame."""
        return receptive_field(self.model.config)

    def fit(self, waves: Sequence[NDArray[np.float32]]) -> TunedEncoder:
        """Compute mean and standard deviation over all samples of clips of shape (n_samples,)."""
        mean, variance = moments(waves)
        self.mean.fill_(float(mean))
        self.deviation.fill_(float(np.sqrt(variance + VARIANCE_EPS)))
        return self

    def forward(self, waves: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        values = (waves - self.mean) / self.deviation * mask
        with exact_padding(self.model, mask) as attention_mask, warnings.catch_warnings():
            # WavLM passes a float position bias with a boolean mask.
            warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask and attn_mask")
            states = self.model(values, attention_mask=attention_mask).last_hidden_state
        n_frames = frame_count(self.model.config, mask.sum(dim=1))
        return states, torch.arange(states.shape[1], device=states.device) < n_frames[:, None]
