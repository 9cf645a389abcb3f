"""What the classifier's parameters may be, and the settings that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from .device import PRECISIONS
from .preprocessing import SCALINGS, n_views
from .validation import check_choice, check_flag, check_integer, check_real, check_verbose, shown

if TYPE_CHECKING:
    import torch

    from .estimators.network import NetworkShape
    from .training.loop import TrainingSettings
    from .transport.exact import ExactPath
    from .transport.learned import LearnedPath

ESTIMATORS = ("both", "network", "kernel")
AUTO_WIDTH = 64
"""Width of the code space for `width="auto"`, unless the classes need more."""
AUTO_ROOM = 16
"""Classes more than there are that `width="auto"` leaves room for."""
AUTO_NETWORK_WIDTH = 512
"""Width of the network at most for `width="auto"`: in the code space of 1,000 classes it would take hours."""
HEAD_WIDTH, MOST_HEADS = 16, 16
"""Width of an attention head at least, and number of heads at most."""
AUTO_LAPLACIAN_FEATURES = 1000
"""Features up to which `kernel="auto"` tries the Laplacian kernel: its distances are no matrix product."""
AUTO_COSINE_FEATURES = 100
"""Features from which `kernel="auto"` tries the cosine kernel: it is for embeddings, whose lengths tell less than directions."""
AUTO_FREQUENCIES_FEATURES = 40
"""Features up to which `n_frequencies="auto"` embeds them periodically; more of them gain nothing and cost time."""
AUTO_LEARNING_RATE = 0.01, 0.005
"""`learning_rate="auto"`, of up to `FEW_TRAINING_ROWS` rows, which get few updates, and of more."""
FEW_TRAINING_ROWS = 256
AUTO_RATE_WIDTH = 1.28
"""Product of learning rate and width at most: wider networks, those of many classes, diverge by more."""
AUTO_BATCH = (16, 256)
"""Fewest and most rows of a batch for `batch_size="auto"`."""
FLOAT32_VALUES = 4096
"""Rows of a batch times width up to which processors do better with float32: bfloat16 saves less than converting costs."""
AUTO_PATIENCE = 10, 80, 1000
"""Updates for `patience="auto"`: fewest, enough for tables of up to 1,600 rows, and most."""
PATIENT_WIDTH = 128
"""Width from which there are fewer of them with many rows: updates of the wide networks of many classes take long."""


def presets() -> dict[str, dict[str, Any]]:
    """Named sets of parameters."""
    from .transport.learned import LearnedPath

    return {
        "default": {},
        # The paper's network and recipe (section 3). It does not give k, σ, T, t_eps and the scaling: ours stand.
        "gen-ser": {
            "path": LearnedPath(time_sampling="uniform", solver="euler", n_steps=20, time_width=1024),
            "estimator": "network",
            "codes": "sinusoidal",
            "width": 1024,
            "depth": 4,
            "mlp_ratio": 4.0,
            "n_frequencies": 0,
            "tokenizer": "single",
            "dropout": 0.0,
            "n_members": 1,
            "scaling": "standard",
            "max_steps": 400_000,
            "batch_size": 128,
            "learning_rate": 5e-4,
            "ema_decay": 0.0,
            "patience": None,
        },
    }


def check_parameters(params: dict[str, Any]) -> None:
    """Raise a ValueError that names the first parameter out of its range."""
    from .estimators.ridge import KERNELS
    from .estimators.tokenizers import TOKENIZERS
    from .transport.codes import CODES

    choices: dict[str, Iterable[str]] = {
        "estimator": ESTIMATORS,
        "codes": CODES,
        "tokenizer": TOKENIZERS,
        "scaling": SCALINGS,
        "kernel": ("auto", *KERNELS),
        "precision": PRECISIONS,
    }
    for name, options in choices.items():
        check_choice(name, params[name], options)
    for name in ("depth", "n_members", "max_steps"):
        check_integer(name, params[name], 1)
    for name, least in (("n_frequencies", 0), ("width", 2), ("batch_size", 1), ("n_centers", 1)):
        check_integer(name, params[name], least, also=("auto",))
    check_verbose(params["verbose"])
    check_integer("patience", params["patience"], 1, also=("auto", None))
    check_real("mlp_ratio", params["mlp_ratio"], 0, low_open=True)
    check_real("dropout", params["dropout"], 0, 1, high_open=True)
    check_real("learning_rate", params["learning_rate"], 0, low_open=True, also=("auto",))
    check_real("time_limit", params["time_limit"], 0, low_open=True, also=(None,))
    check_real("ema_decay", params["ema_decay"], 0, 1, high_open=True)
    check_flag("distributed", params["distributed"])
    path = checked_path(params["path"])
    path.check()
    if hasattr(path, "time_width") and params["estimator"] == "kernel":
        raise ValueError(
            "Got estimator='kernel' with a LearnedPath, expected a network to learn it; use estimator='network' or 'both', or "
            "path='exact'."
        )


def checked_path(path: Any) -> ExactPath | LearnedPath:
    """A path of one's own: that of "exact", or a copy of the object given; a ValueError if it is neither."""
    from .transport.exact import ExactPath
    from .transport.learned import LearnedPath

    if isinstance(path, str) and path == "exact":
        return ExactPath()
    if isinstance(path, ExactPath | LearnedPath):
        return clone(path)
    raise ValueError(f"Got path={shown(path)}, expected 'exact', an ExactPath or a LearnedPath.")


