"""Target matching in closed form against scikit-learn, explicit refits and brute force."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kernel_tables import CLOSE, GAUSSIAN, GROUPS, SETTINGS, table
from sklearn.kernel_ridge import KernelRidge

from gendiffclf.estimators.kernel import Choice, fit_kernel
from gendiffclf.estimators.kernel_estimator import CORRECTION_SCALES, KernelEstimator
from gendiffclf.estimators.ridge import KERNELS
from gendiffclf.estimators.training_rows import TrainingRows
from gendiffclf.transport.readout import project_on_simplex

# ------------------------------------------------------------------------- exact


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_solution_is_that_of_scikit_learn(settings, weighted):
    rows, targets, weight = table()
    weight = weight if weighted else torch.ones_like(weight)
    fitted = fit_kernel(TrainingRows(rows, targets, weight), choice=Choice(settings)).estimator
    offset = np.average(targets, axis=0, weights=weight)
    new = table(seed=1)[0]
    name, gamma = {"gaussian": ("rbf", 1 / (2 * 2**2)), "laplacian": ("laplacian", 1 / 6)}[settings.kernel]
    ridge = KernelRidge(alpha=settings.penalty, kernel=name, gamma=gamma)
    ridge.fit(rows[:, 0], targets.numpy() - offset, sample_weight=weight.numpy())
    found, correction = fitted.estimate(new)
    np.testing.assert_allclose(found, ridge.predict(new[:, 0]) + offset, **CLOSE)
    assert correction is None
    precomputed = KernelRidge(alpha=settings.penalty, kernel="precomputed")
    precomputed.fit(settings.gram(rows, rows), targets.numpy() - offset, sample_weight=weight.numpy())
    expected = precomputed.predict(settings.gram(new, rows))
    np.testing.assert_allclose(found, expected + offset, **CLOSE)


def refitted(rows, targets, weight, settings, kept, offset):
    """The exact estimate of all rows by some of them, the offset held fixed."""
    gram = settings.gram(rows, rows)
    system = gram[kept][:, kept] + torch.diag(settings.penalty / weight[kept])
    return offset + gram[:, kept] @ torch.linalg.solve(system, targets[kept] - offset)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("groups", [None, *GROUPS])
def test_held_out_estimates_are_those_of_refits(settings, groups):
    rows, targets, weight = table()
    groups = np.arange(60) if groups is None else GROUPS[groups](60)
    found = fit_kernel(TrainingRows(rows, targets, weight, groups), choice=Choice(settings))
    np.testing.assert_array_equal(found.index, np.arange(60))
    for group in np.unique(groups):
        kept = groups != group
        expected = refitted(rows, targets, weight, settings, kept, found.estimator.offset)
        torch.testing.assert_close(found.held_out[~kept], expected[~kept], **CLOSE)


def test_groups_of_one_row_are_no_groups():
    rows, targets, weight = table()
    plain = fit_kernel(TrainingRows(rows, targets, weight), choice=Choice(GAUSSIAN))
    grouped = fit_kernel(TrainingRows(rows, targets, weight, np.arange(60)), choice=Choice(GAUSSIAN))
    torch.testing.assert_close(plain.held_out, grouped.held_out)


def test_a_row_of_weight_2_is_that_row_twice():
    rows, targets, weight = table()
    weight[:] = 1
    weight[:20] = 2
    repeats = weight.long()
    weighted = fit_kernel(TrainingRows(rows, targets, weight), choice=Choice(GAUSSIAN)).estimator
    repeated = fit_kernel(
        TrainingRows(
            rows.repeat_interleave(repeats, 0),
            targets.repeat_interleave(repeats, 0),
            torch.ones(80, dtype=torch.float64),
        ),
        choice=Choice(GAUSSIAN),
    ).estimator
    new = table(seed=1)[0]
    torch.testing.assert_close(weighted.estimate(new)[0], repeated.estimate(new)[0])


# --------------------------------------------------------------------- selection


@pytest.mark.parametrize("kernels", [list(KERNELS), ["laplacian"]])
def test_hyperparameters_are_chosen_where_none_are_given(kernels):
    found = fit_kernel(TrainingRows(*table(150)), kernels=kernels)
    assert found.estimator.settings.kernel in kernels
    assert (found.held_out.argmax(1) == table(150)[1].argmax(1)).double().mean() > 0.5


@pytest.mark.parametrize("n_centers", [None, 40])
def test_the_layer_that_shows_the_class_gets_the_weight(n_centers):
    rows, targets, weight = table(200, n_layers=5)
    rows[:, [0, 1, 2, 4], 0] -= targets.argmax(1)[:, None]  # noise alone
    rows[:, 3, 1] += 3.0 * targets.argmax(1)
    weights = fit_kernel(TrainingRows(rows, targets, weight), n_centers=n_centers).estimator.settings.layer_weights
    assert sum(weights) == pytest.approx(1)
    assert weights[3] > 0.85


def test_only_the_view_that_is_read_is_kept():
    rows, targets, weight = table(150)
    noise = torch.randn(150, 1, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = fit_kernel(TrainingRows(torch.cat([noise, rows], dim=1), targets, weight), n_views=2).estimator
    assert found.settings.view == 1
    assert torch.equal(found.centers, rows - rows.mean(0))
    assert torch.equal(found.view(torch.cat([noise, rows], dim=1)), found.centers)


@pytest.mark.parametrize("n_centers", [None, 30])
def test_a_fit_is_deterministic_and_leaves_its_input_alone(n_centers):
    rows, targets, weight = table(100, n_layers=2)
    before = rows.clone(), targets.clone(), weight.clone()
    one, other = (fit_kernel(TrainingRows(rows, targets, weight), n_centers=n_centers) for _ in range(2))
    assert one.estimator.settings == other.estimator.settings
    assert torch.equal(one.estimator.coefficients, other.estimator.coefficients)
    assert torch.equal(one.held_out, other.held_out)
    assert all(torch.equal(x, y) for x, y in zip(before, (rows, targets, weight), strict=True))


# --------------------------------------------------------------------- estimates


@pytest.fixture
def fitted() -> KernelEstimator:
    return fit_kernel(TrainingRows(*table()), choice=Choice(GAUSSIAN)).estimator


def test_estimates_do_not_depend_on_the_batch(fitted):
    new = table(80, seed=1)[0]
    together = fitted.estimate(new)[0]
    for i in (0, 17, 79):
        torch.testing.assert_close(fitted.estimate(new[i : i + 1])[0][0], together[i], rtol=0, atol=1e-12)


def test_estimates_sum_to_1(fitted):
    """Targets do, and all of the method is linear in them."""
    total = fitted.estimate(table(80, seed=1)[0])[0].sum(1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_far_from_all_rows_the_estimate_is_the_share_of_classes(fitted):
    far = torch.full((1, 1, 4), 1e3, dtype=torch.float64)
    torch.testing.assert_close(fitted.estimate(far)[0][0], fitted.offset)


def test_distance_grows_away_from_the_centres(fitted):
    away = fitted.centers[:1] + torch.tensor([0.0, 3.0, 10.0])[:, None, None]
    near, farther, farthest = fitted.distance(away)
    assert 0 <= near < farther < farthest
    assert fitted.distance(torch.full((1, 1, 4), 1e4, dtype=torch.float64)).isfinite().all()


def test_distance_is_that_to_the_nearest_centres(fitted):
    new, rows = table(20, seed=1)[0], table()[0]
    nearest = GAUSSIAN.gram(new, rows).sort(1, descending=True).values
    torch.testing.assert_close(fitted.distance(new, n_neighbors=3), -nearest[:, :3].log().mean(1))
    first = torch.zeros(20, len(fitted.centers), dtype=torch.bool)
    first[torch.arange(20), GAUSSIAN.gram(new, rows).argmax(1)] = True
    torch.testing.assert_close(fitted.distance(new, first, 3), -nearest[:, 1:4].log().mean(1))


def test_a_copy_in_single_precision(fitted):
    corrected = fitted.corrected(*later(4, fitted))
    single = corrected.to(torch.zeros(1))
    tensors = [x for x in vars(single).values() if isinstance(x, torch.Tensor)]
    assert len(tensors) == 6
    assert {x.dtype for x in tensors} == {torch.float32}
    assert corrected.centers.dtype == torch.float64


# -------------------------------------------------------------------- later rows


def read_out(coordinates: torch.Tensor) -> torch.Tensor:
    """Probabilities of a single estimator."""
    return project_on_simplex(coordinates[0])


def later(q: int, estimator: KernelEstimator, seed: int = 5):
    """Rows that came after the fit, far from its own, with their targets, estimates before and weights, and the read-out."""
    rows, targets, weight = table(q, seed=seed)
    rows = rows + 6
    return rows, targets, estimator.estimate(rows)[0][None], weight, read_out


def test_no_error_before_no_correction(fitted):
    rows, targets, _, weight, _ = later(6, fitted)
    _, correction = fitted.corrected(rows, targets, targets[None], weight, read_out).estimate(rows)
    assert (correction == 0).all()


def test_new_rows_join_the_centres_and_the_estimate_of_before_stays(fitted):
    rows, targets, before, weight, _ = later(6, fitted)
    found = fitted.corrected(rows, targets, before, weight, read_out)
    assert torch.equal(found.centers, torch.cat([fitted.centers, fitted.view(rows)]))
    assert torch.equal(found.center_weight, torch.cat([fitted.center_weight, weight]))
    new = table(30, seed=1)[0]
    torch.testing.assert_close(found.estimate(new)[0], fitted.estimate(new)[0])


def new_class(penalty: float, q: int = 5):
    """An estimator that never saw the last class, and rows of that class among those of another."""
    rows, targets, weight = table()
    seen = targets[:, 2] == 0
    settings = replace(GAUSSIAN, penalty=penalty)
    fitted = fit_kernel(
        TrainingRows(rows[seen], targets[seen], torch.ones(int(seen.sum())).double()), choice=Choice(settings)
    ).estimator
    rows = rows[~seen][:q]
    return fitted, rows, targets[~seen][:q], fitted.estimate(rows)[0][None], weight[:q]


@pytest.mark.parametrize("penalty", [0.01, 0.3, 3.0])
def test_the_correction_is_a_ridge_times_the_factor_that_suits_held_out_rows(penalty):
    fitted, rows, targets, before, weight = new_class(penalty)
    found = fitted.corrected(rows, targets, before, weight, read_out)
    n_old, n = len(fitted.centers), len(found.centers)
    gram = fitted.settings.gram(found.centers, found.centers)
    system = gram + torch.diag(penalty / found.center_weight)
    wanted = torch.cat([torch.zeros(n_old, 3), targets - before[0]])
    ridge = torch.linalg.solve(system, wanted)
    scale = float((found.corrections[0] / ridge)[0, 2])
    torch.testing.assert_close(found.corrections[0], scale * ridge)
    held_out = torch.empty_like(wanted)
    for i in range(n):
        kept = np.arange(n) != i
        held_out[i] = gram[i, kept] @ torch.linalg.solve(system[kept][:, kept], wanted[kept])
    at_centers = fitted.estimate(fitted.centers + fitted.origin)[0]
    truth = torch.cat([torch.eye(3, dtype=torch.float64)[at_centers.argmax(1)], targets])
    estimates = torch.cat([at_centers, before[0]])

    def cost(factor):
        moved = project_on_simplex(estimates + factor * held_out) - truth
        return float(found.center_weight @ moved.square().sum(1))

    costs = [cost(factor) for factor in CORRECTION_SCALES]
    assert cost(scale) == pytest.approx(min(costs))


def test_what_a_ridge_shrinks_is_scaled_up_again():
    """The stronger the penalty, the more is lost of ten rows that agree."""
    scales = []
    for penalty in (0.01, 3.0):
        fitted, rows, targets, before, weight = new_class(penalty, q=10)
        found = fitted.corrected(rows, targets, before, weight, read_out)
        gram = fitted.settings.gram(found.centers, found.centers) + torch.diag(penalty / found.center_weight)
        wanted = torch.cat([torch.zeros(len(fitted.centers), 3), targets - before[0]])
        scales.append(float((found.corrections[0] / torch.linalg.solve(gram, wanted))[0, 2]))
    assert scales[1] > 1.1 * scales[0]


def test_at_new_rows_the_error_shrinks_and_at_old_ones_little_changes(fitted):
    rows, targets, before, weight, _ = later(20, fitted)
    found = fitted.corrected(rows, targets, before, 5 * weight, read_out)
    corrected = read_out(before + found.estimate(rows)[1])
    assert (targets - corrected).norm() < 0.5 * (targets - read_out(before)).norm()
    assert found.estimate(fitted.centers)[1].abs().max() < 0.1


def test_corrections_add_up(fitted):
    one = fitted.corrected(*later(6, fitted, 5))
    rows, targets, before, weight, _ = later(7, fitted, 8)
    both = one.corrected(rows, targets, before, weight, read_out)
    assert len(both.centers) == 73
    alone = one.corrected(rows, targets, targets[None], weight, read_out)
    new = table(30, seed=1)[0] + 6
    torch.testing.assert_close(alone.estimate(new)[1], one.estimate(new)[1])
    assert not torch.allclose(both.estimate(new)[1], one.estimate(new)[1])


@pytest.mark.parametrize("order", [[3, 0, 1, 2], [0, 1, 2, 3], [0, 4, 1, 3, 2]])
def test_new_classes_get_columns_of_zeros_in_their_places(fitted, order):
    corrected = fitted.corrected(*later(6, fitted))
    new = table(30, seed=1)[0]
    for found, before in zip(
        corrected.with_classes(np.array(order)).estimate(new), corrected.estimate(new), strict=True
    ):
        assert found.shape[-2:] == (30, len(order))
        for place, number in enumerate(order):
            expected = before[..., number] if number < 3 else torch.zeros_like(before[..., 0])
            torch.testing.assert_close(found[..., place], expected)
    assert fitted.with_classes(np.array(order)).corrections is None
