"""Loss and gradients of the commonest training without automatic differentiation.

It takes fewer passes over memory and far fewer calls: with one token, and always at the end of the path, one time embedding
serves all rows, so scales and gates are multiplied into the weights beside them, values and output of attention into one map, and
the lift into the map of the fusion; and what is done to weights is done for all layers at once. It is a function of tensors,
which runs as TorchScript after the first epochs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import torch
from torch import Generator, Tensor, nn

from ..estimators.embeddings import sinusoids
from ..estimators.members import NORM_EPSILON, MemberLinear, dropout_masks
from ..estimators.network import TransportNetwork
from ..model import TransportModel
from .traced import TensorFunction, known, trace
from .vectors import ParameterVector

FindNeighbours = Callable[[Sequence[nn.Parameter]], tuple[Tensor, Tensor]]
"""Parameters of one name in N layers, and their gradients: see `ParameterVector.neighbours`."""
CALLS_BEFORE_TRACE = 20
"""A trace costs as much as it saves in some hundred calls, and most trainings take more."""
WIDEST = 512
"""The largest width: in wider ones it takes longer to multiply the maps of attention together than all else saves."""


class WrittenOutGradients:
    """
    Loss and gradients of a model to which this `applies`, as `AutomaticGradients` finds them but for rounding.

    Parameters
    ----------
    model : TransportModel
    weights : ParameterVector
        Of the model's network; gets the gradients.
    precision : torch.dtype
        Of matrix products.
    """

    @staticmethod
    def applies(model: TransportModel) -> bool:
        """Whether a model's training is plain regression from one token, on a CPU."""
        shape = model.network.shape
        return (
            model.at_one_time
            and model.settings.objective == "target"
            and (shape.tokenizer, shape.queries_and_keys) == ("single", False)
            and shape.width <= WIDEST
            and model.lift.device.type == "cpu"
        )

    def __init__(self, model: TransportModel, weights: ParameterVector, precision: torch.dtype) -> None:
        self.model, self.weights, self.precision = model, weights, precision
        t = torch.tensor([model.settings.t_max], dtype=model.lift.dtype)
        self._constants = model.lift, sinusoids(t, model.network.shape.time_width)
        self._body: _Body | None = None
        self._n_calls = 0
        self._examples: tuple[Tensor, ...] | None = None
        self._judged: Tensor | None = None

    @torch.inference_mode()
    def loss(self, rows: Tensor, codes: Tensor, weight: Tensor, generator: Generator) -> Tensor:
        """See `AutomaticGradients.loss`."""
        n_rows = rows.shape[1]
        masks = self.masks(1, n_rows, generator)[0]
        return self.loss_with(rows, codes, weight * self.share(n_rows), masks)

    def masks(self, n_steps: int, n_rows: int, generator: Generator) -> Tensor:
        """Dropout's masks (n_steps, depth, n_rows, hidden width), as if drawn step by step; without dropout none, of depth 0."""
        shape = self.model.network.shape
        size = n_rows, shape.hidden_width
        depth = shape.depth if shape.dropout else 0
        return dropout_masks(n_steps * depth, size, shape.dropout, generator, self.precision).view(
            n_steps, depth, *size
        )

    def share(self, n_rows: int) -> float:
        """What `loss_with` wants weights to be multiplied by, so that the loss is a mean over so many rows."""
        return 2 / (n_rows * self.model.network.shape.width)

    @torch.inference_mode()
    def loss_with(self, *inputs: Tensor) -> Tensor:
        """The loss of rows, codes, weights multiplied by `share`, and masks of one step."""
        function = known(self.key(inputs[0]))
        if function is not None:
            return function(*self.state(), *inputs)
        self._n_calls += 1
        self._examples = inputs
        return self._own_body(inputs[0].shape[2]).loss(*inputs)

    def state(self) -> tuple[Tensor, ...]:
        """The tensors besides a batch's that the traced function gets: weights, gradient, lift, and waves of the time."""
        return self.weights.vector.detach(), self.weights.gradient, *self._constants

    @torch.inference_mode()
    def trace(self) -> None:
        """Have further calls run as TorchScript, if there have been so many that this pays."""
        examples, self._examples = self._examples, None
        judged, self._judged = self._judged, None
        if examples is not None and self._n_calls >= CALLS_BEFORE_TRACE:
            vectors = self.weights.copy(), self.weights.gradient.clone()
            trace(self.key(examples[0]), self._anew(_Body.loss), [*vectors, *self._constants, *examples])
        if judged is not None and known(self.key(judged)) is not None:
            inputs = [*self.state(), judged]
            trace(self._judging_key(judged), self._anew(lambda body, rows: body.forward(rows, None)), inputs)

    def _anew(self, call: Callable[..., Tensor]) -> TensorFunction:
        """A call of a body as a function of everything that is a tensor: those of `state`, and the call's."""

        def function(vector: Tensor, gradient: Tensor, lift: Tensor, waves: Tensor, *inputs: Tensor) -> Tensor:
            find = partial(self.weights.neighbours, vector=vector, gradient=gradient)
            return call(self._new_body(inputs[0].shape[2], find, lift, waves), *inputs)

        return function

    def key(self, rows: Tensor) -> Hashable:
        """What the function of tensors depends on; not on the number of rows, nor on what else the network's shape says."""
        shape = self.model.network.shape
        same = dataclasses.replace(shape, n_views=1, n_heads=1, frequency_scale=0.0, chunk_size=1)
        return same, rows.shape[2], rows.dtype, self.precision

    def _judging_key(self, rows: Tensor) -> Hashable:
        return "estimate", self.key(rows)

    @torch.inference_mode()
    def estimate(self, rows: Tensor) -> Tensor:
        """The end (M, B, L) of one exact step from each member's own rows (M, B, layers, d)."""
        function = known(self._judging_key(rows))
        if function is not None:
            return function(*self.state(), rows)
        self._judged = rows
        # One of its own, as what it remembers of many rows is large.
        return self._new_body(rows.shape[2], self.weights.neighbours, *self._constants).forward(rows, None)

    def _own_body(self, n_layers: int) -> _Body:
        if self._body is None:
            self._body = self._new_body(n_layers, self.weights.neighbours, *self._constants)
        return self._body

    def _new_body(self, n_layers: int, find: FindNeighbours, lift: Tensor, waves: Tensor) -> _Body:
        return _Body(self.model.network, find, lift, waves, n_layers, self.precision)


