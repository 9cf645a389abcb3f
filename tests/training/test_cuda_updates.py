"""Compiled updates against those of torch's Adam, on the CPU; captured ones are tested in tests/gpu."""

import numpy as np
import pytest
import torch

from gendiffclf.estimators.network import NetworkShape, TransportNetwork, loss
from gendiffclf.training import cuda
from gendiffclf.training.loop import TrainingData, TrainingSettings
from gendiffclf.transport.learned import LearnedPath


@pytest.fixture(autouse=True)
def _as_written(monkeypatch):
    """Updates run as they are written: the compiler needs one of C++ too."""
    monkeypatch.setattr(cuda.torch, "compile", lambda function, **_: function)


def make_network():
    shape = NetworkShape(n_features=6, n_layers=4, width=8, n_members=2, hidden_width=16, time_width=4)
    lift = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    return TransportNetwork(shape, lift, torch.Generator().manual_seed(0))


def make_data():
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(40) % 3
    return TrainingData(
        torch.randn(40, 4, 6, generator=generator), y, 0.5 + torch.rand(40, generator=generator), torch.eye(3, 8)
    )


@pytest.mark.parametrize("objective", ["target", "velocity"])
def test_compiled_updates_are_those_of_adam(objective):
    data, learned = make_data(), LearnedPath(objective=objective)
    settings = TrainingSettings(9, 10, 0.01, 0.0, None, torch.float32)
    network, reference = make_network(), make_network()
    update = cuda.compiled_update(network, data, learned, settings, torch.Generator().manual_seed(2))
    optimizer, generator = torch.optim.Adam(reference.parameters(), lr=0.01), torch.Generator().manual_seed(2)
    for step in range(5):
        numbers = torch.randint(40, (2, 10), generator=torch.Generator().manual_seed(step))
        found = update(numbers, torch.tensor(0.3))
        error = loss(reference, data.take(numbers), data.codes[data.y[numbers]], learned, generator)
        expected = (error * data.weight[numbers]).sum() / 10
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(dict(network.named_parameters()), dict(reference.named_parameters()))


def test_bfloat16_is_for_products_alone():
    """Weights and averages of gradients keep their precision: small updates would be lost."""
    data, settings = make_data(), TrainingSettings(9, 10, 1e-5, 0.0, None, torch.bfloat16)
    network, before = make_network(), make_network()
    update = cuda.compiled_update(network, data, LearnedPath(), settings, torch.Generator().manual_seed(2))
    numbers = torch.arange(20).view(2, 10)
    losses = [float(update(numbers, torch.tensor(1.0))) for _ in range(3)]
    assert np.isfinite(losses).all()
    assert {x.dtype for x in network.parameters()} == {torch.float32}
    moved = (network.fusion.weight - before.fusion.weight).abs().max()
    assert 1e-5 < moved < 4e-5


def test_without_a_compiler_updates_are_the_same(monkeypatch):
    def fails(*_):
        raise OSError("no compiler")

    data, settings = make_data(), TrainingSettings(9, 10, 0.01, 0.0, None, torch.float32)
    numbers, gain, losses = torch.arange(20).view(2, 10), torch.tensor(1.0), []
    compiled = cuda.compiled_update(make_network(), data, LearnedPath(), settings, torch.Generator().manual_seed(2))
    monkeypatch.setattr(cuda.torch, "compile", lambda *_, **__: fails)
    other = cuda.compiled_update(make_network(), data, LearnedPath(), settings, torch.Generator().manual_seed(2))
    with pytest.warns(RuntimeWarning, match="torch.compile failed; updates take twice as long: no compiler"):
        losses.append(float(other(numbers, gain)))
    losses.append(float(other(numbers, gain)))
    assert losses == [float(compiled(numbers, gain)) for _ in range(2)]


@pytest.mark.parametrize(
    ("settings", "shape", "expected"),
    [
        ({}, {}, True),
        ({"max_steps": cuda.COMPILED_STEPS - 1}, {}, False),
        ({"patience": 100}, {}, False),
        ({"ema_decay": 0.9}, {}, False),
        ({}, {"dropout": 0.1}, False),
        ({}, {"n_frequencies": 2}, False),
        ({}, {"tokenizer": "layers"}, False),
    ],
)
def test_long_trainings_of_networks_like_the_paper_s_are_compiled(settings, shape, expected):
    chosen = {"max_steps": cuda.COMPILED_STEPS, "patience": None, "ema_decay": 0.0} | settings
    made = TrainingSettings(batch_size=8, learning_rate=0.01, precision=torch.float32, **chosen)
    assert cuda.pays(made, NetworkShape(n_features=4, **shape)) is expected
