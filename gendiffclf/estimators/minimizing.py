"""Minimising a smooth function of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController
from torch import Tensor


def minimized(
    start: Tensor,
    loss: Callable[[Tensor], Tensor],
    n_iterations: int,
    bounds: Sequence[tuple[float, float]] | None = None,
) -> Tensor:
    """
    Where L-BFGS-B from a start is after so many iterations, or where nothing is gained any more.

    The loss is a scalar, and bounds are the least and the most of each value.
    """

    def like_start(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(start.dtype).to(start.device).view_as(start)

    def value_and_gradient(values: np.ndarray) -> tuple[float, np.ndarray]:
        free = like_start(values).requires_grad_()
        with torch.enable_grad():
            value = loss(free)
        (gradient,) = torch.autograd.grad(value, free)
        return float(value.detach()), gradient.cpu().double().numpy().ravel()

    with _open_blas().limit(limits=1):
        found = minimize(
            value_and_gradient,
            start.cpu().double().numpy().ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": n_iterations, "ftol": 1e-7, "gtol": 1e-5},
        )
    return like_start(found.x)


@cache
def _open_blas() -> ThreadpoolController:
    """
    The copies of OpenBLAS in the process, of which scipy uses one.

    They have threads of their own. With those of torch they would wait by turns for cores that the others hold, for a second.
    """
    return ThreadpoolController().select(internal_api="openblas")
