"""
Padded batches in which each clip has the same frames as alone.

An attention mask is not enough for every speech encoder. Two modules mix padding into the frames of a clip: the group
normalisation of the "base" models, whose statistics run over time, and the stacked positional convolutions of
Data2Vec-audio, which turn zeros of padding into other values. Temporary forward hooks correct both, so that the model
itself stays unchanged.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import nn

Count = TypeVar("Count", int, "torch.Tensor")

# Model types whose frames depend on padding only in the ways corrected here; each is tested.
PADDABLE = ("hubert", "wav2vec2", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")

_locks: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()
_locks_guard = threading.Lock()


def pad(arrays: Sequence[NDArray[Any] | torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Stack arrays (length, ...), padded with zeros, (batch, longest, ...), with a mask (batch, longest) that is False for padding.

    Examples
    --------
    >>> import numpy as np
    >>> padded, mask = pad([np.ones(2), np.ones(1)])
    >>> padded.tolist(), mask.tolist()
    ([[1.0, 1.0], [1.0, 0.0]], [[True, True], [True, False]])
    """
    import torch

    padded = torch.nn.utils.rnn.pad_sequence([torch.as_tensor(array) for array in arrays], batch_first=True)
    lengths = torch.tensor([len(array) for array in arrays])
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]


def frame_count(config: Any, n_samples: Count) -> Count:
    """Number of frames that an encoder's convolutions make of a clip of `n_samples` samples, also for a tensor of numbers."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        n_samples = (n_samples - kernel) // stride + 1
    return n_samples


def receptive_field(config: Any) -> int:
    """Number of samples that one frame covers: 400, or 25 ms at 16 kHz, in the published encoders."""
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def paddable(model: Any) -> bool:
    """Whether clips of different lengths may share a batch; otherwise it gets clips of equal length."""
    return model.config.model_type in PADDABLE


@contextlib.contextmanager
def exact_padding(model: Any, mask: torch.Tensor) -> Iterator[torch.Tensor | None]:
    """
    Register hooks on an encoder that keep padding out of the frames of each clip, and yield its attention mask.

    `mask`, of shape (batch, samples) on the model's device, is False for padding; a batch without padding needs no hooks and no
    attention mask, which is then None. The encoder is locked meanwhile in any case, since the hooks of another thread's batch
    must not act on it.
    """
    with _locks_guard:
        lock = _locks.setdefault(model, threading.RLock())
    with lock, contextlib.ExitStack() as stack:
        if mask.all():
            yield None
            return
        n_samples = mask.sum(dim=1)
        length = (n_samples - model.config.conv_kernel[0]) // model.config.conv_stride[0] + 1
        n_frames = frame_count(model.config, n_samples)
        hooks = [(module, functools.partial(_normalize_clips, length)) for module in _group_norms(model)]
        hooks += [(module, functools.partial(_zero_padding, n_frames)) for module in _sensitive_modules(model)]
        for module, hook in hooks:
            stack.callback(module.register_forward_hook(hook).remove)
        yield mask.long()


def _normalize_clips(
    length: torch.Tensor, norm: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
) -> torch.Tensor:
    """Forward hook of a group normalisation: normalises by statistics over the unpadded steps of each clip."""
    import torch

    x = inputs[0].to(output.dtype)  # (batch, channels, steps)
    padding = _is_padding(x, length)
    count = length[:, None, None]
    mean = x.masked_fill(padding, 0).sum(dim=-1, keepdim=True) / count  # (batch, channels, 1)
    x = x - mean
    variance = x.masked_fill(padding, 0).square_().sum(dim=-1, keepdim=True) / count
    scale = torch.rsqrt(variance + norm.eps)
    if norm.affine:
        scale = scale * norm.weight[:, None]
        return torch.addcmul(norm.bias[:, None].to(x.dtype), x, scale)
    return x * scale


def _zero_padding(n_frames: torch.Tensor, module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """Forward hook of a convolution: sets its output beyond the end of each clip to zero."""
    return output.masked_fill(_is_padding(output, n_frames), 0)  # (batch, d, frames)


def _is_padding(x: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Mask of the steps of x beyond the length of each clip: (batch, d, steps), (batch,) -> (batch, 1, steps)."""
    import torch

    return torch.arange(x.shape[-1], device=x.device) >= length[:, None, None]


def _group_norms(model: Any) -> list[nn.Module]:
    from torch import nn

    return [module for module in model.feature_extractor.modules() if isinstance(module, nn.GroupNorm)]


def _sensitive_modules(model: Any) -> list[nn.Module]:
    """Modules before the last positional convolution that turn zeros of padding into other values."""
    embedding = model.encoder.pos_conv_embed
    stacked = list(getattr(embedding, "layers", []))[:-1]
    normalised = getattr(embedding, "batch_norm", None)  # HuBERT with conv_pos_batch_norm
    return stacked + ([normalised] if normalised is not None else [])