class _Body:
    """
    The whole network, at the end of the path.

    Parameters
    ----------
    network : TransportNetwork
    find : callable
        Where its parameters and their gradients are.
    lift : Tensor of shape (d, L)
    waves : Tensor of shape (1, time width)
        Sinusoids of the time.
    n_layers : int
        Layers of each row.
    precision : torch.dtype
    """

    def __init__(
        self,
        network: TransportNetwork,
        find: FindNeighbours,
        lift: Tensor,
        waves: Tensor,
        n_layers: int,
        precision: torch.dtype,
    ) -> None:
        self.n_members = network.shape.n_members
        self.time = _Time(network, find, waves)
        self.layers = _Layers(network, find, self.time.embedded, precision)
        self.fusion = _Fusion(network, find, lift, n_layers, precision)

    def forward(self, rows: Tensor, masks: Tensor | None) -> Tensor:
        """(M, B, layers, d) -> (M, B, L); without dropout's masks (depth, B, h), or with none of them, there is no dropout."""
        self.time.forward()
        return self.layers.forward(self.fusion.forward(rows), masks)

    def loss(self, rows: Tensor, codes: Tensor, weight: Tensor, masks: Tensor) -> Tensor:
        """The loss of errors squared and multiplied by half of the weights, as mean over members; files the gradients."""
        error = self.forward(rows, masks).sub_(codes)
        of_error = error * weight[..., None]
        g, of_time = self.layers.backward(of_error)
        self.fusion.backward(g)
        self.time.backward(of_time)
        return torch.dot(error.view(-1), of_error.view(-1)) / (2 * self.n_members)


