"""Gradients written out are those of automatic differentiation."""

import gc
import weakref

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators.network import NetworkShape
from gendiffclf.model import TransportModel, TransportSettings
from gendiffclf.preprocessing import lift_matrix
from gendiffclf.training.gradients import AutomaticGradients
from gendiffclf.training.vectors import ParameterVector
from gendiffclf.training.written_out import WIDEST, WrittenOutGradients

WIDTH, D, MEMBERS, ROWS = 16, 5, 3, 11


def make(
    n_layers: int = 1, dtype: torch.dtype = torch.float64, settings: dict | None = None, **shape
) -> TransportModel:
    """A model with random parameters throughout."""
    asked = {"mean_schedule": "logistic", "steepness": 10.0, "variance_schedule": "bridge", "sigma": 0.5,
             "objective": "target", "time_sampling": "terminal", "t_min": 0.001, "t_max": 1.0, **(settings or {})}  # fmt: skip
    network = {"n_features": D, "n_condition_layers": max(1, n_layers - 1), "width": WIDTH, "n_members": MEMBERS, "depth": 2,
               "hidden_width": 24, "time_width": 8, "n_views": 2, "n_frequencies": 3, "dropout": 0.2, **shape}  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    lift = lift_matrix("orthogonal", D, WIDTH, 0)
    model = TransportModel(NetworkShape(**network), TransportSettings(**asked), lift, generator).to(dtype)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def batch(n_layers: int = 1, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows, codes and weights."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(MEMBERS, ROWS, n_layers, D), (MEMBERS, ROWS, WIDTH), (MEMBERS, ROWS)]
    rows, codes, weight = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    return rows, codes, weight.abs()


def found_by(kind, model, rows, codes, weight, precision):
    """The loss, and the gradient of every parameter by name."""
    weights = ParameterVector(model.network)
    weights.gradient.fill_(float("nan"))
    loss = kind(model, weights, precision).loss(rows, codes, weight, torch.Generator().manual_seed(2))
    named = {name: weights.neighbours([p])[1][0] for name, p in model.network.named_parameters()}
    return loss, named


@pytest.mark.parametrize("n_layers", [1, 2, 4])
@pytest.mark.parametrize(
    "shape", [{}, {"n_frequencies": 0}, {"depth": 1, "hidden_width": 8}, {"n_members": MEMBERS, "dropout": 0.0}]
)
def test_they_are_those_of_automatic_differentiation(n_layers, shape):
    model = make(n_layers, **shape)
    assert WrittenOutGradients.applies(model)
    expected_loss, expected = found_by(AutomaticGradients, model, *batch(n_layers), torch.float64)
    loss, found = found_by(WrittenOutGradients, model, *batch(n_layers), torch.float64)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=1e-12)
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


def test_another_batch_leaves_nothing_of_the_one_before():
    model, (rows, codes, weight) = make(), batch()
    weights = ParameterVector(model.network)
    written_out = WrittenOutGradients(model, weights, torch.float64)
    written_out.loss(rows.flip(1) + 1, codes, weight, torch.Generator().manual_seed(3))
    loss = written_out.loss(rows, codes, weight, torch.Generator().manual_seed(2))
    anew = ParameterVector(model.network)
    assert loss == WrittenOutGradients(model, anew, torch.float64).loss(
        rows, codes, weight, torch.Generator().manual_seed(2)
    )
    assert torch.equal(weights.gradient, anew.gradient)


@pytest.fixture
def traces(monkeypatch) -> dict:
    """What is traced in a test, after two calls."""
    found: dict = {}
    monkeypatch.setattr("gendiffclf.training.traced._KNOWN", found)
    monkeypatch.setattr("gendiffclf.training.written_out.CALLS_BEFORE_TRACE", 2)
    return found


def results(model, inputs, precision, n_calls=1):
    """Losses with gradients, of calls between which there may be a trace."""
    weights = ParameterVector(model.network)
    written_out, found = WrittenOutGradients(model, weights, precision), []
    for _ in range(n_calls):
        weights.gradient.fill_(float("nan"))
        loss = written_out.loss(*inputs, torch.Generator().manual_seed(2))
        found.append(torch.cat([loss[None], weights.gradient]))
        written_out.trace()
    return found


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n_layers", "shape"), [(1, {}), (4, {}), (2, {"n_frequencies": 0, "dropout": 0.0})])
def test_traced_they_are_the_same_to_the_last_bit(traces, n_layers, shape, precision):
    model, inputs = make(n_layers, torch.float32, **shape), batch(n_layers, torch.float32)
    first, *later = results(model, inputs, precision, n_calls=5)
    assert [type(function) for function in traces.values()] == [torch.jit.ScriptFunction]
    assert torch.isfinite(first).all()
    assert all(torch.equal(found, first) for found in later)
    # Another model of the shape, with other weights, another lift and other rows, also fewer of them.
    other = make(n_layers, torch.float32, **shape, n_heads=2, frequency_scale=0.7)
    for values in (other.lift, *other.parameters()):
        values.data *= -0.9
    for change in (lambda x: x.flip(1), lambda x: x[:, :7]):
        changed = [change(x) for x in inputs]
        (by_trace,) = results(other, changed, precision)
        assert len(traces) == 1
        known = dict(traces)
        traces.clear()
        (expected,) = results(other, changed, precision)
        traces.update(known)
        assert torch.equal(by_trace, expected)
        assert not torch.equal(by_trace, first)


