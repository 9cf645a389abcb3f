"""Random numbers of rows, and of the part of them that a process has."""

import pytest
import torch

from gendiffclf.transport.draws import SharedGenerator, drawn, uniform


def normal(shape, generator):
    return torch.randn(shape, generator=generator)


def test_uniform_numbers_are_between_0_and_1(generator):
    found = uniform((1000,), generator)
    assert 0 <= found.min() < 0.01
    assert 0.99 < found.max() < 1


@pytest.mark.parametrize("sample", [uniform, normal])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts_together_are_the_whole(sample, axis):
    """Draw after draw, for batches of two sizes."""
    whole = torch.Generator().manual_seed(1)
    parts = [SharedGenerator().manual_seed(1) for _ in range(3)]
    for n_rows, bounds in [(7, (0, 2, 4, 7)), (2, (0, 0, 1, 2))]:
        shape = [3, 3, 3]
        found = []
        for part, first, last in zip(parts, bounds, bounds[1:], strict=False):
            shape[axis], part.n_rows, part.first_row = last - first, n_rows, first
            found.append(drawn(sample, tuple(shape), part, axis))
        shape[axis] = n_rows
        assert torch.equal(torch.cat(found, dim=axis), drawn(sample, tuple(shape), whole, axis))