class _Maps:
    """
    Linear maps of one kind in all N layers of M members.

    Attributes
    ----------
    weight, of_weight : Tensor of shape (N, M, i, o)
        The parameters and their gradients.
    bias, of_bias : Tensor of shape (N, M, 1, o)
    """

    def __init__(self, linears: Sequence[MemberLinear], find: FindNeighbours) -> None:
        self.weight, self.of_weight = find([linear.weight for linear in linears])
        self.bias, self.of_bias = find([linear.bias for linear in linears])


class _Products:
    """
    What is done to rows with N maps, in the precision of products.

    Attributes
    ----------
    weight, of_weight : Tensor of shape (N, M, i, o)
        In the products' precision; the gradients once `backward` has been through.
    bias : Tensor of shape (N, M, 1, o)
    of_bias : Tensor of shape (N, M, 1, o)
        In full precision.
    """

    def __init__(self, n_inputs: int, of_bias: Tensor, precision: torch.dtype) -> None:
        n_maps, n_members, _, n_outputs = of_bias.shape
        self.weight = torch.empty(n_maps, n_members, n_inputs, n_outputs, dtype=precision)
        self.of_weight = torch.empty_like(self.weight)
        self.bias, self.of_bias = torch.empty_like(of_bias, dtype=precision), of_bias
        tensors = self.weight, self.weight.mT, self.of_weight, self.bias, self.of_bias
        self._maps = list(zip(*(tensor.unbind() for tensor in tensors), strict=True))
        self._inputs: list[Tensor] = [self.weight] * n_maps

    def forward(self, number: int, x: Tensor) -> Tensor:
        """(M, B, i) -> (M, B, o)."""
        weight, _, _, bias, _ = self._maps[number]
        self._inputs[number] = x
        return torch.baddbmm(bias, x, weight)

    def backward(self, number: int, g: Tensor) -> Tensor:
        """(M, B, o) -> (M, B, i)."""
        return torch.bmm(self.of_parameters(number, g), self._maps[number][1])

    def of_parameters(self, number: int, g: Tensor) -> Tensor:
        """File the gradients of weight and bias; the output's in the products' precision."""
        _, _, of_weight, _, of_bias = self._maps[number]
        of_bias.copy_(g.sum(1, keepdim=True))
        g = g.to(of_weight.dtype)
        torch.bmm(self._inputs[number].mT, g, out=of_weight)
        return g


class _Time:
    """The embedding of the time at the end of the path: `embedded`, of shape (1, M, 1, width)."""

    def __init__(self, network: TransportNetwork, find: FindNeighbours, waves: Tensor) -> None:
        embedding = network.time_embedding
        self.first, self.second = (_Maps([linear], find) for linear in (embedding.first, embedding.second))
        self.waves = waves.expand(1, network.shape.n_members, 1, -1)
        self.embedded = torch.empty_like(self.second.bias)

    def forward(self) -> None:
        """Embed."""
        self.before_first = torch.matmul(self.waves, self.first.weight).add_(self.first.bias)
        self.hidden = nn.functional.silu(self.before_first)
        self.before_second = torch.matmul(self.hidden, self.second.weight).add_(self.second.bias)
        self.embedded.copy_(nn.functional.silu(self.before_second))

    def backward(self, g: Tensor) -> None:
        """From the gradient of the embedded time to those of the parameters."""
        for maps, x, before in (
            (self.second, self.hidden, self.before_second),
            (self.first, self.waves, self.before_first),
        ):
            torch.ops.aten.silu_backward.grad_input(g, before, grad_input=maps.of_bias)
            torch.mul(x.mT, maps.of_bias, out=maps.of_weight)
            g = torch.matmul(maps.of_bias, maps.weight.mT)


