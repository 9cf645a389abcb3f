"""Padded batches of clips of different lengths, with masks, and statistics of their frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..featurizers.padding import pad

MIN_DEVIATION = 1e-5


def collate(examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """
    Collate examples with equal keys into a batch with the same keys, and "mask" of shape (batch, longest), bool.

    "inputs", frames of shape (n_frames, d) or waveforms of shape (n_samples,), are padded; all other values are numbers, or
    arrays of equal shape.
    """
    batch: dict[str, Tensor] = {}
    for name in examples[0]:
        values = [example[name] for example in examples]
        if name == "inputs":
            batch["inputs"], batch["mask"] = pad(values)
        else:
            batch[name] = torch.as_tensor(np.asarray(values))
    return batch


def masked_mean(frames: Tensor, mask: Tensor) -> Tensor:
    """Mean over unpadded frames: (batch, n_frames, d), (batch, n_frames) -> (batch, d)."""
    weight = mask[..., None].to(frames.dtype)
    return (frames * weight).sum(dim=1) / weight.sum(dim=1)


def moments(arrays: Sequence[NDArray[np.float32]]) -> tuple[Any, Any]:
    """Mean and variance over the first axis of all arrays together, in float64."""
    count = sum(len(array) for array in arrays)
    mean = sum(array.sum(axis=0, dtype=np.float64) for array in arrays) / count
    return mean, sum(((array - mean) ** 2).sum(axis=0) for array in arrays) / count


class FrameScaler(nn.Module):
    """Standardises `n_features` by their mean and deviation over the training frames, 0 and 1 before `fit`; padding stays 0."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(n_features))
        self.deviation = nn.Buffer(torch.ones(n_features))

    def fit(self, frames: Sequence[NDArray[np.float32]]) -> FrameScaler:
        """Compute mean and standard deviation over all frames of clips of shape (n_frames, d)."""
        mean, variance = moments(frames)
        self.mean.copy_(torch.as_tensor(mean))
        self.deviation.copy_(torch.as_tensor(np.sqrt(variance)).clamp_min(MIN_DEVIATION))
        return self

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Scale a batch: (batch, n_frames, d), (batch, n_frames) -> (batch, n_frames, d)."""
        return ((frames - self.mean) / self.deviation) * mask[..., None]
