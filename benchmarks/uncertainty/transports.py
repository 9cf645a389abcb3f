"""What predictions do not show: each member's probabilities, transports from several starts, and raw estimates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.inference import in_blocks
from gendiffclf.transport.readout import cosines, outside_span, project_on_codes, project_on_simplex, temper
from gendiffclf.transport.solvers import SOLVERS, transport


def member_probabilities(classifier: GenerativeTransportClassifier, X: np.ndarray) -> np.ndarray:
    """Calibrated probabilities of every member for rows (n, d), of shape (members, n, classes)."""
    model = classifier.model_

    def of_block(block: Tensor) -> Tensor:
        states = model.transport(block, solver=classifier.solver, n_steps=classifier.n_steps)
        return _probabilities(classifier, states[-1])

    return in_blocks(model, _scaled(classifier, X), of_block)


def stochastic_probabilities(
    classifier: GenerativeTransportClassifier, X: np.ndarray, n_draws: int, n_steps: int
) -> np.ndarray:
    """Probabilities after transports with fresh noise at each step, of shape (draws, n, classes)."""
    model = classifier.model_

    def of_noise(seed: int) -> np.ndarray:
        noise = torch.randn(n_steps, model.lift.shape[1], generator=torch.Generator().manual_seed(seed))

        def of_block(block: Tensor) -> Tensor:
            states = model.transport(block, solver="stochastic", n_steps=n_steps, noise=noise)
            return _probabilities(classifier, states[-1]).mean(0)

        return in_blocks(model, _scaled(classifier, X), of_block)

    return np.stack([of_noise(seed) for seed in range(n_draws)])


def noisy_start_probabilities(
    classifier: GenerativeTransportClassifier, X: np.ndarray, n_draws: int, n_steps: int
) -> np.ndarray:
    """
    Probabilities after transports from `x1` plus noise, with the condition as it is, of shape (draws, n, classes).

    The noise has the path's largest standard deviation, that of t = 1/2.
    """
    model = classifier.model_
    scale = float(model.path.variance(torch.tensor(0.5)))
    settings, members = model.settings, model.network.shape.n_members

    def of_noise(seed: int) -> np.ndarray:
        noise = scale * torch.randn(model.lift.shape[1], generator=torch.Generator().manual_seed(seed))

        def of_block(block: Tensor) -> Tensor:
            x1, condition = model.split(block)
            x1 = (x1 + noise).expand(members, -1, -1)
            states = transport(
                SOLVERS["exact"](),
                model.path,
                lambda x_t, t: model.estimate(x_t, x1, condition, t),
                x1,
                n_steps=n_steps,
                t_max=settings.t_max,
            )
            return _probabilities(classifier, states[-1]).mean(0)

        return in_blocks(model, _scaled(classifier, X), of_block)

    return np.stack([of_noise(seed) for seed in range(n_draws)])


def estimate_scores(classifier: GenerativeTransportClassifier, X: np.ndarray) -> dict[str, np.ndarray]:
    """
    How far each raw estimate x̂0 is from every code, in units of a code's length.

    Returns
    -------
    dict of str to ndarray of shape (n,)
        The higher, the farther: short of a code's length; angle, 1 less the greatest cosine; distance to the nearest code;
        the part outside the span of the codes.
    """
    x0_hat = torch.as_tensor(classifier.transport(X)).double()
    codes = _codes(classifier).double()
    length = codes.norm(dim=-1).mean()
    found = {
        "short estimate": -x0_hat.norm(dim=-1) / length,
        "angle to the nearest code": 1 - cosines(x0_hat, codes).amax(-1),
        "distance to the nearest code": torch.cdist(x0_hat, codes).amin(-1) / length,
        "part outside the codes' span": outside_span(x0_hat, codes),
    }
    return {name: score.numpy() for name, score in found.items()}


def _scaled(classifier: GenerativeTransportClassifier, X: np.ndarray) -> np.ndarray:
    return classifier.scaler_.transform(np.asarray(X)[:, None])  # (n, d) -> (n, 1, d)


def _codes(classifier: GenerativeTransportClassifier) -> Tensor:
    index = classifier.code_index_
    return classifier.model_.codes(classifier.codes, int(index.max()) + 1)[index.tolist()].cpu()


def _probabilities(classifier: GenerativeTransportClassifier, ends: Tensor) -> Tensor:
    projected = project_on_simplex(project_on_codes(ends.double(), _codes(classifier).to(ends.device).double()))
    return temper(projected, classifier.calibration_.temperature, classifier.calibration_.smoothing)
