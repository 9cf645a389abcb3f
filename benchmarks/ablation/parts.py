"""What the ablation varies: parts of the method, each with a reference and choices that differ from it in one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import BaseEstimator

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.parameters import GEN_SER, transport_settings

from ..runner import Variant
from .estimators import AfterFit, WithoutCondition

STEPS = (1, 2, 4, 10, 20)
UNIFORM = {"time_sampling": "uniform"}
SMALL_GEN_SER = {
    **GEN_SER,
    "solver": "exact",  # Euler's method is set after the fit, which does not depend on it without early stopping
    "n_steps": 1,
    "width": 64,
    "depth": 2,
    "n_heads": 4,
    "time_width": 32,
    "max_epochs": 200,
    "max_steps": None,
}
"""The paper's recipe with a network of the default's size, and as many epochs as these tables bear."""


@dataclass(frozen=True)
class Choice(Variant):
    """
    One choice for a part: the default classifier but for some parameters.

    Attributes
    ----------
    name : str
        What the page calls it.
    after : dict
        Parameters set after the fit, which choices that differ in these alone share.
    condition_seen : bool
        Whether the network sees the condition.
    """

    name: str = ""
    after: dict[str, Any] = field(default_factory=dict)
    condition_seen: bool = True

    def create(self) -> BaseEstimator:
        """Create the unfitted classifier."""
        kind = GenerativeTransportClassifier if self.condition_seen else WithoutCondition
        classifier = kind(random_state=0).set_params(**self.parameters)
        return AfterFit(classifier, self.after)


@dataclass(frozen=True)
class Part:
    """
    A part of the method.

    Attributes
    ----------
    key : str
        Name for the command line.
    title, text : str
        Heading on the page, and what the choices mean.
    choices : sequence of Choice
        The reference first.
    paper : str or None
        Name of the paper's choice, where the paper makes one and it is among them.
    slow : bool
        Whether to run it after all others.
    """

    key: str
    title: str
    text: str
    choices: Sequence[Choice]
    paper: str | None = None
    slow: bool = False


def choice(name: str, parameters: dict[str, Any] | None = None, label: str | None = None, **others: Any) -> Choice:
    """Create a choice whose label in the records tells its parameters; equal ones in several parts so share records."""
    parameters = parameters or {}
    words = [f"{key}={value}" for key, value in sorted(parameters.items())]
    words += [f"then_{key}={value}" for key, value in sorted(others.get("after", {}).items())]
    words += [] if others.get("condition_seen", True) else ["without_condition"]
    return Choice(label or "+".join(words) or "default", "ours", parameters, name=name, **others)


CHUNKS = choice("chunks", {"tokenizer": "chunks", "chunk_size": 128})


def _default(name: str, base: dict[str, Any]) -> Any:
    """A parameter's value in the default classifier with `base`, and of "auto" what it stands for."""
    params = {**GenerativeTransportClassifier().get_params(), **base}
    return transport_settings(params).time_sampling if name == "time_sampling" else params[name]


def _values(name: str, values: Sequence[Any], base: dict[str, Any] | None = None) -> list[Choice]:
    """The default of a parameter, then the other values."""
    base = base or {}
    default = _default(name, base)
    others = [choice(str(value), {**base, name: value}) for value in values if value != default]
    return [choice(str(default), base), *others]


def _steps(base: dict[str, Any]) -> list[Choice]:
    """Solvers and numbers of steps after one fit, those of the fit first."""
    fitted = _default("solver", base), _default("n_steps", base)
    others = [
        choice(f"{solver}, N = {n}", base, after={"solver": solver, "n_steps": n})
        for solver in ("exact", "euler")
        for n in STEPS
        if (solver, n) != fitted
    ]
    return [choice("{}, N = {}".format(*fitted), base), *others]


def _objectives() -> list[Choice]:
    found = []
    for after in ({}, {"n_steps": 10}):
        for objective in ("target", "velocity", "noise"):
            parameters = UNIFORM if objective == "target" else {**UNIFORM, "objective": objective}
            found.append(choice(f"{objective}, N = 10" if after else objective, parameters, after=after))
    return found


