import math

import pytest
import torch
from torch.nn import functional

from gendiffclf.featurizers.padding import pad
from gendiffclf.systems.emosphere_losses import concordance_loss
from gendiffclf.systems.emosphere_network import POOLINGS, EmoSphereNetwork, SelfAttention


@pytest.fixture
def ragged(generator):
    """Frames of four clips of 1 to 9 frames with 5 features."""
    return [torch.randn(n, 5, generator=generator) for n in (9, 1, 4, 7)]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_clip_is_pooled_as_if_alone(pooling, ragged):
    module = POOLINGS[pooling](5, 8, 0.1).eval()
    together = module(*pad(ragged))
    assert together.shape == (4, module.width)
    for clip, row in zip(ragged, together, strict=True):
        torch.testing.assert_close(module(*pad([clip]))[0], row, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_lies_in_the_padding_does_not_count(pooling, ragged):
    module = POOLINGS[pooling](5, 8, 0.1).eval()
    frames, mask = pad(ragged)
    torch.testing.assert_close(module(torch.where(mask[..., None], frames, 100.0), mask), module(frames, mask))


def test_mean_and_attentive_statistics_are_their_formulas(ragged):
    mean = POOLINGS["mean"](5, 8, 0.0)(*pad(ragged))
    torch.testing.assert_close(mean, torch.stack([clip.mean(0) for clip in ragged]))
    module = POOLINGS["attentive"](5, 8, 0.0)
    for clip, row in zip(ragged[2:], module(*pad(ragged))[2:], strict=True):
        weight = module.score(clip).softmax(0)
        average = (weight * clip).sum(0)
        deviation = ((weight * clip**2).sum(0) - average**2).sqrt()
        torch.testing.assert_close(row, torch.cat([average, deviation]), atol=1e-4, rtol=0)


def test_attention_is_scaled_by_the_width_and_has_two_heads(generator):
    module = SelfAttention(8, 0.0)
    states = torch.randn(1, 6, 8, generator=generator)
    query, key, value = module.inputs(states[0]).view(6, 3, 2, 4).permute(1, 2, 0, 3)  # 3 × (heads, frames, 4)
    mixed = ((query @ key.mT) / math.sqrt(8)).softmax(-1) @ value
    expected = states[0] + module.output(mixed.transpose(0, 1).reshape(6, 8))
    torch.testing.assert_close(module(states, torch.ones(1, 6, dtype=torch.bool))[0], expected)


def network(**changes):
    settings = {
        "pooling": "mean",
        "width": 8,
        "n_regions": 8,
        "dropout": 0.0,
        "head_dropout": 0.0,
        "weighted_by_epoch": True,
    }
    return EmoSphereNetwork(5, **{**settings, **changes})


@pytest.mark.parametrize(("by_epoch", "epoch", "weight"), [(True, 0, 1), (True, 4, 0.208), (True, 5, 0), (False, 9, 1)])
def test_the_loss_adds_the_weighted_task(by_epoch, epoch, weight, ragged, generator):
    module = network(weighted_by_epoch=by_epoch)
    module.epoch = epoch
    module.region_weights.copy_(torch.rand(8, generator=generator))
    frames, mask = pad(ragged)
    target, region = torch.rand(4, 3, generator=generator), torch.tensor([0, 3, 7, 3])
    style = module.style(frames, mask)
    loss = concordance_loss(module.ratings(style), target)
    log_p = module.regions(style).log_softmax(-1)[torch.arange(4), region]
    entropy = -(module.region_weights[region] * log_p).sum() / module.region_weights[region].sum()
    output = module(inputs=frames, mask=mask, target=target, region=region)
    torch.testing.assert_close(output["loss"], loss + weight * entropy)


def test_without_regions_there_is_no_second_head(ragged, generator):
    module = network(n_regions=0)
    frames, mask = pad(ragged)
    target = torch.rand(4, 3, generator=generator)
    torch.testing.assert_close(
        module(inputs=frames, mask=mask, target=target)["loss"],
        concordance_loss(module.ratings(module.style(frames, mask)), target),
    )
    assert not any(name.startswith("regions.") for name in module.state_dict())


def test_layers_of_the_style_pooling():
    module = POOLINGS["style"](5, 8, 0.1)
    kinds = [type(layer).__name__ for layer in module.spectral]
    assert kinds == ["Linear", "Mish", "Dropout"] * 2
    assert [block.convolution.kernel_size for block in module.temporal] == [(5,), (5,)]
    block = module.temporal[0].eval()
    x = torch.randn(1, 7, 8)
    both = block.convolution(x.mT)
    expected = x + (both[:, :8] * functional.sigmoid(both[:, 8:])).mT
    torch.testing.assert_close(block(x, torch.ones(1, 7, dtype=torch.bool)), expected)
