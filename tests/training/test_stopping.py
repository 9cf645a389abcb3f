"""Training: when it stops, its history, its seeds, its progress."""

import numpy as np
import pytest
import torch
from training_cases import CLASSES, make_data, make_folds, make_network, run, settings, weights

from gendiffclf.estimators.combination import convex_weights
from gendiffclf.estimators.network import loss
from gendiffclf.training import loop
from gendiffclf.training.loop import TrainingResult, train
from gendiffclf.transport.learned import LearnedPath
from gendiffclf.transport.readout import project_on_simplex

# ---------------------------------------------------------------------- stopping


@pytest.mark.parametrize("patience", [1, 25, 60])
def test_patience_counts_updates(patience):
    """Training stops at the first validation that comes so many updates after the last improvement."""
    _, result = run(max_steps=3000, patience=patience, learning_rate=0.05)
    reference, improved, stops = float("inf"), 0, []
    for step, score in zip(result.history["step"], result.history["validation_brier"], strict=True):
        if score < reference * (1 - loop.LEAST_GAIN):
            improved, reference = step, score
        stops += [step] if step - improved >= patience else []
    assert stops == [result.n_steps]
    assert result.n_steps < 3000


def test_small_tables_are_not_stopped_after_a_few_passes():
    """One pass of 30 rows is one update: patience must not count passes."""
    data = make_data(30)
    _, result = run(data, max_steps=300, batch_size=32, patience=100, learning_rate=0.003)
    assert result.n_steps >= 100


@pytest.mark.parametrize(("patience", "every"), [(None, 10), (20, 10), (50, 10), (100, 20)])
def test_validations_are_some_updates_apart(patience, every):
    """Of small tables one pass is few updates, and validation costs as much as an update."""
    assert run(max_steps=60, patience=patience)[1].history["step"][:2] == [every, 2 * every]


def test_all_updates_are_made_without_patience():
    assert run(max_steps=83)[1].n_steps == 83
    assert run(max_steps=3)[1].history["step"] == [3]


def test_beside_another_estimator_training_stops_when_the_mixture_no_longer_improves():
    data = make_data(noise=0.5)
    folds = make_folds(data)
    targets = torch.eye(CLASSES, dtype=torch.float64)[data.y[folds.validation]]
    perfect, useless = targets.clone(), torch.full_like(targets, 1 / CLASSES)
    changes = {"max_steps": 2000, "patience": 100, "learning_rate": 0.003}
    alone = run(data, folds, **changes)[1]
    beside_perfect = run(data, folds, beside=perfect, **changes)[1]
    beside_useless = run(data, folds, beside=useless, **changes)[1]
    assert max(beside_perfect.history["validation_brier"]) == pytest.approx(0, abs=1e-9)
    assert beside_perfect.n_steps < min(alone.n_steps, beside_useless.n_steps)


def test_the_score_beside_another_estimator_is_that_of_the_best_mixture():
    data = make_data()
    folds = make_folds(data)
    beside = project_on_simplex(
        torch.eye(CLASSES)[data.y[folds.validation]]
        + torch.randn(120, CLASSES, generator=torch.Generator().manual_seed(1))
    ).double()
    _, result = run(data, folds, beside=beside, max_steps=20)
    y, weight = data.y[folds.validation], data.weight[folds.validation].double()
    targets, found = torch.eye(CLASSES).double()[y], project_on_simplex(result.held_out).double()
    first, second = convex_weights([beside, found], targets, weight)
    score = float(weight @ (first * beside + second * found - targets).square().sum(1) / weight.sum())
    assert min(result.history["validation_brier"]) == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize(("max_steps", "validate"), [(30, True), (30, False), (1, True)])
def test_divergence_is_an_error_that_names_the_remedy(max_steps, validate):
    """After the only update it is the score that tells."""
    data = make_data()
    with pytest.raises(
        FloatingPointError,
        match=r"Got a loss of (nan|inf): training diverged; use a smaller learning_rate \(now 1e\+30\) or precision='float32'\.",
    ):
        run(data, make_folds(data, validate=validate), learning_rate=1e30, max_steps=max_steps)


# --------------------------------------------------------------- history, randomness


def test_history_has_an_entry_for_each_validation():
    _, result = run(max_steps=47, batch_size=10)
    assert list(result.history) == ["step", "loss", "validation_brier", "seconds"]
    every = result.history["step"][0]
    assert result.history["step"] == [*range(every, 47, every), 47]
    assert {len(values) for values in result.history.values()} == {len(result.history["step"])}
    assert (np.diff(result.history["seconds"]) > 0).all()
    assert result.n_steps == 47
    assert TrainingResult().history == {name: [] for name in result.history}


def test_the_loss_in_history_is_the_mean_since_the_last_entry(monkeypatch):
    numbers, errors = [], []
    draw = loop._Batches.__next__
    monkeypatch.setattr(loop._Batches, "__next__", lambda self: numbers.append(draw(self)) or numbers[-1])
    monkeypatch.setattr(loop, "loss", lambda *args: errors.append(loss(*args)) or errors[-1])
    data = make_data()
    _, result = run(data, max_steps=25, batch_size=60)
    losses = [(error.detach() * data.weight[rows]).mean() for error, rows in zip(errors, numbers, strict=True)]
    bounds = [0, *result.history["step"]]
    for mean, start, stop in zip(result.history["loss"], bounds[:-1], bounds[1:], strict=True):
        assert mean == pytest.approx(float(torch.stack(losses[start:stop]).mean()), rel=1e-5)


@pytest.mark.parametrize("learned", [None, LearnedPath()])
def test_training_is_decided_by_its_seed(learned):
    def trained(seed):
        return weights(
            run(network=make_network(time_width=8 if learned else 0, dropout=0.3), seed=seed, learned=learned)[0]
        )

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_the_callers_random_numbers_and_modes_stay_as_they_are():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    data = make_data()
    copies = [x.clone() for x in (data.rows, data.y, data.weight, data.codes)]
    run(data, network=make_network(dropout=0.3))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002
    assert torch.is_grad_enabled()
    assert all(torch.equal(x, y) for x, y in zip(copies, (data.rows, data.y, data.weight, data.codes), strict=True))


def test_nothing_is_in_double_precision_where_the_device_has_none(monkeypatch):
    """As on MPS."""

    def refuse(self):
        raise TypeError("Cannot convert a MPS Tensor to float64")

    monkeypatch.setattr(torch.Tensor, "double", refuse)
    monkeypatch.setattr(loop, "high_precision", lambda x: x)
    data = make_data()
    folds = make_folds(data)
    run(data, folds, beside=torch.full((120, CLASSES), 1 / CLASSES))


def test_a_verbose_fit_shows_its_progress(capsys):
    data = make_data()
    for verbose, end in ((2, "\n"), (1, "\r")):
        train(make_network(), data, make_folds(data), settings(max_steps=30), seed=0, verbose=verbose)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.endswith(end)
        assert "loss=" in captured.err
    assert "fit: 100%" not in captured.err.split("\r")[-1]
    run()
    assert capsys.readouterr().err == ""
