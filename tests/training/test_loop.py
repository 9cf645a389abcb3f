"""Training: batches, updates, averages, validation."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from training_cases import CLASSES, make_data, make_folds, make_network, run, weights

from gendiffclf.estimators.network import estimate, loss
from gendiffclf.training import loop
from gendiffclf.training.folds import Folds
from gendiffclf.transport.learned import OBJECTIVES, LearnedPath
from gendiffclf.transport.readout import project_on_codes, project_on_simplex
from gendiffclf.transport.times import TIME_SAMPLERS

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
    data = make_data(noise=2.0)  # it learns the noise: validation gets worse again
    changes = {"learning_rate": 0.03, "ema_decay": 0.0, "batch_size": 10}
    long_network, long = run(data, max_steps=100, **changes)
    scores = long.history["validation_brier"]
    best = int(np.argmin(scores))
    assert best < len(scores) - 1
    assert long.best_step == long.history["step"][best]
    short_network, short = run(data, max_steps=long.best_step, **changes)
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


@pytest.mark.parametrize(
    ("alone", "waits"),
    [
        ([0.46, 0.46], False),  # stands still
        ([0.46, 0.43], True),  # has hardly begun
        ([0.30, 0.28], True),  # catches up
        ([0.38, 0.372], False),  # too slowly
        ([0.39, 0.42], False),  # is getting worse
        ([0.06, 0.05], True),  # near the mixture
        ([0.0, 0.0], False),  # is perfect
    ],
)
def test_patience_waits_for_a_network_whose_part_may_grow(alone, waits):
    score = 0.2 if alone[0] > 0.1 else 0.04
    best, network = loop._Best(torch.tensor([0.5, 0.5]), 20), torch.nn.Linear(1, 1)
    assert not best.compare(10, score, alone[0], torch.empty(0, 2), network)
    assert best.compare(30, score, alone[1], torch.empty(0, 2), network) is not waits


def test_patience_does_not_wait_far_behind():
    best, network = loop._Best(torch.tensor([0.5, 0.5]), 20), torch.nn.Linear(1, 1)
    assert not best.compare(10, 0.01, 0.3, torch.empty(0, 2), network)
    assert best.compare(30, 0.01, 0.1, torch.empty(0, 2), network)
