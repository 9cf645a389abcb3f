"""Losses and loss weights of EmoSphere-SER (arXiv 2505.19693)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DYNAMIC_EPOCHS = 5
"""Epochs after which the weight of the regions is 0."""
LAST_WEIGHT = 0.01
"""Value that the weight falls to linearly over these epochs."""
EPS = 1e-8
"""Added to the denominator of the CCC, for constant values."""


def concordance(prediction: Tensor, target: Tensor) -> Tensor:
    """
    Concordance correlation coefficients over a batch: (batch, k), (batch, k) -> (k,).

    2 s_xy / (s_x² + s_y² + (x̄ - ȳ)²) with population moments, in [-1, 1]; 0 if the denominator is 0.
    """
    mean_p, mean_t = prediction.mean(0), target.mean(0)
    covariance = ((prediction - mean_p) * (target - mean_t)).mean(0)
    spread = (prediction - mean_p).square().mean(0) + (target - mean_t).square().mean(0)
    return 2 * covariance / (spread + (mean_p - mean_t).square() + EPS)


def concordance_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Sum over dimensions of 1 - CCC: (batch, k), (batch, k) -> ()."""
    return (1 - concordance(prediction, target)).sum()


def dynamic_weight(epoch: int) -> float:
    """
    Weight of the cross-entropy of regions: 1 - (epoch / 5)(1 - 0.01) before epoch 5, counted from 0, and 0 from then on.

    Examples
    --------
    >>> [round(dynamic_weight(epoch), 3) for epoch in range(6)]
    [1.0, 0.802, 0.604, 0.406, 0.208, 0.0]
    """
    return 1 - epoch / DYNAMIC_EPOCHS * (1 - LAST_WEIGHT) if epoch < DYNAMIC_EPOCHS else 0.0


def region_weights(numbers: NDArray[np.integer], n_regions: int) -> Tensor:
    """
    Class weights N / (n_regions · n_k) of the cross-entropy, of shape (n_regions,), float32; 0 for regions with no clips.

    `numbers` are the regions of the N training clips.

    Examples
    --------
    >>> region_weights(np.array([0, 0, 1, 0, 0]), 2).tolist()
    [0.625, 2.5]
    """
    counts = np.bincount(numbers, minlength=n_regions)
    weights = np.divide(len(numbers), n_regions * counts, out=np.zeros(n_regions), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)
