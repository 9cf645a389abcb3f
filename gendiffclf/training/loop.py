"""One epoch after another, for all members side by side, until validation says which epoch to keep."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Generator, Tensor

from .._device import thread_limit
from ..model import TransportModel
from .calibration import Calibration, brier, fit_calibration
from .progress import Progress
from .rows import Assignment
from .trainer import Trainer, TrainingRows, TrainingSettings

CPU_GROUP = 4
"""
Members in one batched pass on a CPU, at most. Groups run in threads of their own, which wait for each other once an epoch; those
within a matrix product would wait thousands of times, and for very long where other programs keep a core busy. The size is
fixed, so that a model does not depend on the number of threads.
"""


@dataclass
class TrainingResult:
    """
    What training leaves besides the weights.

    Attributes
    ----------
    n_epochs : int
        Epochs run.
    best_epoch : int
        The epoch, counted from 1, whose averaged weights were kept.
    calibration : Calibration
        Chosen on validation rows; the default without any.
    history : dict
        `"loss"`, `"validation_brier"` (None without validation rows) and `"seconds"` of every epoch.
    """

    n_epochs: int = 0
    best_epoch: int = 0
    calibration: Calibration = field(default_factory=Calibration)
    history: dict[str, list] = field(default_factory=lambda: {"loss": [], "validation_brier": [], "seconds": []})


def padded(parts: list[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Row numbers of each member as one matrix (M, longest), and which of its places are real."""
    longest = max(map(len, parts))
    index = np.zeros((len(parts), longest), np.int64)
    real = np.zeros((len(parts), longest), bool)
    for member, rows in enumerate(parts):
        index[member, : len(rows)] = rows
        real[member, : len(rows)] = True
    return torch.as_tensor(index, device=device), torch.as_tensor(real, device=device)


class MemberGroup:
    """
    Some of a model's members, trained in one pass.

    Parameters
    ----------
    model : TransportModel
        The whole model, whose parameters the group's are slices of.
    members : slice
        Which members.
    assignment : Assignment
        Of all members.
    settings : TrainingSettings
    seed : int
        Of the whole training.
    """

    def __init__(
        self, model: TransportModel, members: slice, assignment: Assignment, settings: TrainingSettings, seed: int
    ) -> None:
        device = model.lift.device
        part = model
        if members.stop - members.start < model.network.shape.n_members:
            shape = dataclasses.replace(model.network.shape, n_members=members.stop - members.start)
            part = TransportModel(shape, model.settings, model.lift.cpu().numpy()).to(model.lift)
            for own, whole in zip(part.network.parameters(), model.network.parameters(), strict=True):
                own.data = whole.data[members]
        self.trainer = Trainer(part, settings, Generator(device).manual_seed(seed + members.start))
        self.index, self.real = padded(assignment.train[members], device)
        self.judged, self.judged_real = padded(assignment.validation[members], device)

    def epoch(self, data: TrainingRows, progress_share: float) -> tuple[float, Tensor]:
        """Train for an epoch; the loss, and the members' probabilities of the rows that judge them (v, K)."""
        loss = self.trainer.epoch(data, self.index, self.real, progress_share)
        return loss, self.trainer.validate(data, self.judged)[self.judged_real]


def member_groups(n_members: int, device: torch.device) -> list[slice]:
    """Members that train in one pass: all on an accelerator, up to `CPU_GROUP` at a time on a CPU, evenly many."""
    n_groups = -(-n_members // CPU_GROUP) if device.type == "cpu" else 1
    bounds = [n_members * number // n_groups for number in range(n_groups + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]


def train(
    model: TransportModel,
    data: TrainingRows,
    assignment: Assignment,
    settings: TrainingSettings,
    seed: int,
    progress: Progress,
) -> TrainingResult:
    """
    Train until `max_epochs` or until validation has not improved for `patience` epochs, and keep the best averaged weights.

    Parameters
    ----------
    model : TransportModel
        Trained in place.
    data : TrainingRows
    assignment : Assignment
        Which rows each member learns from and which judge it; without any of the latter the last epoch's weights are kept.
    settings : TrainingSettings
    seed : int
        Of batches, times and noise.
    progress : Progress
    """
    slices = member_groups(model.network.shape.n_members, model.lift.device)
    groups = [MemberGroup(model, members, assignment, settings, seed) for members in slices]
    max_epochs = settings.max_epochs
    if settings.max_steps is not None:
        max_epochs = min(max_epochs, math.ceil(settings.max_steps / groups[0].trainer.n_batches(groups[0].index)))
    judged = torch.cat([group.judged[group.judged_real] for group in groups])
    y, weight = data.y[judged], data.weight[judged]
    result = TrainingResult()
    best_score, best_weights, best_probabilities = float("inf"), None, None
    n_threads = torch.get_num_threads()
    n_workers = min(len(groups), n_threads)
    with thread_limit(n_threads // n_workers), ThreadPoolExecutor(n_workers) as pool:
        run = map if n_workers == 1 else pool.map
        for epoch in progress.epochs(max_epochs):
            started = time.perf_counter()
            done = list(run(MemberGroup.epoch, groups, itertools.repeat(data), itertools.repeat(epoch / max_epochs)))
            loss, score = float(np.mean([group_loss for group_loss, _ in done])), None
            if not np.isfinite(loss):
                raise FloatingPointError(
                    f"Got a loss of {loss} in epoch {epoch + 1}: training diverged; use a smaller learning_rate "
                    f"(now {settings.learning_rate}) or precision='float32'."
                )
            if len(judged):
                probabilities = torch.cat([group_probabilities for _, group_probabilities in done])
                score = brier(probabilities, y, weight)
            if score is None or score < best_score:
                result.best_epoch = epoch + 1
            if score is not None and score < best_score:
                best_score, best_probabilities = score, probabilities
                best_weights = [[w.clone() for w in group.trainer.average] for group in groups]
            result.n_epochs = epoch + 1
            for name, value in zip(result.history, (loss, score, time.perf_counter() - started), strict=True):
                result.history[name].append(value)
            progress.report(loss=loss, validation=score)
            if (
                score is not None
                and settings.patience is not None
                and epoch + 1 - result.best_epoch >= settings.patience
            ):
                break
    for number, group in enumerate(groups):
        group.trainer.load(group.trainer.average if best_weights is None else best_weights[number])
    if best_probabilities is not None:
        result.calibration = fit_calibration(best_probabilities, y, weight)
    return result
