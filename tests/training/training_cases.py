"""Small data, networks and trainings."""

import numpy as np
import torch

from gendiffclf.estimators.network import NetworkShape, TransportNetwork
from gendiffclf.preprocessing import lift_matrix
from gendiffclf.training.folds import Folds, assign_folds
from gendiffclf.training.loop import TrainingData, TrainingSettings, train
from gendiffclf.transport.codes import label_codes

WIDTH, D, CLASSES = 16, 5, 3


def settings(**changes) -> TrainingSettings:
    defaults = {
        "max_steps": 40,
        "batch_size": 20,
        "learning_rate": 0.01,
        "ema_decay": 0.9,
        "patience": None,
        "precision": torch.float32,
    }
    return TrainingSettings(**{**defaults, **changes})


def make_data(n: int = 120, dtype=torch.float32, noise: float = 0.7) -> TrainingData:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % CLASSES
    rows = noise * torch.randn(n, 1, D, generator=generator)
    rows[torch.arange(n), 0, y] += 1
    weight = torch.rand(n, generator=generator) + 0.5
    codes = torch.as_tensor(label_codes("sinusoidal", CLASSES, WIDTH))
    return TrainingData(rows.to(dtype), y, (weight / weight.mean()).to(dtype), codes.to(dtype))


def make_network(dtype=torch.float32, **changes) -> TransportNetwork:
    shape = NetworkShape(D, **{"width": WIDTH, "n_members": 2, "depth": 1, "hidden_width": 16, **changes})
    return TransportNetwork(shape, lift_matrix(D, WIDTH, 0), torch.Generator().manual_seed(0)).to(dtype)


def make_folds(data: TrainingData, n_members: int = 2, *, validate: bool = True) -> Folds:
    everything = np.arange(len(data.y))
    if not validate:
        return Folds([everything] * n_members, everything[:0], everything[:0])
    return assign_folds(data.y.numpy(), n_members, np.random.default_rng(0), validate=True)


def run(data=None, folds=None, *, seed=0, network=None, learned=None, beside=None, **changes):
    """A trained network, and what training said."""
    data = make_data() if data is None else data
    folds = make_folds(data) if folds is None else folds
    network = make_network() if network is None else network
    return network, train(network, data, folds, settings(**changes), seed=seed, learned=learned, beside=beside)


def weights(network) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])
