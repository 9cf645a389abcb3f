"""Fitting kernel, network, logistic regression and their combination on scaled rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .device import high_precision
from .estimators import gaussian, trees
from .estimators.combination import Combination, combine, fit_read_out, uncalibrated
from .estimators.gaussian import GaussianEstimator
from .estimators.kernel import DOUBLED_ROWS, HELD_OUT_ROWS, LEAST_CENTERS, KernelFit, fit_kernel, most_centers
from .estimators.kernel_estimator import KernelEstimator
from .estimators.logistic import LogisticEstimator, fit_logistic
from .estimators.network import TransportNetwork
from .estimators.training_rows import TrainingRows
from .estimators.trees import TreesEstimator
from .novelty import Novelty, fit_novelty
from .parameters import kernels, network_shape, training_settings
from .preprocessing import lift_matrix, n_views
from .training.budget import Budget
from .training.distributed import Processes
from .training.folds import Folds, assign_folds, selection_folds
from .training.loop import TrainingData, TrainingResult, train
from .transport.learned import LearnedPath

CORRELATION_IN_GROUPS = 0.1
"""Between errors in rows of one group, a usual value for samples in clusters. Few groups cannot tell their own."""


@dataclass
class Fitted:
    """Estimators, their combination, and how training went."""

    combination: Combination
    held_out: np.ndarray
    """Class probabilities of the rows that have held-out estimates, (v, K)."""
    validation: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """Their numbers, (v,)."""
    kernel: KernelEstimator | None = None
    network: TransportNetwork | None = None
    logistic: LogisticEstimator | None = None
    gaussian: GaussianEstimator | None = None
    trees: TreesEstimator | None = None
    training: TrainingResult = field(default_factory=TrainingResult)
    novelty: Novelty | None = None
    """How their estimates are distributed, with which those of new rows are compared."""

    @property
    def history(self) -> dict[str, Any]:
        """How training went, what ended it, and the bytes of what the kernel keeps."""
        kept = [] if self.kernel is None else [x for x in vars(self.kernel).values() if isinstance(x, torch.Tensor)]
        n_bytes = sum(x.nbytes for x in kept)
        return {**self.training.history, "stopped_by": self.training.stopped_by, "kernel_bytes": n_bytes}

    def held_out_rows(self, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Rows as they came that were held out, (r,), and their probabilities, (r, K).

        `kind` (N,) is the number among the distinct rows of each row as it came, -1 for rows left out.
        """
        place = np.full(max(kind.max(), self.validation.max(initial=0)) + 2, -1)  # the last is that of rows left out
        place[self.validation] = np.arange(len(self.validation))
        index = np.flatnonzero(place[kind] >= 0)
        return index, self.held_out[place[kind[index]]]


def fit_estimators(
    params: dict[str, Any],
    data: TrainingRows,
    codes: torch.Tensor,
    shape: tuple[int, int],
    path: Any,
    seed: int,
    processes: Processes,
    budget: Budget,
) -> Fitted:
    """
    Fit what `params["estimator"]` asks for, to rows of this shape (layers, d).

    The network has the device and precision of the codes (K, L). If nothing is left of the budget after the kernel, or training
    is interrupted before its first validation, the kernel is alone; a KeyboardInterrupt if there is none.
    """
    folds = assign_folds(
        data.y.cpu().numpy(),
        params["n_members"],
        np.random.default_rng(seed),
        validate=params["patience"] is not None or params["estimator"] == "both",
        groups=data.groups,
    )
    fitted = Fitted(uncalibrated(1), np.empty((0, len(codes))))
    validation, held_out, factors = folds.validation, [], []
    learned = path if isinstance(path, LearnedPath) else None
    if params["estimator"] != "network":
        kernel = _fit_kernel(params, data, processes, budget)
        fitted.kernel = kernel.estimator
        if params["estimator"] == "kernel":
            validation = kernel.index
        held_out.append(kernel.held_out[np.searchsorted(kernel.index, validation)])
    kernel_suffices = params["estimator"] == "both" and learned is None
    evidence = _evidence(data, validation)
    read_outs = [fit_read_out(x, data.targets[validation], evidence) for x in held_out if len(validation)]
    if kernel_suffices and processes.first(budget.is_short_of(0)):
        fitted.training = TrainingResult(stopped_by="time_limit")
    elif params["estimator"] != "kernel":
        if fitted.kernel is not None and len(validation):
            layer_weights = fitted.kernel.settings.layer_weights
            fitted.logistic, found = _fit_logistic(layer_weights, data, folds, processes)
            factors.append(found.cpu())
        of_network = network_shape(params, *shape, codes.shape[1])
        lift = lift_matrix(shape[1], of_network.width, seed)
        fitted.network = TransportNetwork(of_network, lift, torch.Generator().manual_seed(seed)).to(codes)
        fitted.training = train(
            fitted.network,
            TrainingData(data.rows, data.y, data.weight.to(codes), codes),
            folds,
            training_settings(
                params, len(folds.train[0]), of_network.width, codes.device, validated=len(folds.validation) > 0
            ),
            seed=seed,
            learned=learned,
            beside=read_outs[0](high_precision(held_out[0])) if read_outs else None,
            processes=processes,
            budget=budget,
            verbose=params["verbose"] if processes.rank == 0 else 0,
        )
        fitted.network.requires_grad_(False)
        if fitted.training.best_step:
            held_out.append(fitted.training.held_out)
        elif kernel_suffices:
            fitted.network = fitted.logistic = None
            factors = []
        else:
            raise KeyboardInterrupt("training was interrupted before its first validation")
    fitted.combination = uncalibrated(len(held_out))
    if len(validation):
        fitted.validation = validation
        targets, held_out = data.targets[validation], [x.cpu() for x in held_out]
        fitted.combination = processes.first(combine(held_out, targets, evidence, factors, read_outs))
        probabilities = fitted.combination.probabilities([*held_out, *factors])
        for name, suits, fit in (
            ("gaussian", gaussian.suitable, gaussian.fit_gaussian),
            ("trees", trees.suitable, partial(trees.fit_trees, seed=seed)),
        ):
            ended = fitted.training.stopped_by in ("time_limit", "interrupt")
            if fitted.logistic is None or ended or not suits(data, n_views(params["scaling"])):
                continue
            joins = partial(
                fit, data, folds.train, validation, folds.member, probabilities, evidence, budget.is_short_of
            )
            estimator, of_factor = _fit_factor(joins, fitted.training, processes)
            setattr(fitted, name, estimator)
            if of_factor is not None:
                factors = [*factors, of_factor]
                joined = combine(held_out, targets, evidence, factors, fitted.combination.read_outs)
                fitted.combination = processes.first(joined)
                probabilities = fitted.combination.probabilities([*held_out, *factors])
        fitted.held_out = probabilities.numpy()
    fitted.novelty = fit_novelty(
        fitted.kernel,
        fitted.network,
        codes,
        learned,
        data,
        validation,
        folds.member,
        fitted.held_out,
    )
    _warn_of_an_early_end(fitted, budget)
    return fitted


