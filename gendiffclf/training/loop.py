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

from ..device import thread_limit
from ..model import TransportModel
from .calibration import Calibration, brier, calibration_stride, fit_calibration
from .folds import Assignment
from .progress import Progress
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


def trainers_of(model: TransportModel, assignment: Assignment, settings: TrainingSettings, seed: int) -> list[Trainer]:
    """One trainer for each group of members, whose parameters are copies of the model's."""
    n_members, trainers = model.network.shape.n_members, []
    n_judged = [len(rows) for rows in assignment.validation]
    stride = calibration_stride(sum(n_judged))
    for members in member_groups(n_members, model.lift.device):
        part = model
        if members.stop - members.start < n_members:
            shape = dataclasses.replace(model.network.shape, n_members=members.stop - members.start)
            part = TransportModel(shape, model.settings, model.lift.cpu().numpy()).to(model.lift)
            for own, whole in zip(part.network.parameters(), model.network.parameters(), strict=True):
                own.data = whole.data[members]
            part.view = model.view[members]
        rows = Assignment(assignment.train[members], assignment.validation[members])
        before = sum(n_judged[: members.start])
        trainers.append(Trainer(part, settings, rows, seed + members.start, before, stride))
    fewest = min(trainer.n_batches for trainer in trainers)
    for trainer in trainers:  # groups, whose rows may be a few more or less, take their last step together
        trainer.n_batches = fewest
    return trainers


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
    trainers = trainers_of(model, assignment, settings, seed)
    max_epochs = settings.max_epochs
    if settings.max_steps is not None:
        max_epochs = min(max_epochs, math.ceil(settings.max_steps / trainers[0].n_batches))
    judged = torch.as_tensor(np.concatenate(assignment.validation), device=data.weight.device)
    weight = data.weight[judged]
    del assignment  # its row numbers, which trainers have copied, may take as much memory as some features
    result = TrainingResult()
    best_score, best_weights, best_probabilities = float("inf"), None, None
    n_threads = torch.get_num_threads()
    processes = trainers[0].processes
    # Messages of one process to the others come in one order only if one thread sends them.
    n_workers = min(len(trainers), n_threads) if processes.count == 1 else 1
    with thread_limit(n_threads // n_workers), ThreadPoolExecutor(n_workers) as pool:
        run = map if n_workers == 1 else pool.map
        for epoch in progress.epochs(max_epochs):
            started = time.perf_counter()
            done = list(run(Trainer.epoch, trainers, itertools.repeat(data), itertools.repeat(epoch / max_epochs)))
            loss, score = float(np.mean([trainer_loss for trainer_loss, _ in done])), None
            if len(judged):
                score = brier(torch.cat([judgement.distance for _, judgement in done]), weight)
            # Sums may depend on the number of threads, and all processes must decide alike.
            score, seconds = processes.gathered((score, time.perf_counter() - started))[0]
            if score is None or score < best_score:
                result.best_epoch = epoch + 1
            if score is not None and score < best_score:
                best_score = score
                best_probabilities = torch.cat([judgement.probabilities for _, judgement in done])
                best_weights = [trainer.optimizer.average.clone() for trainer in trainers]
            result.n_epochs = epoch + 1
            for name, value in zip(result.history, (loss, score, seconds), strict=True):
                result.history[name].append(value)
            for trainer in trainers:
                trainer.trace()
            progress.report(loss=loss, validation=score)
            if (
                score is not None
                and settings.patience is not None
                and epoch + 1 - result.best_epoch >= settings.patience
            ):
                break
    for number, trainer in enumerate(trainers):
        trainer.finish(None if best_weights is None else best_weights[number])
    if len(trainers) > 1:
        of_groups = zip(*(trainer.model.network.parameters() for trainer in trainers), strict=True)
        for whole, parts in zip(model.network.parameters(), of_groups, strict=True):
            torch.cat([part.detach() for part in parts], out=whole.data)
    if best_probabilities is not None:
        judged, weight = (x[:: calibration_stride(len(x))] for x in (judged, weight))
        result.calibration = processes.gathered(fit_calibration(best_probabilities, data.y[judged], weight))[0]
    processes.copy_first(list(model.state_dict().values()))
    return result
