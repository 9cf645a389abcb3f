"""Prediction of many rows in blocks, in the right precision, beside other threads."""

import threading

import numpy as np
import pytest
import torch

from gendiffclf import inference
from gendiffclf.device import exact_dtype
from gendiffclf.inference import FEW_ROWS, in_blocks, prediction_dtype

LIKE = torch.empty(0)
ROWS = np.random.default_rng(0).normal(size=(100, 1, 3))


def scale(rows: np.ndarray) -> np.ndarray:
    return (10 * rows).astype(np.float32)


def compute(rows: torch.Tensor) -> torch.Tensor:
    """(b, 1, 3) -> (2, b, 3)."""
    return torch.stack([rows[:, 0], -rows[:, 0]])


class FullDevice:
    """Runs out of memory on more than so many rows."""

    def __init__(self, fits: int, error: BaseException) -> None:
        self.fits, self.error, self.sizes = fits, error, []

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(rows))
        if len(rows) > self.fits:
            raise self.error
        return compute(rows)


@pytest.mark.parametrize("block", [1, 7, 99, 100, 101])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_give_what_one_pass_gives(block, dtype, monkeypatch):
    monkeypatch.setattr(inference, "BLOCK", block)
    found = in_blocks(ROWS, compute, scale=scale, like=LIKE.to(dtype))
    scaled = scale(ROWS)[:, 0].astype(found.dtype)
    np.testing.assert_array_equal(found, [scaled, -scaled])
    assert found.dtype == {torch.float32: np.float32, torch.float64: np.float64}[dtype]


def test_no_more_rows_than_a_block_are_scaled_at_a_time(monkeypatch):
    monkeypatch.setattr(inference, "BLOCK", 30)
    sizes = []
    in_blocks(ROWS, compute, scale=lambda rows: sizes.append(len(rows)) or scale(rows), like=LIKE)
    assert sizes == [30, 30, 30, 10]


def test_nothing_is_recorded_for_gradients():
    def check(rows):
        assert torch.is_inference_mode_enabled()
        return compute(rows)

    in_blocks(ROWS, check, scale=scale, like=LIKE)
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_blocks_are_halved_when_memory_runs_out(error, monkeypatch):
    monkeypatch.setattr(inference, "BLOCK", 64)
    device = FullDevice(20, error)
    with pytest.warns(ResourceWarning, match=r"cpu ran out of memory; going on with (32|16) rows at a time\."):
        found = in_blocks(ROWS, device, scale=scale, like=LIKE)
    assert device.sizes == [64, 32, *[16] * 6, 4]
    np.testing.assert_array_equal(found, compute(torch.as_tensor(scale(ROWS))))


def test_fewer_rows_than_a_block_are_halved_themselves():
    device = FullDevice(60, MemoryError())
    with pytest.warns(ResourceWarning, match=r"going on with 50 rows at a time"):
        in_blocks(ROWS, device, scale=scale, like=LIKE)
    assert device.sizes == [100, 50, 50]


def test_a_device_too_small_for_one_row():
    device = FullDevice(0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(ResourceWarning):
        in_blocks(ROWS, device, scale=scale, like=LIKE)
    assert device.sizes[-1] == 1


def test_other_errors_are_not_retried():
    device = FullDevice(0, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        in_blocks(ROWS, device, scale=scale, like=LIKE)
    assert device.sizes == [100]


@pytest.mark.parametrize(
    ("n_rows", "device", "precision", "expected"),
    [
        (FEW_ROWS, "cpu", "auto", torch.float64),
        (FEW_ROWS + 1, "cpu", "auto", torch.float32),
        (FEW_ROWS + 1, "cpu", "float64", torch.float64),
        (1, "mps", "float32", torch.float32),
        (10_000, "mps", "float64", torch.float32),
        (FEW_ROWS + 1, "cuda", "bfloat16", torch.float32),
        (1, "cuda", "bfloat16", torch.float64),
    ],
)
def test_few_rows_are_predicted_in_double_precision(n_rows, device, precision, expected):
    assert prediction_dtype(n_rows, torch.device(device), precision) is expected


def test_the_exact_precision_of_a_device():
    assert exact_dtype(torch.device("cpu")) is torch.float64
    assert exact_dtype(torch.device("mps")) is torch.float32


# ------------------------------------------------------------------ the classifier


@pytest.mark.parametrize("estimator", ["network", "kernel", "both"])
def test_a_rows_probabilities_do_not_depend_on_those_beside_it(tiny, digits, estimator):
    X, y = digits
    classifier = tiny(estimator=estimator, max_steps=20).fit(X[:300:2], y[:300:2])
    together = classifier.predict_proba(X[1:300:2])
    for i in (0, 17, 63, 149):
        np.testing.assert_allclose(classifier.predict_proba(X[1 + 2 * i][None])[0], together[i], rtol=0, atol=1e-5)
    few = classifier.predict_proba(X[1 : 2 * FEW_ROWS : 2])
    for i in (0, FEW_ROWS - 1):
        np.testing.assert_allclose(classifier.predict_proba(X[1 + 2 * i][None])[0], few[i], rtol=0, atol=1e-12)
    order = np.random.default_rng(0).permutation(150)
    np.testing.assert_allclose(classifier.predict_proba(X[1:300:2][order]), together[order], rtol=0, atol=1e-5)


def test_threads_and_random_numbers_stay_as_they_are_beside_fits_and_predictions(tiny, iris):
    """Of two threads that change a setting and give it back, one gives back what the other had set."""
    X, y = iris
    classifier = tiny().fit(X, y)
    n_threads = torch.get_num_threads()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    expected, found, errors = classifier.predict_proba(X), [], []

    def repeat(action, times):
        try:
            for _ in range(times):
                action()
        except Exception as error:
            errors.append(error)

    try:
        torch.set_num_threads(3)
        threads = [
            threading.Thread(target=repeat, args=(lambda: tiny().fit(X, y), 5)),
            threading.Thread(target=repeat, args=(lambda: found.append(classifier.predict_proba(X)), 40)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(n_threads)
    assert not errors
    assert torch.equal(states[0], torch.get_rng_state())
    np.testing.assert_array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    assert all(np.abs(probabilities - expected).max() < 1e-6 for probabilities in found)
