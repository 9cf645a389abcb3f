"""Measure what each part of the method is worth: the default classifier beside variants that differ in one thing."""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators.combination import Combination, uncalibrated
from gendiffclf.transport.codes import label_codes
from gendiffclf.transport.learned import LearnedPath

from .data import SUBSETS, chosen_tables, load_table, split_rows
from .models import configuration
from .provenance import provenance, write_record
from .records import RecordStore
from .runner import Plan, Variant, run_plan
from .tables import of_plan, parse_splits, summary_text

RESULTS = Path("benchmarks/results/ablation")
TABLES = ("brown_genes", "heart_disease", "sk_breast_cancer", "vehicle", "ravdess_emotion_ge2e", "sk_digits")
"""Some of every kind, small enough for all parts to take a few minutes."""
AGREEMENT = "agreement"
STEPS = (1, 4, 20, 100)
SOLVERS = ("exact", "euler", "midpoint")


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
    """
    A classifier of which something is changed after the fit.

    Parameters
    ----------
    estimator : GenerativeTransportClassifier
    after : dict
        Parameters of the fitted path, or `"combination"` with a key of `COMBINATIONS`.
    """

    last_fit: tuple[Any, Any] = (None, None)
    """What was fitted last to which rows: choices that differ after the fit alone share it, if they run one after the other."""

    def __init__(self, estimator: GenerativeTransportClassifier, after: dict[str, Any]) -> None:
        self.estimator = estimator
        self.after = after

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> AfterFit:
        """Fit, or take the fit of another, and change a copy."""
        key = json.dumps(configuration(self.estimator), sort_keys=True), X.tobytes(), np.asarray(y, str).tobytes()
        if AfterFit.last_fit[0] != key:
            AfterFit.last_fit = key, clone(self.estimator).fit(X, y, groups=groups)
        self.fitted_ = copy.deepcopy(AfterFit.last_fit[1])
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
    parser.add_argument("--data-dir", type=Path, help="folder with tabular/*.csv.gz; else only scikit-learn's tables")
    parser.add_argument("--tables", help=f"names, or {', '.join(SUBSETS)}, comma between (default: {','.join(TABLES)})")
    parser.add_argument("--splits", default="0,1", help="(default: %(default)s)")
    parser.add_argument("--only", help=f"parts, comma between, of {', '.join([*all_parts(), AGREEMENT])}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of records (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="run also what is recorded; the later record counts")


def run(arguments: argparse.Namespace) -> int:
    """Run what is not recorded yet and print means; `render` makes the page."""
    known = [*all_parts(), AGREEMENT]
    keys = known if arguments.only is None else arguments.only.split(",")
    if unknown := [key for key in keys if key not in known]:
        raise ValueError(f"Got part {', '.join(unknown)}, expected some of {', '.join(known)}.")
    parts = [part for key, part in all_parts().items() if key in keys]
    splits, tables = parse_splits(arguments.splits), chosen_tables(arguments.tables, arguments.data_dir, TABLES)
    n_failed = 0
    if parts:
        store = RecordStore(arguments.output)
        plan = Plan(
            distinct(parts), tables, splits, arguments.data_dir, again=arguments.again, command=arguments.command_line
        )
        n_failed = run_plan(plan, store, lambda line: print(line, flush=True))
        print(summary_text(of_plan(store.read(), plan), "default"))
    if AGREEMENT in keys:
        found = [agreement(table, split, arguments.data_dir) for table in tables for split in splits]
        write_record({**provenance(arguments.command_line), "runs": found}, arguments.output / f"{AGREEMENT}.json")
    return int(n_failed > 0)


def distinct(parts: Sequence[Part]) -> list[Choice]:
    """Choices of some parts, each label once, those that share a fit one after the other, the one as fitted first."""
    by_fit: dict[str, dict[str, Choice]] = {}
    for one in (one for part in parts for one in part.choices):
        by_fit.setdefault(str(configuration(one.create().estimator)), {})[one.label] = one
    return [one for same in by_fit.values() for one in sorted(same.values(), key=lambda one: len(one.after))]


def agreement(name: str, split: int, data_dir: Path | None) -> dict[str, Any]:
    """Shares of test rows that end nearest to the code of their most probable class, by solver and steps."""
    table = load_table(name, data_dir)
    train, test = split_rows(table, split)
    groups = None if table.groups is None else table.groups[train]
    classifier = GenerativeTransportClassifier(random_state=0).fit(table.X[train], table.y[train], groups=groups)
    probable = classifier.predict_proba(table.X[test]).argmax(1)
    shares: dict[str, dict[int, float]] = {solver: {} for solver in SOLVERS}
    for solver in SOLVERS:
        for n_steps in STEPS:
            ends = classifier.transport(table.X[test], n_steps=n_steps, solver=solver)  # (n, L)
            codes = label_codes(classifier.codes, len(classifier.classes_), ends.shape[1])  # (K, L), of one length
            shares[solver][n_steps] = float(((ends @ codes.T).argmax(1) == probable).mean())
    print(f"{AGREEMENT} {name}/{split}: done", flush=True)
    return {"table": name, "split": split, "shares": shares}
