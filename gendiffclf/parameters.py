"""What the classifier's parameters may be, and the settings that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from .device import PRECISIONS
from .preprocessing import LIFTS, SCALINGS, n_views
from .validation import check_choice, check_flag, check_integer, check_real, shown

if TYPE_CHECKING:
    import torch

    from .estimators.network import NetworkShape
    from .model import TransportSettings
    from .training.trainer import TrainingSettings

AUTO_WIDTH = 64
"""Width of the code space for `width="auto"`, unless the classes need more."""

GEN_SER = {
    "codes": "sinusoidal",
    "mean_schedule": "logistic",
    "variance_schedule": "bridge",
    "objective": "target",
    "time_sampling": "uniform",
    "solver": "euler",
    "n_steps": 20,
    "width": 1024,
    "depth": 4,
    "n_heads": 16,
    "feedforward_ratio": 4.0,
    "time_width": 1024,
    "n_frequencies": 0,
    "tokenizer": "single",
    "n_members": 1,
    "cross_fit": False,
    "scaling": "standard",
    "dropout": 0.0,
    "early_stopping": False,
    "max_epochs": 1_000_000,
    "max_steps": 400_000,
    "batch_size": 128,
    "learning_rate": 5e-4,
    "weight_decay": 0.0,
    "averaging": 0.0,
}
"""The paper's network and recipe (section 3). It does not give k, σ, T, t_eps and the scaling: ours stand."""

PRESETS: dict[str, dict[str, Any]] = {"default": {}, "gen-ser": GEN_SER}


def checked_parameters(estimator: BaseEstimator) -> dict[str, Any]:
    """An estimator's parameters; raises a ValueError that names the first one out of its range."""
    params = estimator.get_params(deep=False)
    check_parameters(params)
    return params


def check_parameters(params: dict[str, Any]) -> None:
    """Raise a ValueError that names the first parameter out of its range."""
    from .estimators.tokenizers import TOKENIZERS
    from .transport.codes import CODES
    from .transport.path import OBJECTIVES
    from .transport.schedules import MEAN_SCHEDULES, VARIANCE_SCHEDULES
    from .transport.solvers import SOLVERS
    from .transport.times import TIME_SAMPLERS

    choices: dict[str, Iterable[str]] = {
        "codes": CODES,
        "mean_schedule": MEAN_SCHEDULES,
        "variance_schedule": VARIANCE_SCHEDULES,
        "objective": OBJECTIVES,
        "time_sampling": ("auto", *TIME_SAMPLERS),
        "solver": SOLVERS,
        "tokenizer": TOKENIZERS,
        "scaling": SCALINGS,
        "lift": LIFTS,
        "learning_rate_schedule": ("constant", "cosine"),
        "precision": PRECISIONS,
    }
    for name, options in choices.items():
        check_choice(name, params[name], options)
    for name in ("n_steps", "depth", "n_heads", "time_width", "chunk_size", "n_members", "max_epochs", "batch_size"):
        check_integer(name, params[name], 1)
    if params["n_frequencies"] != "auto":
        _check_not_text("n_frequencies", params["n_frequencies"], "an integer >= 0")
        check_integer("n_frequencies", params["n_frequencies"], 0)
    check_integer("verbose", int(params["verbose"]) if isinstance(params["verbose"], bool) else params["verbose"], 0)
    for name in ("max_steps", "n_iter_no_change"):
        if params[name] is not None:
            check_integer(name, params[name], 1)
    if params["width"] != "auto":
        _check_not_text("width", params["width"], "an integer >= 2")
        check_integer("width", params["width"], 2)
        if params["width"] % params["n_heads"]:
            raise ValueError(
                f"Got width={params['width']} and n_heads={params['n_heads']}, expected a width that the heads divide."
            )
    check_real("steepness", params["steepness"], 0, 200)
    check_real("sigma", params["sigma"], 0, low_open=True)
    check_real("t_max", params["t_max"], 0, 1, low_open=True)
    check_real("t_min", params["t_min"], 0, params["t_max"], high_open=True)
    check_real("feedforward_ratio", params["feedforward_ratio"], 0, low_open=True)
    if params["frequency_scale"] != "auto":
        _check_not_text("frequency_scale", params["frequency_scale"], "a number > 0")
        check_real("frequency_scale", params["frequency_scale"], 0, low_open=True)
    check_real("dropout", params["dropout"], 0, 1, high_open=True)
    check_real("learning_rate", params["learning_rate"], 0, low_open=True)
    check_real("weight_decay", params["weight_decay"], 0)
    check_real("averaging", params["averaging"], 0, 1, high_open=True)
    check_real("validation_fraction", params["validation_fraction"], 0, 0.5, low_open=True)
    for name in ("cross_fit", "early_stopping", "warm_start"):
        check_flag(name, params[name])
    if params["objective"] == "noise" and params["variance_schedule"] == "zero":
        raise ValueError(
            "Got objective='noise' with variance_schedule='zero', expected a path with noise to learn; "
            "use variance_schedule='bridge', or another objective."
        )


