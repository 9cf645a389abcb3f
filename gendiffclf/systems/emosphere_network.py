"""The network of EmoSphere-SER (arXiv 2505.19693): frames to a style vector, and from there to ratings and regions."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .collation import FrameScaler
from .emosphere_losses import concordance_loss, dynamic_weight
from .tuned_encoder import TunedEncoder

KERNEL_SIZE = 5
N_BLOCKS = 2
N_HEADS = 2
SMALLEST_VARIANCE = 1e-6


class StylePooling(nn.Module):
    """
    The paper's pooling: spectral layers, temporal layers, self-attention, and the mean over the clip's frames.

    Parameters
    ----------
    n_features, width : int
        Size of a frame and of the style vector.
    dropout : float

    Notes
    -----
    The layers are those of the released code. There, convolutions see what the layers before made of the padding; here it is set
    to zero before each, so that a clip's result does not depend on its batch.

    Shape
    -----
    (batch, n_frames, n_features), (batch, n_frames) -> (batch, width)
    """

    def __init__(self, n_features: int, width: int, dropout: float) -> None:
        super().__init__()
        sizes = [n_features] + [width] * N_BLOCKS
        self.spectral = nn.Sequential(
            *(
                layer
                for before, after in pairwise(sizes)
                for layer in (nn.Linear(before, after), nn.Mish(), nn.Dropout(dropout))
            )
        )
        self.temporal = nn.ModuleList(GatedConvolution(width, dropout) for _ in range(N_BLOCKS))
        self.attention = SelfAttention(width, dropout)
        self.output = nn.Linear(width, width)
        self.width = width

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Pool a batch; see the class for shapes. `mask` is True where there is a frame."""
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
    """Self-attention over the frames of a clip with a residual connection and no normalisation, scaled by 1 / √width."""

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
    The mean over the clip's frames.

    Shape
    -----
    (batch, n_frames, n_features), (batch, n_frames) -> (batch, n_features)
    """

    def __init__(self, n_features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.width = n_features

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Pool a batch; see the class for shapes."""
        return masked_mean(frames, mask)


class AttentiveStatistics(nn.Module):
    """
    Mean and deviation over frames weighted by attention (Okabe, Koshinaka and Shinoda 2018).

    Shape
    -----
    (batch, n_frames, n_features), (batch, n_frames) -> (batch, 2 · n_features)
    """

    def __init__(self, n_features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, 1))
        self.width = 2 * n_features

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Pool a batch; see the class for shapes."""
        weight = self.score(frames).masked_fill(~mask[..., None], -torch.inf).softmax(dim=1)  # (batch, n_frames, 1)
        mean = (weight * frames).sum(dim=1)
        variance = (weight * (frames - mean[:, None]).square()).sum(dim=1)
        return torch.cat([mean, variance.clamp_min(SMALLEST_VARIANCE).sqrt()], dim=-1)


POOLINGS: dict[str, Callable[[int, int, float], Any]] = {
    "style": StylePooling,
    "mean": MeanPooling,
    "attentive": AttentiveStatistics,
}
"""Modules from frames to a vector by name; each is made with (n_features, width, dropout) and has a `width`."""


def masked_mean(frames: Tensor, mask: Tensor) -> Tensor:
    """Mean over a clip's own frames: (batch, n_frames, d), (batch, n_frames) -> (batch, d)."""
    weight = mask[..., None].to(frames.dtype)
    return (frames * weight).sum(dim=1) / weight.sum(dim=1)


def head(n_inputs: int, width: int, n_outputs: int, dropout: float) -> nn.Sequential:
    """One of the two heads: (batch, n_inputs) -> (batch, n_outputs)."""
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
    Frames, or waveforms through a tuned encoder, to ratings and regions.

    Parameters
    ----------
    n_features : int
        Size of a frame.
    pooling : str
        A name of `POOLINGS`.
    width : int
        Of pooling and heads.
    n_regions : int
        0 for no head of regions.
    dropout, head_dropout : float
        Of the pooling and of the heads.
    weighted_by_epoch : bool
        Whether the regions' share of the loss falls from epoch to epoch.
    encoder : TunedEncoder, optional
        Without one, frames come in and are scaled.

    Attributes
    ----------
    settings : dict
        What it was made with, but for the encoder.
    """

    encoder: TunedEncoder | None
    region_weights: Tensor

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
        self.register_buffer("region_weights", torch.ones(n_regions))
        self.weighted_by_epoch = weighted_by_epoch
        self.epoch = 0

    @property
    def input_name(self) -> str:
        """What a clip comes in as: "frames", or "waves" for a tuned encoder."""
        return "frames" if self.encoder is None else "waves"

    def style(self, mask: Tensor, frames: Tensor | None = None, waves: Tensor | None = None) -> Tensor:
        """
        Pooled vectors.

        Parameters
        ----------
        mask : Tensor of shape (batch, longest), bool
            Of frames or waves.
        frames : Tensor of shape (batch, n_frames, n_features), optional
        waves : Tensor of shape (batch, n_samples), optional
            With a tuned encoder, instead of frames.

        Returns
        -------
        style : Tensor of shape (batch, d)
        """
        if self.encoder is not None:
            frames, mask = self.encoder(waves, mask)
        else:
            frames = self.scaler(frames, mask)  # type: ignore[misc]
        return self.pooling(frames, mask)

    def forward(
        self,
        mask: Tensor,
        target: Tensor,
        frames: Tensor | None = None,
        waves: Tensor | None = None,
        region: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """
        Loss of a batch: Σ over dimensions of 1 - CCC, plus w(epoch) times the cross-entropy of regions.

        Parameters
        ----------
        mask, frames, waves : Tensor
            As for `style`.
        target : Tensor of shape (batch, 3)
            Ratings in [0, 1].
        region : Tensor of shape (batch,), int64, optional
            Where there is a head of regions.

        Returns
        -------
        output : dict
            "loss", a scalar.
        """
        style = self.style(mask, frames, waves)
        # Moments of a batch in half precision would be off by more than what is left of the loss.
        loss = concordance_loss(self.ratings(style).float(), target.float())
        if self.regions is not None and region is not None:
            entropy = functional.cross_entropy(self.regions(style).float(), region, self.region_weights)
            # Times 0 and not left out: with several processes every weight must take part in every update.
            loss = loss + (dynamic_weight(self.epoch) if self.weighted_by_epoch else 1.0) * entropy
        return {"loss": loss}
