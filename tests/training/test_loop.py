"""Training: batches, updates, averages, validation, stopping."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch

from gendiffclf.estimators.combination import convex_weights
from gendiffclf.estimators.network import NetworkShape, TransportNetwork, estimate, loss
from gendiffclf.preprocessing import lift_matrix
from gendiffclf.training import loop
from gendiffclf.training.folds import Folds, assign_folds
from gendiffclf.training.loop import TrainingData, TrainingResult, TrainingSettings, train
from gendiffclf.transport.codes import label_codes
from gendiffclf.transport.learned import OBJECTIVES, LearnedPath
from gendiffclf.transport.readout import project_on_codes, project_on_simplex
from gendiffclf.transport.times import TIME_SAMPLERS

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


# ----------------------------------------------------------------------- batches


@pytest.mark.parametrize("batch_size", [1, 7, 20, 33, 500])
@pytest.mark.parametrize("sizes", [(60, 60), (60, 61), (9, 9)])
def test_a_pass_has_every_row_once(batch_size, sizes):
    """But for the few that fill up the last batch, or are left over of a larger fold."""
    parts = [np.arange(1000 * member, 1000 * member + size) for member, size in enumerate(sizes)]
    batches = loop._Batches(parts, batch_size, torch.Generator().manual_seed(0))
    one_pass = [next(batches) for _ in range(batches.n_per_pass)]
    assert {len(batch) for batch in one_pass} == {2}
    assert len({batch.shape for batch in one_pass}) == 1
    assert one_pass[0].shape[1] <= max(1.5 * batch_size, 1)
    together = torch.cat(one_pass, dim=1)
    for line, part in zip(together, parts, strict=True):
        counts = np.bincount(line - part[0], minlength=len(part))
        assert set(line.tolist()) <= set(part.tolist())
        assert (counts == 0).sum() <= max(sizes) - min(sizes)
        assert counts.max() <= 2
        assert counts.sum() - len(part) < batches.n_per_pass


def test_passes_are_in_orders_of_their_own():
    batches = loop._Batches([np.arange(50)] * 2, 50, torch.Generator().manual_seed(0))
    first, second = next(batches), next(batches)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], torch.arange(50))


def test_two_members_of_other_folds_see_rows_of_their_own(monkeypatch):
    seen = []
    monkeypatch.setattr(loop, "loss", lambda *args: seen.append(args[1]) or loss(*args))
    data = make_data(60)
    folds = Folds([np.arange(30), np.arange(30, 60)], np.arange(60), np.arange(60) // 30)
    run(data, folds, max_steps=3, batch_size=10)
    for batch in seen:
        for member, part in enumerate(folds.train):
            assert all(any(torch.equal(row, other) for other in data.rows[part]) for row in batch[member])


# ----------------------------------------------------------------------- updates


def test_updates_are_those_of_adam_on_the_weighted_loss(monkeypatch):
    numbers = []
    draw = loop._Batches.__next__
    monkeypatch.setattr(loop._Batches, "__next__", lambda self: numbers.append(draw(self)) or numbers[-1])
    data = make_data(dtype=torch.float64)
    found, _ = run(data, make_folds(data, validate=False), network=make_network(torch.float64), ema_decay=0.0,
                   max_steps=6, precision=torch.float64)  # fmt: skip
    expected = make_network(torch.float64)
    optimizer = torch.optim.Adam(expected.parameters(), lr=0.01)
    assert len(numbers) == 6
    for batch in numbers:
        error = loss(expected, data.rows[batch], data.codes[data.y[batch]])
        optimizer.zero_grad()
        (error * data.weight[batch]).mean(1).sum().backward()
        optimizer.step()
    torch.testing.assert_close(weights(found), weights(expected), rtol=1e-9, atol=1e-12)


def test_members_learn_what_they_would_alone():
    """Of one batch, of one fold: their losses are summed, so that no gradient depends on how many there are."""
    data = make_data(20)
    folds = make_folds(data, validate=False)
    both, _ = run(data, folds, max_steps=1, batch_size=20, ema_decay=0.0)
    alone = make_network(n_members=1)
    start = make_network()
    alone.load_state_dict({name: x if name == "lift" else x[1:] for name, x in start.state_dict().items()})
    run(data, make_folds(data, 1, validate=False), network=alone, max_steps=1, batch_size=20, ema_decay=0.0)
    for name, x in alone.named_parameters():
        torch.testing.assert_close(x[0], both.get_parameter(name)[1])


@pytest.mark.parametrize("decay", [0.5, 0.98])
def test_the_moving_average_in_closed_form(decay, monkeypatch):
    """Early averages follow closely: after n updates the last one counts at least 9 / (9 + n)."""
    seen = []
    lerp = torch._foreach_lerp_

    def noting(averages, weights, share):
        if isinstance(share, float):  # Adam's own have tensors
            seen.append(torch.cat([x.flatten() for x in weights]))
        lerp(averages, weights, share)

    monkeypatch.setattr(torch, "_foreach_lerp_", noting)
    data = make_data()
    found, _ = run(data, make_folds(data, validate=False), ema_decay=decay, max_steps=12)
    expected = seen[0]
    for n, latest in enumerate(seen[1:], start=1):
        keep = min(decay, n / (9 + n))
        expected = keep * expected + (1 - keep) * latest
    torch.testing.assert_close(weights(found), expected)


def test_the_average_does_not_touch_training():
    data = make_data()
    results = [run(data, make_folds(data), ema_decay=decay)[1] for decay in (0.0, 0.95)]
    assert results[0].history["loss"] == results[1].history["loss"]
    assert results[0].history["validation_brier"] != results[1].history["validation_brier"]


def test_without_validation_the_last_averaged_weights_are_kept():
    data = make_data()
    folds = make_folds(data, validate=False)
    short, long = run(data, folds, max_steps=20), run(data, folds, max_steps=40, patience=5)
    assert (short[1].n_steps, short[1].best_step) == (20, 20)
    assert (long[1].n_steps, long[1].best_step) == (40, 40)
    assert set(long[1].history["validation_brier"]) == {None}
    assert long[1].held_out.shape == (0, CLASSES)
    assert not torch.equal(weights(short[0]), weights(long[0]))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("time_sampling", [name for name in TIME_SAMPLERS if name != "terminal"])
def test_the_loss_falls_on_a_learned_path(objective, time_sampling):
    """Of a path whose noise the network can learn; that of a velocity is nothing it could know."""
    variance = "bridge" if objective == "noise" else "zero"
    learned = LearnedPath(mean="linear", variance=variance, sigma=3.0, objective=objective, time_sampling=time_sampling)
    data = make_data()
    network = make_network(time_width=8)
    result = run(data, make_folds(data, validate=False), network=network, learned=learned, max_steps=100)[1]
    assert result.history["loss"][-1] < result.history["loss"][0]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float64])
def test_every_precision_learns(precision):
    dtype = torch.float64 if precision is torch.float64 else torch.float32
    data = make_data(dtype=dtype, noise=0.3)
    network, result = run(data, network=make_network(dtype), max_steps=100, precision=precision)
    assert result.history["validation_brier"][-1] < 0.7 * result.history["validation_brier"][0]
    assert {p.dtype for p in network.parameters()} == {dtype}
    assert result.held_out.dtype == dtype


def test_double_precision_has_no_rounding_to_single():
    """A change of the rows by 1e-12 moves weights by about as much."""
    data = make_data(dtype=torch.float64)
    nudged = copy.deepcopy(data)
    nudged.rows.mul_(1 + 1e-12)
    found = [
        weights(run(d, network=make_network(torch.float64), max_steps=3, precision=torch.float64)[0])
        for d in (data, nudged)
    ]
    assert 0 < (found[0] - found[1]).abs().max() < 1e-8


# -------------------------------------------------------------------- validation


def test_scores_and_held_out_estimates_are_those_of_the_kept_weights(monkeypatch):
    """Each row's estimate is by the member that did not learn from it, in blocks of any size."""
    monkeypatch.setattr(loop, "VALIDATION_BLOCK", 7)
    data = make_data(61)
    folds = make_folds(data)
    network, result = run(data, folds)
    with torch.no_grad():
        found = project_on_codes(estimate(network, data.rows[None]), data.codes)  # (M, n, K)
    expected = found[folds.member, folds.validation]
    torch.testing.assert_close(result.held_out, expected, rtol=1e-4, atol=1e-5)
    targets = torch.eye(CLASSES)[data.y]
    distance = (project_on_simplex(expected) - targets).square().sum(1)
    score = float(data.weight @ distance / data.weight.sum())
    assert min(result.history["validation_brier"]) == pytest.approx(score, rel=1e-4)


