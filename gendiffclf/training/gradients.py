"""Loss and gradients of one batch: written out for the commonest training, by automatic differentiation for all others."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..model import TransportModel
from .vectors import ParameterVector
from .written_out import WrittenOutGradients


class AutomaticGradients:
    """
    Loss and gradients of a model by automatic differentiation.

    Parameters
    ----------
    model : TransportModel
    weights : ParameterVector
        Of the model's network; gets the gradients.
    precision : torch.dtype
        Of matrix products.
    """

    def __init__(self, model: TransportModel, weights: ParameterVector, precision: torch.dtype) -> None:
        self.model, self.weights, self.precision = model, weights, precision

    def loss(self, rows: Tensor, codes: Tensor, weight: Tensor, generator: Generator) -> Tensor:
        """
        The weighted mean of `model.loss` over rows and members; leaves the gradient of its sum over members in `weights`.

        Parameters
        ----------
        rows : Tensor of shape (M, B, layers, d)
            Scaled rows, each member's own in the view that it sees.
        codes : Tensor of shape (M, B, L)
            The codes of their classes.
        weight : Tensor of shape (M, B)
        generator : torch.Generator
            Draws times, noise and dropout.

        Returns
        -------
        Tensor of shape ()
        """
        parameters = list(self.model.network.parameters())
        losses = (self.model.loss(rows, codes, generator, self.precision) * weight).mean(1)
        self.weights.set_gradient(torch.autograd.grad(losses.sum(), parameters, allow_unused=True), parameters)
        return losses.detach().mean()


def gradients_of(
    model: TransportModel, weights: ParameterVector, precision: torch.dtype
) -> AutomaticGradients | WrittenOutGradients:
    """The quickest way to a model's gradients."""
    kind = WrittenOutGradients if WrittenOutGradients.applies(model) else AutomaticGradients
    return kind(model, weights, precision)
