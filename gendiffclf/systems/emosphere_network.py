"""The network of EmoSphere-SER (arXiv 2505.19693): frames are pooled to a style vector, the input of two heads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .collation import FrameScaler, masked_mean
from .emosphere_losses import concordance_loss, dynamic_weight
from .tuned_encoder import TunedEncoder

KERNEL_SIZE = 5
N_HEADS = 2
MIN_VARIANCE = 1e-6


class StylePooling(nn.Module):
    """
    The paper's pooling: spectral layers, temporal layers, self-attention, and the mean over frames.

    The layers follow the released code, except that padding is set to zero before each convolution, so that the result of a
    clip does not depend on its batch.

    Shape
    -----
    (batch, n_frames, n_features), (batch, n_frames) -> (batch, width)
    """

    def __init__(self, n_features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.spectral = nn.Sequential(
            *(nn.Linear(n_features, width), nn.Mish(), nn.Dropout(dropout)),
            *(nn.Linear(width, width), nn.Mish(), nn.Dropout(dropout)),
        )
        self.temporal = nn.ModuleList(GatedConvolution(width, dropout) for _ in range(2))
        self.attention = SelfAttention(width, dropout)
        self.output = nn.Linear(width, width)
        self.width = width

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Pool a batch; see the class for shapes. `mask` is False for padding."""
        states = self.spectral(frames)  # (batch, n_frames, n_features) -> (batch, n_frames, width)
        for block in self.temporal:
            states = block(states, mask)
        return masked_mean(self.output(self.attention(states, mask)), mask)


class GatedConvolution(nn.Module):
    """Residual convolution over time with a gated linear unit."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, 2 * width, KERNEL_SIZE, padding=KERNEL_SIZE // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """(batch, n_frames, width), (batch, n_frames) -> (batch, n_frames, width)."""
        states = states * mask[..., None]
        both = self.convolution(states.mT)  # (batch, n_frames, width) -> (batch, 2 · width, n_frames)
        return states + self.dropout(functional.glu(both, dim=1).mT)


class SelfAttention(nn.Module):
    """Residual self-attention over frames without normalisation, scaled by 1 / √width."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """(batch, n_frames, width), (batch, n_frames) -> (batch, n_frames, width)."""
        batch, n_frames, width = states.shape
        # (batch, n_frames, 3 · width) -> 3 × (batch, heads, n_frames, width / heads)
        query, key, value = (
            self.inputs(states).view(batch, n_frames, 3, N_HEADS, width // N_HEADS).permute(2, 0, 3, 1, 4)
        )
        mixed = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask[:, None, None],
            dropout_p=self.dropout.p if self.training else 0.0,
            scale=1 / math.sqrt(width),
        )
        return states + self.dropout(self.output(mixed.transpose(1, 2).reshape(batch, n_frames, width)))


class MeanPooling(nn.Module):
    """
    The mean over frames.

    Shape
    -----
    (batch, n_frames, n_features), (batch, n_frames) -> (batch, n_features)
    """

    def __init__(self, n_features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.width = n_features

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(frames, mask)


class AttentiveStatistics(nn.Module):
    """
    Mean and standard deviation over frames, weighted by attention (Okabe, Koshinaka and Shinoda 2018).

    Shape
    -----
    (batch, n_frames, n_features), (batch, n_frames) -> (batch, 2 · n_features)
    """

    def __init__(self, n_features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, 1))
        self.width = 2 * n_features

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        weight = self.score(frames).masked_fill(~mask[..., None], -torch.inf).softmax(dim=1)  # (batch, n_frames, 1)
        mean = (weight * frames).sum(dim=1)
        variance = (weight * (frames - mean[:, None]).square()).sum(dim=1)
        return torch.cat([mean, variance.clamp_min(MIN_VARIANCE).sqrt()], dim=-1)


POOLINGS: dict[str, Callable[[int, int, float], Any]] = {
    "style": StylePooling,
    "mean": MeanPooling,
    "attentive": AttentiveStatistics,
}
"""Poolings by name; each is constructed with (n_features, width, dropout) and has an output size `width`."""


def head(n_inputs: int, width: int, n_outputs: int, dropout: float) -> nn.Sequential:
    """Head for ratings or regions: (batch, n_inputs) -> (batch, n_outputs)."""
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(n_inputs, width),
        nn.LayerNorm(width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, n_outputs),
    )


class EmoSphereNetwork(nn.Module):
    """
    Predicts ratings and regions from frames of `n_features`, which are standardised, or from waveforms through a tuned `encoder`.

    `pooling` is a name of `POOLINGS`, `width` that of the pooling and the heads, and `dropout` and `head_dropout` are theirs.
    With `n_regions` of 0 there is no head for regions. `weighted_by_epoch` says whether their weight in the loss falls with the
    epoch. The attribute `settings` holds the arguments except `encoder`.
    """

    def __init__(
        self,
        n_features: int,
        *,
        pooling: str,
        width: int,
        n_regions: int,
        dropout: float,
        head_dropout: float,
        weighted_by_epoch: bool,
        encoder: TunedEncoder | None = None,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "n_features": n_features,
            "pooling": pooling,
            "width": width,
            "n_regions": n_regions,
            "dropout": dropout,
            "head_dropout": head_dropout,
            "weighted_by_epoch": weighted_by_epoch,
        }
        self.encoder = encoder
        self.scaler = FrameScaler(n_features) if encoder is None else None
        self.pooling = POOLINGS[pooling](n_features, width, dropout)
        self.ratings = head(self.pooling.width, width, 3, head_dropout)
        self.regions = head(self.pooling.width, width, n_regions, head_dropout) if n_regions else None
        self.region_weights = nn.Buffer(torch.ones(n_regions))
        self.weighted_by_epoch = weighted_by_epoch
        self.epoch = 0

    def style(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """
        Pool a batch: (batch, longest, n_features) or (batch, longest), (batch, longest) -> (batch, d).

        `inputs` are frames, or waveforms for a tuned encoder; `mask` is False for padding.
        """
        if self.encoder is not None:
            return self.pooling(*self.encoder(inputs, mask))
        return self.pooling(self.scaler(inputs, mask), mask)  # type: ignore[misc]

    def forward(self, inputs: Tensor, mask: Tensor, target: Tensor, region: Tensor | None = None) -> dict[str, Tensor]:
        """
        Return the "loss" of a batch, a scalar: Σ over dimensions of 1 - CCC, plus w(epoch) times the cross-entropy of regions.

        `inputs` and `mask` are those of `style`; `target`, of shape (batch, 3), holds ratings in [0, 1], and `region`, of shape
        (batch,), the region of each clip as int64, if the network has a head for regions.
        """
        style = self.style(inputs, mask)
        # Half precision would be too coarse for the moments once the loss is small.
        loss = concordance_loss(self.ratings(style).float(), target.float())
        if self.regions is not None and region is not None:
            entropy = functional.cross_entropy(self.regions(style).float(), region, self.region_weights)
            # Multiplied by 0, not skipped: distributed training needs a gradient for every weight in each update.
            loss = loss + (dynamic_weight(self.epoch) if self.weighted_by_epoch else 1.0) * entropy
        return {"loss": loss}
