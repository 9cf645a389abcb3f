"""Layers of several networks at once: every weight has a leading axis of members, and one batched product serves them all.

Shapes: M members, B rows, T tokens, L width, i inputs, o outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

TIME_SCALE = 1000.0
"""Times in [0, 1] are multiplied by this before their sinusoids, which would hardly vary otherwise."""


class MemberLinear(nn.Module):
    """
    M linear maps in one batched product. Weights start uniform in ±1/sqrt(i), or at 0 with `zero`, and biases at 0.

    Shape
    -----
    (M, ..., i) -> (M, ..., o)
    """

    def __init__(
        self, n_members: int, n_inputs: int, n_outputs: int, generator: Generator, *, zero: bool = False
    ) -> None:
        super().__init__()
        weight = torch.zeros(n_members, n_inputs, n_outputs, dtype=torch.float32)
        if not zero:
            weight.uniform_(-1, 1, generator=generator).div_(math.sqrt(n_inputs))
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_outputs, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member's map to its rows."""
        flat = x.flatten(1, -2)  # (M, ..., i) -> (M, B, i)
        if len(flat) == 1:  # without a copy of the bias for every row, which a batched product starts with
            mapped = torch.addmm(self.bias[0, 0], flat[0], self.weight[0])[None]
        else:
            mapped = torch.baddbmm(self.bias, flat, self.weight)
        return mapped.unflatten(1, x.shape[1:-1])


def rms_norm(x: Tensor) -> Tensor:
    """Divide by the root mean square over the last axis; no weights (Zhang and Sennrich 2019)."""
    return nn.functional.rms_norm(x, x.shape[-1:], eps=1e-6)


def dropout(x: Tensor, rate: float, generator: Generator | None) -> Tensor:
    """Zero a share `rate` of the values, alike in all members, and scale up the others; nothing without a generator."""
    if generator is None or rate == 0:
        return x
    # torch's dropout draws from the global generator, which training leaves alone.
    kept = torch.rand(x.shape[1:], generator=generator, device=x.device, dtype=torch.float32) >= rate
    return x * kept.to(x.dtype).div_(1 - rate)


class PeriodicEmbedding(nn.Module):
    """
    Features, then their cosines and sines at f learnt frequencies (Gorishniy et al. 2022); none of these for f = 0.

    `scale` is the standard deviation of the initial frequencies, in turns per unit of the scaled feature.

    Shape
    -----
    (M, B, d) -> (M, B, d (1 + 2 f))
    """

    def __init__(self, n_members: int, n_features: int, n_frequencies: int, scale: float, generator: Generator) -> None:
        super().__init__()
        self.out_features = n_features * (1 + 2 * n_frequencies)
        self.frequencies: nn.Parameter | None = None
        if n_frequencies:
            initial = torch.randn(n_members, 1, n_frequencies, n_features, generator=generator, dtype=torch.float32)
            self.frequencies = nn.Parameter(initial * scale)

    def forward(self, x: Tensor) -> Tensor:
        """Embed features."""
        if self.frequencies is None:
            return x
        angles = ((2 * math.pi * self.frequencies) * x[..., None, :]).flatten(2)  # (M, B, d) -> (M, B, f d)
        return torch.cat([x, angles.cos(), angles.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """
    Sines and cosines of `1000 t` at geometric frequencies from 1 down to 1/10000, through two linear maps.

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
        t = t.expand(len(self.first.weight), 1) if t.dim() == 0 else t
        half = (self.width + 1) // 2
        frequencies = torch.exp(-math.log(1e4) * torch.arange(half, device=t.device, dtype=t.dtype) / half)
        angles = TIME_SCALE * t[..., None] * frequencies
        sinusoids = torch.cat([angles.sin(), angles.cos()], dim=-1)[..., : self.width]
        return nn.functional.silu(self.second(nn.functional.silu(self.first(sinusoids))))


class Attention(nn.Module):
    """
    Multi-head attention of the first `n_queries` tokens to all.

    With one token the softmax is 1 and attention is `W_o W_v x`, whatever queries and keys are: without `queries_and_keys`
    they are neither stored nor computed, which is then exactly equivalent.

    Shape
    -----
    (M, B, T, L) -> (M, B, n_queries, L)
    """

    def __init__(
        self, n_members: int, width: int, n_heads: int, generator: Generator, *, queries_and_keys: bool
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query: MemberLinear | None = None
        self.key: MemberLinear | None = None
        if queries_and_keys:
            self.query = MemberLinear(n_members, width, width, generator)
            self.key = MemberLinear(n_members, width, width, generator)
        self.value = MemberLinear(n_members, width, width, generator)
        self.out = MemberLinear(n_members, width, width, generator)

    def forward(self, tokens: Tensor, n_queries: int) -> Tensor:
        """Attend."""
        value = self.value(tokens)
        if self.query is None or self.key is None:
            return self.out(value)
        query, key = self.query(tokens[:, :, :n_queries]), self.key(tokens)
        heads = [x.unflatten(-1, (self.n_heads, -1)).transpose(2, 3) for x in (query, key, value)]  # (M, B, h, T, L/h)
        attended = nn.functional.scaled_dot_product_attention(*heads)
        return self.out(attended.transpose(2, 3).flatten(-2))  # (M, B, h, T, L/h) -> (M, B, T, L)


class FeedForward(nn.Module):
    """Two linear maps around a GELU, (M, B, T, L) -> (M, B, T, L)."""

    activation = staticmethod(nn.functional.gelu)

    def __init__(
        self, n_members: int, width: int, hidden_width: int, dropout_rate: float, generator: Generator
    ) -> None:
        super().__init__()
        self.dropout_rate = dropout_rate
        self.up = MemberLinear(n_members, width, hidden_width, generator)
        self.down = MemberLinear(n_members, hidden_width, width, generator)

    def forward(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Map rows; the generator switches dropout on."""
        return self.down(dropout(self.activation(self.up(x)), self.dropout_rate, generator))


class TransformerLayer(nn.Module):
    """
    Attention, then feed-forward, each behind an RMS normalisation and added to its input (section 2.5).

    Time may set a scale before and a gate after each of them (adaptive RMS normalisation).
    """

    def __init__(
        self,
        n_members: int,
        width: int,
        n_heads: int,
        hidden_width: int,
        dropout_rate: float,
        generator: Generator,
        *,
        queries_and_keys: bool,
    ) -> None:
        super().__init__()
        self.attention = Attention(n_members, width, n_heads, generator, queries_and_keys=queries_and_keys)
        self.feed_forward = FeedForward(n_members, width, hidden_width, dropout_rate, generator)

    def forward(
        self, tokens: Tensor, modulation: Sequence[Tensor] | None, n_queries: int, generator: Generator | None
    ) -> Tensor:
        """(M, B, T, L) and scale, gate, scale, gate, each (M, 1 or B, 1, L), -> (M, B, n_queries, L)."""
        state = tokens[:, :, :n_queries]
        if modulation is None:
            state = state + self.attention(rms_norm(tokens), n_queries)
            return state + self.feed_forward(rms_norm(state), generator)
        scale_a, gate_a, scale_f, gate_f = modulation
        state = state + gate_a * self.attention(rms_norm(tokens) * scale_a, n_queries)
        return state + gate_f * self.feed_forward(rms_norm(state) * scale_f, generator)
