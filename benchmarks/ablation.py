"""Measure what each part of the method is worth: the default classifier beside variants that differ in one thing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators.combination import Combination, uncalibrated
from gendiffclf.transport.learned import LearnedPath

from .markdown import number, table
from .options import add_options, chosen
from .records import RESULTS, Record, RecordStore
from .runner import Variant
from .summary import current, less, means, runs
from .tables import run_and_print

FOLDER = RESULTS / "ablation"
TABLES = ("brown_genes", "heart_disease", "sk_breast_cancer", "vehicle", "ravdess_emotion_ge2e", "sk_digits")
"""Some of every kind, small enough for all parts to take a few minutes."""
MEASURES = {"accuracy": (2, 100), "log_loss": (3, 1), "ece": (3, 1)}
"""Digits and scale."""


COMBINATIONS: dict[str, Callable[[Combination], Combination]] = {
    "equal weights": lambda own: replace(own, weights=uncalibrated(len(own.weights)).weights),
    # Each estimator is read by its positive part, without exponents.
    "no calibration": lambda own: replace(uncalibrated(len(own.weights)), weights=own.weights, floor=own.floor),
    "no logistic regression": lambda own: replace(own, exponents=(own.exponents[0], 0.0, *own.exponents[2:])),
}


class AfterFit(ClassifierMixin, BaseEstimator):
    """A classifier changed `after` the fit: parameters of the path, or `"combination"` with a key of `COMBINATIONS`."""

    def __init__(self, estimator: GenerativeTransportClassifier, after: dict[str, Any]) -> None:
        self.estimator = estimator
        self.after = after

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> AfterFit:
        """Fit and change."""
        self.fitted_ = clone(self.estimator).fit(X, y, groups=groups)
        changes = dict(self.after)
        if name := changes.pop("combination", None):
            self.fitted_.combination_ = COMBINATIONS[name](self.fitted_.combination_)
        self.fitted_.path_.set_params(**changes).check()
        self.classes_ = self.fitted_.classes_
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of the fitted classifier."""
        return self.fitted_.predict_proba(X)


@dataclass(frozen=True)
class Choice(Variant):
    """The default classifier but for some parameters; `name` is the page's, `after` changes after the fit, see `AfterFit`."""

    name: str = ""
    after: dict[str, Any] = field(default_factory=dict)

    def create(self) -> BaseEstimator:
        """Create the unfitted classifier."""
        return AfterFit(GenerativeTransportClassifier(random_state=0, **self.parameters), self.after)


@dataclass(frozen=True)
class Part:
    """A part of the method: its heading and text on the page, and its choices, the reference first."""

    title: str
    text: str
    choices: Sequence[Choice]


def choice(name: str, parameters: dict[str, Any] | None = None, **after: Any) -> Choice:
    """Create a choice whose label in the records tells its parameters; equal ones in several parts so share records."""
    words = []
    for key, value in sorted((parameters or {}).items()):
        if isinstance(value, LearnedPath):
            defaults = LearnedPath().get_params()
            words += ["learned", *(f"{k}={v}" for k, v in sorted(value.get_params().items()) if v != defaults[k])]
        else:
            words.append(f"{key}={value}")
    words += [f"then_{key}={value}".replace(" ", "_") for key, value in sorted(after.items())]
    return Choice("+".join(words) or "default", "ours", parameters or {}, name, after)