def all_parts() -> list[Part]:
    """The parts, in the order of the page."""
    uniform = "Times are drawn uniformly, since a network that is trained at t = T alone never sees the path."
    return [
        Part(
            "objective",
            "Objective",
            f"What the network learns. {uniform} The noise says nothing about the code at t = T, where one step starts.",
            _objectives(),
            "target",
        ),
        Part(
            "times",
            "Times of training",
            "`terminal` draws t = T always: that is plain regression onto the codes, in one step and without transport.",
            _values("time_sampling", ("terminal", "uniform", "biased", "mixed", "logit_normal")),
            "uniform",
        ),
        Part(
            "mean",
            "Mean of the path",
            f"{uniform} The paper's mean is logistic and its steepness k not given; ours is {_default('steepness', {}):g}.",
            _values("mean_schedule", ("logistic", "linear", "cosine"), UNIFORM),
            "logistic",
        ),
        Part(
            "steepness",
            "Steepness k of the logistic mean",
            f"{uniform} The paper does not give k.",
            _values("steepness", (2.0, 10.0, 50.0), {**UNIFORM, "mean_schedule": "logistic"}),
        ),
        Part(
            "sigma",
            "Noise σ on the path",
            f"{uniform} The paper does not give σ.",
            _values("sigma", (0.1, 0.5, 2.0), UNIFORM),
        ),
        Part(
            "variance",
            "Variance along the path",
            uniform,
            _values("variance_schedule", ("bridge", "constant", "zero"), UNIFORM),
            "bridge",
        ),
        Part(
            "codes",
            "Codes of the classes",
            "All are orthogonal and of one length.",
            _values("codes", ("sinusoidal", "paired", "one_hot", "random")),
            "sinusoidal",
        ),
        Part(
            "steps",
            "Solver and steps, default training",
            "One fit, asked in several ways. Probabilities keep the calibration of the fit. A single Euler step hardly leaves "
            "the start, for a reason that [Exact steps](method.md#exact-steps) gives.",
            _steps({}),
        ),
        Part(
            "steps-uniform",
            "Solver and steps, uniform times",
            "The same with a network that has seen all times. The paper takes Euler steps and reports accuracy for N = 1 "
            "to 20, rising a little and highest at 20.",
            _steps(UNIFORM),
            "euler, N = 20",
        ),
        Part(
            "condition",
            "Condition",
            "Whether the network sees the features besides x_t; where it does not, its condition is the same for all rows. With "
            "the condition goes the periodic embedding of the features. Times are those of the default.",
            [choice("seen"), choice("not seen", condition_seen=False)],
            "seen",
        ),
        Part(
            "condition-uniform",
            "Condition, uniform times",
            "The same with uniform times, also after ten steps.",
            [
                choice("seen", UNIFORM),
                choice("not seen", UNIFORM, condition_seen=False),
                choice("seen, N = 10", UNIFORM, after={"n_steps": 10}),
                choice("not seen, N = 10", UNIFORM, after={"n_steps": 10}, condition_seen=False),
            ],
            "seen",
        ),
        Part(
            "tokens",
            "Tokens",
            "One token gives attention nothing to attend to; `chunks` adds one per 128 values of the embedded features.",
            [choice("single", {} if _default("tokenizer", {}) == "single" else {"tokenizer": "single"}), CHUNKS],
            "single",
            slow=True,
        ),
        Part(
            "cross-fit",
            "Validation",
            "Every member leaves out its own part of the rows, or all leave out the same tenth.",
            [choice("cross-fit"), choice("hold-out", {"cross_fit": False})]
            if _default("cross_fit", {})
            else [choice("hold-out"), choice("cross-fit", {"cross_fit": True})],
        ),
        Part(
            "members",
            "Members",
            "Networks whose estimates are averaged. One network cannot be cross-fitted and is judged on a hold-out.",
            _values("n_members", (1, 3, 6, 12)),
            "1",
        ),
        Part(
            "scaling",
            "Scaling of the features",
            "The paper's features are an encoder's and used as they are.",
            _values("scaling", ("quantile", "robust", "standard")),
        ),
        Part(
            "frequencies",
            "Frequencies of each feature",
            "Sines and cosines of the features in the condition; 0 leaves them out, as the paper does.",
            _values("n_frequencies", (0,)),
            "0",
        ),
        Part(
            "averaging",
            "Average of the weights",
            "Decay per update of the running average; 0 takes the last weights.",
            _values("averaging", (0.0,)),
        ),
        Part(
            "dropout",
            "Dropout",
            "Share of the feed-forward states dropped in training.",
            _values("dropout", (0.0,)),
        ),
        Part(
            "recipe",
            "The paper's recipe, small",
            "Uniform times, one network, no validation, no averaging, Euler steps: the preset `gen-ser` with a network as "
            f"wide and deep as the default's and {SMALL_GEN_SER['max_epochs']} epochs.",
            [
                choice("default"),
                choice("Gen-SER, euler, N = 10", SMALL_GEN_SER, "gen-ser-euler", after={"solver": "euler", "n_steps": 10}),
                choice("Gen-SER, exact, N = 1", SMALL_GEN_SER, "gen-ser-exact"),
            ],
            "Gen-SER, euler, N = 10",
        ),
    ]  # fmt: skip
