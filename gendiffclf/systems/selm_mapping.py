"""SELM's mappers from the frames of a clip, and from the tokens of a prompt, to prefixes of the language model."""

from __future__ import annotations

import torch
from torch import nn

from .collation import FrameScaler, masked_mean


class FrameProjection(nn.Module):
    """
    Two linear layers with a residual connection, applied per frame: LayerNorm(u + dropout(W2 GELU(u))), u = W1 x.

    SELM's abstract mentions "two linear layers with GELU"; residual connection and norm follow Pengi (arXiv 2305.11834).

    Shape
    -----
    (..., n_features) -> (..., width)
    """

    def __init__(self, n_features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(n_features, width, bias=False)
        self.second = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = self.first(x)  # (..., n_features) -> (..., width)
        return self.norm(u + self.dropout(self.second(nn.functional.gelu(u))))


class PrefixMapper(nn.Module):
    """
    Pre-norm transformer over a sequence and learned constants; the output at the constants is the prefix.

    Shape
    -----
    (batch, steps, width) -> (batch, n_prefix, width)
    """

    def __init__(self, width: int, n_prefix: int, n_layers: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.constants = nn.Parameter(torch.randn(n_prefix, width))
        layer = nn.TransformerEncoderLayer(
            width, n_heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(width)
        self.layers = nn.TransformerEncoder(layer, n_layers, norm=norm, enable_nested_tensor=False)

    def forward(self, sequence: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """Map a sequence to a prefix; `padding`, of shape (batch, steps), is True for padding."""
        constants = self.constants.expand(len(sequence), -1, -1)  # (n_prefix, width) -> (batch, n_prefix, width)
        if padding is not None:
            padding = nn.functional.pad(padding, (0, constants.shape[1]))  # (batch, steps + n_prefix)
        states = self.layers(torch.cat([sequence, constants], dim=1), src_key_padding_mask=padding)
        return states[:, sequence.shape[1] :]  # (batch, steps + n_prefix, width) -> (batch, n_prefix, width)


class AudioMapper(nn.Module):
    """
    Maps the frames of a clip to a prefix of fixed length.

    Frames are standardised by the mean and standard deviation of the training frames, and projected. The sequence mapper
    divides the clip into `n_prefix` spans of equal length, whose means become tokens, and adds a linear map of mean and
    standard deviation over the whole clip. The tokens and as many learned constants pass through the transformer. SELM's
    abstract mentions a sequence mapper and transformer layers; the design of the mapper is ours. The prefix does not depend
    on padding.

    Shape
    -----
    (batch, frames, n_features), (batch, frames) -> (batch, n_prefix, width)
    """

    def __init__(self, n_features: int, width: int, n_prefix: int, n_layers: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.scaler = FrameScaler(n_features)
        self.projection = FrameProjection(n_features, width, dropout)
        self.to_tokens = nn.Linear(2 * width, n_prefix * width)
        self.mapper = PrefixMapper(width, n_prefix, n_layers, n_heads, dropout)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Map frames to a prefix; `mask` is False for padding, which must be finite."""
        states = self.projection(self.scaler(frames, mask))  # (batch, frames, width)
        summary = self.to_tokens(mean_and_deviation(states, mask))  # (batch, n_prefix * width)
        tokens = span_means(states, mask, len(self.mapper.constants))  # (batch, n_prefix, width)
        return self.mapper(tokens + summary.view_as(tokens))


def span_means(states: torch.Tensor, mask: torch.Tensor, n_spans: int) -> torch.Tensor:
    """
    Means over spans of equal length: (batch, steps, width), (batch, steps) -> (batch, n_spans, width).

    Step t of n is in span floor(t · n_spans / n). Spans are zeros if empty, as a clip with fewer than `n_spans` steps has.
    """
    count = mask.sum(dim=1, keepdim=True)  # (batch, 1)
    span = torch.arange(mask.shape[1], device=mask.device) * n_spans // count  # (batch, steps)
    # (batch, 1, steps), (spans, 1) -> (batch, spans, steps)
    member = (span[:, None] == torch.arange(n_spans, device=mask.device)[:, None]) & mask[:, None]
    weight = member.to(states.dtype)
    return weight @ states / weight.sum(dim=2, keepdim=True).clamp_min(1)


def mean_and_deviation(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """
    Mean and population standard deviation over unpadded steps: (batch, steps, width), (batch, steps) -> (batch, 2 · width).

    In float32 or float64. A small constant added to the variance keeps the gradient finite for a single step.
    """
    states = states if states.dtype == torch.float64 else states.float()
    mean = masked_mean(states, mask)  # (batch, width)
    variance = masked_mean((states - mean[:, None]).square(), mask)
    return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)