def all_parts() -> dict[str, Part]:
    """The parts by their name on the command line, in the order of the page."""
    default = choice("default")

    def learned(name: str, after: dict[str, Any] | None = None, **path: Any) -> Choice:
        return choice(name, {"estimator": "network", "path": LearnedPath(**path)}, **(after or {}))

    return {
        "estimator": Part(
            "Estimators",
            "What estimates the code: kernel and network together, or one of them; one network or six instead of the default.",
            [
                default,
                *(choice(f"{name} alone", {"estimator": name}) for name in ("network", "kernel")),
                *(choice(f"{n} network{'s' * (n > 1)}", {"n_members": n}) for n in (1, 6)),
                *(choice(f"{name} kernel", {"kernel": name}) for name in ("gaussian", "cosine", "laplacian")),
            ],
        ),
        "combination": Part(
            "Combination and calibration",
            "Weights of the estimators, their calibration and what a logistic regression adds are fitted on held-out estimates.",
            [default, *(choice(name, combination=name) for name in COMBINATIONS)],
        ),
        "features": Part(
            "Scaling, codes and network",
            "The paper takes an encoder's features as they are and sinusoidal codes. The kernel does not depend on codes.",
            [
                default,
                *(choice(f"{name} scaling", {"scaling": name}) for name in ("quantile", "standard")),
                choice("one-hot codes", {"codes": "one_hot"}),
                choice("random codes", {"codes": "random"}),
                choice("no dropout", {"dropout": 0.0}),
                choice("no frequencies", {"n_frequencies": 0}),
            ],
        ),
        "path": Part(
            "Exact or learned path",
            "A network alone: on the exact path without time, or with time on a learned path, evaluated with ten exact steps. "
            "The paper matches targets at uniform times on a learned path and takes Euler steps.",
            [
                choice("exact path", {"estimator": "network"}),
                learned("learned, uniform times"),
                learned("the same, 10 Euler steps", {"solver": "euler"}),
                learned("the same, 100 Euler steps", {"solver": "euler", "n_steps": 100}),
                learned("learned, biased times", time_sampling="biased"),
                learned("learned, velocity", objective="velocity"),
                learned("learned, noise", objective="noise"),
            ],
        ),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, FOLDER, "--data-dir", "--tables", "--splits", "--again", splits="0,1")
    parser.add_argument("--only", help=f"parts, comma between, of {', '.join(all_parts())}")


def run(arguments: argparse.Namespace) -> int:
    """Run what is not recorded yet and print means; `render` makes the page."""
    parts = all_parts()
    choices = [one for key in chosen(arguments.only, parts, "part") for one in parts[key].choices]
    return run_and_print(arguments, list({one.label: one for one in choices}.values()), TABLES, "default")


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without records."""
    if not (records := current(RecordStore(results / FOLDER.name).read())):
        return {}
    return {
        "records": records,
        "names": list(all_parts()),
        "tables": sorted({record["table"] for record in records}),
        "n_splits": len({record["split"] for record in records}),
        "parts": [(part, found) for part in all_parts().values() if (found := _part(part, records))],
    }


def _part(part: Part, records: list[Record]) -> str | None:
    """The table of a part; None where it was not measured."""
    reference, *others = part.choices
    found = runs(records, [one.label for one in part.choices])
    if found.empty or reference.label not in found["accuracy"] or len(found["accuracy"].columns) < 2:
        return None
    check_same_defaults(part, records)
    intervals = {measure: less(found[measure], reference.label) for measure in MEASURES}
    own = [number(scale * means(found[m])[reference.label], digits) for m, (digits, scale) in MEASURES.items()]
    rows = [[reference.name, *own, "1.00"]]
    seconds = found["fit_cpu_seconds"].sum()
    for one in (one for one in others if one.label in found["accuracy"]):
        cells = [intervals[measure][one.label].difference(*form) for measure, form in MEASURES.items()]
        rows.append([one.name, *cells, "–" if one.after else f"{seconds[one.label] / seconds[reference.label]:.2f}"])
    return table(("Choice", "Accuracy", "Log-loss", "ECE", "Time"), rows)


def check_same_defaults(part: Part, records: list[Record]) -> None:
    """Raise a ValueError if a choice differs from the reference in more than its parameters."""
    own = {record["label"]: record["configuration"] for record in records}
    reference = part.choices[0]
    for one in (one for one in part.choices if one.label in own):
        given = {f"estimator__{name}" for name in {**reference.parameters, **one.parameters}} | {"after", "estimator"}
        before, after = (
            {name: value for name, value in own[label].items() if name.partition("__path__")[0] not in given}
            for label in (reference.label, one.label)
        )
        if before != after:
            raise ValueError(
                f"Got records of {one.label!r} and {reference.label!r} with different defaults, expected one difference; "
                "delete the older records and run again."
            )
