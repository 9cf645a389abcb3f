"""Losses and gradients of one batch.

For the commonest training they are written out, with fewer passes over memory than automatic differentiation makes: with one
token, and always at the end of the path, one time embedding serves all rows, so scales and gates are multiplied into the weights
beside them, and the lift into those of the fusion.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from ..model import TransportModel
from ..networks.blocks import TransformerLayer
from ..networks.embeddings import sinusoids
from ..networks.members import NORM_EPSILON, MemberLinear, dropout_mask
from ..networks.transformer import TransportNetwork

Gradients = dict[nn.Parameter, Tensor]


def applies(model: TransportModel) -> bool:
    """Whether the gradients of a model are written out here: those of plain regression from one token, on a CPU."""
    shape = model.network.shape
    return (
        model.at_one_time
        and model.settings.objective == "target"
        and (shape.tokenizer, shape.queries_and_keys) == ("single", False)
        and model.lift.device.type == "cpu"
    )


def loss_and_gradients(
    model: TransportModel,
    rows: Tensor,
    codes: Tensor,
    weight: Tensor,
    generator: Generator,
    precision: torch.dtype = torch.float32,
) -> tuple[Tensor, Gradients]:
    """
    `model.loss`, and the gradients of its weighted mean over rows, summed over members.

    Parameters
    ----------
    model : TransportModel
    rows : Tensor of shape (M, B, layers, d)
        Scaled rows, each member's own in the view that it sees.
    codes : Tensor of shape (M, B, L)
        The codes of their classes.
    weight : Tensor of shape (M, B)
    generator : torch.Generator
        Draws times, noise and dropout.
    precision : torch.dtype
        Of matrix products.

    Returns
    -------
    losses : Tensor of shape (M, B)
    gradients : dict
        Of every parameter that the loss depends on.
    """
    if applies(model):
        with torch.inference_mode():
            return _written_out(model, rows, codes, weight, generator, precision)
    parameters = list(model.network.parameters())
    losses = model.loss(rows, codes, generator, precision)
    found = torch.autograd.grad((losses * weight).mean(1).sum(), parameters, allow_unused=True)
    return losses.detach(), {p: gradient for p, gradient in zip(parameters, found, strict=True) if gradient is not None}


def _written_out(
    model: TransportModel, rows: Tensor, codes: Tensor, weight: Tensor, generator: Generator, precision: torch.dtype
) -> tuple[Tensor, Gradients]:
    body = _Body(model, rows.shape[-2], precision)
    error = body.forward(rows, generator).sub_(codes)
    n_rows, width = error.shape[1:]
    losses = torch.linalg.vecdot(error, error) / width
    return losses, body.backward(error.mul_(weight[..., None] * (2 / (n_rows * width))))


@torch.inference_mode()
def estimate(model: TransportModel, rows: Tensor, precision: torch.dtype) -> Tensor:
    """The end (M, B, L) of one exact step from each member's own rows (M, B, layers, d), for a model to which this `applies`."""
    return _Body(model, rows.shape[-2], precision).forward(rows, None)


class _Body:
    """The whole network, at the end of the path."""

    def __init__(self, model: TransportModel, n_layers: int, precision: torch.dtype) -> None:
        self.time = _Time(model.network)
        modulations = self.time.forward(torch.tensor([model.settings.t_max], dtype=model.lift.dtype))
        self.fusion = _Fusion(model.network, model.lift, n_layers, precision)
        layers = model.network.transformer_layers()
        self.layers = [_Layer(*both, precision) for both in zip(layers, modulations, strict=True)]

    def forward(self, rows: Tensor, generator: Generator | None) -> Tensor:
        """(M, B, layers, d) -> (M, B, L)."""
        x = self.fusion.forward(rows)
        for layer in self.layers:
            x = layer.forward(x, generator)
        return x

    def backward(self, g: Tensor) -> Gradients:
        """From the gradient of the output to those of the parameters."""
        found: Gradients = {}
        of_modulations = []
        for layer in reversed(self.layers):
            g, of_modulation = layer.backward(g, found)
            of_modulations.append(of_modulation)
        self.fusion.backward(g, found)
        self.time.backward(of_modulations[::-1], found)
        return found


