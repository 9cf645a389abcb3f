"""One temperature and one smoothing, chosen where the model was not trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..transport.readout import temper

_TEMPERATURES = np.exp(np.linspace(-1.2, 1.2, 25))
_SMOOTHINGS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
_MOST_ROWS = 20_000


@dataclass(frozen=True)
class Calibration:
    """The arguments of `temper`; temperature 1 and a smoothing of 1e-3 leave probabilities nearly as projected."""

    temperature: float = 1.0
    smoothing: float = 1e-3


def calibration_stride(n_rows: int) -> int:
    """Every how many-th of so many judged rows `fit_calibration` looks at."""
    return max(1, -(-n_rows // _MOST_ROWS))


def fit_calibration(probabilities: Tensor, y: Tensor, weight: Tensor) -> Calibration:
    """
    The temperature and smoothing of least weighted logarithmic loss, over a grid.

    Parameters
    ----------
    probabilities : Tensor of shape (n, K)
        Projected probabilities of rows the model did not learn from.
    y : Tensor of shape (n,), int
        Their classes.
    weight : Tensor of shape (n,)
        Their weights.
    """
    stride = calibration_stride(len(y))  # rows come member by member: all of them have their say
    probabilities, y, weight = (x[::stride].cpu().double() if x.is_floating_point() else x[::stride].cpu()
                                for x in (probabilities, y, weight))  # fmt: skip
    best, best_loss = Calibration(), float("inf")
    place = len(_TEMPERATURES) // 2
    for smoothing in _SMOOTHINGS:
        logits = temper(probabilities, 1.0, smoothing).log()

        @cache
        def loss(place: int, logits: Tensor = logits) -> float:
            tempered = torch.log_softmax(logits / _TEMPERATURES[place], dim=-1)
            return -float(weight @ tempered.gather(1, y[:, None]).squeeze(1))

        # The loss is convex in 1 / temperature: going down from the best place of the smoothing before finds the lowest.
        while (lower := min(range(max(place - 1, 0), min(place + 2, len(_TEMPERATURES))), key=loss)) != place:
            place = lower
        if loss(place) < best_loss:
            best, best_loss = Calibration(float(_TEMPERATURES[place]), smoothing), loss(place)
    return best


def squared_distance(probabilities: Tensor, y: Tensor) -> Tensor:
    """Of probabilities (..., K) to the one-hot labels of classes (...): (...), in [0, 2]."""
    return (probabilities - torch.nn.functional.one_hot(y, probabilities.shape[-1])).pow(2).sum(-1)


def brier(distance: Tensor, weight: Tensor) -> float:
    """Weighted mean of the rows' squared distances (n,), in [0, 2]."""
    return float((weight * distance).sum() / weight.sum())
