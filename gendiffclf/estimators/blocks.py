"""The transformer layer: attention and feed-forward, each behind an adaptive RMS normalisation (section 2.5)."""

from __future__ import annotations

from torch import Generator, Tensor, nn

from .members import MemberLinear, dropout, rms_normalise


class Attention(nn.Module):
    """
    Multi-head attention of the first `n_queries` tokens to all.

    With one token the softmax is 1 and attention is `W_o W_v x`, whatever queries and keys are: without `queries_and_keys`
    they are neither stored nor computed, which is then exactly equivalent.

    Shape
    -----
    (M, B, T, width) -> (M, B, n_queries, width)
    """

    def __init__(
        self, n_members: int, width: int, n_heads: int, generator: Generator, *, queries_and_keys: bool = True
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
        heads = [x.unflatten(-1, (self.n_heads, -1)).transpose(2, 3) for x in (query, key, value)]  # (M, B, h, T, w/h)
        attended = nn.functional.scaled_dot_product_attention(*heads)
        return self.out(attended.transpose(2, 3).flatten(-2))  # (M, B, h, T, w/h) -> (M, B, T, w)


class FeedForward(nn.Module):
    """Two linear maps around a GELU, (M, B, T, width) -> (M, B, T, width); `hidden` is the state between them."""

    def __init__(
        self, n_members: int, width: int, hidden_width: int, dropout_rate: float, generator: Generator
    ) -> None:
        super().__init__()
        self.dropout_rate = dropout_rate
        self.up = MemberLinear(n_members, width, hidden_width, generator)
        self.down = MemberLinear(n_members, hidden_width, width, generator)

    def hidden(self, x: Tensor, generator: Generator | None) -> Tensor:
        """The state that `down` maps back."""
        return dropout(nn.functional.gelu(self.up(x)), self.dropout_rate, generator)


class TransformerLayer(nn.Module):
    """
    Attention, then feed-forward, each added to its input; time sets a scale before and a gate after each of them.

    Parameters
    ----------
    n_members, width, n_heads, hidden_width, time_width : int
        M, L, heads, width of the feed-forward state, width of the time embedding.
    dropout_rate : float
        Share of the feed-forward state dropped in training.
    generator : torch.Generator
        Source of the initial weights. Scales and gates start at 1 for every time.
    queries_and_keys : bool
        See `Attention`.
    """

    def __init__(
        self,
        n_members: int,
        width: int,
        n_heads: int,
        hidden_width: int,
        time_width: int,
        dropout_rate: float,
        generator: Generator,
        *,
        queries_and_keys: bool,
    ) -> None:
        super().__init__()
        self.attention = Attention(n_members, width, n_heads, generator, queries_and_keys=queries_and_keys)
        self.feed_forward = FeedForward(n_members, width, hidden_width, dropout_rate, generator)
        self.modulation = MemberLinear(n_members, time_width, 4 * width, generator, zero=True)

    def scales_and_gates(self, time: Tensor) -> tuple[Tensor, ...]:
        """Scale and gate of attention, then of the feed-forward, at embedded times: each (M, 1 or B, L)."""
        return (1 + self.modulation(time)).chunk(4, dim=-1)

    def before_down(
        self, tokens: Tensor, time: Tensor, n_queries: int, generator: Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The residual (M, B, n_queries, L), the feed-forward's hidden state, and the gate of its output."""
        scale_a, gate_a, scale_f, gate_f = (x.unsqueeze(2) for x in self.scales_and_gates(time))
        tokens_a = rms_normalise(tokens) * scale_a
        tokens = tokens[:, :, :n_queries] + gate_a * self.attention(tokens_a, n_queries)
        hidden = self.feed_forward.hidden(rms_normalise(tokens) * scale_f, generator)
        return tokens, hidden, gate_f

    def forward(self, tokens: Tensor, time: Tensor, generator: Generator | None) -> Tensor:
        """(M, B, T, L) and (M, 1 or B, time_width) -> (M, B, T, L)."""
        residual, hidden, gate = self.before_down(tokens, time, tokens.shape[2], generator)
        return residual + gate * self.feed_forward.down(hidden)
