"""Many steps of training in one call, which runs as TorchScript as soon as the loss does: without Python in between."""

from __future__ import annotations

from collections.abc import Hashable
from typing import List  # noqa: UP035  # TorchScript knows no other

import torch
from torch import Generator, Tensor

from .optimizer import BETAS, EPSILON, AveragedAdam
from .traced import TensorFunction, known, script
from .written_out import WrittenOutGradients

MOST_STEPS = 32
MOST_VALUES = 2**20
"""Features of all rows of one call, at most: more of them would not stay in a processor's cache."""


class ManySteps:
    """
    Steps with batches that are there at once.

    Parameters
    ----------
    gradients : WrittenOutGradients
    optimizer : AveragedAdam
    """

    def __init__(self, gradients: WrittenOutGradients, optimizer: AveragedAdam) -> None:
        self.gradients, self.optimizer = gradients, optimizer
        self._loss_key: Hashable = None

    def at_once(self, n_rows: int) -> int:
        """How many steps to take in one call, each with a batch of so many rows."""
        shape = self.gradients.model.network.shape
        n_values = shape.n_members * n_rows * shape.n_features * (shape.n_condition_layers + 1)
        return min(max(MOST_VALUES // n_values, 1), MOST_STEPS)

    @torch.inference_mode()
    def take(
        self, n_steps: int, rows: Tensor, labels: Tensor, codes: Tensor, weight: Tensor, generator: Generator
    ) -> Tensor:
        """
        Take steps.

        Parameters
        ----------
        n_steps : int
        rows : Tensor of shape (M, n_steps * B, layers, d)
            One batch after another.
        labels : Tensor of shape (M, n_steps * B), int
        codes : Tensor of shape (K, L)
            Of the labels.
        weight : Tensor of shape (M, n_steps * B)
        generator : torch.Generator
            Draws dropout.

        Returns
        -------
        Tensor of shape ()
            The sum of the steps' losses.
        """
        size, optimizer = labels.shape[1] // n_steps, self.optimizer
        weight = weight * self.gradients.share(size)
        masks = self.gradients.masks(n_steps, size, generator)
        self._loss_key = self.gradients.key(rows)
        function = known(self._key())
        if function is not None:
            blends = [optimizer.begin_step() for _ in range(n_steps)]
            vector, gradient, *others = self.gradients.state()
            adam = [vector], [gradient], [optimizer.first], [optimizer.second], [optimizer.count]
            batches = rows, labels, codes, weight, masks
            decay = optimizer.weight_decay, self.gradients.weights.n_matrix_values
            blends = blends if optimizer.averaging else [0.0] * n_steps
            settings = float(optimizer.rate), *BETAS, EPSILON, *decay, blends
            return function(*adam, optimizer.average, *others, *batches, *settings)
        total = rows.new_zeros(())
        for number in range(n_steps):
            part = slice(number * size, (number + 1) * size)
            targets = torch.embedding(codes, labels[:, part])
            total += self.gradients.loss_with(rows[:, part], targets, weight[:, part], masks[number])
            optimizer.begin_step()
            optimizer.step()
        return total

    def trace(self) -> None:
        """Have further calls run as TorchScript, if the loss does."""
        loss = known(self._loss_key)
        if loss is not None:
            script(self._key(), lambda: _steps_with(loss))

    def _key(self) -> Hashable:
        return "steps", self._loss_key


def _steps_with(loss: TensorFunction) -> TensorFunction:
    """
    What `ManySteps.take` does, as a function of tensors and numbers; a blend of 0 leaves the average alone.

    Adam's operation takes lists. They come from outside, as one that is made in the function would hide from TorchScript what is
    changed. A loop with `for` would be unrolled.
    """

    def steps(
        vectors: List[Tensor],  # noqa: UP006
        gradients: List[Tensor],  # noqa: UP006
        first: List[Tensor],  # noqa: UP006
        second: List[Tensor],  # noqa: UP006
        counts: List[Tensor],  # noqa: UP006
        average: Tensor,
        lift: Tensor,
        waves: Tensor,
        rows: Tensor,
        labels: Tensor,
        codes: Tensor,
        weight: Tensor,
        masks: Tensor,
        rate: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        decay: float,
        n_matrix_values: int,
        blends: List[float],  # noqa: UP006
    ) -> Tensor:
        vector, gradient, count = vectors[0], gradients[0], counts[0]
        none: List[Tensor] = []  # noqa: UP006
        size = labels.size(1) // len(blends)
        total = torch.zeros([], dtype=vector.dtype)
        number = 0
        while number < len(blends):
            start = number * size
            targets = torch.embedding(codes, labels.narrow(1, start, size))
            batch, shares = rows.narrow(1, start, size), weight.narrow(1, start, size)
            total += loss(vector, gradient, lift, waves, batch, targets, shares, masks[number])
            if decay > 0:
                vector.narrow(0, 0, n_matrix_values).mul_(1 - rate * decay)
            count += 1
            torch.ops.aten._fused_adam_(
                vectors,
                gradients,
                first,
                second,
                none,
                counts,
                lr=rate,
                beta1=beta1,
                beta2=beta2,
                weight_decay=0.0,
                eps=epsilon,
                amsgrad=False,
                maximize=False,
            )
            if blends[number] > 0:
                average.lerp_(vector, blends[number])
            number += 1
        return total

    return torch.jit.script(steps)
