"""Probabilities and transports of scaled rows, on one device and in one precision."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from .estimators.combination import Combination
from .estimators.gaussian import GaussianEstimator
from .estimators.kernel_estimator import KernelEstimator
from .estimators.logistic import LogisticEstimator
from .estimators.network import TransportNetwork, estimate
from .estimators.trees import TreesEstimator
from .novelty import entropy, outside
from .transport.exact import ExactPath, walk
from .transport.learned import LearnedPath, carry
from .transport.readout import project_on_codes


@dataclass(frozen=True)
class Predictor:
    """
    Estimators and tensors of a fitted classifier, which has a kernel, a network or both.

    `codes` are of shape (K, L), `lift` is of shape (d, L).
    """

    kernel: KernelEstimator | None
    network: TransportNetwork | None
    logistic: LogisticEstimator | None
    gaussian: GaussianEstimator | None
    trees: TreesEstimator | None
    combination: Combination
    path: ExactPath | LearnedPath
    codes: Tensor
    lift: Tensor

    def to(self, like: Tensor) -> Predictor:
        """A copy on a tensor's device and in its precision."""
        return Predictor(
            None if self.kernel is None else self.kernel.to(like),
            None if self.network is None else copy.deepcopy(self.network).to(like),
            None if self.logistic is None else self.logistic.to(like),
            None if self.gaussian is None else self.gaussian.to(like),
            None if self.trees is None else self.trees.to(like),
            self.combination,
            self.path,
            self.codes.to(like),
            self.lift.to(like),
        )

    @property
    def learned(self) -> LearnedPath | None:
        """The path, if it is learned."""
        return self.path if isinstance(self.path, LearnedPath) else None

    def start(self, rows: Tensor) -> Tensor:
        """x1 of scaled rows, (b, views * layers, d) -> (b, L); of two scalings, that by mean and deviation."""
        return rows[:, -1] @ self.lift

    def estimates(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """
        Estimates of scaled rows along the codes by each estimator, and the network's estimate in the code space.

        (b, views * layers, d) -> (E, b, K) and (b, L)
        """
        estimates, corrections, x0_hat = [], None, None
        if self.kernel is not None:
            estimate_of_kernel, corrections = self.kernel.estimate(rows)
            estimates.append(estimate_of_kernel)
        if self.network is not None:
            x0_hat = estimate(self.network, rows[None], self.learned).mean(0)  # (M, b, L) -> (b, L)
            estimates.append(project_on_codes(x0_hat, self.codes))
        factors = self.logistic, self.gaussian, self.trees
        estimates += [factor.estimate(rows) for factor in factors if factor is not None]
        coordinates = torch.stack(estimates)
        return coordinates if corrections is None else coordinates + corrections, x0_hat

    def coordinates(self, rows: Tensor) -> Tensor:
        """Estimates of scaled rows along the codes by each estimator, (b, views * layers, d) -> (E, b, K)."""
        return self.estimates(rows)[0]

    def representation(self, rows: Tensor) -> Tensor:
        """
        Weighted mean of the estimates of the code by kernel and network, (b, views * layers, d) -> (b, L).

        The kernel's estimate is in the span of the codes.
        """
        coordinates, x0_hat = self.estimates(rows)
        weights = torch.tensor(self.combination.weights).to(coordinates)
        inside = torch.einsum("e,ebk,kl->bl", weights, coordinates[: len(weights)], self.codes)
        if x0_hat is None:
            return inside
        return inside + weights[-1] * (x0_hat - project_on_codes(x0_hat, self.codes) @ self.codes)

    def probabilities(self, rows: Tensor) -> Tensor:
        """Class probabilities of scaled rows, (b, views * layers, d) -> (b, K)."""
        return self.combination.probabilities(self.coordinates(rows))

    def measures(self, rows: Tensor) -> Tensor:
        """Novelty of scaled rows to each estimator, and entropy of their probabilities, (b, views * layers, d) -> (b, E + 1)."""
        measures = [] if self.kernel is None else [self.kernel.distance(rows)]
        if self.network is not None:
            measures.append(outside(self.network, rows, self.codes, self.learned).mean(0))
        return torch.stack([*measures, entropy(self.probabilities(rows)).to(rows)], dim=1)

    def transport(self, rows: Tensor, n_steps: int | None, solver: str | None) -> Tensor:
        """
        States of the transport of scaled rows, (b, views * layers, d) -> (n_steps + 1, b, L).

        By default one exact step on the exact path, and the steps of a learned path.
        """
        if self.learned is None:
            p, x1 = self.probabilities(rows), self.start(rows)
            return walk(self.path.path(), p, x1, self.codes, n_steps=n_steps or 1, solver=solver or "exact")
        assert self.network is not None
        network = self.network
        x1, condition = network.split(rows[None])
        return carry(self.learned, lambda x_t, t: network(x_t, condition, t), x1, n_steps, solver).mean(1)
