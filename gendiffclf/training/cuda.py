"""
Updates on a CUDA device: as a graph, which launches all kernels at once, since one by one that takes longer than to run them; and
compiled as a whole, so that weights and averages, most of what wide networks move through memory, are moved once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from ..transport.learned import OBJECTIVES, LearnedPath, sample_times_and_noise, states_and_targets

if TYPE_CHECKING:
    from ..estimators.network import NetworkShape, TransportNetwork
    from .loop import TrainingData, TrainingSettings

COMPILED_STEPS = 50_000  # compiling takes half a minute
_WARM_UP = 3  # calls in which libraries set themselves up
_DECAYS, _EPSILON = (0.9, 0.999), 1e-8  # of Adam, as in torch

Update = Callable[[Tensor, Tensor], Tensor]  # from row numbers (M, B) and the averages' gain () to the loss () before


class CapturedUpdate:
    """A CUDA graph of an update, which always gets the same shapes and draws from no other generator than the one given."""

    def __init__(self, generator: Generator) -> None:
        self._n_calls = 0
        self._numbers = self._gain = torch.empty((), device=generator.device)
        self._graph, self._stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(generator.device)
        self._graph.register_generator_state(generator)

    def __call__(self, update: Update, numbers: Tensor, gain: float) -> Tensor:
        """Run the update, the same in every call; the next call overwrites the result."""
        self._numbers = self._numbers.copy_(numbers) if self._n_calls else numbers.clone()
        self._gain.fill_(gain)
        self._n_calls += 1
        with torch.cuda.device(numbers.device):
            if self._n_calls <= _WARM_UP + 1:
                here, own = torch.cuda.current_stream(), self._stream
                own.wait_stream(here)
                captures = self._n_calls > _WARM_UP
                with torch.cuda.graph(self._graph, stream=own) if captures else torch.cuda.stream(own):
                    self._result = update(self._numbers, self._gain)
                here.wait_stream(own)
            if self._n_calls > _WARM_UP:
                self._graph.replay()
        return self._result


def pays(settings: TrainingSettings, shape: NetworkShape) -> bool:
    """Whether training is long enough to compile its updates; only those of networks like the paper's can be."""
    is_long = settings.max_steps >= COMPILED_STEPS and settings.patience is None
    return is_long and shape.tokenizer == "single" and not (shape.dropout or shape.n_frequencies or settings.ema_decay)


def compiled_update(
    network: TransportNetwork,
    data: TrainingData,
    learned: LearnedPath,
    settings: TrainingSettings,
    generator: Generator,
) -> Update:
    """An update by Adam of a network as `pays` asks for, compiled from gathering rows to changing weights."""
    path, objective = learned.path(), OBJECTIVES[learned.objective]()
    names, weights = zip(*((name, x.detach()) for name, x in network.named_parameters()), strict=True)
    half = settings.precision is torch.bfloat16
    # What products read: copied once an update, instead of cast by every product.
    products = [x.bfloat16() for x in weights] if half else list(weights)
    means, squares = ([torch.zeros_like(x) for x in weights] for _ in _DECAYS)
    buffers, count = dict(network.named_buffers()), weights[0].new_zeros(())

    def update(
        weights: list[Tensor], products: list[Tensor], means: list[Tensor], squares: list[Tensor], count: Tensor,
        numbers: Tensor, t: Tensor, noise: Tensor,
    ) -> Tensor:  # fmt: skip
        x1, condition = network.split(data.take(numbers))
        x_t, target = states_and_targets(path, objective, data.codes[data.y[numbers]], x1, t, noise)

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
            gradient = gradient.to(weights[i].dtype)
            means[i].lerp_(gradient, 1 - _DECAYS[0])
            squares[i].mul_(_DECAYS[1]).addcmul_(gradient, gradient, value=1 - _DECAYS[1])
            weights[i].sub_(size * means[i] / (squares[i].sqrt() / scale + _EPSILON))
            if half:
                products[i].copy_(weights[i])
        return value

    run = torch.compile(update, fullgraph=True, dynamic=False)

    def draw_and_update(numbers: Tensor, gain: Tensor) -> Tensor:
        nonlocal run
        drawn = sample_times_and_noise(learned, data.codes[:1].expand(*numbers.shape, -1), generator)
        arguments = (list(weights), products, means, squares, count, numbers, *drawn)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="torch")  # the compiler warns of its own code, and of TF32
                return run(*arguments)
        except Exception as error:
            if run is update:
                raise
            warnings.warn(f"torch.compile failed; updates take twice as long: {error}", RuntimeWarning, stacklevel=2)
            run = update
            return update(*arguments)

    return draw_and_update
