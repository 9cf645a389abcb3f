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
"""Features of all rows of one call, or values of dropout's masks, at most: more would not stay in a processor's cache."""


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
        self._example: tuple | None = None

    def at_once(self, n_rows: int) -> int:
        """How many steps to take in one call, each with a batch of so many rows."""
        shape = self.gradients.model.network.shape
        n_features = shape.n_members * shape.n_features * (shape.n_condition_layers + 1)
        n_masked = shape.depth * shape.hidden_width if shape.dropout else 0
        return min(max(MOST_VALUES // (n_rows * max(n_features, n_masked)), 1), MOST_STEPS)

    @torch.inference_mode()
    def take(
        self,
        n_steps: int,
        total: Tensor,
        rows: Tensor,
        labels: Tensor,
        codes: Tensor,
        weight: Tensor,
        generator: Generator,
    ) -> None:
        """
        Take steps.

        Parameters
        ----------
        n_steps : int
        total : Tensor of shape ()
            The steps' losses are added to it.
        rows : Tensor of shape (M, n_steps * B, layers, d)
            One batch after another.
        labels : Tensor of shape (M, n_steps * B), int
        codes : Tensor of shape (K, L)
            Of the labels.
        weight : Tensor of shape (M, n_steps * B)
        generator : torch.Generator
            Draws dropout.
        """
        size, optimizer = labels.shape[1] // n_steps, self.optimizer
        weight = weight * self.gradients.share(size)
        masks = self.gradients.masks(n_steps, size, generator)
        self._loss_key = self.gradients.key(rows)
        function = known(self._key())
        batches = rows, labels, codes, weight, masks
        if function is not None:
            blends = [optimizer.begin_step() for _ in range(n_steps)]
            function(
                total, *self._state(), *batches, *self._settings(blends if optimizer.averaging else [0.0] * n_steps)
            )
            return
        self._example = batches, n_steps
        for number in range(n_steps):
            part = slice(number * size, (number + 1) * size)
            targets = torch.embedding(codes, labels[:, part])
            total += self.gradients.loss_with(rows[:, part], targets, weight[:, part], masks[number])
            optimizer.begin_step()
            optimizer.step()

    def _state(self) -> tuple[list[Tensor] | Tensor, ...]:
        """What the function gets besides batches and settings."""
        vector, gradient, *others = self.gradients.state()
        optimizer = self.optimizer
        moments = [optimizer.first], [optimizer.second], [optimizer.count]
        return [vector], [gradient], *moments, optimizer.average, *others

    def _settings(self, blends: list[float]) -> tuple:
        """Numbers that it gets."""
        decay = self.optimizer.weight_decay, self.gradients.weights.n_matrix_values
        return float(self.optimizer.rate), *BETAS, EPSILON, *decay, blends

    @torch.inference_mode()
    def trace(self) -> None:
        """Have further calls run as TorchScript, if the loss does and the function stands a trial."""
        example, self._example = self._example, None
        loss = known(self._loss_key)
        if loss is None or example is None:
            return
        batches, n_steps = example

        def tried() -> TensorFunction:
            function = _steps_with(loss)
            copies = [[x.clone() for x in part] if isinstance(part, list) else part.clone() for part in self._state()]
            function(batches[0].new_zeros(()), *copies, *batches, *self._settings([0.5] * n_steps))
            return function

        script(self._key(), tried)

    def _key(self) -> Hashable:
        return "steps", self._loss_key


def _steps_with(loss: TensorFunction) -> TensorFunction:
    """
    What `ManySteps.take` does, as a function of tensors and numbers; a blend of 0 leaves the average alone.

    Adam's operation takes lists. They come from outside, as one that is made in the function would hide from TorchScript what is
    changed. A loop with `for` would be unrolled.
    """

    def steps(
        total: Tensor,
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
    ) -> None:
        vector, gradient, count = vectors[0], gradients[0], counts[0]
        none: List[Tensor] = []  # noqa: UP006
        size = labels.size(1) // len(blends)
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

    return torch.jit.script(steps)
