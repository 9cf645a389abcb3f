"""The network of the commonest prediction, its matrices multiplied together beforehand.

With one token, one conditioning layer and one exact step, the time and with it every scale and gate is a constant, and linear
maps follow each other: lift and fusion, values and output of attention, the last map and the projection onto the codes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .device import mkl_holds_back
from .estimators.members import MemberLinear, rms_normalise
from .model import TransportModel
from .transport.readout import project_on_codes

FEW_ROWS = 32
"""
So many rows, or fewer, are computed in float64, which then costs little more: what comes out of them does not depend on how
many they are, to 1e-12. Where they are among more rows it does by float32's rounding, at most some 1e-6 of a probability.
"""
MANY_ROWS = 512
"""Rows in one pass of more than few: what one member makes of them stays in the processor's cache."""


def applies(model: TransportModel, n_layers: int, solver: str, n_steps: int) -> bool:
    """Whether transport of rows of so many layers is what `folded` computes, and on a CPU."""
    return (
        (n_layers, solver, n_steps) == (1, "exact", 1)
        and (model.network.shape.tokenizer, model.settings.objective) == ("single", "target")
        and model.lift.device.type == "cpu"
    )


@dataclass(frozen=True)
class Affine:
    """The maps of M members, (M, B, i) -> (M, B, o), of weights (M, i, o) and biases (M, 1, o)."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, linear: MemberLinear, before: Tensor | float = 1.0, after: Tensor | float = 1.0) -> Affine:
        """A layer's maps in float64, with inputs scaled by `before` (M, i, 1) and outputs by `after` (M, 1, o)."""
        return cls(before * linear.weight.double() * after, linear.bias.double() * after)

    def then(self, other: Affine) -> Affine:
        """These maps, followed by others."""
        return Affine(self.weight @ other.weight, self.bias @ other.weight + other.bias)

    def part(self, members: slice, dtype: torch.dtype) -> Affine:
        """The maps of some members in another precision, in memory as oneDNN wants them: outputs first."""
        return Affine(self.weight[members].mT.to(dtype).contiguous().mT, self.bias[members].to(dtype))

    def __call__(self, x: Tensor) -> Tensor:
        """Apply."""
        if len(x) == 1 and x.dtype == torch.float32 and mkl_holds_back():
            return torch.ops.mkldnn._linear_pointwise(x[0], self.weight[0].mT, self.bias[0, 0], "none", [], "")[None]
        return torch.baddbmm(self.bias, x, self.weight)


@dataclass(frozen=True)
class Members:
    """
    The folded networks of some members.

    Attributes
    ----------
    view : Tensor of shape (M,), int
        Which of several scalings of a row each of them sees.
    angular : Tensor of shape (M, 1, f, d), or None
        Angular frequencies of the periodic embedding.
    maps : tuple of Affine
        The fusion, then attention, up and down of each layer; the last one maps hidden state and tokens together to
        projections.
    """

    view: Tensor
    angular: Tensor | None
    maps: tuple[Affine, ...]

    def part(self, members: slice, dtype: torch.dtype) -> Members:
        """Some of them, in another precision."""
        angular = None if self.angular is None else self.angular[members].to(dtype)
        return Members(self.view[members], angular, tuple(map_.part(members, dtype) for map_ in self.maps))

    def __call__(self, x: Tensor) -> Tensor:
        """Rows in every view (views, B, d) -> projections (M, B, K)."""
        fusion, *maps, last = self.maps
        x = x.expand(len(self.view), -1, -1) if len(x) == 1 else x[self.view]  # (views, B, d) -> (M, B, d)
        embedded = x
        if self.angular is not None:
            angles = (self.angular * x[..., None, :]).flatten(2)  # (M, B, f, d) -> (M, B, f d)
            embedded = torch.cat([embedded, angles.cos(), angles.sin()], dim=-1)
        tokens = fusion(embedded)
        for attention, up, down in zip(maps[::3], maps[1::3], [*maps[2::3], None], strict=True):
            tokens = tokens + attention(rms_normalise(tokens))
            hidden = nn.functional.gelu(up(rms_normalise(tokens)))
            if down is not None:
                tokens = tokens + down(hidden)
        return last(torch.cat([hidden, tokens], dim=-1))


