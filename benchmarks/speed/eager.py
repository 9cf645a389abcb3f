"""The peer on a GPU: the network of section 2.5 and its training as one writes them first, in plain PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class EagerLayer(nn.Module):
    """Attention of one token, then feed-forward; time sets a scale before and a gate after each."""

    def __init__(self, width: int, hidden_width: int, time_width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(width, elementwise_affine=False) for _ in range(2))
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden_width), nn.Linear(hidden_width, width)
        self.modulation = nn.Linear(time_width, 4 * width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, L) and (B, time_width) -> (B, L)."""
        scale_a, gate_a, scale_f, gate_f = (1 + self.modulation(time)).chunk(4, dim=-1)
        x = x + gate_a * self.out(self.value(self.norms[0](x) * scale_a))
        return x + gate_f * self.down(nn.functional.gelu(self.up(self.norms[1](x) * scale_f)))


class EagerNetwork(nn.Module):
    """
    One member.

    Parameters
    ----------
    n_features, n_condition_layers, width, hidden_width, time_width, depth, n_frequencies : int
        As in `gendiffclf.estimators.network.NetworkShape`, and with as many parameters.

    Shape
    -----
    x_t (B, L), condition (B, layers, d), t (B,) -> (B, L)
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_condition_layers: int,
        width: int,
        hidden_width: int,
        time_width: int,
        depth: int,
        n_frequencies: int,
    ) -> None:
        super().__init__()
        self.time_width = time_width
        self.layer_weights = None
        if n_condition_layers > 1:
            self.layer_weights = nn.Parameter(torch.full((n_condition_layers,), 1 / n_condition_layers))
        self.frequencies = nn.Parameter(0.1 * torch.randn(n_features, n_frequencies)) if n_frequencies else None
        self.fusion = nn.Linear(width + n_features * (1 + 2 * n_frequencies), width)
        self.time = nn.Sequential(
            nn.Linear(time_width, time_width), nn.SiLU(), nn.Linear(time_width, time_width), nn.SiLU()
        )
        self.layers = nn.ModuleList(EagerLayer(width, hidden_width, time_width) for _ in range(depth))

    def forward(self, x_t: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        """Estimate the code."""
        summed = (
            condition[:, 0] if self.layer_weights is None else torch.einsum("bld,l->bd", condition, self.layer_weights)
        )
        parts = [x_t, summed]
        if self.frequencies is not None:
            angles = 2 * math.pi * summed[..., None] * self.frequencies  # (B, d) -> (B, d, f)
            parts += [angles.cos().flatten(1), angles.sin().flatten(1)]
        x = self.fusion(torch.cat(parts, dim=-1))
        time = self.time(self._sinusoids(t))
        for layer in self.layers:
            x = layer(x, time)
        return x

    def _sinusoids(self, t: Tensor) -> Tensor:
        half = self.time_width // 2
        frequencies = torch.exp(-math.log(1e4) * torch.arange(half, device=t.device) / half)
        angles = 1000 * t[:, None] * frequencies  # (B,) -> (B, half)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class EagerTraining:
    """
    Steps of AdamW on the squared error of the code at a random time.

    Parameters
    ----------
    network : EagerNetwork
    lift : Tensor of shape (d, L)
    codes : Tensor of shape (K, L)
    bfloat16 : bool
        Whether matrix products are in bfloat16.
    """

    def __init__(self, network: EagerNetwork, lift: Tensor, codes: Tensor, *, bfloat16: bool) -> None:
        self.network, self.lift, self.codes, self.bfloat16 = network, lift, codes, bfloat16
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4, weight_decay=0.0)

    def step(self, rows: Tensor, y: Tensor) -> Tensor:
        """One step on rows (B, layers, d) of classes (B,); returns the loss."""
        x1, x0 = rows[:, -1] @ self.lift, self.codes[y]
        condition = rows if rows.shape[1] == 1 else rows[:, :-1]
        t = torch.rand(len(rows), device=rows.device)
        mean = torch.sigmoid(10 * (t - 0.5))[:, None]
        noise = 0.5 * (t * (1 - t)).sqrt()[:, None] * torch.randn_like(x1)
        with torch.autocast(rows.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            estimate = self.network((1 - mean) * x0 + mean * x1 + noise, condition, t)
        loss = (estimate.float() - x0).pow(2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()