def _evidence(data: TrainingRows, validation: np.ndarray) -> torch.Tensor:
    """
    Weights of held-out rows (v,) whose sum is the number of independent rows that tell as much as they do.

    A mean of rows of unequal weights, or of rows that are right or wrong together in groups, varies more: the sum is divided by
    the design effect (Kish 1965).
    """
    weight = data.weight[validation]
    if not len(validation):
        return weight
    weight = weight / weight.mean()
    each = weight.cpu().numpy()
    observed = 1 if data.observed is None else data.observed[validation]
    variance = (each**2 / observed).sum()
    if data.groups is not None:
        sizes = np.bincount(np.unique(data.groups[validation], return_inverse=True)[1], each)
        variance += CORRELATION_IN_GROUPS * ((sizes**2).sum() - (each**2).sum())
    return weight / max(float(variance / each.sum()), 1.0)


def _fit_logistic(
    layer_weights: tuple[float, ...], data: TrainingRows, folds: Folds, processes: Processes
) -> tuple[LogisticEstimator, torch.Tensor]:
    """Fit the logistic regression beside kernel and network, with its held-out estimates."""
    used = folds.validation
    # The folds of several members are all rows, or many; that of one member is too few to learn from.
    if len(folds.train) == 1:
        used = np.concatenate([used, folds.train[0][:HELD_OUT_ROWS]])
    estimator, held_out = fit_logistic(data, used, folds.member, layer_weights)
    processes.copy_first([estimator.coefficients, estimator.offset])
    return estimator, held_out


def _fit_factor(
    fit: Callable[[], tuple[Any, Tensor] | None], training: TrainingResult, processes: Processes
) -> tuple[Any, Tensor] | tuple[None, None]:
    """An estimator that joins all others, with its held-out probabilities (v, K), if it helps; an interrupt leaves it out."""
    found = None
    try:
        found = fit()
    except KeyboardInterrupt:
        if processes.count > 1:
            raise
        training.stopped_by = "interrupt"
    return processes.first(found) or (None, None)


def _warn_of_an_early_end(fitted: Fitted, budget: Budget) -> None:
    """Warn if training was interrupted, or the network left out for lack of time."""
    training = fitted.training
    if training.stopped_by == "interrupt":
        network = f"the network's weights after update {training.best_step} are kept"
        warnings.warn(
            f"Got an interrupt; {network if training.best_step else 'the kernel is alone'}.", UserWarning, stacklevel=5
        )
    elif training.stopped_by == "time_limit" and not training.n_steps:
        warnings.warn(
            f"Got time_limit={budget.limit:g} seconds, which the kernel used up; the network is left out; raise the limit, "
            'or use estimator="network", which fits no kernel.',
            UserWarning,
            stacklevel=5,
        )


def _fit_kernel(params: dict[str, Any], data: TrainingRows, processes: Processes, budget: Budget) -> KernelFit:
    """
    With centres that are doubled once where that pays.

    With a time limit, from few of them to more and more, as long as the next fit would leave time for the network.
    """
    n, automatic = len(data), params["n_centers"] == "auto"
    most = most_centers(n, None if automatic else params["n_centers"])
    n_centers, choice = most if budget.limit is None else min(LEAST_CENTERS, most), None
    while True:
        begin = budget.spent
        kernel = fit_kernel(
            data,
            kernels=kernels(params, data.rows[:1].shape[-1]),
            n_views=n_views(params["scaling"]),
            n_centers=n_centers,
            n_selection=None if n_centers == most else n_centers,
            folds=selection_folds(data.y.cpu().numpy(), np.random.default_rng(0), data.groups),
            choice=choice,
            reduce=processes.summed,
            part=processes.part,
        )
        doubles = automatic and n <= DOUBLED_ROWS and n_centers == most and choice is None
        if doubles and processes.first(kernel.wants_more_centers):
            most, choice = most_centers(n, 2 * most), kernel.choice
        # Twice the centres take up to four times as long, and as much again is for the network.
        if n_centers == most or processes.first(budget.is_short_of(8 * (budget.spent - begin))):
            return kernel
        n_centers = min(2 * n_centers, most)
