"""Products go to oneDNN where that is faster, and mean the same there."""

import contextlib

import numpy as np
import pytest
import torch
from torch.nn import functional

from gendiffclf.featurizers import HubertFeaturizer, products
from gendiffclf.featurizers.products import fast_products

CPU = torch.device("cpu")
needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"),
    reason="torch comes without oneDNN here",
)


@pytest.fixture
def slow_mkl(monkeypatch):
    """A processor on which MKL holds back, whatever this one is."""
    monkeypatch.setattr(products, "mkl_holds_back", lambda: True)


@pytest.fixture
def calls(monkeypatch):
    """Number of products that went to oneDNN."""
    found = []
    original = torch.ops.mkldnn._linear_pointwise

    def counted(*arguments):
        found.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
    return found


@needs_onednn
@pytest.mark.usefixtures("slow_mkl")
@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7), (2, 3, 5, 7), (7,), (0, 7)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_products_are_those_of_torch(shape, with_bias, calls):
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(s, generator=generator) for s in (shape, (3, 7), (3,)))
    with torch.inference_mode(), fast_products(CPU, torch.float32):
        found = functional.linear(x, weight, bias if with_bias else None)
    expected = functional.linear(x, weight, bias if with_bias else None)
    assert len(calls) == 1
    torch.testing.assert_close(found, expected)


@needs_onednn
@pytest.mark.usefixtures("slow_mkl")
def test_strided_inputs_and_weights(calls):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 7, 10, generator=generator).transpose(1, 2)[:, ::2]
    weight = torch.randn(3, 14, generator=generator)[:, ::2]
    with torch.inference_mode(), fast_products(CPU, torch.float32):
        found = functional.linear(x, weight)
    torch.testing.assert_close(found, x @ weight.T)
    assert calls


@needs_onednn
@pytest.mark.usefixtures("slow_mkl")
def test_nothing_else_changes(calls):
    layer = torch.nn.Linear(7, 3).double()
    x = torch.randn(2, 7)
    with torch.inference_mode(), fast_products(CPU, torch.float32):
        assert layer(x.double()).dtype == torch.float64
        assert functional.linear(input=x, weight=torch.zeros(3, 7)).shape == (2, 3)
        torch.testing.assert_close(torch.matmul(x, x.T), x @ x.T)
    layer.float()(x)
    assert not calls


@pytest.mark.usefixtures("slow_mkl")
@pytest.mark.parametrize(
    ("device", "dtype"), [("cpu", torch.float64), ("cpu", torch.bfloat16), ("cuda", torch.float32)]
)
def test_other_devices_and_precisions_are_left_alone(device, dtype):
    assert isinstance(fast_products(torch.device(device), dtype), contextlib.nullcontext)


@needs_onednn
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_features_stay_the_same(norm, checkpoints, clips, monkeypatch, calls):
    featurizer = HubertFeaturizer(checkpoints[norm], device="cpu", cache=None)
    monkeypatch.setattr(products, "mkl_holds_back", lambda: False)
    expected = featurizer.transform(clips)
    assert not calls
    monkeypatch.setattr(products, "mkl_holds_back", lambda: True)
    found = featurizer.transform(clips)
    assert calls
    distance = np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert distance.max() < 1e-5
