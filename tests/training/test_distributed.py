"""Two processes on this machine's processor train what one trains alone; who is not asked to join is left alone."""

import dataclasses
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
from gendiffclf.transport.learned import LearnedPath

N_PROCESSES = 2


def classifier(**changes) -> GenerativeTransportClassifier:
    """Without fixtures, as the file is run as a program too."""
    defaults = {
        "distributed": distributed.is_initialized(),
        "max_steps": 12,
        "width": 32,
        "n_members": 2,
        "depth": 1,
        "n_frequencies": 1,
        "dropout": 0.0,
        "device": "cpu",
        "precision": "float32",
        "random_state": 0,
    }
    return GenerativeTransportClassifier(**{**defaults, **changes})


def by_default(X, y, rank=0):
    return classifier(batch_size=18).fit(X, y)


def with_centres_weights_and_groups(X, y, rank=0):
    """Each process sums its part of the normal equations."""
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X))
    groups = np.arange(len(X)) // 4
    return classifier(n_centers=30, batch_size=18, precision="float64").fit(X, y, weight, groups)


def of_batches_of_one_row(X, y, rank=0):
    """Of which a process may have none."""
    return classifier(estimator="network", batch_size=1).fit(X, y)


SAME = {f.__name__: f for f in (by_default, with_centres_weights_and_groups, of_batches_of_one_row)}


def with_times_and_dropout(X, y, rank=0):
    """Noise is drawn by each process of its own."""
    changes = {"dropout": 0.3, "max_steps": 300, "patience": 20, "learning_rate": 0.05, "batch_size": 17}
    return classifier(estimator="network", path=LearnedPath(), **changes).fit(X, y)


def without_a_seed(X, y, rank=0):
    np.random.seed(rank)  # noqa: NPY002 - the generator that None takes its seed from
    return classifier(random_state=None).fit(X, y)


ALIKE = {f.__name__: f for f in (with_times_and_dropout, without_a_seed)}


def of_the_first_process_alone(X, y, rank=0):
    """In a process group that the fit was not asked to join."""
    return classifier(distributed=False).fit(X, y) if rank == 0 else None


def other_rows(X, y, rank=0):
    classifier().fit(X[rank::N_PROCESSES], y[rank::N_PROCESSES])


def other_labels(X, y, rank=0):
    y = np.array(["a", "b", "c"], object)[y]
    y[3 + rank] = "c"
    classifier().fit(X, y)


def other_parameters(X, y, rank=0):
    classifier(batch_size=20 + rank).fit(X, y)


def infinity_in_one(X, y, rank=0):
    X[5, rank] = [0.0, np.inf][rank]
    classifier().fit(X, y)


def divergence(X, y, rank=0):
    classifier(learning_rate=1e30).fit(X, y)


OTHER = r"Got {0} of checksum \w{{16}} in process 1 and {0} of checksum \w{{16}} in process 0, expected the same in all 2; give "
ERRORS = {
    other_rows: (ValueError, *[OTHER.format("X")] * 2),
    other_labels: (ValueError, *[OTHER.format("y")] * 2),
    other_parameters: (
        ValueError,
        *["Got batch_size=21 in process 1 and batch_size=20 in process 0, expected the same"] * 2,
    ),
    infinity_in_one: (
        (RuntimeError, ValueError),
        "Got an error in process 1 while it checked its input, expected the same input in all 2; see what that process",
        "Got X that contains infinity or a number beyond float64 in column 1, first in row 5",
    ),
    divergence: (FloatingPointError, *["Got a loss of nan: training diverged"] * 2),
}


def result(task: Callable, rank: int = 0) -> dict | BaseException | None:
    """What a classifier learnt, or the error."""
    X, y = load_iris(return_X_y=True)
    X = X[: 3 * 48]
    y = y[: 3 * 48]
    try:
        fitted = task(X, y, rank)
    except Exception as error:
        return error
    if fitted is None:
        return None
    kernel, network = fitted.kernel_, fitted.network_
    return {
        "probabilities": fitted.predict_proba(X),
        "kernel": None if kernel is None else [kernel.coefficients.numpy(), kernel.offset.numpy()],
        "network": [value.numpy() for value in network.state_dict().values()],
        "combination": dataclasses.astuple(fitted.combination_),
        "loss": fitted.history_["loss"],
        "validation": fitted.history_["validation_brier"],
        "steps": (fitted.n_iter_, fitted.best_iter_),
    }


