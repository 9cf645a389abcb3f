"""New rows, and new classes, for a trained network without its old training rows.

The network's last linear map is refitted by ridge regression in closed form (recursive least squares). The old rows enter
through the Gram matrix of the states that the map reads, which was kept from training: the refitted map is the one that
regression on old and new rows together would find, if old rows' targets were the old estimates. Nothing else moves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..model import TransportModel
from .memmap import RowsOnDisk

RIDGE = 1e-2
"""Ridge penalty in units of the Gram matrix' mean diagonal."""
_MOST_ROWS = 20_000
_BLOCK = 1024


def _states(model: TransportModel, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states with a constant 1 (M, B, h + 1), the gate (M, 1, L) and the estimates (M, B, L) where transport starts."""
    x1, condition = model.split(rows[None])
    t = torch.tensor(model.settings.t_max, dtype=x1.dtype, device=x1.device)
    residual, hidden, gate = model.network.before_last_map(x1, condition, t)
    estimate = residual + gate * model.network.last_map(hidden)
    return torch.cat([hidden, hidden.new_ones(*hidden.shape[:2], 1)], dim=-1), gate, estimate


@torch.no_grad()
def gram_matrix(model: TransportModel, rows: Tensor | RowsOnDisk, weight: Tensor) -> Tensor:
    """
    Weighted sum of outer products of the states that the last map reads.

    Parameters
    ----------
    model : TransportModel
    rows : Tensor of shape (N, views * layers, d), or RowsOnDisk
        Training rows, scaled; beyond 20,000 an even selection stands for all.
    weight : Tensor of shape (N,)

    Returns
    -------
    Tensor of shape (M, h + 1, h + 1)
    """
    stride = -(-len(rows) // _MOST_ROWS)
    weight = weight[::stride] * stride
    total = torch.zeros(())
    for number, part_weight in enumerate(weight.split(_BLOCK)):
        first = number * _BLOCK * stride
        states, _, _ = _states(model, rows[first : first + _BLOCK * stride : stride])
        total = total.to(states) + (states * part_weight[:, None]).mT @ states
    return total


@torch.no_grad()
def refit_last_map(model: TransportModel, gram: Tensor, rows: Tensor, codes: Tensor, weight: Tensor) -> Tensor:
    """
    Move the last map to account for new rows.

    Parameters
    ----------
    model : TransportModel
        Changed in place. Its objective must be `"target"`.
    gram : Tensor of shape (M, h + 1, h + 1)
        From `gram_matrix`, or from the last call.
    rows : Tensor of shape (N, layers, d)
        New rows, scaled.
    codes : Tensor of shape (N, L)
        Codes of their classes.
    weight : Tensor of shape (N,)
        How many old rows each counts for.

    Returns
    -------
    Tensor of shape (M, h + 1, h + 1)
        The Gram matrix of old and new rows.
    """
    states, gate, estimate = (x.double() for x in _states(model, rows))
    weighted = states * weight.double()[:, None]
    gram = gram.double() + weighted.mT @ states
    mean_diagonal = gram.diagonal(dim1=-2, dim2=-1).mean(-1)
    ridge = torch.diag_embed((RIDGE * mean_diagonal)[:, None].expand(-1, gram.shape[-1]))
    change = torch.linalg.solve(gram + ridge, weighted.mT @ (codes.double() - estimate))  # (M, h + 1, L)
    change /= torch.where(gate.abs() < 1e-2, 1e-2 * gate.sign() + (gate == 0) * 1e-2, gate)
    last = model.network.last_map
    last.weight.add_(change[:, :-1])
    last.bias.add_(change[:, -1:])
    return gram.to(last.weight)
