"""All parameters of a module as one long vector: one operation does what would take one for every parameter."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ParameterVector:
    """
    A vector that the parameters of a module are parts of from now on: matrices first, which weight decay is for.

    Parameters
    ----------
    module : nn.Module

    Attributes
    ----------
    vector : nn.Parameter
        With a gradient, 0 at first.
    n_matrix_values : int
        How many of its first values are the matrices'.
    """

    def __init__(self, module: nn.Module) -> None:
        def place(named: tuple[str, nn.Parameter]) -> tuple[bool, str]:
            name, parameter = named
            is_matrix = parameter.dim() == 3 and parameter.shape[1] > 1
            return not is_matrix, re.sub(r"\d+", "", name)  # those of one name in all layers are neighbours

        self._parameters = [parameter for _, parameter in sorted(module.named_parameters(), key=place)]
        self.vector = nn.Parameter(torch.cat([p.detach().flatten() for p in self._parameters]))
        self.vector.grad = torch.zeros_like(self.vector)
        self._sizes = {parameter: parameter.shape for parameter in self._parameters}
        self._starts, start = {}, 0
        for parameter in self._parameters:
            self._starts[parameter] = start
            start += parameter.numel()
            parameter.data = self.neighbours([parameter])[0][0]
        self.n_matrix_values = sum(p.numel() for name, p in module.named_parameters() if not place((name, p))[0])

    @property
    def gradient(self) -> Tensor:
        """The vector's."""
        assert self.vector.grad is not None
        return self.vector.grad

    @property
    def matrices(self) -> Tensor:
        """The part of the vector that is matrices."""
        return self.vector.detach()[: self.n_matrix_values]

    def neighbours(
        self, parameters: Sequence[nn.Parameter], vector: Tensor | None = None, gradient: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Parameters of one name in N layers as one tensor, (N, ...), and their gradients: parts of the vectors, or of others."""
        first, *others = (self._starts[parameter] for parameter in parameters)
        size = self._sizes[parameters[0]]
        n_values = size.numel()
        assert others == [first + n_values * (number + 1) for number in range(len(others))]
        part = slice(first, first + n_values * len(parameters))
        vector, gradient = (
            self.vector.detach() if vector is None else vector,
            self.gradient if gradient is None else gradient,
        )
        return vector[part].view(len(parameters), *size), gradient[part].view(len(parameters), *size)

    def copy(self) -> Tensor:
        """A copy of the vector."""
        return self.vector.detach().clone()

    @torch.no_grad()
    def load(self, vector: Tensor) -> None:
        """Overwrite all parameters."""
        self.vector.copy_(vector)

    def set_gradient(self, gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]) -> None:
        """Overwrite the gradient by those of all parameters; None stands for 0."""
        found = {p: gradient for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
        parts = [found[p].flatten() if p in found else p.new_zeros(p.numel()) for p in self._parameters]
        torch.cat(parts, out=self.gradient)

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        for parameter in self._parameters:
            parameter.data = parameter.detach().clone()
