"""Layers of several networks at once: every weight has a leading axis of members, every pass serves all of them.

Shapes: M members, B rows, i inputs, o outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

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


NORM_EPSILON = 1e-6


def rms_normalise(x: Tensor) -> Tensor:
    """Divide by the root mean square over the last axis; no weights (Zhang and Sennrich 2019)."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + NORM_EPSILON)


def dropout_masks(number: int, shape: Sequence[int], rate: float, generator: Generator, dtype: torch.dtype) -> Tensor:
    """
    So many masks, on a CPU as if drawn one after another: values (number, *shape), 0 for a share `rate` of them, else 1.

    The shape is without the axis of members: their rows differ anyway.
    """
    return drawn(partial(_kept, rate, dtype), (number, *shape), generator, axis=1)


def _kept(rate: float, dtype: torch.dtype, shape: Sequence[int], generator: Generator) -> Tensor:
    """1 for what is kept."""
    if generator.device.type != "cpu":
        return (uniform(shape, generator) >= rate).to(dtype)
    # Random numbers cost as much as the layer's products there: four come of each draw of 64 bits.
    number, n_values = shape[0], math.prod(shape[1:])
    bits = torch.randint(-(2**63), 2**63 - 1, (number, -(-n_values // 4)), generator=generator).view(torch.int16)
    kept = torch.empty(number, n_values, dtype=dtype)
    return torch.ge(bits[:, :n_values], round(rate * 2**16) - 2**15, out=kept).view(shape)


def dropout(x: Tensor, rate: float, generator: Generator | None) -> Tensor:
    """Zero a share `rate` of the values and scale up the others; nothing without a generator, that is in prediction."""
    if generator is None or rate == 0:
        return x
    return x * (dropout_masks(1, x.shape[1:], rate, generator, x.dtype)[0] / (1 - rate))
