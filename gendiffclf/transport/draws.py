"""Random numbers for the rows of a batch, also where several processes have a part of it each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

Sampler = Callable[[Sequence[int], Generator], Tensor]
"""From a shape and a generator to random numbers of that shape."""


class SharedGenerator(Generator):
    """
    The generator of a process that has some rows of a batch, seeded like those of the processes that have the others.

    Each of them draws for the whole batch and takes its part (`drawn`): a row gets the numbers that one process would give it.

    Attributes
    ----------
    n_rows : int
        Rows of the whole batch.
    first_row : int
        Where the process' own begin.
    """

    n_rows: int
    first_row: int


def drawn(sample: Sampler, shape: Sequence[int], generator: Generator, axis: int) -> Tensor:
    """
    Draw for rows.

    Parameters
    ----------
    sample : callable
        Draws.
    shape : sequence of int
        Shape of the result.
    generator : torch.Generator
        Source of randomness; of a `SharedGenerator` the process' part of what `sample` draws for the whole batch.
    axis : int
        The axis of rows, from 0.
    """
    if not isinstance(generator, SharedGenerator):
        return sample(shape, generator)
    whole = [*shape[:axis], generator.n_rows, *shape[axis + 1 :]]
    return sample(whole, generator).narrow(axis, generator.first_row, shape[axis])


def uniform(shape: Sequence[int], generator: Generator) -> Tensor:
    """Uniform in [0, 1)."""
    return torch.rand(shape, generator=generator, device=generator.device)