class _Time:
    """One time's embedding, and the modulation of each layer that follows from it."""

    def __init__(self, network: TransportNetwork) -> None:
        self.width = network.time_embedding.width
        linears = [network.time_embedding.first, network.time_embedding.second]
        linears += [layer.modulation for layer in network.transformer_layers()]
        self.linears = linears
        self.products = [_Product(linear.weight, linear.bias, linear.weight.dtype) for linear in linears]

    def forward(self, t: Tensor) -> list[Tensor]:
        """(1,) -> (M, 1, 4 L) of each layer."""
        first, second, *modulations = self.products
        n_members = len(first.weight)
        self.first = first.forward(sinusoids(t, self.width).expand(n_members, -1, -1))
        self.second = second.forward(nn.functional.silu(self.first))
        embedded = nn.functional.silu(self.second)
        return [modulation.forward(embedded) for modulation in modulations]

    def backward(self, of_modulations: list[Tensor], found: Gradients) -> None:
        """From the gradients of the modulations to those of the parameters."""
        first, second, *modulations = self.products
        back = [product.backward(g) for product, g in zip(modulations, of_modulations, strict=True)]
        of_embedded = torch.stack([of_input for of_input, *_ in back]).sum(0)
        of_second = second.backward(torch.ops.aten.silu_backward(of_embedded, self.second))
        of_first = first.backward(torch.ops.aten.silu_backward(of_second[0], self.first))
        for linear, (_, of_weight, of_bias) in zip(self.linears, [of_first, of_second, *back], strict=True):
            found[linear.weight], found[linear.bias] = of_weight, of_bias