class _Layers:
    """
    The transformer layers of one token, at one time.

    Tensors that are needed as they are, transposed or cut are made here, and overwritten by each batch: a view is a call.
    """

    def __init__(self, network: TransportNetwork, find: FindNeighbours, time: Tensor, precision: torch.dtype) -> None:
        layers, shape = network.transformer_layers(), network.shape
        self.precision, self.rate = precision, shape.dropout
        self.width, self.depth = shape.width, shape.depth
        self.time, self.of_time = time, time.mT
        self.modulation = _Maps([layer.modulation for layer in layers], find)
        self.value = _Maps([layer.attention.value for layer in layers], find)
        self.out = _Maps([layer.attention.out for layer in layers], find)
        self.up = _Maps([layer.feed_forward.up for layer in layers], find)
        self.down = _Maps([layer.feed_forward.down for layer in layers], find)
        self.attend = _Products(shape.width, torch.empty_like(self.out.bias), precision)
        self.widen = _Products(shape.width, self.up.of_bias, precision)
        self.narrow = _Products(shape.hidden_width, torch.empty_like(self.down.bias), precision)
        self.scales_and_gates = torch.empty_like(self.modulation.bias)
        scale_a, self.gate_a, scale_f, self.gate_f = self.scales_and_gates.chunk(4, dim=-1)
        self.scale_a, self.scale_f = scale_a.mT, scale_f.mT
        self.before_out = torch.empty_like(self.value.weight, dtype=precision)
        self.after_value = torch.empty_like(self.out.weight, dtype=precision)
        self.gated = torch.empty_like(self.out.weight)
        transposed = self.before_out, self.after_value, self.gated, self.value.bias, self.modulation.weight
        self.before_out_t, self.after_value_t, self.gated_t, self.value_bias_t, self.modulation_t = (
            tensor.mT for tensor in transposed
        )
        self.kept: list[tuple] = []

    def _prepare(self, share_kept: float) -> None:
        """Multiply scales, gates and what follows each other into the maps."""
        self.share_kept = share_kept
        torch.matmul(self.time, self.modulation.weight, out=self.scales_and_gates)
        self.scales_and_gates.add_(self.modulation.bias).add_(1)
        torch.mul(self.scale_a, self.value.weight, out=self.before_out)
        torch.mul(self.gate_a, self.out.weight, out=self.gated)
        self.after_value.copy_(self.gated)
        torch.matmul(self.before_out, self.after_value, out=self.attend.weight)
        self.attend.bias.copy_(torch.matmul(self.value.bias, self.gated).addcmul_(self.out.bias, self.gate_a))
        torch.mul(self.scale_f, self.up.weight, out=self.widen.weight)
        self.widen.bias.copy_(self.up.bias)
        # What dropout keeps is scaled up, so that the mean stays.
        torch.mul(self.gate_f / share_kept, self.down.weight, out=self.narrow.weight)
        torch.mul(self.gate_f, self.down.bias, out=self.narrow.bias)

    def forward(self, x: Tensor, masks: Tensor | None) -> Tensor:
        """(M, B, L) -> (M, B, L)."""
        drops = masks is not None and self.rate > 0
        self._prepare(1 - self.rate if drops else 1.0)
        self.kept.clear()
        for number in range(self.depth):
            mask = masks[number] if masks is not None and drops else None
            to_attend = _Normalised(x, self.width)
            x = self.attend.forward(number, to_attend.value.to(self.precision)).to(x.dtype).add_(x)
            to_widen = _Normalised(x, self.width)
            activation = self.widen.forward(number, to_widen.value.to(self.precision))
            hidden = nn.functional.gelu(activation)
            if mask is not None:
                hidden *= mask
            self.kept.append((to_attend, to_widen, activation, mask))
            x = self.narrow.forward(number, hidden).to(x.dtype).add_(x)
        return x

    def backward(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """From the gradient of the output to those of rows and embedded time; files those of the maps."""
        for number in reversed(range(self.depth)):
            to_attend, to_widen, activation, mask = self.kept.pop()
            of_hidden = self.narrow.backward(number, g)
            if mask is not None:
                of_hidden *= mask
            of_activation = torch.ops.aten.gelu_backward(of_hidden, activation)
            g = to_widen.backward(self.widen.backward(number, of_activation), g)
            g = to_attend.backward(self.attend.backward(number, g), g)
        return g, self._of_maps()

    def _of_maps(self) -> Tensor:
        """File the gradients of the maps, from those of the products; that of the embedded time."""
        full = self.time.dtype
        of_attend, of_bias = self.attend.of_weight, self.attend.of_bias
        of_before_out = torch.matmul(of_attend, self.after_value_t).to(full)
        of_after_value = torch.matmul(self.before_out_t, of_attend).to(full).addcmul_(self.value_bias_t, of_bias)
        of_narrow = self.narrow.of_weight.to(full)
        if self.share_kept != 1:
            of_narrow /= self.share_kept
        torch.matmul(of_bias, self.gated_t, out=self.value.of_bias)
        of_parts = [
            self._unscale(self.value, self.scale_a, of_before_out),
            self._ungate(self.out, self.gate_a, of_after_value, of_bias),
            self._unscale(self.up, self.scale_f, self.widen.of_weight.to(full)),
            self._ungate(self.down, self.gate_f, of_narrow, self.narrow.of_bias),
        ]
        torch.cat(of_parts, dim=-1, out=self.modulation.of_bias)
        torch.mul(self.of_time, self.modulation.of_bias, out=self.modulation.of_weight)
        return torch.matmul(self.modulation.of_bias, self.modulation_t).sum(0, keepdim=True)

    @staticmethod
    def _unscale(maps: _Maps, scale: Tensor, of_weight: Tensor) -> Tensor:
        """From the gradient of weights of which inputs are scaled (N, M, i, 1), file that of the maps; that of the modulation."""
        torch.mul(of_weight, scale, out=maps.of_weight)
        return torch.linalg.vecdot(of_weight, maps.weight)[..., None, :]

    @staticmethod
    def _ungate(maps: _Maps, gate: Tensor, of_weight: Tensor, of_bias: Tensor) -> Tensor:
        """Likewise of weights and biases of which outputs are multiplied by gates (N, M, 1, o)."""
        torch.mul(of_weight, gate, out=maps.of_weight)
        torch.mul(of_bias, gate, out=maps.of_bias)
        return (of_weight * maps.weight).sum(2, keepdim=True).addcmul_(of_bias, maps.bias)


class _Normalised:
    """Rows (M, B, L) divided by their root mean square: `value`."""

    def __init__(self, x: Tensor, width: int) -> None:
        self.width = width
        mean_square = torch.linalg.vecdot(x, x)[..., None].div_(width)
        self.inverse = mean_square.add_(NORM_EPSILON).rsqrt_()
        self.value = x * self.inverse

    def backward(self, of_value: Tensor, g: Tensor) -> Tensor:
        """The gradient of the rows, added to another of theirs."""
        of_value = of_value.to(g.dtype)
        along = torch.linalg.vecdot(of_value, self.value)[..., None]
        of_direction = torch.addcmul(of_value, self.value, along, value=-1 / self.width)
        return torch.addcmul(g, of_direction, self.inverse)


class _Fusion:
    """Features in the code space and embedded, through the linear fusion: stages 1 and 2 of the network."""

    def __init__(
        self, network: TransportNetwork, find: FindNeighbours, lift: Tensor, n_layers: int, precision: torch.dtype
    ) -> None:
        self.lift, self.lift_t, self.precision = lift, lift.mT, precision
        shape = network.shape
        n_features, width = shape.n_features, shape.width
        self.n_features, self.waves = n_features, (shape.n_frequencies, n_features)
        self.alone = n_layers == 1  # the only layer is where transport starts, and the condition
        self.maps = _Maps([network.fusion], find)
        n_inputs = network.embedding.out_features + (0 if self.alone else n_features)
        self.products = _Products(n_inputs, self.maps.of_bias, precision)
        # Inputs of the products: the last layer's features; the weighted ones, unless they are the same; and waves.
        parts = [width, n_features if self.alone else 0, n_inputs - n_features]
        self.of_start, self.of_same, self.of_others = self.maps.weight[0].split(parts, dim=1)
        self.found_start, self.found_same, self.found_others = self.maps.of_weight[0].split(parts, dim=1)
        parts = [n_features, n_inputs - n_features]
        self.last, self.others = self.products.weight[0].split(parts, dim=1)
        self.others_t = self.others.mT
        self.found_last, self.found_other_inputs = self.products.of_weight[0].split(parts, dim=1)
        self.layer_weights = self.frequencies = None
        if network.layer_weights is not None:
            self.layer_weights = find([network.layer_weights])
        if network.embedding.frequencies is not None:
            self.frequencies = find([network.embedding.frequencies])

    def forward(self, rows: Tensor) -> Tensor:
        """(M, B, layers, d) -> (M, B, L)."""
        lifted = self.lift @ self.of_start  # (d, L) @ (M, L, L) -> (M, d, L)
        self.last.copy_(lifted.add_(self.of_same) if self.alone else lifted)
        self.others.copy_(self.of_others)
        self.products.bias.copy_(self.maps.bias)
        parts = [rows[..., -1, :]]
        self.summed = rows[..., 0, :]
        if self.layer_weights is not None:
            self.condition = rows[..., :-1, :]
            self.summed = (self.layer_weights[0][0] @ self.condition).squeeze(2)
        if not self.alone:
            parts.append(self.summed)
        if self.frequencies is not None:
            self.angular = 2 * math.pi * self.frequencies[0][0]
            angles = (self.angular * self.summed[..., None, :]).flatten(2)  # (M, B, f, d) -> (M, B, f d)
            self.cos, self.sin = angles.cos(), angles.sin()
            parts += [self.cos, self.sin]
        return self.products.forward(0, torch.cat(parts, dim=-1).to(self.precision)).to(rows.dtype)

    def backward(self, g: Tensor) -> None:
        """From the gradient of the output to those of the parameters."""
        rounded = self.products.of_parameters(0, g)
        self.found_start.copy_(self.lift_t @ self.found_last.to(g.dtype))
        if self.alone:
            self.found_same.copy_(self.found_last)
        self.found_others.copy_(self.found_other_inputs)
        if self.frequencies is None and self.layer_weights is None:
            return
        of_others = torch.bmm(rounded, self.others_t).to(g.dtype)
        of_summed = of_others[..., :0]
        if not self.alone:
            of_summed, of_others = of_others.tensor_split([self.n_features], dim=-1)
        if self.frequencies is not None:
            of_cos, of_sin = of_others.chunk(2, dim=-1)
            of_angles = (of_sin * self.cos).addcmul_(of_cos, self.sin, value=-1)
            of_angles = of_angles.unflatten(2, self.waves)  # (M, B, f d) -> (M, B, f, d)
            found = self.frequencies[1][0]
            torch.sum(of_angles * self.summed[..., None, :], 1, keepdim=True, out=found).mul_(2 * math.pi)
            if self.layer_weights is not None:
                of_summed = of_summed + (of_angles * self.angular).sum(2)
        if self.layer_weights is not None:
            of_each = (self.condition @ of_summed[..., None]).sum(1)  # (M, B, layers, 1) -> (M, layers, 1)
            self.layer_weights[1][0].copy_(of_each.mT[:, None])
