"""Steps on a CUDA device as one graph: one launch a step instead of one for each of its hundreds of kernels."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import torch
from torch import Generator, Tensor

EAGER_STEPS = 10
"""Steps before the capture: they make what libraries and the optimiser make at first use."""

LEAST_STEPS = 100
"""Fewer steps are not worth a capture."""
_CAPTURING = threading.Lock()
"""A process can capture one graph at a time."""

Step = Callable[[Tensor], None]
"""What a step does with the row numbers (M, B) of its batch; everything else that changes is in memory that stays where it is."""


class CapturedStep:
    """
    A step that is captured after a few calls, and replayed from then on.

    Parameters
    ----------
    step : callable
        Launches the same work at every call, and waits for none of it.
    generator : torch.Generator
        What the step draws from.

    Notes
    -----
    If the device cannot capture the step, a warning says so, and it goes on as it was.
    """

    def __init__(self, step: Step, generator: Generator) -> None:
        self._step = step
        self._generator = generator
        self._n_eager = 0
        self._numbers: Tensor | None = None
        self._replay: Callable[[], None] | None = None

    def __call__(self, numbers: Tensor) -> None:
        """Take a step."""
        if self._n_eager == EAGER_STEPS and self._numbers is None:
            self._capture(numbers)
        if self._replay is None or self._numbers is None:
            self._n_eager += 1
            self._step(numbers)
        else:
            self._numbers.copy_(numbers)
            self._replay()

    def _capture(self, numbers: Tensor) -> None:
        self._numbers = buffer = numbers.clone()
        try:
            self._replay = record(lambda: self._step(buffer), self._generator)
        except RuntimeError as error:
            warnings.warn(
                f"Training goes on without a CUDA graph, which could make it faster: {error}",
                RuntimeWarning,
                stacklevel=2,
            )


def record(launch: Callable[[], None], generator: Generator) -> Callable[[], None]:
    """
    Capture what `launch` launches, without running it.

    Parameters
    ----------
    launch : callable
    generator : torch.Generator
        Each replay goes on where the draws before it ended.

    Returns
    -------
    callable
        Runs it.

    Raises
    ------
    RuntimeError
        If it cannot be captured.
    """
    device = generator.device
    with _CAPTURING, torch.cuda.device(device):
        graph = torch.cuda.CUDAGraph()
        before, state = torch.cuda.current_stream(), generator.get_state()
        try:
            graph.register_generator_state(generator)
            with torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
                launch()
        except RuntimeError:
            # What failed may have left its stream current, and the generator as if it were captured still.
            torch.cuda.set_stream(before)
            generator.graphsafe_set_state(Generator(device).set_state(state))
            raise

    def replay() -> None:
        with torch.cuda.device(device):
            graph.replay()

    return replay