class _Product:
    """Maps of M members of weights (M, i, o) and biases (M, 1, o), in another precision than those."""

    def __init__(self, weight: Tensor, bias: Tensor, precision: torch.dtype) -> None:
        self.full = weight.dtype
        self.weight, self.bias = weight.to(precision), bias.to(precision)

    def forward(self, x: Tensor) -> Tensor:
        """(M, B, i) -> (M, B, o)."""
        self.x = x.to(self.weight.dtype)
        return torch.baddbmm(self.bias, self.x, self.weight)

    def backward(self, g: Tensor, inputs: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the input (M, B, i), or of a part of it, in the products' precision, and of weight and bias."""
        of_bias = g.sum(1, keepdim=True)
        g = g.to(self.weight.dtype)
        of_weight = torch.bmm(self.x.mT, g)
        return torch.bmm(g, self.weight[:, inputs].mT), of_weight.to(self.full), of_bias.to(self.full)


class _Norm:
    """Rows (M, B, L) divided by their root mean square."""

    def forward(self, x: Tensor) -> Tensor:
        """(M, B, L) -> (M, B, L)."""
        mean_square = torch.linalg.vecdot(x, x)[..., None].div_(x.shape[-1])
        self.inverse = mean_square.add_(NORM_EPSILON).rsqrt_()
        self.y = x * self.inverse
        return self.y

    def backward(self, g: Tensor) -> Tensor:
        """The gradient of x."""
        along = torch.linalg.vecdot(g, self.y)[..., None].div_(-g.shape[-1])
        return torch.addcmul(g, self.y, along).mul_(self.inverse)


class _Layer:
    """A transformer layer of one token, at one time."""

    def __init__(self, layer: TransformerLayer, modulation: Tensor, precision: torch.dtype) -> None:
        self.layer = layer
        self.scale_a, self.gate_a, self.scale_f, self.gate_f = (1 + modulation).chunk(4, dim=-1)
        attention, feed_forward = layer.attention, layer.feed_forward
        out, down = attention.out, feed_forward.down
        self.norm_a, self.norm_f = _Norm(), _Norm()
        self.value = _Product(self.scale_a.mT * attention.value.weight, attention.value.bias, precision)
        self.out = _Product(out.weight * self.gate_a, out.bias * self.gate_a, precision)
        self.up = _Product(self.scale_f.mT * feed_forward.up.weight, feed_forward.up.bias, precision)
        self.down = _Product(down.weight * self.gate_f, down.bias * self.gate_f, precision)

    def forward(self, x: Tensor, generator: Generator | None) -> Tensor:
        """(M, B, L) -> (M, B, L)."""
        attended = self.out.forward(self.value.forward(self.norm_a.forward(x)))
        x = attended.to(x.dtype).add_(x)
        self.activation = self.up.forward(self.norm_f.forward(x))
        hidden = nn.functional.gelu(self.activation)
        self.mask = dropout_mask(hidden, self.layer.feed_forward.dropout_rate, generator)
        if self.mask is not None:
            hidden *= self.mask
        return self.down.forward(hidden).to(x.dtype).add_(x)

    def backward(self, g: Tensor, found: Gradients) -> tuple[Tensor, Tensor]:
        """From the gradient of the output to those of input and modulation; those of the maps go into `found`."""
        attention, feed_forward = self.layer.attention, self.layer.feed_forward
        of_hidden, *of_down = self.down.backward(g)
        if self.mask is not None:
            of_hidden *= self.mask
        of_activation = torch.ops.aten.gelu_backward(of_hidden, self.activation)
        of_normed, *of_up = self.up.backward(of_activation)
        g = self.norm_f.backward(of_normed.to(g.dtype)).add_(g)
        of_value_out, *of_out = self.out.backward(g)
        of_normed, *of_value = self.value.backward(of_value_out)
        g = self.norm_a.backward(of_normed.to(g.dtype)).add_(g)
        of_modulation = [
            _unscale(attention.value, self.scale_a, of_value, found),
            _ungate(attention.out, self.gate_a, of_out, found),
            _unscale(feed_forward.up, self.scale_f, of_up, found),
            _ungate(feed_forward.down, self.gate_f, of_down, found),
        ]
        return g, torch.cat(of_modulation, dim=-1)


def _unscale(linear: MemberLinear, scale: Tensor, gradients: list[Tensor], found: Gradients) -> Tensor:
    """From the gradients of a map with scaled inputs to those of the map, and of the scale (M, 1, i)."""
    of_weight, of_bias = gradients
    of_scale = torch.linalg.vecdot(of_weight, linear.weight)[:, None]
    found[linear.weight], found[linear.bias] = of_weight.mul_(scale.mT), of_bias
    return of_scale


def _ungate(linear: MemberLinear, gate: Tensor, gradients: list[Tensor], found: Gradients) -> Tensor:
    """From the gradients of a map with gated outputs to those of the map, and of the gate (M, 1, o)."""
    of_weight, of_bias = gradients
    of_gate = (of_weight * linear.weight).sum(1, keepdim=True).addcmul_(of_bias, linear.bias)
    found[linear.weight], found[linear.bias] = of_weight.mul_(gate), of_bias * gate
    return of_gate


class _Fusion:
    """Features in the code space and embedded, through the linear fusion: stages 1 and 2 of the network."""

    def __init__(self, network: TransportNetwork, lift: Tensor, n_layers: int, precision: torch.dtype) -> None:
        self.network, self.lift = network, lift
        self.alone = n_layers == 1  # the only layer is where transport starts, and the condition
        weight, width = network.fusion.weight, lift.shape[1]
        of_state = lift @ weight[:, :width]  # (d, L) @ (M, L, L) -> (M, d, L)
        of_condition = weight[:, width:]
        if self.alone:
            of_last, of_condition = of_condition.tensor_split([len(lift)], dim=1)
            of_state = of_state + of_last
        self.product = _Product(torch.cat([of_state, of_condition], dim=1), network.fusion.bias, precision)

    def forward(self, rows: Tensor) -> Tensor:
        """(M, B, layers, d) -> (M, B, L)."""
        parts = [rows[..., -1, :]]
        self.summed = rows[..., 0, :]
        if self.network.layer_weights is not None:
            self.condition = rows[..., :-1, :]
            self.summed = (self.network.layer_weights @ self.condition).squeeze(2)
        if not self.alone:
            parts.append(self.summed)
        if self.network.embedding.frequencies is not None:
            self.angular = 2 * math.pi * self.network.embedding.frequencies
            angles = (self.angular * self.summed[..., None]).flatten(2)  # (M, B, d, f) -> (M, B, d f)
            self.cos, self.sin = angles.cos(), angles.sin()
            parts += [self.cos, self.sin]
        return self.product.forward(torch.cat(parts, dim=-1)).to(rows.dtype)

    def backward(self, g: Tensor, found: Gradients) -> None:
        """From the gradient of the output to those of the parameters."""
        network, lift = self.network, self.lift
        n_features = len(lift)
        frequencies, layer_weights = network.embedding.frequencies, network.layer_weights
        of_inputs, of_weight, found[network.fusion.bias] = self.product.backward(g, slice(n_features, None))
        of_condition = of_weight if self.alone else of_weight[:, n_features:]
        found[network.fusion.weight] = torch.cat([lift.mT @ of_weight[:, :n_features], of_condition], dim=1)
        of_inputs = of_inputs.to(g.dtype)
        of_summed = of_inputs[..., :0]
        if not self.alone:
            of_summed, of_inputs = of_inputs.tensor_split([n_features], dim=-1)
        if frequencies is not None:
            of_cos, of_sin = of_inputs.chunk(2, dim=-1)
            of_angles = (of_sin * self.cos).addcmul_(of_cos, self.sin, value=-1).unflatten(2, frequencies.shape[2:])
            found[frequencies] = (of_angles * self.summed[..., None]).sum(1, keepdim=True).mul_(2 * math.pi)
            if layer_weights is not None:
                of_summed = of_summed + (of_angles * self.angular).sum(-1)
        if layer_weights is not None:
            of_each = (self.condition @ of_summed[..., None]).sum(1)  # (M, B, layers, 1) -> (M, layers, 1)
            found[layer_weights] = of_each.mT[:, None]
