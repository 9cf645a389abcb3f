"""Gen-SER, EmoSphere-SER and SELM on one corpus with log-mel frames, beside linear models on statistics of the same frames."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf import EmoSphereRegressor, FbankFeaturizer, GenerativeTransportClassifier, SelmClassifier
from gendiffclf.metrics import concordance_scorer
from gendiffclf.speech import Evaluation, compare, evaluate, system_pipelines
from gendiffclf.speech.adaptation import few_shot
from gendiffclf.speech.ratings import evaluate_ratings
from gendiffclf.speech.system_pipelines import SMALL
from gendiffclf.speech.training import encode_clips

from . import avd
from .markdown import number, table
from .options import add_options, chosen
from .records import RESULTS, SCHEMA, new_record, read_record, write_record
from .speech import CORPORA, about_corpus, read_named_corpus
from .summary import Interval

RECORD = RESULTS / "systems.json"
FBANK: dict[str, Any] = {"n_mels": 40, "deltas": 2, "dither": 4.0}
FRAMES: dict[str, Any] = {**FBANK, **system_pipelines.FRAMES, "pooling": "none"}
OF_THE_RUN: dict[str, Any] = {"encoder": None, "device": "cpu", "precision": "float32", "random_state": 0}
N_INNER = 4
N_REPEATS = 10


class WithinSpeakers(GridSearchCV):
    """A search in folds of the training speakers, whom `evaluate` passes where `fit` names `groups`."""

    def fit(self, X: Any, y: Any, groups: Any = None) -> WithinSpeakers:
        """Search and fit."""
        return super().fit(X, np.asarray(y), groups=groups)


def _linear(model: BaseEstimator, parameter: str, values: list[float], scoring: Any = None) -> BaseEstimator:
    """A linear model on standardised features with one hyperparameter to choose."""
    return WithinSpeakers(
        make_pipeline(StandardScaler(), model), {parameter: values}, cv=GroupKFold(N_INNER), scoring=scoring
    )


def _emosphere(**changes: Any) -> Callable[[], BaseEstimator]:
    return lambda: EmoSphereRegressor(
        dimensions=list(avd.DIMENSIONS), value_range=avd.RANGE, **{**SMALL["emosphere"], **OF_THE_RUN, **changes}
    )


CLASSIFIERS: dict[str, tuple[str, Callable[[], BaseEstimator]]] = {
    "Gen-SER": ("statistics", lambda: GenerativeTransportClassifier(random_state=0)),
    "SELM": ("frames", lambda: SelmClassifier(**{**SMALL["selm"], **OF_THE_RUN})),
    "logistic regression": (
        "statistics",
        lambda: _linear(LogisticRegression(max_iter=2000), "logisticregression__C", [0.003, 0.01, 0.03, 0.1, 1.0]),
    ),
}
"""Features and maker of each classifier of labels; the last is the baseline."""
ADAPTABLE = ("Gen-SER", "SELM")
"""Those with `partial_fit`."""
REGRESSORS: dict[str, tuple[str, Callable[[], BaseEstimator]]] = {
    "EmoSphere-SER": ("frames", _emosphere()),
    "without the auxiliary task": ("frames", _emosphere(n_regions=None)),
    "auxiliary task of constant weight": ("frames", _emosphere(dynamic_weight=False)),
    "mean in place of style pooling": ("frames", _emosphere(pooling="mean")),
    "attentive statistics in place of style pooling": ("frames", _emosphere(pooling="attentive")),
    "ridge regression": (
        "statistics",
        lambda: _linear(Ridge(), "ridge__alpha", [10.0, 30.0, 100.0, 300.0, 1000.0], concordance_scorer),
    ),
}
"""Features and maker of each regressor of ratings; the first is the system, the last the baseline."""
TASKS = ("gender", "emotion")
RATINGS, FEW_SHOT = "ratings", "few-shot"
PARTS = (*TASKS, RATINGS, FEW_SHOT)
STATEMENTS = ("01", "02")
"""Said in what is learnt from, and in what is tested and adapted to, by other actors."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure (default: %(default)s)")
    parser.add_argument("--models", help="names of models, separated by commas (default: all)")
    add_options(parser, RECORD, "--corpus", "--n-folds", "--cache")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and record after each model."""
    for part in chosen(arguments.parts, PARTS, "--parts"):
        corpus = read_named_corpus(arguments.corpus, part if part in TASKS else "emotion")
        known: dict[str, Any] = REGRESSORS if part == RATINGS else CLASSIFIERS
        names = chosen(arguments.models, {**CLASSIFIERS, **REGRESSORS}, "--models")
        wanted = [name for name in (ADAPTABLE if part == FEW_SHOT else known) if name in names]
        found: dict[str, Any] = {}
        # What others are compared with comes first: the baseline, and the system whose parts are changed.
        first, *_, baseline = known
        for name in sorted(wanted, key=lambda name: (name != baseline, name != first)):
            row, found[name] = _measure(part, name, corpus, arguments)
            if name != baseline and baseline in found:
                row["less_baseline"] = _less(found[name], found[baseline])
            if part == RATINGS and name not in (first, baseline) and first in found:
                row["less_system"] = _less(found[name], found[first])
            _record(arguments, part, corpus, name, row)
            print(f"{part}, {name}:\n{found[name]}\n", flush=True)
    return 0


def _measure(part: str, name: str, corpus: pd.DataFrame, arguments: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    """What is recorded of a model in a part, and its evaluation."""
    kind, maker = (REGRESSORS if part == RATINGS else CLASSIFIERS)[name]
    featurizer = FbankFeaturizer(**(FRAMES if kind == "frames" else FBANK), cache=arguments.cache)
    # Apart from the time below.
    given = {"features": encode_clips(featurizer, corpus).rows, "n_folds": arguments.n_folds}
    begin, processor = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that a fold lacks, and the like
        if part == FEW_SHOT:
            learnt, tested = (corpus[corpus["statement"] == statement] for statement in STATEMENTS)
            found = few_shot(make_pipeline(featurizer, maker()), learnt, tested, n_repeats=N_REPEATS)
            row = {key: value for key, value in found.as_dict().items() if key != "about"}
        elif part == RATINGS:
            found = evaluate_ratings(maker(), avd.with_targets(corpus), **given)
            bounds = found.intervals()
            measures = {key: dict(zip(("low", "high"), bounds[key], strict=True)) for key in found.ccc}
            row = {"measures": {key: {"value": value, **measures[key]} for key, value in found.ccc.items()}}
        else:
            found = evaluate(maker(), corpus, **given)
            row = {"measures": found.intervals.to_dict("index")}
    return row | {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - processor}, found


def _less(found: Any, baseline: Any) -> dict[str, Any]:
    """Difference from the baseline on the same clips with its interval over speakers, in each measure."""
    if isinstance(found, Evaluation):
        return compare(found, baseline).differences[["difference", "low", "high"]].to_dict("index")
    return found.less(baseline)


def _record(arguments: argparse.Namespace, part: str, corpus: pd.DataFrame, name: str, row: dict[str, Any]) -> None:
    """Add a model to the record, which other commands may have added to meanwhile."""
    record = read_record(arguments.output) or {"schema": SCHEMA, "parts": {}}
    models = {**record["parts"].get(part, {}).get("models", {}), name: row}
    about = about_corpus(arguments.corpus, corpus, arguments.n_folds)
    settings = {"fbank": FBANK, "frames": FRAMES, **SMALL}
    record["parts"][part] = new_record(arguments.command_line, **about, settings=settings, models=models)
    write_record(record, arguments.output)


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without a record."""
    if (record := read_record(results / RECORD.name)) is None:
        return {}
    parts = record["parts"]
    first = next(iter(parts.values()))
    return {
        "parts": parts,
        "first": first,
        "corpus": CORPORA.get(first["corpus"], first["corpus"]),
        "fbank": ", ".join(f"`{name}={value:g}`" for name, value in first["settings"]["fbank"].items()),
        "labels": {task: _labels(parts[task]) for task in TASKS if task in parts},
        "ratings": _ratings(parts[RATINGS]) if RATINGS in parts else "",
        "targets": table(
            ("Strong emotion", *map(str.capitalize, avd.DIMENSIONS)),
            [[emotion, *map("{:g}".format, point)] for emotion, point in avd.POINTS.items()],
        ),
        "normal": avd.INTENSITIES["normal"],
        "few_shot": _few_shot(parts[FEW_SHOT]) if FEW_SHOT in parts else "",
        "shown": next(iter(parts[FEW_SHOT]["models"].values())) if FEW_SHOT in parts else {},
        "commands": [{**part, "label": name} for name, part in parts.items()],
    }


