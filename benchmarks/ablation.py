"""Measure what each part of the method is worth: the default classifier beside variants that differ in one thing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators.combination import Combination, uncalibrated
from gendiffclf.transport.learned import LearnedPath

from .data import chosen_tables
from .markdown import number, table
from .options import add_options, chosen, chosen_splits
from .records import RESULTS, Record, RecordStore
from .runner import Plan, Variant, run_plan
from .summary import current, less, means, runs
from .tables import summary_text

FOLDER = RESULTS / "ablation"
TABLES = ("brown_genes", "heart_disease", "sk_breast_cancer", "vehicle", "ravdess_emotion_ge2e", "sk_digits")
"""Some of every kind, small enough for all parts to take a few minutes."""
MEASURES = {"accuracy": (2, 100), "log_loss": (3, 1), "ece": (3, 1)}
"""Digits and scale."""


def equal_weights(combination: Combination) -> Combination:
    """Equal weights of the estimators instead of fitted ones."""
    return replace(combination, weights=uncalibrated(len(combination.weights)).weights)


def no_calibration(combination: Combination) -> Combination:
    """Fitted weights; each estimator read by its positive part, and no exponents."""
    return replace(uncalibrated(len(combination.weights)), weights=combination.weights, floor=combination.floor)


def no_logistic(combination: Combination) -> Combination:
    """Kernel and network alone."""
    return replace(combination, exponents=combination.exponents[:1])


COMBINATIONS = {"equal weights": equal_weights, "no calibration": no_calibration, "no logistic regression": no_logistic}


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


def _learned(**path: Any) -> dict[str, Any]:
    return {"estimator": "network", "path": LearnedPath(**path)}


def all_parts() -> dict[str, Part]:
    """The parts by their name on the command line, in the order of the page."""
    default = choice("default")
    return {
        "estimator": Part(
            "Estimators",
            "What estimates the code: kernel and network together, or one of them; one network or six instead of the default.",
            [
                default,
                *(choice(f"{name} alone", {"estimator": name}) for name in ("network", "kernel")),
                *(choice(f"{n} network{'s' * (n > 1)}", {"n_members": n}) for n in (1, 6)),
                *(choice(f"{name} kernel", {"kernel": name}) for name in ("gaussian", "laplacian")),
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
            "A network alone: on the exact path without time, or with time on a learned path, asked in ten exact steps. The "
            "paper matches targets at uniform times on a learned path and takes Euler steps.",
            [
                choice("exact path", {"estimator": "network"}),
                choice("learned, uniform times", _learned()),
                choice("the same, 10 Euler steps", _learned(), solver="euler"),
                choice("the same, 100 Euler steps", _learned(), solver="euler", n_steps=100),
                choice("learned, biased times", _learned(time_sampling="biased")),
                choice("learned, velocity", _learned(objective="velocity")),
                choice("learned, noise", _learned(objective="noise")),
            ],
        ),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, FOLDER, "--data-dir", "--tables", "--splits", "--again", splits="0,1")
    parser.add_argument("--only", help=f"parts, comma between, of {', '.join(all_parts())}")


def run(arguments: argparse.Namespace) -> int:
    """Run what is not recorded yet and print means; `render` makes the page."""
    keys = chosen(arguments.only, all_parts(), "part")
    parts = [part for key, part in all_parts().items() if key in keys]
    splits = chosen_splits(arguments.splits)
    tables = chosen_tables(arguments.tables, arguments.data_dir, TABLES)
    plan = Plan(
        list({one.label: one for part in parts for one in part.choices}.values()),
        tables,
        splits,
        arguments.data_dir,
        again=arguments.again,
        command=arguments.command_line,
    )
    store = RecordStore(arguments.output)
    n_failed = run_plan(plan, store)
    print(summary_text(plan.records(store), "default"))
    return int(n_failed > 0)


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without records."""
    folder = results / FOLDER.name
    records = current(RecordStore(folder).read())
    if not records:
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
    """
    Refuse to compare with a reference of other defaults.

    Raises
    ------
    ValueError
        If a choice differs from the reference in more than its parameters.
    """
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
