"""Layers of several networks at once: every weight has a leading axis of members, every pass serves all of them.

Shapes: M members, B rows, i inputs, o outputs.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from ..transport.draws import drawn, uniform


class MemberLinear(nn.Module):
    """
    M linear maps in one batched product.

    Parameters
    ----------
    n_members, n_inputs, n_outputs : int
        M, i, o.
    generator : torch.Generator
        Source of the initial weights, uniform in ±1/sqrt(i); biases start at 0.
    zero : bool
        Whether weights start at 0 too.

    Shape
    -----
    (M, ..., i) -> (M, ..., o)
    """

    def __init__(
        self, n_members: int, n_inputs: int, n_outputs: int, generator: Generator, *, zero: bool = False
    ) -> None:
        super().__init__()
        weight = torch.zeros(n_members, n_inputs, n_outputs)
        if not zero:
            weight.uniform_(-1, 1, generator=generator).div_(math.sqrt(n_inputs))
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member's map to its rows."""
        flat = x.flatten(1, -2)  # (M, ..., i) -> (M, B, i)
        return torch.baddbmm(self.bias, flat, self.weight).unflatten(1, x.shape[1:-1])


def rms_normalise(x: Tensor) -> Tensor:
    """Divide by the root mean square over the last axis; no weights (Zhang and Sennrich 2019)."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def dropout(x: Tensor, rate: float, generator: Generator | None) -> Tensor:
    """Zero a share `rate` of the values and scale up the others; nothing without a generator, that is in prediction."""
    if generator is None or rate == 0:
        return x
    # One mask serves all members, whose rows differ anyway: random numbers cost as much as the layer's products.
    kept = drawn(uniform, x.shape[1:], generator, axis=0) >= rate
    return x * (kept / (1 - rate)).to(x.dtype)
