"""Tokens beside the state's own, for attention to read the condition from.

The first token of every network is the fusion of x_t and the condition; a tokenizer adds further ones.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn

from .layers import MemberLinear

CHUNK_SIZE = 16
"""Values of a token of `ChunksTokenizer`."""


class SingleTokenizer(nn.Module):
    """No token beside the state's: the paper's network."""

    n_tokens = 0

    def __init__(
        self, n_members: int, n_layers: int, n_features: int, embedded: int, width: int, generator: Generator
    ) -> None:
        super().__init__()


class LayersTokenizer(nn.Module):
    """One token per conditioning layer: attention generalises the fixed weighted sum to one that depends on the row."""

    def __init__(
        self, n_members: int, n_layers: int, n_features: int, embedded: int, width: int, generator: Generator
    ) -> None:
        super().__init__()
        self.n_tokens = n_layers
        self.map = MemberLinear(n_members, n_features, width, generator)
        position = torch.randn(n_members, 1, n_layers, width, generator=generator, dtype=torch.float32)
        self.position = nn.Parameter(0.02 * position)

    def forward(self, layers: Tensor, embedded: Tensor) -> Tensor:
        """(M, B, layers, d) -> (M, B, layers, width)."""
        return self.map(layers) + self.position


class ChunksTokenizer(nn.Module):
    """One token per `CHUNK_SIZE` consecutive values of the embedded condition, padded with zeros, with its position."""

    def __init__(
        self, n_members: int, n_layers: int, n_features: int, embedded: int, width: int, generator: Generator
    ) -> None:
        super().__init__()
        self.n_tokens = math.ceil(embedded / CHUNK_SIZE)
        self.map = MemberLinear(n_members, CHUNK_SIZE, width, generator)
        position = torch.randn(n_members, 1, self.n_tokens, width, generator=generator, dtype=torch.float32)
        self.position = nn.Parameter(0.02 * position)

    def forward(self, layers: Tensor, embedded: Tensor) -> Tensor:
        """(M, B, e) -> (M, B, ⌈e / CHUNK_SIZE⌉, width)."""
        padding = self.n_tokens * CHUNK_SIZE - embedded.shape[-1]
        chunks = nn.functional.pad(embedded, (0, padding)).unflatten(-1, (self.n_tokens, CHUNK_SIZE))
        return self.map(chunks) + self.position


TOKENIZERS: dict[str, Any] = {"single": SingleTokenizer, "layers": LayersTokenizer, "chunks": ChunksTokenizer}