def work(rank: int, folder: Path) -> None:
    """What each process does: every task, one after another."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=N_PROCESSES,
        timeout=datetime.timedelta(seconds=30),
    )
    tasks = [of_the_first_process_alone, *SAME.values(), *ALIKE.values(), *ERRORS]
    results = {task.__name__: result(task, rank) for task in tasks}
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(results))
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[dict]:
    """By process, what came of each task."""
    folder = tmp_path_factory.mktemp("processes")
    workers = [
        subprocess.Popen([sys.executable, "-W", "error", __file__, str(rank), str(folder)], stderr=subprocess.PIPE)
        for rank in range(N_PROCESSES)
    ]
    errors = [worker.communicate(timeout=120)[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * N_PROCESSES, "\n".join(errors)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(N_PROCESSES)]


@pytest.mark.parametrize("name", SAME)
def test_two_processes_train_what_one_trains(results, name):
    alone, together = result(SAME[name]), results[0][name]
    if isinstance(together, Exception):
        raise together
    np.testing.assert_allclose(together["probabilities"], alone["probabilities"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(together["loss"], alone["loss"], rtol=1e-4)
    assert together["steps"] == alone["steps"]


def test_a_fit_that_is_not_asked_to_join_the_group_does_not_wait_for_it(results):
    alone, in_group = result(of_the_first_process_alone), results[0]["of_the_first_process_alone"]
    np.testing.assert_allclose(in_group["probabilities"], alone["probabilities"], rtol=1e-9)
    assert results[1]["of_the_first_process_alone"] is None


@pytest.mark.parametrize("name", [*SAME, *ALIKE])
def test_all_processes_end_with_the_same(results, name):
    first, second = (by_process[name] for by_process in results)
    if isinstance(first, Exception):
        raise first
    np.testing.assert_equal(second, first)
    assert np.ptp(first["probabilities"]) > 0.1, "this test needs a classifier that tells rows apart"


def test_the_case_that_stops_early_does():
    n_steps, best = result(with_times_and_dropout)["steps"]
    assert best <= n_steps < 300


@pytest.mark.parametrize("task", ERRORS)
def test_an_error_is_one_of_all_processes(results, task):
    kind, *messages = ERRORS[task]
    for by_process, message in zip(results, messages, strict=True):
        with pytest.raises(kind, match=message):
            raise by_process[task.__name__]


def test_training_together_needs_a_group(iris):
    with pytest.raises(
        ValueError,
        match=r"Got distributed=True without a process group, expected torch.distributed.init_process_group before fit; "
        r"start processes with torchrun, or use distributed=False\.",
    ):
        classifier(distributed=True).fit(*iris)


def test_rows_are_shared_out_evenly():
    for n_rows in range(12):
        parts = [range(n_rows)[Processes(rank, 5).part(n_rows)] for rank in range(5)]
        assert [row for part in parts for row in part] == list(range(n_rows))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_alone_exchanges_nothing():
    alone, gradient = Processes(), torch.arange(4.0)
    (found,) = alone.summed_gradients([gradient])
    assert torch.equal(found, gradient)
    assert torch.equal(alone.summed(torch.ones(3)), torch.ones(3))
    assert alone.gathered("a") == ["a"]
    assert alone.first("a") == "a"
    alone.copy_first([torch.ones(3)])
    assert alone.part(7) == slice(0, 7)


@pytest.mark.parametrize(("backend", "device", "expected"), [("nccl", "cpu", "cuda"), ("gloo", "mps", "cpu or cuda")])
def test_a_device_that_the_group_does_not_serve(backend, device, expected, monkeypatch):
    monkeypatch.setattr(distributed, "get_backend", lambda: backend)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(
        ValueError,
        match=rf"Got device='{device}' in a process group of backend '{backend}', expected {expected}; use another device",
    ):
        Processes._check_device(device)


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
