"""How training samples the time t in [t_min, t_max] of each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

TimeSampler = Callable[[Sequence[int], Generator], Tensor]
"""From a shape and a generator to times in [0, 1], later stretched to [t_min, t_max]."""


def uniform(shape: Sequence[int], generator: Generator) -> Tensor:
    """Uniform in [0, 1), the paper's choice (Eq. 8)."""
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)


def biased(shape: Sequence[int], generator: Generator) -> Tensor:
    """`1 - u v` of two uniform numbers: denser near t_max, where prediction starts."""
    return 1 - uniform(shape, generator) * uniform(shape, generator)


def terminal(shape: Sequence[int], generator: Generator) -> Tensor:
    """Always t_max, where prediction starts: regression onto the code, no transport."""
    return torch.ones(shape, device=generator.device, dtype=torch.float32)


def mixed(shape: Sequence[int], generator: Generator) -> Tensor:
    """t_max for half of the rows, uniform for the others."""
    at_end = uniform(shape, generator) < 0.5
    return torch.where(at_end, 1.0, uniform(shape, generator))


def logit_normal(shape: Sequence[int], generator: Generator) -> Tensor:
    """Logistic function of a standard normal: denser in the middle (Esser et al. 2024)."""
    return torch.sigmoid(torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32))


TIME_SAMPLERS: dict[str, TimeSampler] = {
    "uniform": uniform,
    "biased": biased,
    "terminal": terminal,
    "mixed": mixed,
    "logit_normal": logit_normal,
}


def sample_times(kind: str, shape: Sequence[int], t_min: float, t_max: float, generator: Generator) -> Tensor:
    """
    Sample training times in [t_min, t_max], t_eps and T of Eq. 8, by one of `TIME_SAMPLERS`.

    Times are float32 of the given shape, on the device of the generator.
    """
    return t_min + (t_max - t_min) * TIME_SAMPLERS[kind](shape, generator)
