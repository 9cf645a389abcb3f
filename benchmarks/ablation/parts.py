"""What the ablation varies: parts of the method, each with a reference and choices that differ from it in one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import BaseEstimator

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.transport.learned import LearnedPath

from ..runner import Variant
from .estimators import COMBINATIONS, AfterFit


@dataclass(frozen=True)
class Choice(Variant):
    """
    One choice for a part: the default classifier but for some parameters.

    Attributes
    ----------
    name : str
        What the page calls it.
    after : dict
        What changes after the fit, which choices that differ in this alone share; see `AfterFit`.
    """

    name: str = ""
    after: dict[str, Any] = field(default_factory=dict)

    def create(self) -> BaseEstimator:
        """Create the unfitted classifier."""
        return AfterFit(GenerativeTransportClassifier(random_state=0, **self.parameters), self.after)


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
    """

    key: str
    title: str
    text: str
    choices: Sequence[Choice]


def choice(name: str, parameters: dict[str, Any] | None = None, **after: Any) -> Choice:
    """Create a choice whose label in the records tells its parameters; equal ones in several parts so share records."""
    words = []
    for key, value in sorted((parameters or {}).items()):
        given = value.get_params() if isinstance(value, LearnedPath) else {}
        defaults = LearnedPath().get_params()
        named = [f"{name}={value}" for name, value in sorted(given.items()) if value != defaults[name]]
        words += ["learned", *named] if given else [f"{key}={value}"]
    words += [f"then_{key}={value}".replace(" ", "_") for key, value in sorted(after.items())]
    return Choice("+".join(words) or "default", "ours", parameters or {}, name, after)


def _values(name: str, values: Sequence[Any]) -> list[Choice]:
    """The default of a parameter, then the other values."""
    default = GenerativeTransportClassifier().get_params()[name]
    return [choice(str(default)), *(choice(str(value), {name: value}) for value in values if value != default)]


def _learned(**path: Any) -> dict[str, Any]:
    return {"estimator": "network", "path": LearnedPath(**path)}


def all_parts() -> list[Part]:
    """The parts, in the order of the page."""
    return [
        Part(
            "estimator",
            "Estimator",
            "What estimates the code: kernel and network, or one of them.",
            _values("estimator", ("both", "network", "kernel")),
        ),
        Part(
            "combination",
            "Combination",
            "Weights of kernel and network are fitted on held-out estimates, and so are read-outs. Equal weights keep the "
            "read-outs of the fitted ones.",
            [choice("fitted"), *(choice(name, combination=name) for name in COMBINATIONS)],
        ),
        Part(
            "members",
            "Members",
            "Networks whose estimates are averaged. A single one is validated on a tenth of the rows.",
            _values("n_members", (1, 2, 3, 6)),
        ),
        Part(
            "kernel",
            "Kernel",
            '"auto" takes the one whose held-out estimates are better.',
            _values("kernel", ("gaussian", "laplacian")),
        ),
        Part(
            "scaling",
            "Scaling of the features",
            "The paper uses the features of an encoder as they are.",
            _values("scaling", ("quantile", "standard")),
        ),
        Part(
            "codes",
            "Codes of the classes",
            "All are orthogonal and of one length; the paper's are sinusoidal. The kernel does not depend on them.",
            _values("codes", ("one_hot", "random")),
        ),
        Part(
            "network",
            "Dropout and frequencies",
            "Without dropout in the feed-forward states; without sines and cosines of the features in the condition.",
            [
                choice("default"),
                choice("no dropout", {"dropout": 0.0}),
                choice("no frequencies", {"n_frequencies": 0}),
            ],
        ),
        Part(
            "path",
            "Exact or learned path",
            "A network alone, without time on the exact path; or with time on a learned path, as in the paper, trained at random "
            "times and asked in ten exact steps (one for terminal times). The paper matches targets at uniform times.",
            [
                choice("exact path", {"estimator": "network"}),
                choice("uniform times", _learned()),
                choice("biased times", _learned(time_sampling="biased")),
                choice("terminal times", _learned(time_sampling="terminal", n_steps=1)),
                choice("velocity", _learned(objective="velocity")),
                choice("noise", _learned(objective="noise")),
            ],
        ),
        Part(
            "steps",
            "Solver and steps of a learned path",
            "One fit at uniform times, asked in several ways. The paper takes 1 to 20 Euler steps.",
            [
                choice("exact, N = 10", _learned()),
                choice("exact, N = 1", _learned(), n_steps=1),
                choice("Euler, N = 10", _learned(), solver="euler"),
                choice("Euler, N = 100", _learned(), solver="euler", n_steps=100),
                choice("midpoint, N = 10", _learned(), solver="midpoint"),
            ],
        ),
    ]
