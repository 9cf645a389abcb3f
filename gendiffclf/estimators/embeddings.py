"""Embeddings of time and of plain features."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from .members import MemberLinear

TIME_SCALE = 1000.0
"""Times in [0, 1] are stretched by this before their sinusoids, which would hardly vary otherwise."""


def sinusoids(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of `1000 t` at geometric frequencies from 1 down to 1/10000, (...) -> (..., width)."""
    half = (width + 1) // 2
    frequencies = torch.exp(-math.log(1e4) * torch.arange(half, device=t.device, dtype=t.dtype) / half)
    angles = TIME_SCALE * t[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[..., :width]


class TimeEmbedding(nn.Module):
    """
    Sinusoids of t through two linear maps.

    Shape
    -----
    t of shape () or (M, B) -> (M, 1 or B, width)
    """

    def __init__(self, n_members: int, width: int, generator: Generator) -> None:
        super().__init__()
        self.width = width
        self.first = MemberLinear(n_members, width, width, generator)
        self.second = MemberLinear(n_members, width, width, generator)

    def forward(self, t: Tensor) -> Tensor:
        """Embed times."""
        n_members = self.first.weight.shape[0]
        t = t.expand(n_members, 1) if t.dim() == 0 else t
        hidden = nn.functional.silu(self.first(sinusoids(t, self.width)))
        return nn.functional.silu(self.second(hidden))


class PeriodicEmbedding(nn.Module):
    """
    Features, then their cosines and their sines at learnt frequencies (Gorishniy et al. 2022).

    Parameters
    ----------
    n_members, n_features : int
        M, d.
    n_frequencies : int
        Frequencies per feature, f; 0 leaves features as they are.
    scale : float
        Standard deviation of the initial frequencies, in turns per unit of the scaled feature.

    Shape
    -----
    (M, B, d) -> (M, B, d (1 + 2 f))
    """

    def __init__(self, n_members: int, n_features: int, n_frequencies: int, scale: float, generator: Generator) -> None:
        super().__init__()
        self.out_features = n_features * (1 + 2 * n_frequencies)
        self.frequencies: nn.Parameter | None = None
        if n_frequencies:
            initial = torch.randn(n_members, 1, n_frequencies, n_features, generator=generator)
            self.frequencies = nn.Parameter(initial * scale)

    def forward(self, x: Tensor) -> Tensor:
        """Embed features."""
        if self.frequencies is None:
            return x
        # All features, then the cosines of all of them at one frequency each, and so on: long pieces are computed faster.
        angles = ((2 * math.pi * self.frequencies) * x[..., None, :]).flatten(2)  # (M, B, d) -> (M, B, f d)
        return torch.cat([x, angles.cos(), angles.sin()], dim=-1)
