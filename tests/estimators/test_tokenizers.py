"""Tokens beside the state's own."""

import pytest
import torch

from gendiffclf.estimators import tokenizers
from gendiffclf.estimators.tokenizers import TOKENIZERS, ChunksTokenizer, LayersTokenizer


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokens_have_the_number_and_width_they_announce(kind, generator):
    n_members, n_layers, n_features, embedded, width = 2, 3, 5, 15, 8
    tokenizer = TOKENIZERS[kind](n_members, n_layers, n_features, embedded, width, generator)
    if tokenizer.n_tokens:
        tokens = tokenizer(torch.randn(n_members, 6, n_layers, n_features), torch.randn(n_members, 6, embedded))
        assert tokens.shape == (n_members, 6, tokenizer.n_tokens, width)


def test_layers_are_mapped_alike_and_told_apart_by_position(generator):
    tokenizer = LayersTokenizer(2, 3, 5, 5, 8, generator)
    same = torch.randn(2, 4, 1, 5, generator=generator).expand(-1, -1, 3, -1)
    tokens = tokenizer(same, torch.zeros(2, 4, 5))
    assert not torch.allclose(tokens[:, :, 0], tokens[:, :, 1])
    without = tokens - tokenizer.position
    torch.testing.assert_close(without[:, :, 0], without[:, :, 1])
    torch.testing.assert_close(without[:, :, 0], tokenizer.map(same[:, :, 0]))


def test_chunks_cover_every_value_once_and_fill_up_with_zeros(generator, monkeypatch):
    monkeypatch.setattr(tokenizers, "CHUNK_SIZE", 4)
    tokenizer = ChunksTokenizer(1, 1, 10, 10, 8, generator)
    assert tokenizer.n_tokens == 3
    embedded = torch.arange(1.0, 11.0).reshape(1, 1, 10)
    chunks = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 0, 0]])
    expected = chunks @ tokenizer.map.weight[0] + tokenizer.position[0, 0]
    torch.testing.assert_close(tokenizer(torch.zeros(1, 1, 1, 10), embedded)[0, 0], expected)