def test_members_without_validation_rows_are_no_error():
    data = make_data()
    member = np.zeros(60, int)
    folds = Folds([np.arange(60, 120)] * 2, np.arange(60), member)
    _, result = run(data, folds)
    assert result.held_out.shape == (60, CLASSES)
    assert result.held_out.isfinite().all()


def test_the_best_weights_are_kept():
    """A run that is cut off right after its best validation ends with the same weights."""
    changes = {"learning_rate": 0.3, "ema_decay": 0.0, "batch_size": 10}
    long_network, long = run(max_steps=100, **changes)
    scores = long.history["validation_brier"]
    best = int(np.argmin(scores))
    assert best < len(scores) - 1, "this test needs a run that gets worse again"
    assert long.best_step == long.history["step"][best]
    short_network, short = run(max_steps=long.best_step, **changes)
    assert torch.equal(weights(long_network), weights(short_network))
    assert torch.equal(long.held_out, short.held_out)


def test_training_leaves_no_cycle_behind(monkeypatch):
    """Rows, averages of gradients and graphs of a device go when training ends, not when garbage is collected."""
    made = []

    class Learner(loop._Learner):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(weakref.ref(self))

    monkeypatch.setattr(loop, "_Learner", Learner)
    gc.disable()
    try:
        run(max_steps=3)
        assert made[0]() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------------- stopping


@pytest.mark.parametrize("patience", [1, 25, 60])
def test_patience_counts_updates(patience):
    """Training stops at the first validation that comes so many updates after the last improvement."""
    _, result = run(max_steps=3000, patience=patience, learning_rate=0.05)
    reference, improved, stops = float("inf"), 0, []
    share, rows = loop.LEAST_GAIN, loop.LEAST_ROWS
    for step, score in zip(result.history["step"], result.history["validation_brier"], strict=True):
        if score < reference * (1 - share) and score < reference - rows / 120:
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
    data = make_data(noise=1.5)
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
