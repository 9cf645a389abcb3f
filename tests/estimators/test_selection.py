"""Hyperparameters chosen by leaving rows, or groups, out."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from kernel_tables import weighted_mean

from gendiffclf.estimators import selection
from gendiffclf.estimators.ridge import KERNELS, solve
from gendiffclf.estimators.selection import BANDWIDTHS, PENALTIES, select
from gendiffclf.estimators.training_rows import TrainingRows


def best(rows, targets, weight, kernels, groups=None):
    """The hyperparameters alone."""
    return select(TrainingRows(rows, targets, weight, groups), kernels).settings


def own_gram(settings, rows):
    """Kernel values of rows (n, views, layers, d) among themselves."""
    read = KERNELS[settings.kernel].read(rows[:, settings.view])
    return settings.gram(read, read)


def score(settings, rows, targets, weight, groups=None):
    """Squared error of held-out estimates times the best factor, as a share of that of the mean."""
    gram = own_gram(settings, rows)
    centred = targets - weighted_mean(targets, weight)
    _, residual = solve(gram + torch.diag(settings.penalty / weight), centred, groups)
    estimate, weight = centred - residual, weight[:, None].expand_as(centred)
    factor = (weight * centred * estimate).sum() / (weight * estimate.square()).sum()
    error = (weight * (centred - factor.clamp_min(0) * estimate).square()).sum()
    return float(error / (weight * centred.square()).sum())


def table(n: int = 60, n_views: int = 1, n_layers: int = 1, informative=(0,), d: int = 3, seed: int = 0):
    """Rows (n, views, layers, d), of which some layers show the class, targets (n, K) and weights (n,)."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    rows = torch.randn(n, n_views, n_layers, d, generator=generator, dtype=torch.float64)
    for layer in informative:
        rows[:, :, layer, 0] += 2.0 * y[:, None]
    return rows, torch.nn.functional.one_hot(y).double(), torch.ones(n, dtype=torch.float64)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("grouped", [False, True])
def test_the_choice_is_the_best_of_the_grid_around_it(kernel, grouped):
    rows, targets, weight = table()
    groups = np.arange(60) // 4 if grouped else None
    found = best(rows, targets, weight, [kernel], groups)
    width_step, penalty_step = BANDWIDTHS[1] / BANDWIDTHS[0], PENALTIES[1] / PENALTIES[0]
    neighbours = [
        replace(found, penalty=found.penalty * penalty_step**i, bandwidth=(found.bandwidth[0] * width_step**j,))
        for i, j in product((-1, 0, 1), repeat=2)
    ]
    inside = [one for one in neighbours if PENALTIES[0] * 0.99 < one.penalty < PENALTIES[-1] * 1.01]
    assert len(inside) >= 6
    least = score(found, rows, targets, weight, groups)
    assert all(score(one, rows, targets, weight, groups) >= least - 1e-12 for one in inside)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_descent_on_few_rows_finds_about_the_best_for_many(grouped, monkeypatch):
    rows, targets, weight = table(n=200)
    groups = np.arange(200) // 4 if grouped else None
    thorough = best(rows, targets, weight, list(KERNELS), groups)
    monkeypatch.setattr(selection, "DESCENT_ROWS", 60)
    found = best(rows, targets, weight, list(KERNELS), groups)
    assert score(found, rows, targets, weight, groups) < 1.1 * score(thorough, rows, targets, weight, groups)


def test_kernel_and_view_are_the_best_of_all():
    rows, targets, weight = table(n_views=2)
    rows[:, 0, :, 0] = rows[:, 0, :, 1]  # the first view does not show the class
    found = best(rows, targets, weight, list(KERNELS))
    assert found.view == 1
    alone = [best(rows, targets, weight, [kernel]) for kernel in KERNELS]
    assert found in alone
    assert score(found, rows, targets, weight) == min(score(one, rows, targets, weight) for one in alone)


