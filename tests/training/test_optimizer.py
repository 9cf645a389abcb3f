"""The optimiser is AdamW with an average, and steps are the same one by one and many at a time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gendiffclf.training import many_steps, traced
from gendiffclf.training.many_steps import ManySteps
from gendiffclf.training.optimizer import AveragedAdam
from gendiffclf.training.vectors import ParameterVector


@pytest.fixture
def module(generator) -> nn.Module:
    """A matrix of two members, and a bias."""
    module = nn.Module()
    module.weight = nn.Parameter(torch.randn(2, 3, 4, generator=generator))
    module.bias = nn.Parameter(torch.randn(2, 1, 4, generator=generator))
    return module


def test_it_is_adamw_with_an_average(module, generator):
    reference = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]
    groups = [{"params": reference[:1], "weight_decay": 0.1}, {"params": reference[1:], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=0.01)
    weights = ParameterVector(module)
    own = AveragedAdam(weights, learning_rate=0.5, weight_decay=0.1, averaging=0.6)
    own.set_rate(0.01)
    expected = weights.copy()
    for step in range(1, 20):
        gradients = [torch.randn(parameter.shape, generator=generator) for parameter in reference]
        weights.set_gradient(gradients, list(module.parameters()))
        for parameter, gradient in zip(reference, gradients, strict=True):
            parameter.grad = gradient
        adamw.step()
        blend = own.begin_step()
        assert blend == pytest.approx(1 - min(0.6, step / (9 + step)))
        own.step()
        for parameter, found in zip(reference, module.parameters(), strict=True):
            torch.testing.assert_close(found.detach(), parameter.detach(), rtol=1e-5, atol=1e-6)
        expected.lerp_(weights.copy(), blend)
        torch.testing.assert_close(own.average, expected)
    assert own.n_steps == 19


def test_a_state_goes_on_elsewhere(module, generator):
    weights = ParameterVector(module)
    first = AveragedAdam(weights, 0.01, 0.0, 0.5)
    weights.gradient.copy_(torch.randn(weights.gradient.shape, generator=generator))
    first.begin_step()
    first.step()
    state = first.state()
    ends = []
    for optimizer in (first, AveragedAdam(weights, 0.01, 0.0, 0.5)):
        optimizer.load_state(state)
        optimizer.begin_step()
        optimizer.step()
        ends.append((weights.copy(), optimizer.average.clone(), optimizer.n_steps))
    assert all(torch.equal(*found) for found in zip(ends[0][:2], ends[1][:2], strict=True))
    assert ends[0][2] == ends[1][2] == 2


@pytest.mark.parametrize("change", [lambda s: s.pop("second"), lambda s: s.update(weights=s["weights"][:3])])
def test_a_state_of_another_kind_is_refused(module, change):
    optimizer = AveragedAdam(ParameterVector(module), 0.01, 0.0, 0.5)
    state = optimizer.state()
    change(state)
    with pytest.raises(ValueError, match="another version of gendiffclf began"):
        optimizer.load_state(state)


@pytest.mark.parametrize("most", [1, 3])
def test_how_many_steps_come_at_once_changes_nothing(tiny, iris, monkeypatch, most):
    X, y = iris
    expected = tiny(batch_size=10, dropout=0.3, max_epochs=12).fit(X, y)
    asked = []

    def at_once(self, n_rows):
        asked.append(n_rows)
        return most

    monkeypatch.setattr(ManySteps, "at_once", at_once)
    found = tiny(batch_size=10, dropout=0.3, max_epochs=12).fit(X, y)
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    assert found.history_["loss"] == expected.history_["loss"]
    assert asked


@pytest.mark.parametrize(
    ("n_rows", "shape", "expected"),
    [
        (1, {}, many_steps.MOST_STEPS),
        (10**9, {}, 1),
        (2**12, {"n_members": 2, "n_features": 8, "n_condition_layers": 1}, 8),  # 2^17 values a step
        (2**12, {"depth": 2, "hidden_width": 32, "dropout": 0.1}, 4),  # 2^18 values of masks
        (2**12, {"depth": 2, "hidden_width": 32, "dropout": 0.0, "n_features": 2}, many_steps.MOST_STEPS),
    ],
)
def test_steps_are_as_many_at_once_as_a_cache_holds(n_rows, shape, expected):
    usual = {"n_members": 1, "n_features": 4, "n_condition_layers": 1, "depth": 1, "hidden_width": 1, "dropout": 0.0}
    network = SimpleNamespace(shape=SimpleNamespace(**{**usual, **shape}))
    assert ManySteps(SimpleNamespace(model=SimpleNamespace(network=network)), None).at_once(n_rows) == expected


def test_steps_that_fail_as_torchscript_go_on_without(tiny, iris, monkeypatch):
    X, y = iris
    monkeypatch.setattr(traced, "_KNOWN", {})
    expected = tiny(batch_size=10, max_epochs=30).fit(X, y).predict_proba(X)
    steps = [function for key, function in traced._KNOWN.items() if key[0] == "steps"]
    assert isinstance(steps[0], torch.jit.ScriptFunction)
    monkeypatch.setattr(traced, "_KNOWN", {})

    def failing(*args):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(many_steps, "_steps_with", lambda loss: failing)
    np.testing.assert_array_equal(tiny(batch_size=10, max_epochs=30).fit(X, y).predict_proba(X), expected)
    assert [function for key, function in traced._KNOWN.items() if key[0] == "steps"] == [None]


def test_streams_are_traced_too(tiny, iris, monkeypatch):
    X, y = iris
    monkeypatch.setattr(traced, "_KNOWN", {})
    tiny(batch_size=5).partial_fit(X, y)
    assert [key for key in traced._KNOWN if key[0] == "steps"]
