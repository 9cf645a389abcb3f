"""From the end of transport to probabilities and decisions (Eq. 12).

The codes are orthogonal with squared norm L / 2, so the minimiser of the target-matching loss is
`x̂0 = Σ_c p(c | inputs) x0(c)`, and `p_c = 2 <x̂0, x0(c)> / L`: a projection onto the codes, then onto the simplex.
"""

from __future__ import annotations

import torch
from torch import Tensor


def project_on_codes(x0_hat: Tensor, codes: Tensor) -> Tensor:
    """
    Coordinates of estimates along the codes.

    Parameters
    ----------
    x0_hat : Tensor of shape (..., L)
    codes : Tensor of shape (K, L)

    Returns
    -------
    Tensor of shape (..., K)
        `2 <x̂0, x0(c)> / L`; 1 at the code of c, 0 at the others.
    """
    return x0_hat @ codes.mT * (2 / codes.shape[-1])


def outside_span(x0_hat: Tensor, codes: Tensor) -> Tensor:
    """Length of the part of estimates (..., L) outside the span of codes (K, L), in units of a code's length, (...)."""
    inside = project_on_codes(x0_hat, codes) @ codes
    return (x0_hat - inside).norm(dim=-1) / codes.norm(dim=-1).mean()


def project_on_simplex(scores: Tensor) -> Tensor:
    """
    The nearest point of the probability simplex (Duchi et al. 2008).

    Parameters
    ----------
    scores : Tensor of shape (..., K)

    Returns
    -------
    Tensor of shape (..., K)
        Non-negative, each row summing to 1.
    """
    descending = scores.sort(dim=-1, descending=True).values
    excess = descending.cumsum(-1) - 1
    rank = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
    support = (descending * rank > excess).sum(-1, keepdim=True).clamp_min(1)
    threshold = excess.gather(-1, support - 1) / support
    return (scores - threshold).clamp_min(0)


def cosines(x0_hat: Tensor, codes: Tensor) -> Tensor:
    """
    Cosine of the angle between each estimate (..., L) and each code (K, L), of shape (..., K), in [-1, 1].

    An estimate of zero has the cosine 0 with every code.
    """
    tiny = torch.finfo(x0_hat.dtype).tiny
    direction = x0_hat / x0_hat.norm(dim=-1, keepdim=True).clamp_min(tiny)
    return direction @ (codes / codes.norm(dim=-1, keepdim=True)).mT


def apply_temperature(probabilities: Tensor, temperature: float | Tensor, smoothing: float | Tensor) -> Tensor:
    """
    Mix with the uniform distribution, then raise to the power 1 / temperature and normalise.

    Smoothing gives the zeros of the simplex projection a value that the logarithmic loss can bear; a temperature above 1
    lowers confidence (Guo et al. 2017). Order of classes is kept.

    Parameters
    ----------
    probabilities : Tensor of shape (..., K)
    temperature : float
        Positive.
    smoothing : float
        Weight of the uniform distribution, in (0, 1].
    """
    uniform = 1 / probabilities.shape[-1]
    return torch.softmax(torch.log((1 - smoothing) * probabilities + smoothing * uniform) / temperature, dim=-1)
