"""Adam on one vector, and the running average of where it has been."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from .vectors import ParameterVector

BETAS = 0.9, 0.999
EPSILON = 1e-8


class AveragedAdam:
    """
    Adam with weight decay apart from its moments (AdamW; Loshchilov and Hutter 2019), and an exponential average of the weights.

    Parameters
    ----------
    weights : ParameterVector
        Changed in place, by its gradient. Its matrices decay.
    learning_rate : float
    weight_decay : float
    averaging : float in [0, 1)
        What remains of the average at each step; 0 for none.

    Attributes
    ----------
    rate, blend : float, or Tensor of shape ()
        The learning rate, and what a step takes over into the average. What a captured step reads must stay where it is: on a
        CUDA device they are tensors.
    average : Tensor
        Without averaging it is the vector itself.
    first, second : Tensor
        Moments.
    count : Tensor of shape (), float32
        Steps taken.
    n_steps : int
        Steps begun.
    """

    def __init__(self, weights: ParameterVector, learning_rate: float, weight_decay: float, averaging: float) -> None:
        self.weights, self.weight_decay, self.averaging = weights, weight_decay, averaging
        vector = weights.vector.detach()
        self.rate: Tensor | float = learning_rate
        self.blend: Tensor | float = 1.0
        if vector.is_cuda:
            # Fused Adam reads its rate in float32 whatever the weights are in; what blends them must be as they are.
            self.rate = torch.tensor(self.rate, dtype=torch.float32, device=vector.device)
            self.blend = vector.new_tensor(self.blend)
        self._fused = vector.device.type in ("cpu", "cuda")
        self.average = weights.copy() if averaging else vector
        self.first, self.second = torch.zeros_like(vector), torch.zeros_like(vector)
        self.count = torch.zeros((), dtype=torch.float32, device=vector.device if self._fused else "cpu")
        self.n_steps = 0

    def set_rate(self, rate: float) -> None:
        """Go on with that learning rate."""
        self.rate = _set(self.rate, rate)

    def begin_step(self) -> float:
        """Set `blend` for the step that comes, and return it."""
        self.n_steps += 1
        # Early averages follow the weights closely, so that the random start is soon forgotten.
        blend = 1 - min(self.averaging, self.n_steps / (9 + self.n_steps))
        self.blend = _set(self.blend, blend)
        return blend

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights by their gradient, and the average after them."""
        vector = self.weights.vector.detach()
        if self.weight_decay:
            self.weights.matrices.mul_(1 - self.rate * self.weight_decay)
        adam(
            [vector],
            [self.weights.gradient],
            [self.first],
            [self.second],
            [],
            [self.count],
            fused=self._fused,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )
        if self.averaging:
            self.average.lerp_(vector, self.blend)

    def state(self) -> dict[str, Any]:
        """A copy of what `load_state` needs to go on from here, on the CPU."""
        tensors = {"weights": self.weights.vector.detach(), **{name: getattr(self, name) for name in _OF_STATE}}
        return {**{name: x.to("cpu", copy=True) for name, x in tensors.items()}, "n_steps": self.n_steps}

    def load_state(self, state: dict[str, Any]) -> None:
        """
        Go on from the state of another.

        Raises
        ------
        ValueError
            If it is of other weights, or of another version.
        """
        if not {"weights", "n_steps", *_OF_STATE} <= set(state) or len(state["weights"]) != len(self.average):
            raise ValueError(
                "Got the state of a stream that another version of gendiffclf began, expected one of this version; "
                "begin the stream anew."
            )
        self.weights.load(state["weights"])
        for name in _OF_STATE:
            if name != "average" or self.averaging:  # which else is the vector itself
                getattr(self, name).copy_(state[name])
        self.n_steps = state["n_steps"]


_OF_STATE = ("average", "first", "second", "count")


def _set(old: Tensor | float, new: float) -> Tensor | float:
    """A number of another value, in the same memory if it is a tensor."""
    return old.fill_(new) if isinstance(old, Tensor) else new
