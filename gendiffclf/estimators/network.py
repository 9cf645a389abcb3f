"""The network x_θ(x_t, X_c[, t]) (section 2.5), several members in one pass: training, prediction and export all run this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ..transport.learned import LearnedPath, carry, draw
from .layers import MemberLinear, PeriodicEmbedding, TimeEmbedding, TransformerLayer
from .tokenizers import TOKENIZERS


@dataclass(frozen=True)
class NetworkShape:
    """
    Everything that fixes a network's parameters; no number of classes is among it.

    Attributes
    ----------
    n_features : int
        Features per layer of the input, d.
    n_layers : int
        Layers of the input; 1 for a plain matrix.
    width : int
        Width of the residual stream, W.
    code_width : int
        Width of the code space, L; 0 stands for W. A linear map leads from a narrower stream to it, and none if they are equal.
    n_members : int
        Networks in one pass, M.
    n_views : int
        Ways in which rows are scaled, side by side; members take turns in which one they see.
    depth, n_heads : int
        Transformer layers, attention heads.
    hidden_width : int
        Width of the feed-forward state.
    time_width : int
        Width of the time embedding; 0 for a network without time.
    n_frequencies : int
        Frequencies of the periodic feature embedding; 0 for none.
    frequency_scale : float
        Standard deviation of its initial frequencies; those of members that see another view than the first start at 0.
    tokenizer : str
        A key of `TOKENIZERS`.
    dropout : float
        Share of the feed-forward state dropped in training.
    queries_and_keys : bool
        Whether attention has queries and keys even where one token makes them useless.
    """

    n_features: int
    n_layers: int = 1
    width: int = 64
    code_width: int = 0
    n_members: int = 1
    n_views: int = 1
    depth: int = 2
    n_heads: int = 4
    hidden_width: int = 64
    time_width: int = 0
    n_frequencies: int = 0
    frequency_scale: float = 0.1
    tokenizer: str = "single"
    dropout: float = 0.0
    queries_and_keys: bool = False


class TransportNetwork(nn.Module):
    """
    Estimates the code of a row's class, from the row or from a state on its path.

    Stage 1 sums the conditioning layers with learnt weights; stage 2 fuses x_t and the sum linearly; stage 3 is a stack of
    transformer layers over that token and those of the tokenizer. The first token's final state is the estimate. Without
    time the state is x1 itself.

    `lift` (d, W) is the fixed map of the last layer's features to x1; into a narrower residual stream, where that has a map to
    the code space. The generator of the initial weights is on the CPU.
    """

    def __init__(self, shape: NetworkShape, lift: np.ndarray, generator: Generator | None = None) -> None:
        super().__init__()
        generator = generator if generator is not None else torch.Generator()
        self.shape = shape
        members, width, n_condition = shape.n_members, shape.width, max(1, shape.n_layers - 1)
        self.lift = nn.Buffer(torch.as_tensor(lift, dtype=torch.float32))
        self.view = nn.Buffer(torch.arange(members) % shape.n_views, persistent=False)
        self.layer_weights: nn.Parameter | None = None
        if n_condition > 1:
            self.layer_weights = nn.Parameter(
                torch.full((members, 1, 1, n_condition), 1 / n_condition, dtype=torch.float32)
            )
        self.embedding = PeriodicEmbedding(
            members, shape.n_features, shape.n_frequencies, shape.frequency_scale, generator
        )
        if self.embedding.frequencies is not None:
            self.embedding.frequencies.data[self.view > 0] = 0
        embedded = self.embedding.out_features
        self.fusion = MemberLinear(members, width + embedded, width, generator)
        self.tokenizer = TOKENIZERS[shape.tokenizer](members, n_condition, shape.n_features, embedded, width, generator)
        self.time_embedding: TimeEmbedding | None = None
        self.modulation: MemberLinear | None = None
        if shape.time_width:
            self.time_embedding = TimeEmbedding(members, shape.time_width, generator)
            # Scales and gates of all layers, which start at 1 for every time.
            self.modulation = MemberLinear(members, shape.time_width, 4 * width * shape.depth, generator, zero=True)
        self.layers = nn.ModuleList(
            TransformerLayer(
                members,
                width,
                shape.n_heads,
                shape.hidden_width,
                shape.dropout,
                generator,
                queries_and_keys=shape.queries_and_keys or self.tokenizer.n_tokens > 0,
            )
            for _ in range(shape.depth)
        )
        self.read_out: MemberLinear | None = None
        if shape.code_width not in (0, width):
            self.read_out = MemberLinear(members, width, shape.code_width, generator)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """
        Start of transport and condition of scaled rows, each member's in the view that it sees.

        A row of one layer is its own condition; of several, transport starts at the last and the others are the condition.

        Shape
        -----
        (M or 1, B, views * layers, d) -> x1 (M, B, W), X_c (M, B, layers - 1 or 1, d)
        """
        views = rows.unflatten(-2, (self.shape.n_views, -1)).expand(self.shape.n_members, -1, -1, -1, -1)
        # (M, B, views, layers, d) -> (M, B, layers, d), copied only where members differ
        one = self.shape.n_views == 1
        rows = views[:, :, 0] if one else views[torch.arange(len(self.view), device=rows.device), :, self.view]
        x1 = (rows[..., -1, :] @ self.lift).to(rows.dtype)  # under autocast too: time and residual stream go by it
        return x1, rows if rows.shape[-2] == 1 else rows[..., :-1, :]

    def forward(
        self, x_t: Tensor, condition: Tensor, t: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """
        The network's output; a generator switches dropout on.

        Shape
        -----
        States x_t (M, B, W), x1 without time; condition (M, B, layers, d); times () or (M, B) -> (M, B, L)
        """
        summed = condition[:, :, 0] if self.layer_weights is None else (self.layer_weights @ condition).squeeze(2)
        embedded = self.embedding(summed)  # (M, B, d) -> (M, B, e)
        tokens = self.fusion(torch.cat([x_t, embedded], dim=-1)).unsqueeze(2)  # (M, B, 1, W)
        tokens = tokens.to(x_t.dtype)  # the residual stream keeps its precision under autocast
        if self.tokenizer.n_tokens:
            tokens = torch.cat([tokens, self.tokenizer(condition, embedded)], dim=2)
        modulation: Sequence[Sequence[Tensor] | None] = [None] * len(self.layers)
        if self.time_embedding is not None and self.modulation is not None and t is not None:
            # (M, 1 or B, depth 4 W) -> depth times four of (M, 1 or B, 1, W)
            all_layers = (1 + self.modulation(self.time_embedding(t))).unsqueeze(2).chunk(len(self.layers), dim=-1)
            modulation = [x.chunk(4, dim=-1) for x in all_layers]
        for layer, of_layer in zip(self.layers[:-1], modulation[:-1], strict=True):
            tokens = layer(tokens, of_layer, tokens.shape[2], generator)
        state = self.layers[-1](tokens, modulation[-1], 1, generator)[:, :, 0]
        return state if self.read_out is None else self.read_out(state)


def loss(
    network: TransportNetwork,
    rows: Tensor,
    codes: Tensor,
    learned: LearnedPath | None = None,
    generator: Generator | None = None,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """
    Squared error of each row's estimate (Eq. 8), in units of a coordinate: at t = T, or at a random time of a learned path.

    Scaled rows (M, B, views * layers, d) and the codes of their classes (M, B, L) -> (M, B). The generator draws times, noise and
    dropout. The precision is that of matrix products if it is bfloat16; else they are in that of the rows.
    """
    x_t, condition = network.split(rows)
    t, target = None, codes
    if learned is not None:
        assert generator is not None
        x_t, t, target = draw(learned, codes, x_t, generator)
    with torch.autocast(rows.device.type, dtype=torch.bfloat16, enabled=precision is torch.bfloat16):
        output = network(x_t, condition, t, generator)
    return (output.to(target.dtype) - target).square().mean(-1)


def estimate(network: TransportNetwork, rows: Tensor, learned: LearnedPath | None = None) -> Tensor:
    """Each member's estimate of the codes of scaled rows: (M or 1, B, views * layers, d) -> (M, B, L)."""
    x1, condition = network.split(rows)
    if learned is None:
        return network(x1, condition)
    return carry(learned, lambda x_t, t: network(x_t, condition, t), x1)[-1]