def _check_not_text(name: str, value: Any, expected: str) -> None:
    if isinstance(value, str):
        raise ValueError(f"Got {name}={shown(value)}, expected 'auto' or {expected}.")


def frequencies(params: dict[str, Any], n_features: int) -> tuple[int, float]:
    """
    How many frequencies each feature has, and the standard deviation of the initial ones.

    With `"auto"` few features get more and higher ones: their few values must tell apart what many do elsewhere.
    """
    number, scale = params["n_frequencies"], params["frequency_scale"]
    if number == "auto":
        number = min(max(round(80 / n_features), 4), 16)
    if scale == "auto":
        scale = min(max(0.1 * (20 / n_features) ** 0.5, 0.1), 0.2)
    return number, scale


def code_width(params: dict[str, Any], n_classes: int) -> int:
    """
    The width of the code space.

    `"auto"` leaves room for twice as many classes as there are now, in steps of the number of heads and of 16.
    """
    from .transport.codes import CODES

    if params["width"] != "auto":
        return params["width"]
    needed = max(AUTO_WIDTH, CODES[params["codes"]]().width_for(2 * n_classes))
    step = 16 * params["n_heads"]
    return -(-needed // step) * step


def network_shape(params: dict[str, Any], n_layers: int, n_features: int, width: int) -> NetworkShape:
    """The network's shape for rows of `n_layers` layers with `n_features` features each."""
    from .estimators.network import NetworkShape

    n_frequencies, frequency_scale = frequencies(params, n_features)
    return NetworkShape(
        n_features=n_features,
        n_condition_layers=max(1, n_layers - 1),
        width=width,
        n_members=params["n_members"],
        n_views=n_views(params["scaling"]),
        depth=params["depth"],
        n_heads=params["n_heads"],
        hidden_width=max(1, round(params["feedforward_ratio"] * width)),
        time_width=params["time_width"],
        n_frequencies=n_frequencies,
        frequency_scale=frequency_scale,
        tokenizer=params["tokenizer"],
        chunk_size=params["chunk_size"],
        dropout=params["dropout"],
    )


def check_same_network(params: dict[str, Any], fitted: NetworkShape) -> None:
    """Raise a ValueError unless these parameters ask for a network of the shape `fitted` again."""
    auto = params["width"] == "auto"
    wanted = network_shape(
        {**params, "n_heads": fitted.n_heads} if auto else params,
        fitted.n_condition_layers + 1,
        fitted.n_features,
        fitted.width if auto else params["width"],
    )
    changed = [name for name, value in vars(wanted).items() if value != getattr(fitted, name)]
    if changed:
        raise ValueError(
            f"Got warm_start=True with another network than in the fit before ({', '.join(changed)}), expected the same; "
            "use warm_start=False."
        )


def transport_settings(params: dict[str, Any]) -> TransportSettings:
    """The settings of path, objective and times."""
    from .model import TransportSettings

    chosen = {name: params[name] for name in TransportSettings.__dataclass_fields__}
    if chosen["time_sampling"] == "auto":
        chosen["time_sampling"] = "terminal" if params["objective"] == "target" else "uniform"
    return TransportSettings(**chosen)


def training_settings(params: dict[str, Any], device: torch.device) -> TrainingSettings:
    """The settings of training."""
    from .device import resolve_precision
    from .training.trainer import TrainingSettings

    return TrainingSettings(
        max_epochs=params["max_epochs"],
        max_steps=params["max_steps"],
        batch_size=params["batch_size"],
        learning_rate=params["learning_rate"],
        learning_rate_schedule=params["learning_rate_schedule"],
        weight_decay=params["weight_decay"],
        averaging=params["averaging"],
        patience=params["n_iter_no_change"],
        precision=resolve_precision(params["precision"], device),
        solver=params["solver"],
        n_steps=params["n_steps"],
    )
