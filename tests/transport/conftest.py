"""Ends of a path."""

import pytest
import torch


@pytest.fixture
def ends(generator):
    """Codes, features and noise of 5 rows in 8 dimensions."""
    return torch.randn(3, 5, 8, dtype=torch.float64, generator=generator).unbind()