def _cells(part: dict[str, Any], known: Any, formats: dict[str, tuple[int, float]]) -> dict[str, list[str]]:
    """Measures of each model with intervals, the best in bold; of ECE less is better."""
    models = {name: part["models"][name]["measures"] for name in known if name in part["models"]}
    leaders = {m: (min if m == "ece" else max)(own[m]["value"] for own in models.values()) for m in formats}
    return {
        name: [Interval.of(own[m]).text(*form, best=own[m]["value"] == leaders[m]) for m, form in formats.items()]
        for name, own in models.items()
    }


def _difference(row: dict[str, Any], against: str, measure: str, digits: int, scale: float = 1) -> str:
    return Interval.of(row[against][measure]).difference(digits, scale) if against in row else "–"


def _labels(part: dict[str, Any]) -> str:
    rows = []
    for name, cells in _cells(part, CLASSIFIERS, {"wa": (1, 100), "uar": (1, 100), "ece": (3, 1)}).items():
        row = part["models"][name]
        seconds = number(row["cpu_seconds"] / part["n_folds"], 1)
        rows.append([name, *cells, _difference(row, "less_baseline", "uar", 1, 100), seconds])
    baseline = list(CLASSIFIERS)[-1]
    header = ("Model", "WA, %", "UAR, %", "ECE", f"UAR less {baseline}, points", "Processor time a fold, s")
    return table(header, rows)


def _ratings(part: dict[str, Any]) -> str:
    rows = []
    for name, cells in _cells(part, REGRESSORS, dict.fromkeys((*avd.DIMENSIONS, "mean"), (3, 1))).items():
        compared = (_difference(part["models"][name], f"less_{of}", "mean", 3) for of in ("baseline", "system"))
        rows.append([name, *(cell.partition(" (")[0] for cell in cells[:-1]), cells[-1], *compared])
    system, *_, baseline = REGRESSORS
    differences = (f"Mean less {baseline}", f"Mean less {system}")
    return table(("Model", *map(str.capitalize, avd.DIMENSIONS), "Mean CCC", *differences), rows)


def _few_shot(part: dict[str, Any]) -> str:
    rows = []
    for name in (name for name in CLASSIFIERS if name in part["models"]):
        summary = part["models"][name]["summary"]
        rows.append([name, *(Interval(row["uar"], row["uar_low"], row["uar_high"]).text(1, 100) for row in summary)])
        gains = ([row[f"uar_gain{end}"] for end in ("", "_low", "_high")] for row in summary if row["shots"])
        rows.append(["– gain over no shots", "", *(Interval(*gain).difference(1, 100) for gain in gains)])
    shots = (f"{row['shots']} a class" if row["shots"] else "no shots" for row in summary)
    return table(("System", *shots), rows)