@pytest.mark.parametrize("shape", [{"dropout": 0.3}, {"depth": 1}, {"hidden_width": 12}, {"n_members": 2}])
def test_other_networks_get_other_traces(traces, shape):
    inputs = batch(1, torch.float32)
    results(make(1, torch.float32), inputs, torch.float32, n_calls=2)
    results(make(1, torch.float32, **shape), [x[: shape.get("n_members", 3)] for x in inputs], torch.float32, n_calls=2)
    results(make(1, torch.float32), inputs, torch.bfloat16, n_calls=2)
    assert len(traces) == 3


def test_a_trace_keeps_no_model(traces):
    model = make(dtype=torch.float32)
    alive = weakref.ref(model)
    results(model, batch(dtype=torch.float32), torch.float32, n_calls=3)
    assert len(traces) == 1
    del model
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("settings", [{}, {"averaging": 0.0, "weight_decay": 0.01, "dropout": 0.0, "max_steps": 41}])
def test_a_fit_with_traces_is_that_without(traces, monkeypatch, settings):
    X, y = load_wine(return_X_y=True)
    classifier = GenerativeTransportClassifier(max_epochs=15, batch_size=40, random_state=0, **settings)
    found = classifier.fit(X, y).predict_proba(X)
    assert [type(function) for function in traces.values()] == 3 * [torch.jit.ScriptFunction]  # loss, estimate, steps
    monkeypatch.setattr("gendiffclf.training.written_out.CALLS_BEFORE_TRACE", 10**9)
    traces.clear()
    np.testing.assert_array_equal(found, classifier.fit(X, y).predict_proba(X))
    assert not traces


@pytest.mark.parametrize("failing", [True, False])
def test_what_cannot_be_traced_is_not_tried_again(traces, monkeypatch, failing):
    calls = []

    def no_trace(function, *args, **kwargs):
        calls.append(args)
        if failing:
            raise RuntimeError("not today")
        return function  # as where TorchScript is switched off

    monkeypatch.setattr(torch.jit, "trace", no_trace)
    for _ in range(2):
        assert all(torch.isfinite(found).all() for found in results(make(), batch(), torch.float64, n_calls=3))
    assert len(calls) == 1


def test_traces_are_no_more_than_the_limit(traces, monkeypatch):
    monkeypatch.setattr("gendiffclf.training.traced.LIMIT", 1)
    for precision in (torch.float32, torch.bfloat16):
        results(make(dtype=torch.float32), batch(dtype=torch.float32), precision, n_calls=3)
    assert len(traces) == 1


def test_in_bfloat16_they_are_near():
    model = make(dtype=torch.float32)
    _, expected = found_by(AutomaticGradients, model, *batch(dtype=torch.float32), torch.float32)
    _, found = found_by(WrittenOutGradients, model, *batch(dtype=torch.float32), torch.bfloat16)
    for name, gradient in expected.items():
        assert found[name].dtype == torch.float32
        assert (found[name] - gradient).norm() < 0.02 * gradient.norm()


@pytest.mark.parametrize("n_layers", [1, 4])
def test_the_estimate_is_that_of_one_exact_step(n_layers):
    model = make(n_layers, n_views=1)
    rows, _, _ = batch(n_layers)
    expected = model.transport(rows, solver="exact", n_steps=1)[-1]
    found = WrittenOutGradients(model, ParameterVector(model.network), torch.float64).estimate(rows)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"time_sampling": "uniform"}, {}),
        ({"t_max": 0.9}, {}),
        ({"variance_schedule": "constant"}, {}),
        ({"objective": "velocity"}, {}),
        ({}, {"tokenizer": "chunks", "chunk_size": 4}),
        ({}, {"queries_and_keys": True}),
        ({}, {"width": 2 * WIDEST}),
    ],
)
def test_they_are_not_asked_for_anything_else(settings, shape):
    assert not WrittenOutGradients.applies(make(settings=settings, **shape))


def test_a_fit_with_them_is_that_without(monkeypatch):
    X, y = load_wine(return_X_y=True)
    classifier = GenerativeTransportClassifier(max_epochs=15, n_members=3, precision="float64", random_state=0)
    found = classifier.fit(X, y).predict_proba(X)
    monkeypatch.setattr(WrittenOutGradients, "applies", lambda model: False)
    np.testing.assert_allclose(found, classifier.fit(X, y).predict_proba(X), atol=1e-8)
