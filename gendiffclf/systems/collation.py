"""Ragged clips as padded batches, with masks that say what is padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

RAGGED = ("frames", "waves")
"""Entries of an example whose first axis is time; all others are stacked as they are."""
SMALLEST_DEVIATION = 1e-5


def pad(arrays: Sequence[NDArray[Any] | Tensor]) -> tuple[Tensor, Tensor]:
    """
    Put arrays of several lengths into one tensor.

    Parameters
    ----------
    arrays : sequence of ndarray or Tensor of shape (length, ...)
        Equal but for their first axis.

    Returns
    -------
    padded : Tensor of shape (batch, longest, ...)
        Zeros behind each end.
    mask : Tensor of shape (batch, longest), bool
        True where there is something, False for padding.

    Examples
    --------
    >>> import numpy as np
    >>> padded, mask = pad([np.ones(2), np.ones(1)])
    >>> padded.tolist(), mask.tolist()
    ([[1.0, 1.0], [1.0, 0.0]], [[True, True], [True, False]])
    """
    padded = nn.utils.rnn.pad_sequence([torch.as_tensor(array) for array in arrays], batch_first=True)
    lengths = torch.tensor([len(array) for array in arrays])
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]


def collate(examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """
    A batch of examples.

    Parameters
    ----------
    examples : sequence of mappings
        Of equal keys. "frames" of shape (n_frames, d) or "waves" of shape (n_samples,) are padded; every other value is a
        number or an array of one shape.

    Returns
    -------
    batch : dict of str to Tensor
        The same keys, with a leading axis of the batch, and "mask" of shape (batch, longest), bool.
    """
    batch: dict[str, Tensor] = {}
    for name in examples[0]:
        values = [example[name] for example in examples]
        if name in RAGGED:
            batch[name], batch["mask"] = pad(values)
        else:
            batch[name] = torch.as_tensor(np.asarray(values))
    return batch


class FrameScaler(nn.Module):
    """
    Brings each feature of frames to mean 0 and deviation 1 over the training frames; padding becomes 0 again.

    Parameters
    ----------
    n_features : int
        d; until `fit`, nothing is changed.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("deviation", torch.ones(n_features))

    def fit(self, frames: Sequence[NDArray[np.float32]]) -> FrameScaler:
        """
        Take mean and deviation over all frames of all clips.

        Parameters
        ----------
        frames : sequence of ndarray of shape (n_frames, d)
        """
        count = sum(len(clip) for clip in frames)
        mean = sum(clip.sum(axis=0, dtype=np.float64) for clip in frames) / count
        variance = sum(((clip - mean) ** 2).sum(axis=0) for clip in frames) / count
        self.mean.copy_(torch.as_tensor(mean))
        self.deviation.copy_(torch.as_tensor(np.sqrt(variance)).clamp_min(SMALLEST_DEVIATION))
        return self

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """
        Scale a batch.

        Parameters
        ----------
        frames : Tensor of shape (batch, n_frames, d)
        mask : Tensor of shape (batch, n_frames), bool

        Returns
        -------
        scaled : Tensor of shape (batch, n_frames, d)
        """
        return ((frames - self.mean) / self.deviation) * mask[..., None]
