"""Transport of many rows in blocks."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gendiffclf.device import thread_limit
from gendiffclf.inference import CPU_BLOCK, in_blocks
from gendiffclf.transport.solvers import SOLVERS, step_noise


@pytest.fixture
def fitted(tiny, digits):
    X, y = digits
    classifier = tiny(max_epochs=1).fit(X[:300], y[:300])
    return classifier.model_, classifier.scaler_.transform(X[:300, None])


def ends(model, rows, solver="exact", n_steps=1, whole_path=False):
    """The members' mean end, or every state, of rows that are carried in blocks."""
    noise = step_noise(n_steps, 32)

    def compute(block):
        states = model.transport(block, solver=solver, n_steps=n_steps, noise=noise).mean(-3)
        return states if whole_path else states[-1]

    return in_blocks(model, rows, compute)


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
    with torch.inference_mode():
        rows_together = torch.as_tensor(rows[None, :n_rows])
        expected = model.transport(rows_together, solver=name, n_steps=3, noise=step_noise(3, 32)).mean(-3)
    found = ends(model, rows[:n_rows], name, 3)
    assert found.dtype == np.float32
    assert found.shape == (n_rows, 32)
    np.testing.assert_allclose(found, expected[-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ends(model, rows[:n_rows], name, 3, whole_path=True), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("n_steps", [1, 5])
def test_the_network_is_called_as_often_as_the_solver_says(fitted, name, n_steps):
    """Once a block and step (twice for the midpoint), whatever the number of rows in the block."""
    model, rows = fitted
    calls = []
    model.network.register_forward_hook(lambda *_: calls.append(1))
    for n_rows, n_blocks in ((1, 1), (CPU_BLOCK, 1), (CPU_BLOCK + 1, 2)):
        calls.clear()
        ends(model, rows[:n_rows], name, n_steps)
        assert len(calls) == n_blocks * n_steps * SOLVERS[name]().calls_per_step


def test_the_noise_of_steps_is_always_the_same_and_normal():
    before = torch.get_rng_state()
    noise = step_noise(200, 100)
    assert torch.equal(noise, step_noise(200, 100))
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.std().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(before, torch.get_rng_state())


def test_a_rows_result_is_the_same_wherever_it_stands(fitted):
    model, rows = fitted
    together = ends(model, rows, n_steps=2)
    for i in (0, 1, 17, 63, 64, 200, 299):
        np.testing.assert_allclose(ends(model, rows[i : i + 1], n_steps=2)[0], together[i], rtol=0, atol=1e-7)
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_allclose(ends(model, rows[order], n_steps=2), together[order], rtol=0, atol=1e-7)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Blocks one after another: of several at once it is chance which are begun before the first one fails."""
    with thread_limit(1):
        yield


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_blocks_are_halved_when_memory_runs_out(fitted, monkeypatch, error):
    model, rows = fitted
    expected = ends(model, rows[:100])
    device = FullDevice(model, monkeypatch, fits=20, error=error)
    with pytest.warns(ResourceWarning, match=r"cpu ran out of memory; going on with (32|16) rows at a time\."):
        found = ends(model, rows[:100])
    assert device.sizes == [64, 32, *[16] * 7]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_device_too_small_for_one_row(fitted, monkeypatch):
    model, rows = fitted
    FullDevice(model, monkeypatch, fits=0, error=torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(ResourceWarning):
        ends(model, rows)


@pytest.mark.usefixtures("one_thread")
def test_other_errors_are_not_retried(fitted, monkeypatch):
    model, rows = fitted
    device = FullDevice(model, monkeypatch, fits=0, error=RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        ends(model, rows)
    assert device.sizes == [64]


def test_the_classifier_survives_a_full_device_too(tiny, iris, monkeypatch):
    classifier = tiny(n_steps=2).fit(*iris)
    expected = classifier.predict_proba(iris[0])
    FullDevice(classifier.model_, monkeypatch, fits=8, error=MemoryError())
    with pytest.warns(ResourceWarning):
        np.testing.assert_allclose(classifier.predict_proba(iris[0]), expected, atol=1e-5)


def test_blocks_side_by_side_come_back_in_order_and_threads_are_as_before(fitted):
    """Each of torch's threads computes blocks of its own, in which products have but one."""
    model, rows = fitted
    before, seen = torch.get_num_threads(), set()

    def compute(block):
        seen.add((threading.get_ident(), torch.get_num_threads()))
        assert torch.is_inference_mode_enabled()
        return block[0, :, 0] * 2

    try:
        torch.set_num_threads(3)
        found = in_blocks(model, rows, compute, scale=lambda part: part[:, 0, None] + 1, block=7, fill=False)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found, 2 * (rows[:, 0] + 1))
    assert {n_threads for _, n_threads in seen} == {1}
    assert threading.get_ident() not in {thread for thread, _ in seen}


def test_memory_may_run_out_side_by_side(fitted, monkeypatch):
    model, rows = fitted
    expected, before = ends(model, rows), torch.get_num_threads()
    FullDevice(model, monkeypatch, fits=20, error=MemoryError())
    try:
        torch.set_num_threads(2)
        with pytest.warns(ResourceWarning):
            np.testing.assert_allclose(ends(model, rows), expected, rtol=1e-4, atol=1e-5)
    finally:
        torch.set_num_threads(before)