def code_width(params: dict[str, Any], n_classes: int) -> int:
    """The width of the code space; "auto" leaves room for some more classes, in steps of 64."""
    from .transport.codes import CODES

    if params["width"] != "auto":
        return params["width"]
    needed = max(AUTO_WIDTH, CODES[params["codes"]]().width_for(n_classes + min(n_classes, AUTO_ROOM)))
    return -(-needed // AUTO_WIDTH) * AUTO_WIDTH


def kernels(params: dict[str, Any], n_features: int) -> tuple[str, ...]:
    """The kernels to choose from for rows of `n_features` features."""
    from .estimators.ridge import KERNELS

    if params["kernel"] != "auto":
        return (params["kernel"],)
    tried = {"laplacian": n_features <= AUTO_LAPLACIAN_FEATURES, "cosine": n_features >= AUTO_COSINE_FEATURES}
    return tuple(name for name in KERNELS if tried.get(name, True))


def n_heads(width: int) -> int:
    """Attention heads of a network: of 16 values or more each, up to 16 of them, and a divisor of the width."""
    most = min(MOST_HEADS, max(1, width // HEAD_WIDTH))
    return next(n for n in range(most, 0, -1) if width % n == 0)


def network_shape(params: dict[str, Any], n_layers: int, n_features: int, width: int) -> NetworkShape:
    """The network's shape for rows of `n_layers` layers with `n_features` features each, and codes of this width."""
    from .estimators.network import NetworkShape

    code_width, time_width = width, getattr(checked_path(params["path"]), "time_width", 0)
    if params["width"] == "auto" and not time_width:
        width = min(width, AUTO_NETWORK_WIDTH)
    # Few features get more and higher frequencies: their few values must tell apart what many do elsewhere.
    n_frequencies = params["n_frequencies"]
    if n_frequencies == "auto":
        n_frequencies = min(max(round(80 / n_features), 4), 16) if n_features <= AUTO_FREQUENCIES_FEATURES else 0
    return NetworkShape(
        n_features=n_features,
        n_layers=n_layers,
        width=width,
        code_width=code_width,
        n_members=params["n_members"],
        n_views=n_views(params["scaling"]),
        depth=params["depth"],
        n_heads=n_heads(width),
        hidden_width=max(1, round(params["mlp_ratio"] * width)),
        time_width=time_width,
        n_frequencies=n_frequencies,
        frequency_scale=min(max(0.1 * (20 / n_features) ** 0.5, 0.1), 0.2),
        tokenizer=params["tokenizer"],
        dropout=params["dropout"],
    )


def training_settings(
    params: dict[str, Any], n_rows: int, width: int, device: torch.device, *, validated: bool
) -> TrainingSettings:
    """
    The settings of training, for members of this width that learn from `n_rows` rows.

    Without validation rows, and with a patience, training takes as many steps as that.
    """
    import torch

    from .device import resolve_precision
    from .training.loop import TrainingSettings

    precision = resolve_precision(params["precision"], device)
    batch_size, max_steps, patience = params["batch_size"], params["max_steps"], params["patience"]
    learning_rate = params["learning_rate"]
    if learning_rate == "auto":
        learning_rate = min(AUTO_LEARNING_RATE[n_rows > FEW_TRAINING_ROWS], AUTO_RATE_WIDTH / width)
    if batch_size == "auto":
        batch_size = int(np.clip(n_rows // 8, *AUTO_BATCH))
    if patience == "auto":
        least, enough, most = AUTO_PATIENCE
        # Some passes over many rows, where a network that begins slowly beside the kernel is worth most.
        many = min(n_rows // 20, most) * PATIENT_WIDTH // max(width, PATIENT_WIDTH)
        patience = max(least, min(n_rows // 8, enough), many)
    if params["precision"] == "auto" and device.type == "cpu" and batch_size * width <= FLOAT32_VALUES:
        precision = torch.float32
    return TrainingSettings(
        max_steps=max_steps if validated or patience is None else min(max_steps, patience),
        batch_size=batch_size,
        learning_rate=learning_rate,
        ema_decay=params["ema_decay"],
        patience=patience,
        precision=precision,
    )
