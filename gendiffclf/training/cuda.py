"""
Updates on a CUDA device.

Launching an update's kernels one by one takes longer than the kernels: a CUDA graph launches all at once. In long trainings of
wide networks, weights and averages on their way through memory are what is left; an update compiled as a whole moves them once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from ..transport.learned import OBJECTIVES, LearnedPath, place, sample

if TYPE_CHECKING:
    from ..estimators.network import TransportNetwork
    from .loop import TrainingData, TrainingSettings

COMPILED_STEPS = 50_000
"""Updates from which compiling, half a minute, pays."""
_WARM_UP = 3
"""Calls before the capture, in which libraries set themselves up."""
_DECAYS, _EPSILON = (0.9, 0.999), 1e-8
"""Of Adam, as in torch."""

Update = Callable[[Tensor, Tensor], Tensor]
"""From row numbers (M, B) and the gain () of the averages to the loss () before the update."""


class CapturedUpdate:
    """An update as a CUDA graph; it always gets the same shapes, and draws from no other generator than the one given."""

    def __init__(self, update: Update, generator: Generator) -> None:
        self._update, self._generator, self._n_calls = update, generator, 0

    def __call__(self, numbers: Tensor, gain: float) -> Tensor:
        """Update; the next call overwrites the result."""
        if not self._n_calls:
            self._inputs = torch.empty_like(numbers), torch.empty((), device=numbers.device)
            self._graph = torch.cuda.CUDAGraph()
            self._graph.register_generator_state(self._generator)
        self._inputs[0].copy_(numbers)
        self._inputs[1].fill_(gain)
        self._n_calls += 1
        if self._n_calls <= _WARM_UP:
            return self._aside()
        if self._n_calls == _WARM_UP + 1:
            with torch.cuda.graph(self._graph):
                self._result = self._update(*self._inputs)
        self._graph.replay()
        return self._result

    def _aside(self) -> Tensor:
        """Update in a stream of its own, which a capture asks for."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            result = self._update(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return result


def compiled_update(
    network: TransportNetwork,
    averages: list[Tensor],
    data: TrainingData,
    learned: LearnedPath,
    settings: TrainingSettings,
    generator: Generator,
) -> Update:
    """An update by Adam of a network without dropout on a learned path, compiled from gathering rows to averaging weights."""
    path, objective = learned.path(), OBJECTIVES[learned.objective]()
    names, weights = zip(*((name, x.detach()) for name, x in network.named_parameters()), strict=True)
    half = settings.precision is torch.bfloat16
    # What products read: copied once an update, instead of cast by every product.
    products = [x.bfloat16() for x in weights] if half else list(weights)
    means, squares = ([torch.zeros_like(x) for x in weights] for _ in _DECAYS)
    buffers, count = dict(network.named_buffers()), weights[0].new_zeros(())

    def update(
        weights: list[Tensor], products: list[Tensor], means: list[Tensor], squares: list[Tensor],
        averages: list[Tensor], count: Tensor, numbers: Tensor, gain: Tensor, t: Tensor, noise: Tensor,
    ) -> Tensor:  # fmt: skip
        x1, condition = network.split(data.take(numbers))
        x_t, target = place(path, objective, data.codes[data.y[numbers]], x1, t, noise)

        def loss(products: list[Tensor]) -> Tensor:
            named = dict(zip(names, products, strict=True))
            with torch.autocast(x_t.device.type, dtype=torch.bfloat16, enabled=half):
                output = torch.func.functional_call(network, (named, buffers), (x_t, condition, t))
            error = (output.to(target.dtype) - target).square().mean(-1)
            return (error * data.weight[numbers]).sum() / numbers.shape[1]

        gradients, value = torch.func.grad_and_value(loss)(products)
        count.add_(1)
        size, scale = settings.learning_rate / (1 - _DECAYS[0] ** count), (1 - _DECAYS[1] ** count).sqrt()
        for i, gradient in enumerate(gradients):
            wide = gradient.to(weights[i].dtype)
            means[i].lerp_(wide, 1 - _DECAYS[0])
            squares[i].mul_(_DECAYS[1]).addcmul_(wide, wide, value=1 - _DECAYS[1])
            weights[i].sub_(size * means[i] / (squares[i].sqrt() / scale + _EPSILON))
            if half:
                products[i].copy_(weights[i])
        for average, weight in zip(averages, weights, strict=False):
            average.lerp_(weight, gain)
        return value

    compiled = torch.compile(update, fullgraph=True, dynamic=False)

    def drawn_update(numbers: Tensor, gain: Tensor) -> Tensor:
        drawn = sample(learned, data.codes[:1].expand(*numbers.shape, -1), generator)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="torch")  # the compiler warns of its own code, and of TF32
            return compiled(list(weights), products, means, squares, averages, count, numbers, gain, *drawn)

    return drawn_update
