"""Transport of many rows in blocks."""

import numpy as np
import pytest
import torch

from gendiffclf.prediction import CPU_BLOCK, transport_rows
from gendiffclf.transport.solvers import SOLVERS


@pytest.fixture
def fitted(tiny, digits):
    X, y = digits
    classifier = tiny(max_epochs=1).fit(X[:300], y[:300])
    return classifier.model_, classifier.scaler_.transform(X[:300, None])


class FullDevice:
    """Makes a model run out of memory on more than so many rows."""

    def __init__(self, model, monkeypatch, *, fits: int, error: BaseException) -> None:
        self.sizes: list[int] = []
        transport = model.transport

        def limited(rows, **settings):
            self.sizes.append(rows.shape[1])
            if rows.shape[1] > fits:
                raise error
            return transport(rows, **settings)

        monkeypatch.setattr(model, "transport", limited)


@pytest.mark.parametrize("n_rows", [1, CPU_BLOCK - 1, CPU_BLOCK, CPU_BLOCK + 1, 300])
@pytest.mark.parametrize("name", SOLVERS)
def test_blocks_give_what_one_pass_gives(fitted, n_rows, name):
    model, rows = fitted
    noise = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    found = transport_rows(model, rows[:n_rows], solver=name, n_steps=3, noise=noise)
    with torch.inference_mode():
        expected = model.transport(torch.as_tensor(rows[None, :n_rows]), solver=name, n_steps=3, noise=noise)
    assert found.dtype == np.float32
    assert found.shape == (n_rows, 32)
    np.testing.assert_allclose(found, expected[-1, 0], rtol=1e-4, atol=1e-5)
    path = transport_rows(model, rows[:n_rows], solver=name, n_steps=3, noise=noise, whole_path=True)
    np.testing.assert_allclose(path, expected[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("n_steps", [1, 5])
def test_the_network_is_called_as_often_as_the_solver_says(fitted, name, n_steps):
    """Once a block and step (twice for the midpoint), whatever the number of rows in the block and of classes."""
    model, rows = fitted
    calls = []
    hook = model.network.register_forward_hook(lambda *_: calls.append(1))
    for n_rows, n_blocks in ((1, 1), (CPU_BLOCK, 1), (CPU_BLOCK + 1, 2)):
        calls.clear()
        transport_rows(model, rows[:n_rows], solver=name, n_steps=n_steps, noise=torch.zeros(n_steps, 32))
        assert len(calls) == n_blocks * n_steps * SOLVERS[name]().calls_per_step
    hook.remove()


def test_a_rows_result_is_the_same_to_the_last_bit_wherever_it_stands(fitted):
    model, rows = fitted
    together = transport_rows(model, rows, solver="exact", n_steps=2)
    for i in (0, 1, 17, 63, 64, 200, 299):
        np.testing.assert_array_equal(transport_rows(model, rows[i : i + 1], solver="exact", n_steps=2)[0], together[i])
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(transport_rows(model, rows[order], solver="exact", n_steps=2), together[order])


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_blocks_are_halved_when_memory_runs_out(fitted, monkeypatch, error):
    model, rows = fitted
    expected = transport_rows(model, rows[:100], solver="exact", n_steps=1)
    device = FullDevice(model, monkeypatch, fits=20, error=error)
    with pytest.warns(ResourceWarning, match=r"cpu ran out of memory; going on with (32|16) rows at a time\."):
        found = transport_rows(model, rows[:100], solver="exact", n_steps=1)
    assert device.sizes == [64, 32, *[16] * 7]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_device_too_small_for_one_row(fitted, monkeypatch):
    model, rows = fitted
    FullDevice(model, monkeypatch, fits=0, error=torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(ResourceWarning):
        transport_rows(model, rows, solver="exact", n_steps=1)


def test_other_errors_are_not_retried(fitted, monkeypatch):
    model, rows = fitted
    device = FullDevice(model, monkeypatch, fits=0, error=RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        transport_rows(model, rows, solver="exact", n_steps=1)
    assert device.sizes == [64]


def test_the_classifier_survives_a_full_device_too(tiny, iris, monkeypatch):
    classifier = tiny().fit(*iris)
    expected = classifier.predict_proba(iris[0])
    FullDevice(classifier.model_, monkeypatch, fits=8, error=MemoryError())
    with pytest.warns(ResourceWarning):
        np.testing.assert_allclose(classifier.predict_proba(iris[0]), expected, atol=1e-5)
