import numpy as np
import pytest
import torch

from gendiffclf.metrics import concordance_correlation
from gendiffclf.systems.emosphere_losses import concordance, concordance_loss, dynamic_weight, region_weights


def definition(x, y):
    """2 ρ σ_x σ_y / (σ_x² + σ_y² + (μ_x - μ_y)²)."""
    rho = np.corrcoef(x, y)[0, 1]
    return 2 * rho * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_the_loss_is_its_definition(generator):
    x, y = torch.rand(20, 3, generator=generator).double(), torch.rand(20, 3, generator=generator).double()
    expected = [definition(x[:, k].numpy(), y[:, k].numpy()) for k in range(3)]
    np.testing.assert_allclose(concordance(x, y), expected, atol=1e-6)
    assert concordance_loss(x, y).item() == pytest.approx(3 - sum(expected), abs=1e-6)
    assert concordance_loss(x, y).item() == pytest.approx(3 - 3 * concordance_correlation(y, x), abs=1e-6)


def test_the_gradient_of_the_loss(generator):
    x = torch.rand(6, 3, generator=generator).double().requires_grad_()
    y = torch.rand(6, 3, generator=generator).double().requires_grad_()
    assert torch.autograd.gradcheck(concordance_loss, (x, y))


def test_equal_and_constant_predictions(generator):
    y = torch.rand(20, 3, generator=generator).double()
    assert concordance_loss(y, y).item() == pytest.approx(0, abs=1e-5)
    assert concordance_loss(torch.full_like(y, 0.5), y).item() == pytest.approx(3)
    same = torch.full((4, 3), 0.5, requires_grad=True)
    concordance_loss(same, torch.full((4, 3), 0.5)).backward()
    assert torch.isfinite(same.grad).all()


def test_the_dynamic_weight_falls_to_nothing_at_epoch_five():
    falling = [dynamic_weight(epoch) for epoch in range(5)]
    np.testing.assert_allclose(falling, [1, 0.802, 0.604, 0.406, 0.208])
    assert dynamic_weight(5) == dynamic_weight(19) == 0


def test_class_weights_give_every_region_one_sum():
    numbers = np.array([0, 0, 0, 2, 2, 5])
    weights = region_weights(numbers, 8).double()
    torch.testing.assert_close(weights[[0, 2, 5]], torch.tensor([6 / 24, 6 / 16, 6 / 8], dtype=torch.float64))
    sums = np.bincount(numbers, weights[numbers].numpy(), minlength=8)
    np.testing.assert_allclose(sums[[0, 2, 5]], 6 / 8, rtol=1e-6)
    assert weights[[1, 3, 4, 6, 7]].sum() == 0
