"""The network x_θ(x_t, X_c, t) (section 2.5), several members in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from .blocks import TransformerLayer
from .embeddings import PeriodicEmbedding, TimeEmbedding
from .members import MemberLinear
from .tokenizers import TOKENIZERS


@dataclass(frozen=True)
class NetworkShape:
    """
    Everything that fixes a network's parameters; no number of classes is among it.

    Attributes
    ----------
    n_features : int
        Features per conditioning layer, d.
    n_condition_layers : int
        Conditioning layers; 1 for a plain matrix.
    width : int
        Width of the code space and of the residual stream, L.
    n_members : int
        Networks in one pass, M.
    n_views : int
        Ways in which rows are scaled, side by side; members take turns in which one they see.
    depth, n_heads : int
        Transformer layers, attention heads.
    hidden_width : int
        Width of the feed-forward state.
    time_width : int
        Width of the time embedding.
    n_frequencies : int
        Frequencies of the periodic feature embedding; 0 for none.
    frequency_scale : float
        Standard deviation of its initial frequencies; those of members that see another view than the first start at 0.
    tokenizer : str
        A key of `TOKENIZERS`.
    chunk_size : int
        Values per token of the `"chunks"` tokenizer.
    dropout : float
        Share of the feed-forward state dropped in training.
    queries_and_keys : bool
        Whether attention has queries and keys even where one token makes them useless.
    """

    n_features: int
    n_condition_layers: int = 1
    width: int = 128
    n_members: int = 1
    n_views: int = 1
    depth: int = 2
    n_heads: int = 4
    hidden_width: int = 512
    time_width: int = 32
    n_frequencies: int = 0
    frequency_scale: float = 0.1
    tokenizer: str = "single"
    chunk_size: int = 16
    dropout: float = 0.0
    queries_and_keys: bool = False


class TransportNetwork(nn.Module):
    """
    Estimates what the objective asks for from a state, a condition and a time.

    Stage 1 sums the conditioning layers with learnt weights; stage 2 fuses x_t and the sum linearly; stage 3 is a stack of
    transformer layers over that token and those of the tokenizer. The first token's final state is the estimate.

    Parameters
    ----------
    shape : NetworkShape
    generator : torch.Generator, optional
        Source of the initial weights, on the CPU.

    Shape
    -----
    x_t (M or 1, B, L), condition (M or 1, B, layers, d), t () or (M, B) -> (M, B, L)
    """

    def __init__(self, shape: NetworkShape, generator: Generator | None = None) -> None:
        super().__init__()
        generator = generator if generator is not None else torch.Generator()
        self.shape = shape
        members, width = shape.n_members, shape.width
        self.layer_weights: nn.Parameter | None = None
        if shape.n_condition_layers > 1:
            equal = torch.full((members, 1, 1, shape.n_condition_layers), 1 / shape.n_condition_layers)
            self.layer_weights = nn.Parameter(equal)
        self.embedding = PeriodicEmbedding(
            members, shape.n_features, shape.n_frequencies, shape.frequency_scale, generator
        )
        embedded = self.embedding.out_features
        self.fusion = MemberLinear(members, width + embedded, width, generator)
        tokenizer: Any = TOKENIZERS[shape.tokenizer](
            members, shape.n_condition_layers, shape.n_features, embedded, width, shape.chunk_size, generator
        )
        self.tokenizer = tokenizer
        self.time_embedding = TimeEmbedding(members, shape.time_width, generator)
        self.layers = nn.ModuleList(
            TransformerLayer(
                members,
                width,
                shape.n_heads,
                shape.hidden_width,
                shape.time_width,
                shape.dropout,
                generator,
                queries_and_keys=shape.queries_and_keys or tokenizer.n_tokens > 0,
            )
            for _ in range(shape.depth)
        )

    def tokens(self, x_t: Tensor, condition: Tensor) -> Tensor:
        """Stages 1 and 2 and the tokenizer: the tokens (M, B, T, L), the state's first."""
        members = self.shape.n_members
        x_t = x_t.expand(members, -1, -1)
        condition = condition.expand(members, -1, -1, -1)
        summed = condition[:, :, 0] if self.layer_weights is None else (self.layer_weights @ condition).squeeze(2)
        embedded = self.embedding(summed)  # (M, B, d) -> (M, B, e)
        state = self.fusion(torch.cat([x_t, embedded], dim=-1)).unsqueeze(2)  # (M, B, 1, L)
        state = state.to(x_t.dtype)  # the residual stream keeps its precision under autocast
        if self.tokenizer.n_tokens == 0:
            return state
        return torch.cat([state, self.tokenizer(condition, embedded)], dim=2)

    def before_last_map(
        self, x_t: Tensor, condition: Tensor, t: Tensor, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """
        All but the very last linear map, which is the part that a few new rows can update in closed form.

        Returns
        -------
        residual : Tensor of shape (M, B, L)
        hidden : Tensor of shape (M, B, hidden_width)
        gate : Tensor of shape (M, 1 or B, L)
            The estimate is `residual + gate * last_map(hidden)`.
        """
        tokens = self.tokens(x_t, condition)
        time = self.time_embedding(t)
        *first_layers, last_layer = self.transformer_layers()
        for layer in first_layers:
            tokens = layer(tokens, time, generator)
        residual, hidden, gate = last_layer.before_down(tokens, time, 1, generator)
        return residual[:, :, 0], hidden[:, :, 0], gate[:, :, 0]

    @property
    def last_map(self) -> MemberLinear:
        """The linear map that ends the last layer."""
        return self.transformer_layers()[-1].feed_forward.down

    def transformer_layers(self) -> list[TransformerLayer]:
        """The layers of stage 3."""
        return cast(list[TransformerLayer], list(self.layers))

    def forward(self, x_t: Tensor, condition: Tensor, t: Tensor, generator: Generator | None = None) -> Tensor:
        """The estimate; `generator` switches dropout on."""
        residual, hidden, gate = self.before_last_map(x_t, condition, t, generator)
        return residual + gate * self.last_map(hidden)
