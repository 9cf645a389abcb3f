"""How unusual rows are: distance to the kernel's rows, what the network leaves outside the codes' span, entropy.

Each is compared with its values at rows of training that the estimates took no part in: the share of those at least as unusual is
a p-value. Fisher's statistic joins them, a sum of logarithms. The share of held-out rows with no higher a sum is a p-value again,
whose rate of false alarms needs no assumption about distributions (conformal anomaly detection, Laxhammar and Falkman 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Tensor

from .device import high_precision
from .estimators.kernel_estimator import KernelEstimator
from .estimators.network import TransportNetwork, estimate
from .estimators.training_rows import TrainingRows
from .transport.learned import LearnedPath
from .transport.readout import outside_span

MOST_ROWS = 1000
"""Held-out rows to compare with, at most, evenly spread."""
BLOCK = 256
"""Of them in one pass."""
TAIL = 0.95
"""Beyond this quantile distances and lengths have an exponential tail, so that farther is always less usual."""


def outside(network: TransportNetwork, rows: Tensor, codes: Tensor, learned: LearnedPath | None) -> Tensor:
    """Length of the part of each member's estimate outside the span of the codes, in code lengths, (b, ...) -> (M, b)."""
    return outside_span(estimate(network, rows[None], learned), codes)


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy of probabilities, in nats, (b, K) -> (b,)."""
    return torch.special.entr(probabilities).sum(-1)


@dataclass(frozen=True)
class Novelty:
    """
    What is usual.

    Attributes
    ----------
    reference : ndarray of shape (E + 1, r), float64
        Measures of held-out rows, each ascending: one for each estimator, then the entropy.
    scores : ndarray of shape (r,), float64
        Scores of these rows, ascending.
    """

    reference: np.ndarray
    scores: np.ndarray

    @classmethod
    def fit(cls, measures: np.ndarray) -> Novelty:
        """From measures (r, E + 1) of held-out rows, r >= 0."""
        found = cls(np.sort(measures, axis=0).T, np.empty(0))
        return cls(found.reference, np.sort(found.score(measures)))

    def score(self, measures: np.ndarray) -> np.ndarray:
        """
        Sum of the logarithms of p-values of measures, (n, E + 1) -> (n,), at most 0: the lower, the less usual.

        Without rows to compare with, minus the first measure.
        """
        if not self.reference.shape[1]:
            return -measures[:, 0]
        *unbounded, of_entropy = zip(self.reference, measures.T, strict=True)
        return sum((_tail(*pair) for pair in unbounded), _share_above(*of_entropy))

    def p_value(self, scores: np.ndarray) -> np.ndarray:
        """Share of held-out rows, with the row itself as one of them, whose scores are no higher, (n,)."""
        return (np.searchsorted(self.scores, scores, side="right") + 1) / (len(self.scores) + 1)


def _share_above(reference: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Logarithm of the share of a reference, and the value itself, that is at least as large."""
    n = len(reference)
    return np.log((n - np.searchsorted(reference, values, side="left") + 1) / (n + 1))


def _tail(reference: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The same with an exponential tail beyond a quantile, whose mean excess is that of the reference."""
    start = np.quantile(reference, TAIL)
    excess = max(float(np.mean(reference[reference >= start] - start)), float(np.finfo(np.float32).tiny))
    beyond = np.log(1 - TAIL) - (values - start) / excess
    return np.where(values > start, beyond, np.maximum(_share_above(reference, values), np.log(1 - TAIL)))


def fit_novelty(
    kernel: KernelEstimator | None,
    network: TransportNetwork | None,
    codes: Tensor,
    learned: LearnedPath | None,
    data: TrainingRows,
    index: np.ndarray,
    members: np.ndarray,
    probabilities: np.ndarray,
) -> Novelty:
    """
    Learn what is usual from held-out rows: their numbers `index` (v,), the `members` (v,) of the network that did not learn from
    them, and their `probabilities` (v, K).

    The kernel's centres are the first of the rows. Rows of a row's group are not among its nearest. The codes (K, L) tell
    device and precision.
    """
    n_measures = (kernel is not None) + (network is not None) + 1
    if not len(index):
        return Novelty.fit(np.empty((0, n_measures)))
    chosen = np.linspace(0, len(index) - 1, min(len(index), MOST_ROWS)).astype(np.int64)
    index, probabilities = index[chosen], probabilities[chosen]
    group = np.arange(len(data)) if data.groups is None else data.groups
    if kernel is not None:
        kernel = kernel.to(codes)
    parts = []
    with torch.inference_mode():
        for part in gen_batches(len(index), BLOCK):
            numbers = index[part]
            block = data.rows[numbers].to(codes)
            measures = []
            if kernel is not None:
                own = torch.as_tensor(group[numbers][:, None] == group[: len(kernel.centers)], device=codes.device)
                measures.append(kernel.distance(block, own))
            if network is not None:
                lengths = outside(network, block, codes, learned)  # (M, b)
                measures.append(lengths[torch.as_tensor(members[chosen[part]]), torch.arange(len(block))])
            measures.append(entropy(torch.as_tensor(probabilities[part])))
            parts.append(torch.stack([high_precision(x).cpu() for x in measures], dim=1))
    return Novelty.fit(torch.cat(parts).double().numpy())
