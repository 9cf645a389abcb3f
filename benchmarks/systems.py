"""Gen-SER, EmoSphere-SER and SELM on one corpus with log-mel frames, beside linear models on statistics of the same frames."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf import (
    EmoSphereRegressor,
    FbankFeaturizer,
    FeatureCache,
    GenerativeTransportClassifier,
    SelmClassifier,
)
from gendiffclf.metrics import concordance_scorer
from gendiffclf.speech import Evaluation, compare, evaluate, system_pipelines
from gendiffclf.speech.adaptation import FewShot, few_shot
from gendiffclf.speech.ratings import RatingEvaluation, evaluate_ratings
from gendiffclf.speech.system_pipelines import SMALL
from gendiffclf.speech.training import encode_clips

from .avd import DIMENSIONS, RANGE, with_targets
from .provenance import provenance, read_record, write_record
from .records import SCHEMA
from .speech import add_corpus_argument, read_named_corpus

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path("benchmarks/results/systems.json")
FBANK: dict[str, Any] = {"n_mels": 40, "deltas": 2, "dither": 4.0}
FRAMES: dict[str, Any] = {**FBANK, **system_pipelines.FRAMES, "pooling": "none"}
EPOCHS = {"gender": 6, "emotion": 30}
"""Of SELM; gender is learnt sooner."""
OF_THE_RUN: dict[str, Any] = {"encoder": None, "device": "cpu", "precision": "float32", "random_state": 0}
N_INNER = 4
N_REPEATS = 10


class WithinSpeakers(BaseEstimator):
    """A linear model on standardised features, its one hyperparameter chosen in folds of the training speakers."""

    def __init__(self, model: Any, grid: dict[str, list[float]], scoring: Any = None) -> None:
        self.model = model
        self.grid = grid
        self.scoring = scoring

    def fit(self, X: Any, y: Any, groups: Any = None) -> WithinSpeakers:
        """Search and fit."""
        (step,) = (name for name, _ in make_pipeline(self.model).steps)
        grid = {f"{step}__{name}": values for name, values in self.grid.items()}
        search = GridSearchCV(
            make_pipeline(StandardScaler(), self.model), grid, cv=GroupKFold(N_INNER), scoring=self.scoring
        )
        self.search_ = search.fit(X, np.asarray(y), groups=groups)
        if hasattr(self.search_, "classes_"):
            self.classes_ = self.search_.classes_
        return self

    def predict(self, X: Any) -> Any:
        """Predict by the best."""
        return self.search_.predict(X)

    def predict_proba(self, X: Any) -> Any:
        """Probabilities by the best."""
        return self.search_.predict_proba(X)


def _logreg() -> BaseEstimator:
    return WithinSpeakers(LogisticRegression(max_iter=2000), {"C": [0.003, 0.01, 0.03, 0.1, 1.0]})


def _ridge() -> BaseEstimator:
    return WithinSpeakers(Ridge(), {"alpha": [10.0, 30.0, 100.0, 300.0, 1000.0]}, concordance_scorer)


def _emosphere(**changes: Any) -> Callable[[], BaseEstimator]:
    return lambda: EmoSphereRegressor(
        dimensions=list(DIMENSIONS), value_range=RANGE, **{**SMALL["emosphere"], **OF_THE_RUN, **changes}
    )


CLASSIFIERS: dict[str, tuple[str, Callable[[str], BaseEstimator]]] = {
    "Gen-SER": ("statistics", lambda task: GenerativeTransportClassifier(random_state=0)),
    "SELM": ("frames", lambda task: SelmClassifier(**{**SMALL["selm"], **OF_THE_RUN, "n_epochs": EPOCHS[task]})),
    "logistic regression": ("statistics", lambda task: _logreg()),
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
    "ridge regression": ("statistics", _ridge),
}
"""Features and maker of each regressor of ratings; the first is the system, the last the baseline."""
TASKS = ("gender", "emotion")
RATINGS, FEW_SHOT = "ratings", "few-shot"
PARTS = (*TASKS, RATINGS, FEW_SHOT)
STATEMENTS = ("01", "02")
"""Said in what is learnt from, and in what is tested and adapted to, by other actors."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_corpus_argument(parser)
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure (default: %(default)s)")
    parser.add_argument("--models", help="names of models, separated by commas (default: all)")
    parser.add_argument("--n-folds", type=int, default=5, help="folds of whole speakers (default: %(default)s)")
    parser.add_argument("--cache", help="folder of the features (default: the user's own)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the record (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and record after each model."""
    parts = arguments.parts.split(",")
    if unknown := [name for name in parts if name not in PARTS]:
        raise ValueError(f"Got --parts {','.join(unknown)}, expected some of {','.join(PARTS)}.")
    cache = FeatureCache(arguments.cache) if arguments.cache else True
    for part in parts:
        corpus = read_named_corpus(arguments.corpus, part if part in TASKS else "emotion")
        known: dict[str, Any] = REGRESSORS if part == RATINGS else CLASSIFIERS
        wanted = [name for name in known if arguments.models is None or name in arguments.models.split(",")]
        if part == FEW_SHOT:
            wanted = [name for name in wanted if name in ADAPTABLE]
        found: dict[str, Any] = {}
        # What others are compared with comes first: the baseline, and the system whose parts are changed.
        first, *_, baseline = known
        for name in sorted(wanted, key=lambda name: (name != baseline, name != first)):
            kind, maker = known[name]
            featurizer = FbankFeaturizer(**(FRAMES if kind == "frames" else FBANK), cache=cache)
            encoded = encode_clips(featurizer, corpus)  # apart from the time below
            begin, processor = time.perf_counter(), time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of classes that a fold lacks, and the like
                if part == FEW_SHOT:
                    row, found[name] = _measure_few_shot(make_pipeline(featurizer, maker("emotion")), corpus)
                elif part == RATINGS:
                    row, found[name] = _measure_ratings(maker(), corpus, encoded.rows, arguments.n_folds)
                else:
                    row, found[name] = _measure_labels(maker(part), corpus, encoded.rows, arguments.n_folds)
            row |= {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - processor}
            if name != baseline and baseline in found:
                row["less_baseline"] = _less(found[name], found[baseline])
            if part == RATINGS and name not in (first, baseline) and first in found:
                row["less_system"] = _less(found[name], found[first])
            _record(arguments, part, corpus, name, row)
            print(f"{part}, {name}:\n{found[name]}\n", flush=True)
    return 0


def _measure_few_shot(pipeline: Any, corpus: pd.DataFrame) -> tuple[dict[str, Any], FewShot]:
    learnt, tested = (corpus[corpus["statement"] == statement] for statement in STATEMENTS)
    found = few_shot(pipeline, learnt, tested, n_repeats=N_REPEATS)
    kept = {name: value for name, value in found.as_dict().items() if name != "about"}
    return kept, found


def _measure_labels(
    model: BaseEstimator, corpus: pd.DataFrame, rows: Any, n_folds: int
) -> tuple[dict[str, Any], Evaluation]:
    found = evaluate(model, corpus, features=rows, n_folds=n_folds)
    return {"measures": found.intervals.to_dict("index")}, found


def _measure_ratings(
    model: BaseEstimator, corpus: pd.DataFrame, rows: Any, n_folds: int
) -> tuple[dict[str, Any], RatingEvaluation]:
    found = evaluate_ratings(model, with_targets(corpus), features=rows, n_folds=n_folds)
    bounds = found.intervals()
    measures = {
        name: {"value": value, "low": bounds[name][0], "high": bounds[name][1]} for name, value in found.ccc.items()
    }
    return {"measures": measures}, found


def _less(found: Any, baseline: Any) -> dict[str, Any]:
    """Difference from the baseline on the same clips with its interval over speakers, in each measure."""
    if isinstance(found, Evaluation):
        return compare(found, baseline).differences[["difference", "low", "high"]].to_dict("index")
    return found.less(baseline)


def _record(arguments: argparse.Namespace, part: str, corpus: pd.DataFrame, name: str, row: dict[str, Any]) -> None:
    """Add a model to the record, which other commands may have added to meanwhile."""
    record = read_record(arguments.output) or {"schema": SCHEMA, "parts": {}}
    made = {
        **provenance(arguments.command_line),
        "corpus": arguments.corpus.partition("=")[0],
        "n_clips": len(corpus),
        "n_speakers": int(corpus["speaker"].nunique()),
        "n_folds": arguments.n_folds,
        "settings": {"fbank": FBANK, "frames": FRAMES, "epochs": EPOCHS, **SMALL},
    }
    models = record["parts"].get(part, {}).get("models", {})
    record["parts"][part] = {**made, "models": {**models, name: row}}
    write_record(record, arguments.output)
