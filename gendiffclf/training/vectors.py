"""All parameters of a model as two long vectors: one operation does what would take one for every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class ParameterVectors:
    """
    Vectors that the parameters are parts of from now on.

    Parameters
    ----------
    parameters : sequence of nn.Parameter

    Attributes
    ----------
    vectors : list of nn.Parameter
        Of the matrices, which weight decay is for, and of the others.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        def is_matrix(parameter: nn.Parameter) -> bool:
            return parameter.dim() == 3 and parameter.shape[1] > 1

        self._groups = [[p for p in parameters if is_matrix(p)], [p for p in parameters if not is_matrix(p)]]
        self.vectors = [nn.Parameter(torch.cat([p.detach().flatten() for p in group])) for group in self._groups]
        for group, vector in zip(self._groups, self.vectors, strict=True):
            for parameter, part in zip(group, vector.detach().split([p.numel() for p in group]), strict=True):
                parameter.data = part.view(parameter.shape)

    def copy(self) -> list[Tensor]:
        """Copies of the vectors."""
        return [vector.detach().clone() for vector in self.vectors]

    @torch.no_grad()
    def load(self, vectors: Sequence[Tensor]) -> None:
        """Overwrite all parameters."""
        for own, vector in zip(self.vectors, vectors, strict=True):
            own.copy_(vector)

    def of(self, gradients: Mapping[nn.Parameter, Tensor]) -> list[Tensor]:
        """Gradients as vectors; 0 for a parameter without."""
        return [
            torch.cat([gradients[p].flatten() if p in gradients else p.new_zeros(p.numel()) for p in group])
            for group in self._groups
        ]

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        for group in self._groups:
            for parameter in group:
                parameter.data = parameter.detach().clone()
