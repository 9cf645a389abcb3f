"""Nyström's solution against the exact one and explicit refits."""

import numpy as np
import pytest
import torch
from kernel_tables import CLOSE, GAUSSIAN, GROUPS, SETTINGS, Counted, table

from gendiffclf.estimators import kernel as kernel_module
from gendiffclf.estimators import nystrom as nystrom_module
from gendiffclf.estimators.kernel import Choice, KernelFit, fit_kernel
from gendiffclf.estimators.kernel_estimator import KernelEstimator
from gendiffclf.estimators.nystrom import NystromSums
from gendiffclf.estimators.ridge import KernelSettings
from gendiffclf.estimators.training_rows import TrainingRows


def nystrom(rows, targets, weight, settings=GAUSSIAN, groups=None, n_centers=None):
    """The Nyström solution, with all rows as centres by default."""
    offset, nothing = weight @ targets / weight.sum(), targets.new_zeros(())
    estimator = KernelEstimator(settings, 1, nothing, rows[:n_centers].clone(), nothing, offset, nothing)
    index = np.arange(len(rows))
    held_out = NystromSums(estimator, TrainingRows(rows, targets, weight)).held_out(index, groups)
    return KernelFit(estimator, Choice(settings), index, held_out, 0.0)


def nystrom_refitted(rows, targets, weight, settings, kept, m, offset):
    """Explicit normal equations over some rows, with those among the first m of all as centres: the estimate of all rows."""
    gram = settings.gram(rows, rows[:m][kept[:m]])
    centers = gram[:m][kept[:m]] + 1e-11 * torch.eye(gram.shape[1])
    left = (gram[kept].mT * weight[kept]) @ gram[kept] + settings.penalty * centers
    right = (gram[kept].mT * weight[kept]) @ (targets[kept] - offset)
    return offset + gram @ torch.linalg.solve(left, right)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("groups", [None, *GROUPS])
def test_nystrom_with_all_rows_as_centres_is_exact(settings, groups):
    rows, targets, weight = table()
    groups = None if groups is None else GROUPS[groups](60)
    exact = fit_kernel(TrainingRows(rows, targets, weight, groups), choice=Choice(settings))
    found = nystrom(rows, targets, weight, settings, groups)
    new = table(seed=1)[0]
    torch.testing.assert_close(found.estimator.estimate(new)[0], exact.estimator.estimate(new)[0], **CLOSE)
    torch.testing.assert_close(found.held_out, exact.held_out, **CLOSE)


@pytest.mark.parametrize("groups", [None, *GROUPS])
@pytest.mark.parametrize("held_out_rows", [1000, 25])
@pytest.mark.parametrize("m", [10, 45])
def test_held_out_estimates_with_centres_are_those_of_refits(groups, held_out_rows, m, monkeypatch):
    """Of all rows, or of some of them whose whole groups are left out; groups larger and smaller than the centres."""
    monkeypatch.setattr(kernel_module, "HELD_OUT_ROWS", held_out_rows)
    rows, targets, weight = table()
    groups = None if groups is None else GROUPS[groups](60)
    found = fit_kernel(TrainingRows(rows, targets, weight, groups), choice=Choice(GAUSSIAN), n_centers=m)
    assert len(found.estimator.centers) == m
    np.testing.assert_array_equal(found.index, np.arange(0, 60, 1 if held_out_rows > 60 else 3))
    for place, row in enumerate(found.index):
        kept = np.arange(60) != row if groups is None else groups != groups[row]
        expected = nystrom_refitted(rows, targets, weight, GAUSSIAN, kept, m, found.estimator.offset)
        torch.testing.assert_close(found.held_out[place], expected[row], **CLOSE)


@pytest.mark.parametrize("groups", [None, "pairs", "few"])
def test_held_out_centres_are_estimated_as_well_as_other_rows(groups):
    """With a small penalty, the coefficient of a centre that stays without its row would be free to serve the other rows."""
    rows, targets, weight = table(300)
    settings = KernelSettings("gaussian", 0, 1e-4, (1.0,), (1.0,))
    groups = None if groups is None else GROUPS[groups](300)
    found = fit_kernel(TrainingRows(rows, targets, weight, groups), choice=Choice(settings), n_centers=150)
    error = (found.held_out - targets).square().sum(1)
    assert error[:150].mean() < 1.5 * error[150:].mean()