class Folded:
    """
    From scaled rows to projections on the codes.

    Parameters
    ----------
    members : Members
        All of them, in float64.
    dtype : torch.dtype
        Of the model.
    """

    def __init__(self, members: Members, dtype: torch.dtype) -> None:
        self._all = members
        self._dtype = dtype

    def __call__(self, rows: Tensor) -> Tensor:
        """(1, B, views, d) -> (M, B, K): few rows in float64 and one pass, more in the model's precision, member by member."""
        x = rows[0].transpose(0, 1)  # (1, B, views, d) -> (views, B, d)
        if x.shape[1] <= FEW_ROWS:
            return self._all(x.double())
        return torch.cat([member(x) for member in self._each])

    @cached_property
    def _each(self) -> list[Members]:
        return [self._all.part(slice(number, number + 1), self._dtype) for number in range(len(self._all.view))]


_KNOWN: WeakKeyDictionary[TransportModel, tuple[list[nn.Parameter], tuple, Folded]] = WeakKeyDictionary()


def folded(model: TransportModel, code_kind: str, code_index: Sequence[int]) -> Folded:
    """
    The folded form of a model to which it `applies`, made anew only if the model, or what is asked, has changed.

    Parameters
    ----------
    model : TransportModel
    code_kind : str
    code_index : sequence of int
        Numbers of the classes' codes.
    """
    asked = (code_kind, list(code_index), model.lift.dtype)
    if (known := _KNOWN.get(model)) is None or known[1] != (asked, _versions(known[0])):
        parameters = list(model.network.parameters())
        codes = model.codes(code_kind, max(code_index) + 1)[list(code_index)]
        with torch.no_grad():
            known = parameters, (asked, _versions(parameters)), Folded(_fold(model, codes), model.lift.dtype)
        _KNOWN[model] = known
    return known[2]


def _versions(parameters: list[nn.Parameter]) -> list[int]:
    """Rises with each change of a parameter in place; of those made under `inference_mode`, torch does not tell."""
    return [0 if p.is_inference() else p._version for p in parameters]


def _fold(model: TransportModel, codes: Tensor) -> Members:
    network, lift = model.network, model.lift.double()
    n_features, width = lift.shape
    onto_codes = project_on_codes(torch.eye(width, dtype=torch.float64, device=lift.device), codes.double())  # (L, K)
    fusion = Affine.of(network.fusion)
    of_state, of_features, of_waves = fusion.weight.split(
        [width, n_features, network.embedding.out_features - n_features], dim=1
    )
    maps = [Affine(torch.cat([lift @ of_state + of_features, of_waves], dim=1), fusion.bias)]
    time = network.time_embedding(torch.tensor(model.settings.t_max, dtype=model.lift.dtype, device=lift.device))
    for layer in network.transformer_layers():
        scale_a, gate_a, scale_f, gate_f = (x.double() for x in layer.scales_and_gates(time))
        value, out = layer.attention.value, layer.attention.out
        maps.append(Affine.of(value, before=scale_a.mT).then(Affine.of(out, after=gate_a)))
        maps.append(Affine.of(layer.feed_forward.up, before=scale_f.mT))
        maps.append(Affine.of(layer.feed_forward.down, after=gate_f))
    down = maps.pop()
    last = torch.cat([down.weight @ onto_codes, onto_codes.expand(len(down.weight), -1, -1)], dim=1)
    maps.append(Affine(last, down.bias @ onto_codes))
    frequencies = network.embedding.frequencies
    angular = None if frequencies is None else 2 * math.pi * frequencies.double()
    return Members(model.view, angular, tuple(maps))
