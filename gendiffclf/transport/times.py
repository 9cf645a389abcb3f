"""How training draws the time t in [t_min, t_max] of each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from .draws import uniform as _uniform

TimeSampler = Callable[[Sequence[int], Generator], Tensor]
"""From a shape and a generator to times in [0, 1], later stretched to [t_min, t_max]."""


def uniform(shape: Sequence[int], generator: Generator) -> Tensor:
    """Every time alike (the paper's, Eq. 8)."""
    return _uniform(shape, generator)


def biased(shape: Sequence[int], generator: Generator) -> Tensor:
    """`1 - u v` of two uniform draws: more often near the end where prediction starts."""
    return 1 - _uniform(shape, generator) * _uniform(shape, generator)


def terminal(shape: Sequence[int], generator: Generator) -> Tensor:
    """Always the end where prediction starts: regression onto the code, no transport."""
    return torch.ones(shape, device=generator.device)


def mixed(shape: Sequence[int], generator: Generator) -> Tensor:
    """The end for half of the draws, any time alike for the others."""
    at_end = _uniform(shape, generator) < 0.5
    return torch.where(at_end, 1.0, _uniform(shape, generator))


def logit_normal(shape: Sequence[int], generator: Generator) -> Tensor:
    """The logistic function of a standard normal: middle times (Esser et al. 2024)."""
    return torch.sigmoid(torch.randn(shape, generator=generator, device=generator.device))


TIME_SAMPLERS: dict[str, TimeSampler] = {
    "uniform": uniform,
    "biased": biased,
    "terminal": terminal,
    "mixed": mixed,
    "logit_normal": logit_normal,
}


def sample_times(kind: str, shape: Sequence[int], t_min: float, t_max: float, generator: Generator) -> Tensor:
    """
    Draw training times.

    Parameters
    ----------
    kind : str
        A key of `TIME_SAMPLERS`.
    shape : sequence of int
        Shape of the result.
    t_min, t_max : float
        Earliest and latest time, t_eps and T of Eq. 8, `0 <= t_min < t_max <= 1`.
    generator : torch.Generator
        Source of randomness; times come back on its device.

    Returns
    -------
    Tensor of the given shape, float32
        Times in [t_min, t_max].
    """
    return t_min + (t_max - t_min) * TIME_SAMPLERS[kind](shape, generator)