def test_few_centres_get_a_wider_kernel_with_less_error():
    """All rows as centres want a narrow one, as the classes meet in a curved surface."""
    rows = torch.randn(1500, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = (rows[:, 0, 0] * rows[:, 0, 1] + rows[:, 0, 2] * rows[:, 0, 3] > 0).long()
    targets, weight = torch.nn.functional.one_hot(y, 2).double(), torch.ones(1500, dtype=torch.float64)
    every = fit_kernel(TrainingRows(rows, targets, weight), kernels=["gaussian"])
    few = fit_kernel(TrainingRows(rows, targets, weight), kernels=["gaussian"], n_centers=100)
    kept = fit_kernel(TrainingRows(rows, targets, weight), n_centers=100, choice=every.choice)
    assert few.choice.settings.bandwidth > every.choice.settings.bandwidth
    assert few.error < 0.95 * kept.error
    assert every.choice.error == 0


def test_an_outlier_among_few_held_out_rows_is_held_out_as_by_a_refit(monkeypatch):
    """Its leverage is near 1: multiplied for rows of its group that are not looked at, it would pass 1."""
    monkeypatch.setattr(kernel_module, "HELD_OUT_ROWS", 20)
    rows, targets, weight = table()
    rows[0] += 30
    groups = np.arange(60) // 2
    found = fit_kernel(TrainingRows(rows, targets, weight, groups), choice=Choice(GAUSSIAN), n_centers=30)
    torch.testing.assert_close(found.held_out[0], found.estimator.offset, rtol=0, atol=1e-6)


@pytest.mark.parametrize("groups", [None, *GROUPS])
def test_blocks_make_no_difference(groups, monkeypatch):
    rows, targets, weight = table()
    groups = None if groups is None else GROUPS[groups](60)
    whole = fit_kernel(TrainingRows(rows, targets, weight, groups), choice=Choice(GAUSSIAN), n_centers=20)
    for values in (1, 130, 1000):
        monkeypatch.setattr(nystrom_module, "_BLOCK_VALUES", values)
        found = fit_kernel(TrainingRows(rows, targets, weight, groups), choice=Choice(GAUSSIAN), n_centers=20)
        torch.testing.assert_close(found.estimator.coefficients, whole.estimator.coefficients, **CLOSE)
        torch.testing.assert_close(found.held_out, whole.held_out, **CLOSE)


@pytest.mark.parametrize("groups", [None, "pairs", "few"])
def test_no_more_rows_than_a_block_are_asked_for_however_many_there_are(groups, monkeypatch):
    monkeypatch.setattr(nystrom_module, "_BLOCK_VALUES", 500)
    for n, n_centers, d, most in ((100, 20, 4, 25), (2000, 20, 4, 25), (300, 2, 100, 5)):
        rows, targets, weight = table(n, d)
        counted = Counted(rows)
        fit_kernel(
            TrainingRows(counted, targets, weight, None if groups is None else GROUPS[groups](n)),
            choice=Choice(GAUSSIAN),
            n_centers=n_centers,
        )
        assert max(counted.sizes) == most


def test_single_precision_is_close_to_double(monkeypatch):
    rows, targets, weight = table(400, dtype=torch.float32)
    double = fit_kernel(TrainingRows(rows, targets, weight), choice=Choice(GAUSSIAN), n_centers=50)
    monkeypatch.setattr(nystrom_module, "_FLOAT64_ROWS", (100, 100))
    single = fit_kernel(TrainingRows(rows, targets, weight), choice=Choice(GAUSSIAN), n_centers=50)
    new = table(seed=1, dtype=torch.float32)[0]
    found = [one.estimator.to(new).estimate(new)[0] for one in (single, double)]
    torch.testing.assert_close(*found, rtol=0, atol=2e-3)
    torch.testing.assert_close(single.held_out, double.held_out, rtol=0, atol=2e-3)
    assert single.held_out.dtype == torch.float64


def test_a_large_group_far_from_all_other_rows_is_held_out_in_single_precision(monkeypatch):
    """Without it little but rounding is left of the normal equations of its centres, which may have no Cholesky factor."""
    monkeypatch.setattr(nystrom_module, "_FLOAT64_ROWS", (100, 100))
    rows = torch.randn(20_000, 1, 3, generator=torch.Generator().manual_seed(0))
    groups = np.arange(20_000) % 2
    rows[groups == 1] += 100
    y = (rows[:, 0, 0] > 100 * torch.as_tensor(groups)).long()
    data = TrainingRows(
        rows, torch.nn.functional.one_hot(y, 2).double(), torch.ones(20_000, dtype=torch.float64), groups
    )
    near = KernelSettings("gaussian", 0, 1e-4, (2.0,), (1.0,))
    found = fit_kernel(data, choice=Choice(near), n_centers=100)
    torch.testing.assert_close(found.held_out, data.offset.expand_as(found.held_out), rtol=0, atol=0.1)


@pytest.mark.parametrize(("bandwidth", "single"), [(0.3, True), (5.0, False)])
def test_sums_are_in_double_precision_where_centres_nearly_depend_on_each_other(bandwidth, single, monkeypatch):
    monkeypatch.setattr(nystrom_module, "_FLOAT64_ROWS", (0, 1000))
    rows, targets, weight = table(400)
    wide = KernelSettings("gaussian", 0, 1e-4, (bandwidth,), (1.0,))
    found = nystrom(rows, targets, weight, wide, n_centers=100)
    monkeypatch.setattr(nystrom_module, "_FLOAT64_ROWS", (1000, 1000))
    double = nystrom(rows, targets, weight, wide, n_centers=100)
    apart = (found.held_out - double.held_out).abs().max()
    assert (0 < apart < 1e-3) if single else (apart == 0)


def test_a_smooth_kernel_of_close_rows_has_a_factor_in_single_precision(monkeypatch):
    """One feature and 500 centres: rounding in float32 would leave their kernel matrix indefinite."""
    monkeypatch.setattr(nystrom_module, "_FLOAT64_ROWS", (100, 100))
    rows, targets, weight = table(1000, 1, dtype=torch.float32)
    wide = KernelSettings("gaussian", 0, 0.1, (5.0,), (1.0,))
    found = fit_kernel(TrainingRows(rows, targets, weight), choice=Choice(wide), n_centers=500)
    exact = fit_kernel(TrainingRows(rows, targets, weight), choice=Choice(wide))
    torch.testing.assert_close(found.held_out, exact.held_out, rtol=0, atol=0.02)


@pytest.mark.parametrize("n_centers", [None, 20])
@pytest.mark.parametrize("groups", [None, "pairs", "few"])
def test_nothing_is_in_double_precision_where_targets_are_not(n_centers, groups, monkeypatch):
    """MPS has no float64."""

    def refuse(self):
        raise TypeError("Cannot convert a MPS Tensor to float64")

    monkeypatch.setattr(torch.Tensor, "double", refuse)
    generator = torch.Generator().manual_seed(0)
    rows, weight = torch.randn(60, 1, 4, generator=generator), torch.ones(60)
    targets = torch.eye(3)[torch.arange(60) % 3]
    groups = None if groups is None else GROUPS[groups](60)
    found = fit_kernel(TrainingRows(rows, targets, weight, groups), n_centers=n_centers)
    for x in (found.held_out, found.estimator.coefficients, found.estimator.offset):
        assert x.dtype == torch.float32


@pytest.mark.parametrize("n_processes", [2, 3])
def test_processes_that_share_the_sum_find_what_one_finds(n_processes):
    """Each sums its part; the sum of the parts is that of all."""

    def fitted(**shared):
        return fit_kernel(TrainingRows(*table()), choice=Choice(GAUSSIAN), n_centers=20, **shared)

    alone = fitted()
    parts = [slice(60 * i // n_processes, 60 * (i + 1) // n_processes) for i in range(n_processes)]
    sums = []
    for own in parts:
        summed = []
        fitted(part=lambda n, own=own: own, reduce=lambda x, summed=summed: summed.append(x.clone()) or x)
        sums.append(summed)
    totals = [sum(parts) for parts in zip(*sums, strict=True)]
    for own in parts:
        left = iter(totals)
        found = fitted(part=lambda n, own=own: own, reduce=lambda x, left=left: x.copy_(next(left)))
        torch.testing.assert_close(found.estimator.coefficients, alone.estimator.coefficients, **CLOSE)
        torch.testing.assert_close(found.held_out, alone.held_out, **CLOSE)


def test_all_rows_are_centres_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(kernel_module, "EXACT_ROWS", 50)
    monkeypatch.setattr(kernel_module, "NYSTROM_CENTERS", 7)
    for n, m in ((50, 50), (51, 7)):
        assert len(fit_kernel(TrainingRows(*table(n)), choice=Choice(GAUSSIAN)).estimator.centers) == m


@pytest.mark.parametrize(("n_centers", "n_rows"), [(3, 100), (30, 150)])
def test_few_centres_get_settings_by_more_than_a_few_rows(n_centers, n_rows, monkeypatch):
    monkeypatch.setattr(kernel_module, "LEAST_CENTERS", 20)
    sizes, measured = [], kernel_module.held_out_error
    monkeypatch.setattr(kernel_module, "held_out_error", lambda *x: sizes.append(len(x[0])) or measured(*x))
    fit_kernel(TrainingRows(*table(200)), kernels=["gaussian"], n_centers=n_centers)
    assert sizes.pop() == 200  # the fit itself
    assert set(sizes) == {n_rows}


@pytest.mark.parametrize(
    ("few", "many", "wants"),
    [
        (0.30, 0.26, True),  # a tenth less error
        (0.30, 0.28, False),
        (0.96, 0.94, True),  # half as much more explained, as with very many classes
        (0.90, 0.894, False),
        (0.995, 0.991, False),  # chance
    ],
)
def test_more_centres_pay_by_error_or_by_what_is_explained(few, many, wants):
    fit = KernelFit(None, Choice(GAUSSIAN, error=few), np.arange(0), None, many)
    assert fit.wants_more_centers is wants