def test_scalings_far_behind_on_few_rows_are_not_tried_on_more(monkeypatch):
    rows, targets, weight = table(n=200, n_views=2)
    rows[:, 0, :, 0] = rows[:, 0, :, 1]  # the first view does not show the class
    monkeypatch.setattr(selection, "DESCENT_ROWS", 60)
    tried, score = set(), selection._HeldOutScore._score

    def noted(self, kernel, view, counts, place):
        tried.add((len(self._data), view))
        return score(self, kernel, view, counts, place)

    monkeypatch.setattr(selection._HeldOutScore, "_score", noted)
    assert best(rows, targets, weight, list(KERNELS)).view == 1
    assert tried == {(60, 0), (60, 1), (200, 1)}


def test_units_are_medians_so_that_scale_does_not_matter():
    rows, targets, weight = table()
    for kernel in KERNELS:
        one, other = best(rows, targets, weight, [kernel]), best(8 * rows, targets, weight, [kernel])
        assert other.penalty == one.penalty
        factor = 1 if kernel == "cosine" else 8  # directions have no scale
        assert other.bandwidth[0] == pytest.approx(factor * one.bandwidth[0], rel=1e-9)


def test_lengths_that_say_nothing_call_for_the_cosine_kernel():
    rows, targets, weight = table(n=150, d=20)
    assert best(rows, targets, weight, list(KERNELS)).kernel != "cosine"
    lengths = torch.exp(torch.randn(150, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    assert best(lengths[:, None, None, None] * rows, targets, weight, list(KERNELS)).kernel == "cosine"


def test_one_row_a_class_calls_for_the_cosine_kernel_if_it_is_tried():
    rows, weight = (
        torch.randn(8, 2, 1, 120, generator=torch.Generator().manual_seed(0)).double(),
        torch.ones(8).double(),
    )
    assert best(rows, torch.eye(8).double(), weight, list(KERNELS)).kernel == "cosine"
    assert best(rows, torch.eye(8).double(), weight, ["gaussian", "laplacian"]).kernel == "gaussian"


def test_the_layer_that_shows_the_class_gets_the_weight():
    rows, targets, weight = table(n=150, n_layers=4, informative=(2,))
    weights = np.array(best(rows, targets, weight, list(KERNELS)).layer_weights)
    assert weights.sum() == pytest.approx(1)
    assert weights[2] > 0.8


def test_layers_that_show_it_together_share_the_weight():
    rows, targets, weight = table(n=150, n_layers=4, informative=(0, 3))
    weights = np.array(best(rows, targets, weight, ["gaussian"]).layer_weights)
    assert weights[[0, 3]].min() > 0.3


def test_layers_join_only_while_that_helps():
    rows, targets, weight = table(n=150, n_layers=3, informative=(1,))
    together = best(rows, targets, weight, ["gaussian"])
    alone = best(rows[:, :, 1:2], targets, weight, ["gaussian"])
    assert score(together, rows, targets, weight) <= score(alone, rows[:, :, 1:2], targets, weight)


def test_heavy_rows_decide():
    """Half of the rows have labels of chance: without weight they do not call for a large penalty."""
    rows, targets, weight = table(n=120)
    targets[::2] = targets[torch.randperm(60, generator=torch.Generator().manual_seed(0)) * 2]
    light = weight.clone()
    light[::2] = 1e-3
    light /= light.mean()
    chosen = [best(rows, targets, w, ["gaussian"]) for w in (weight, light)]
    assert score(chosen[1], rows, targets, light) < score(chosen[0], rows, targets, light)


def test_rows_without_a_distance_are_no_error():
    rows, targets, weight = table(n=12)
    found = best(torch.zeros_like(rows), targets, weight, list(KERNELS))
    assert all(width > 0 for width in found.bandwidth)


def test_the_choice_is_deterministic_and_leaves_its_input_alone():
    arguments = table(n_layers=3, n_views=2)
    before = [x.clone() for x in arguments]
    assert best(*arguments, list(KERNELS)) == best(*arguments, list(KERNELS))
    assert all(torch.equal(x, y) for x, y in zip(arguments, before, strict=True))


def test_a_kernel_matrix_without_a_factor_is_passed_over(monkeypatch):
    """Rounding may leave it indefinite; other places of the grid still have a score."""
    rows, targets, weight = table()
    factor = torch.linalg.cholesky_ex
    calls = []

    def failing(matrix):
        calls.append(1)
        found, failed = factor(matrix)
        return found, failed if len(calls) % 2 else torch.ones_like(failed)

    monkeypatch.setattr(selection.torch.linalg, "cholesky_ex", failing)
    found = best(rows, targets, weight, ["gaussian"])
    assert np.isfinite(score(found, rows, targets, weight))


@pytest.mark.parametrize("n_descent", [500, 60])
@pytest.mark.parametrize("grouped", [False, True])
def test_held_out_estimates_are_by_the_choice_of_other_folds(grouped, n_descent, monkeypatch):
    monkeypatch.setattr(selection, "DESCENT_ROWS", n_descent)
    rows, targets, weight = table(n=90, n_views=2)
    weight[::3] = 0.5
    groups = np.arange(90) // 3 if grouped else None
    folds = np.arange(90) // 3 % 5
    choices, compute = [], selection._HeldOutScore._score

    def noted(self, kernel, view, counts, place):
        if len(self._data) == 90:
            scale = self.distances(kernel, view, 0)[1] ** (1 / KERNELS[kernel].power)
            bandwidth = (scale * BANDWIDTHS[place[0]],)
            choices.append(selection.KernelSettings(kernel, view, PENALTIES[place[1]], bandwidth, (1.0,)))
        return compute(self, kernel, view, counts, place)

    monkeypatch.setattr(selection._HeldOutScore, "_score", noted)
    chosen = select(TrainingRows(rows, targets, weight, groups), list(KERNELS), folds)
    found, held_out = chosen.settings, chosen.held_out
    assert found == best(rows, targets, weight, list(KERNELS), groups)
    centred = targets - weighted_mean(targets, weight)
    estimates = []
    for one in choices[: len(choices) // 2]:
        gram = own_gram(one, rows) + torch.diag(one.penalty / weight)
        estimates.append(centred - solve(gram, centred, groups)[1])
    assert len(estimates) >= 3
    for fold in range(5):
        own, others = torch.as_tensor(folds == fold), torch.as_tensor(folds != fold)

        def correlation(x, others=others):
            both = weight[others] @ (x * centred)[others].sum(1)
            return float(both / (weight[others] @ x[others].square().sum(1)).sqrt())

        chosen = max(estimates, key=correlation)
        torch.testing.assert_close(held_out[own], (chosen + targets - centred)[own])


def test_without_folds_there_are_no_such_estimates():
    assert select(TrainingRows(*table()), list(KERNELS)).held_out is None


def test_a_choice_by_chance_does_not_look_like_knowledge():
    """The best of many hyperparameters always seems to know something of labels at random."""
    rows, _, weight = table(n=60, n_views=2)
    right, honest = [], []
    for seed in range(10):
        y = torch.randint(2, (60,), generator=torch.Generator().manual_seed(seed))
        targets = torch.nn.functional.one_hot(y, 2).double()
        chosen = select(TrainingRows(rows, targets, weight), list(KERNELS), np.arange(60) % 10)
        found, held_out = chosen.settings, chosen.held_out
        honest.append(float((held_out.argmax(1) == y).double().mean()))
        centred = targets - weighted_mean(targets, weight)
        gram = own_gram(found, rows) + torch.eye(60) * found.penalty
        estimate = targets - solve(gram.double(), centred)[1]
        right.append(float((estimate.argmax(1) == y).double().mean()))
    assert np.mean(right) > np.mean(honest) + 0.02
