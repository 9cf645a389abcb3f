"""A speech encoder of transformers that is trained along with what stands on it."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..featurizers.checkpoint import Checkpoint
from ..featurizers.encoder import VARIANCE_FLOOR, frame_count, receptive_field
from ..featurizers.padding import PADDABLE, exact_padding, paddable


class TunedEncoder(nn.Module):
    """
    Waveforms to the last hidden state; the convolutional front stays as it is, the transformer is tuned.

    Parameters
    ----------
    model : Module
        A speech encoder of transformers; it becomes part of this module, so pass a copy.
    sampling_rate : int
        Of the waveforms, in Hz.

    Notes
    -----
    Waveforms are brought to mean 0 and deviation 1 by one mean and one deviation of all training clips, as in the released code
    of EmoSphere-SER. SpecAugment and layer dropout of the encoder are off.

    Shape
    -----
    (batch, n_samples), (batch, n_samples) -> (batch, n_frames, hidden_size), (batch, n_frames)
    """

    model: Any
    rate: int
    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Any, sampling_rate: int) -> None:
        super().__init__()
        if not paddable(model):
            raise ValueError(
                f"Got an encoder of type {model.config.model_type!r} to tune, expected one of {', '.join(PADDABLE)}; "
                "others may be used frozen, with tune_encoder=False."
            )
        model.config.apply_spec_augment = False
        model.config.layerdrop = 0.0
        model.freeze_feature_encoder()
        if hasattr(model, "masked_spec_embed"):
            model.masked_spec_embed.requires_grad_(False)
        self.model = model
        self.rate = sampling_rate
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> TunedEncoder:
        """An encoder with the weights of a checkpoint, of its own."""
        model = copy.deepcopy(checkpoint.load(torch.device("cpu"), torch.float32)).requires_grad_(True)
        return cls(model, checkpoint.sampling_rate)

    def description(self) -> dict[str, Any]:
        """Everything but the weights, of types that JSON knows."""
        return {"config": json.loads(self.model.config.to_json_string()), "sampling_rate": self.rate}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> TunedEncoder:
        """An encoder whose weights are still to be loaded."""
        from transformers import AutoConfig, AutoModel

        with torch.random.fork_rng(devices=[]):
            model = AutoModel.from_config(AutoConfig.for_model(**description["config"]))
        return cls(model, description["sampling_rate"])

    @property
    def n_features(self) -> int:
        """Size of a frame."""
        return self.model.config.hidden_size

    @property
    def shortest(self) -> int:
        """Fewest samples that make a frame."""
        return receptive_field(self.model.config)

    def fit(self, waves: Sequence[NDArray[np.float32]]) -> TunedEncoder:
        """Take mean and deviation over all samples of all clips, each of shape (n_samples,)."""
        count = sum(len(wave) for wave in waves)
        mean = sum(wave.sum(dtype=np.float64) for wave in waves) / count
        variance = sum(((wave - mean) ** 2).sum() for wave in waves) / count
        self.mean.fill_(float(mean))
        self.deviation.fill_(float(np.sqrt(variance + VARIANCE_FLOOR)))
        return self

    def forward(self, waves: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch; see the class for shapes."""
        values = (waves - self.mean) / self.deviation * mask
        n_samples = mask.sum(dim=1)
        n_frames: Tensor = frame_count(self.model.config, n_samples)  # type: ignore[arg-type, assignment]
        ragged = bool((~mask).any())
        padding = exact_padding(self.model, n_samples if ragged else None, n_frames if ragged else None)
        with padding, warnings.catch_warnings():
            # WavLM passes a float position bias and a boolean mask to the attention of torch.
            warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask and attn_mask")
            states = self.model(values, attention_mask=mask.long() if ragged else None).last_hidden_state
        return states, torch.arange(states.shape[1], device=states.device) < n_frames[:, None]


def padded_to(waves: Sequence[NDArray[np.float32]], shortest: int) -> list[NDArray[np.float32]]:
    """Waves with zeros behind those that would not make a frame."""
    return [np.pad(wave, (0, max(shortest - len(wave), 0))) for wave in waves]
