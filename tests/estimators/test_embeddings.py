"""Embeddings of time and features in closed form."""

import math

import pytest
import torch

from gendiffclf.estimators.embeddings import PeriodicEmbedding, TimeEmbedding, sinusoids


def test_sinusoids_in_closed_form():
    t = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    angles = 1000 * t[:, None] * torch.tensor([1.0, 1e-1, 1e-2, 1e-3], dtype=torch.float64)
    torch.testing.assert_close(sinusoids(t, 8), torch.cat([angles.sin(), angles.cos()], dim=1))


@pytest.mark.parametrize("width", [1, 7, 8])
def test_sinusoids_have_the_width_asked_for(width):
    assert sinusoids(torch.zeros(2, 3), width).shape == (2, 3, width)


def test_time_is_stretched_enough_to_tell_close_times_apart():
    """Unscaled, the embeddings of .50 and .51 would be 0.01 apart."""
    near, far = sinusoids(torch.tensor([0.50, 0.51]), 32)
    assert (near - far).norm() > 1


def test_one_time_is_embedded_as_a_row_of_them(generator):
    embedding = TimeEmbedding(2, 16, generator)
    one = embedding(torch.tensor(0.3))
    many = embedding(torch.full((2, 5), 0.3))
    assert one.shape == (2, 1, 16)
    torch.testing.assert_close(one.expand(2, 5, 16), many)


def test_periodic_embedding_in_closed_form(generator):
    embedding = PeriodicEmbedding(2, 3, 4, 0.1, generator)
    assert embedding.out_features == 3 * 9
    x = torch.randn(2, 5, 3, generator=generator)
    found = embedding(x)
    assert found.shape == (2, 5, 27)
    torch.testing.assert_close(found[..., :3], x)
    for number in range(4):
        angles = 2 * math.pi * x * embedding.frequencies[:, :, number]
        start = 3 + 3 * number
        torch.testing.assert_close(found[..., start : start + 3], angles.cos())
        torch.testing.assert_close(found[..., 12 + start : 12 + start + 3], angles.sin())


def test_periodic_embedding_starts_at_its_scale_or_is_absent(generator):
    assert PeriodicEmbedding(4, 50, 50, 0.1, generator).frequencies.std().item() == pytest.approx(0.1, rel=0.05)
    plain = PeriodicEmbedding(1, 3, 0, 0.1, generator)
    x = torch.ones(1, 2, 3)
    assert plain(x) is x
    assert plain.out_features == 3
    assert not list(plain.parameters())
