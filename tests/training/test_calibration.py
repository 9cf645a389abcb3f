"""Temperature and smoothing chosen on rows the model did not learn from."""

import numpy as np
import pytest
import torch

from gendiffclf.training.calibration import Calibration, brier, fit_calibration, squared_distance
from gendiffclf.transport.readout import temper


def draw(n_rows: int, power: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities whose logarithms are `power` times those that labels are drawn from."""
    rng = np.random.default_rng(0)
    true = rng.dirichlet(np.ones(3), n_rows)
    y = (rng.random((n_rows, 1)) > true.cumsum(1)).sum(1)
    stated = true**power
    return torch.as_tensor(stated / stated.sum(1, keepdims=True)), torch.as_tensor(y)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_temperature_undoes_false_confidence(power):
    stated, y = draw(8000, power)
    found = fit_calibration(stated, y, torch.ones(8000))
    assert found.temperature == pytest.approx(power, rel=0.15)


def test_smoothing_grows_where_certainty_is_wrong():
    """Nine of ten certain statements are right: about a tenth is left for chance."""
    y = torch.arange(1000) % 2
    said = torch.where(torch.arange(1000) % 10 == 0, 1 - y, y)
    found = fit_calibration(torch.nn.functional.one_hot(said, 2).double(), y, torch.ones(1000))
    certain = temper(torch.tensor([1.0, 0.0]), found.temperature, found.smoothing)
    assert certain[0].item() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(("heavy", "temperature"), [(0, 0.5), (1, 2.0)])
def test_heavy_rows_decide(heavy, temperature):
    (timid, y), (bold, same_y) = draw(4000, 0.5), draw(4000, 2.0)
    weight = torch.full((2, 4000), 1e-3).index_fill(0, torch.tensor(heavy), 1.0).flatten()
    found = fit_calibration(torch.cat([timid, bold]), torch.cat([y, same_y]), weight)
    assert found.temperature == pytest.approx(temperature, rel=0.15)


def test_the_default_leaves_probabilities_nearly_alone():
    stated, _ = draw(50, 1.0)
    default = Calibration()
    torch.testing.assert_close(temper(stated, default.temperature, default.smoothing), stated, rtol=0, atol=1e-3)


def test_brier_score_in_closed_form():
    p = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 1]])
    y = torch.tensor([0, 0, 1])
    distance = squared_distance(p, y)
    assert brier(distance, torch.tensor([1.0, 1, 1])) == pytest.approx((0 + 0.5 + 2) / 3)
    assert brier(distance, torch.tensor([0.0, 3, 1])) == pytest.approx((3 * 0.5 + 2) / 4)
