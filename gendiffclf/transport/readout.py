"""From the end of transport to probabilities (Eq. 12).

The codes are orthogonal with squared norm L / 2, so the minimiser of the target-matching loss is
`x̂0 = Σ_c p(c | inputs) x0(c)`, and `p_c = 2 <x̂0, x0(c)> / L`: a projection onto the codes. What an estimator makes
of it is this plus an error, so it may be negative, and is read as probabilities by a smooth positive part.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_IN_ERRORS = -60.0
"""Of a coordinate in units of its error: a softplus of less would be no normal number in float32."""


def project_on_codes(x0_hat: Tensor, codes: Tensor) -> Tensor:
    """Coordinates `2 <x̂0, x0(c)> / L` of estimates (..., L) along codes (K, L), (..., K): 1 at the code of c, 0 at the others."""
    return x0_hat @ codes.mT * (2 / codes.shape[-1])


def outside_span(x0_hat: Tensor, codes: Tensor) -> Tensor:
    """Length of the part of estimates (..., L) outside the span of codes (K, L), in units of a code's length, (...)."""
    inside = project_on_codes(x0_hat, codes) @ codes
    return (x0_hat - inside).norm(dim=-1) / codes.norm(dim=-1).mean()


def project_on_simplex(scores: Tensor) -> Tensor:
    """The nearest point of the probability simplex, (..., K) -> (..., K) (Duchi et al. 2008)."""
    descending = scores.sort(dim=-1, descending=True).values
    excess = descending.cumsum(-1) - 1
    rank = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
    support = (descending * rank > excess).sum(-1, keepdim=True).clamp_min(1)
    threshold = excess.gather(-1, support - 1) / support
    return (scores - threshold).clamp_min(0)


def positive_shares(coordinates: Tensor, sharpness: float | Tensor, softness: float | Tensor) -> Tensor:
    """
    Probabilities of coordinates that have errors, (..., K) -> (..., K): `p_c ∝ softplus(x_c / softness) ** sharpness`.

    A coordinate far above the error counts as it is, one far below 0 for nothing, and near 0 for about the error: with many
    classes, projecting on the simplex would take that from the likely ones instead. The order of classes is kept.
    `softness` > 0 is about the size of the error; `sharpness` > 0 is above 1 for estimates that are shrunk to the mean code.
    """
    in_errors = (coordinates / softness).clamp(LEAST_IN_ERRORS, 1 / torch.finfo(coordinates.dtype).tiny)
    return torch.softmax(sharpness * torch.nn.functional.softplus(in_errors).log(), dim=-1)
