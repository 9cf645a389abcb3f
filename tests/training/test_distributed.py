"""Two processes on this machine's processor train what one trains alone."""

import datetime
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from torch import distributed

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.training.distributed import Processes

N_PROCESSES = 2
SMALL = {"width": 32, "n_members": 2, "depth": 1, "n_frequencies": 1}


def classifier(**changes) -> GenerativeTransportClassifier:
    return GenerativeTransportClassifier(
        **{"max_epochs": 3, "device": "cpu", "precision": "float32", "random_state": 0, **changes}
    )


def by_default(X, y, rank=0):
    """Six members in two groups; batches of 41 rows, which two processes cannot halve."""
    return classifier(batch_size=40, max_epochs=2).fit(X, y)


def with_times(X, y, rank=0):
    """Times, noise and dropout are drawn, rows weigh differently, and training stops early."""
    weight = np.random.default_rng(0).uniform(0, 2, len(X))
    changes = {"time_sampling": "mixed", "dropout": 0.3, "learning_rate": 0.05, "n_iter_no_change": 2, "batch_size": 30}
    return classifier(**SMALL, **changes, max_epochs=60).fit(X, y, weight)


def in_double(X, y, rank=0):
    changes = {"precision": "float64", "objective": "velocity", "batch_size": 30, "dropout": 0.3, "n_members": 3}
    return classifier(**{**SMALL, **changes}).fit(X, y, groups=np.arange(len(X)) // 2)


def of_batches_of_one_row(X, y, rank=0):
    """One of the processes has none of the rows."""
    rows = np.r_[:3, 50:53, 100:103]
    return classifier(**SMALL, batch_size=1, time_sampling="uniform").fit(X[rows], y[rows])


def with_a_hold_out_and_several_steps(X, y, rank=0):
    return classifier(**{**SMALL, "n_members": 1}, n_steps=3, solver="euler", max_steps=7, batch_size=20).fit(X, y)


def going_on(X, y, rank=0):
    first = classifier(**SMALL, warm_start=True).fit(X, y)
    return first.set_params(learning_rate_schedule="cosine").fit(X, y)


def of_a_stream(X, y, rank=0):
    found = classifier(**SMALL, batch_size=20)
    for part in range(3):
        found.partial_fit(X[part::3], y[part::3], classes=[0, 1, 2])
    return found


def with_a_new_class(X, y, rank=0):
    """After `fit`, `partial_fit` is each process' own."""
    return classifier(**SMALL).fit(X[:100], y[:100]).partial_fit(X[100:], y[100:])


SAME = {
    f.__name__: f
    for f in (
        by_default,
        with_times,
        in_double,
        of_batches_of_one_row,
        with_a_hold_out_and_several_steps,
        going_on,
        of_a_stream,
        with_a_new_class,
    )
}


def without_a_seed(X, y, rank=0):
    np.random.seed(rank)  # noqa: NPY002 - the generator that None takes its seed from
    return classifier(**SMALL, random_state=None).fit(X, y)


def stream_without_a_seed(X, y, rank=0):
    np.random.seed(rank)  # noqa: NPY002
    return classifier(**SMALL, random_state=None).partial_fit(X, y)


ALIKE = {f.__name__: f for f in (without_a_seed, stream_without_a_seed)}


def other_rows(X, y, rank=0):
    classifier(**SMALL).fit(X[rank::N_PROCESSES], y[rank::N_PROCESSES])


def other_labels(X, y, rank=0):
    y = np.array(["a", "b", "c"], object)[y]
    y[3 + rank] = "c"
    classifier(**SMALL).partial_fit(X, y)


def other_parameters(X, y, rank=0):
    classifier(**SMALL, batch_size=20 + rank).fit(X, y)


def other_weights(X, y, rank=0):
    fitted = classifier(**SMALL, warm_start=True).fit(X, y)
    with torch.no_grad():
        fitted.model_.network.fusion.bias += rank
    fitted.fit(X, y)


def a_gap_in_one(X, y, rank=0):
    X[5, rank] = [0.0, np.nan][rank]
    classifier(**SMALL).fit(X, y)


def divergence(X, y, rank=0):
    classifier(**SMALL, learning_rate=1e30).fit(X, y)


OTHER = r"Got {0} of checksum \w{{16}} in process 1 and {0} of checksum \w{{16}} in process 0, expected the same in all 2; give "
ERRORS = {
    other_rows: (ValueError, *[OTHER.format("X")] * 2),
    other_labels: (ValueError, *[OTHER.format("y")] * 2),
    other_parameters: (
        ValueError,
        *["Got batch_size=21 in process 1 and batch_size=20 in process 0, expected the same"] * 2,
    ),
    other_weights: (ValueError, *[OTHER.format("model_")] * 2),
    a_gap_in_one: (
        (RuntimeError, ValueError),
        "Got an error in process 1 while it checked its input, expected the same input in all 2; see what that process",
        "Got X that contains NaN, first in row 5",
    ),
    divergence: (FloatingPointError, *["Got a loss of nan: training diverged"] * 2),
}


def result(task: Callable, rank: int = 0) -> dict | BaseException:
    """What a classifier found, or the error."""
    X, y = load_iris(return_X_y=True)
    try:
        found = task(X, y, rank)
    except Exception as error:
        return error
    return {
        "probabilities": found.predict_proba(X),
        "state": [value.numpy() for value in found.model_.state_dict().values()],
        "gram": None if found.gram_ is None else found.gram_.numpy(),
        "calibration": found.calibration_,
        "history": found.history_,
        "epochs": (found.n_iter_, found.best_epoch_),
    }


def work(rank: int, folder: Path) -> None:
    """What each process does: every task, one after another."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=N_PROCESSES,
        timeout=datetime.timedelta(seconds=60),
    )
    tasks = [*SAME.values(), *ALIKE.values(), *ERRORS]
    found = {task.__name__: result(task, rank) for task in tasks}
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(found))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict]:
    """By process, what came of each task."""
    folder = tmp_path_factory.mktemp("processes")
    workers = [
        subprocess.Popen([sys.executable, "-W", "error", __file__, str(rank), str(folder)], stderr=subprocess.PIPE)
        for rank in range(N_PROCESSES)
    ]
    errors = [worker.communicate(timeout=300)[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * N_PROCESSES, "\n".join(errors)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(N_PROCESSES)]


@pytest.mark.parametrize("name", SAME)
def test_two_processes_train_what_one_trains(found, name):
    alone, together = result(SAME[name]), found[0][name]
    if isinstance(together, Exception):
        raise together
    tolerance = 1e-10 if name == "in_double" else 1e-4
    np.testing.assert_allclose(together["probabilities"], alone["probabilities"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(together["history"]["loss"], alone["history"]["loss"], rtol=1e-5)  # summed in float32
    assert together["epochs"] == alone["epochs"]


@pytest.mark.parametrize("name", [*SAME, *ALIKE])
def test_all_processes_end_with_the_same(found, name):
    first, second = (by_process[name] for by_process in found)
    if isinstance(first, Exception):
        raise first
    np.testing.assert_equal(second, first)
    assert np.ptp(first["probabilities"]) > 0.1, "this test needs a classifier that tells rows apart"


@pytest.mark.parametrize("task", ERRORS)
def test_an_error_is_one_of_all_processes(found, task):
    kind, *messages = ERRORS[task]
    for by_process, message in zip(found, messages, strict=True):
        with pytest.raises(kind, match=message):
            raise by_process[task.__name__]


def test_rows_are_shared_out_evenly():
    for n_rows in range(12):
        parts = [range(n_rows)[Processes(rank, 5).part(n_rows)] for rank in range(5)]
        assert [row for part in parts for row in part] == list(range(n_rows))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("backend", "device", "expected"), [("nccl", "cpu", "cuda"), ("gloo", "mps", "cpu or cuda")])
def test_a_device_that_the_group_does_not_serve(backend, device, expected, monkeypatch):
    monkeypatch.setattr(distributed, "get_backend", lambda: backend)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(
        ValueError,
        match=rf"Got device='{device}' in a process group of backend '{backend}', expected {expected}; use another device",
    ):
        Processes._check_device(device)


def test_the_case_that_stops_early_does():
    epochs, best = result(with_times)["epochs"]
    assert epochs == best + 2 < 60


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
