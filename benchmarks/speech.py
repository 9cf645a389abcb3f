"""Emotion and gender from speech: features and classifiers on folds of whole speakers, with intervals over speakers."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import combinations, product
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from gendiffclf import AcousticFeaturizer, FbankFeaturizer, FeatureCache
from gendiffclf.featurizers import EgemapsFeaturizer, FunctionFeaturizer, SpeakerNormalizer
from gendiffclf.speech import Evaluation, audit, compare, evaluate, read_corpus
from gendiffclf.speech.names import LOWER_IS_BETTER, TITLES
from gendiffclf.speech.training import encode_clips

from . import encoding
from .markdown import table
from .models import NAMES, configuration, create_model
from .options import add_options, chosen
from .records import RESULTS, new_record, read_record, write_record
from .summary import Interval

RECORD = RESULTS / "speech.json"
TASKS = ("emotion", "gender")


class SpeakerCalibratedSVC(ClassifierMixin, BaseEstimator):
    """An SVM whose labels are its own, and whose probabilities are calibrated on speakers it has not learnt from."""

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray) -> Self:
        """Fit to all rows, and the calibration to what folds of the groups say."""
        n_folds = min(5, len(np.unique(groups)))
        folds = list(StratifiedGroupKFold(n_folds).split(X, y, groups))
        self.calibrated_ = CalibratedClassifierCV(SVC(C=self.C), ensemble=False, cv=folds).fit(X, y)
        self.classes_ = self.calibrated_.classes_
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the labels of the SVM."""
        return self.calibrated_.calibrated_classifiers_[0].estimator.predict(X)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities in the order of `classes_`."""
        return self.calibrated_.predict_proba(X)


MODELS: dict[str, Callable[[], list[BaseEstimator]]] = {
    "ours": lambda: [create_model("ours")],
    "logreg": lambda: [StandardScaler(), LogisticRegression(max_iter=2000)],
    "svm": lambda: [StandardScaler(), SpeakerCalibratedSVC()],
    "svm_c10": lambda: [StandardScaler(), SpeakerCalibratedSVC(C=10.0)],
}
"""Steps of a pipeline, after those of the features."""


def ge2e(cache: Any) -> FunctionFeaturizer:
    """The pretrained GE2E encoder of the package resemblyzer, whose wheel holds the weights."""
    try:
        from resemblyzer import VoiceEncoder, preprocess_wav
    except ImportError as error:
        raise ImportError(
            "The features ge2e need resemblyzer: pip install librosa; pip install --no-deps resemblyzer."
        ) from error
    encoder, name = VoiceEncoder("cpu", verbose=False), f"resemblyzer {version('resemblyzer')}"
    return FunctionFeaturizer(
        lambda samples: encoder.embed_utterance(preprocess_wav(samples)), name, 16000, cache=cache
    )


FEATURES: dict[str, tuple[Callable[[Any], Any], list[BaseEstimator]]] = {
    "acoustic": (lambda cache: AcousticFeaturizer(cache=cache), []),
    "acoustic_speaker": (lambda cache: AcousticFeaturizer(cache=cache), [SpeakerNormalizer()]),
    "egemaps": (lambda cache: EgemapsFeaturizer(cache=cache), []),
    "egemaps_speaker": (lambda cache: EgemapsFeaturizer(cache=cache), [SpeakerNormalizer()]),
    "fbank": (lambda cache: FbankFeaturizer(cache=cache), []),
    "ge2e": (ge2e, []),
}
"""A featuriser with its cache, and the steps that follow it."""


TEXTS = {
    "acoustic": ("acoustic", "`AcousticFeaturizer()`: spectrum, pitch and voicing; it needs no further package"),
    "acoustic_speaker": ("acoustic, speaker-normalised", "the same, then `SpeakerNormalizer()`"),
    "egemaps": ("eGeMAPS", "`EgemapsFeaturizer()`: acoustic parameters of openSMILE, free for research only"),
    "egemaps_speaker": ("eGeMAPS, speaker-normalised", "the same, then `SpeakerNormalizer()`"),
    "fbank": ("log-mel statistics", "`FbankFeaturizer()`, which needs no further package"),
    "ge2e": (
        "GE2E",
        "a pretrained speaker encoder, [through `FunctionFeaturizer`](gender.md#with-a-pretrained-encoder)",
    ),
}
"""Name and description of features on the page."""
PEERS = {"svm": "SVM", "svm_c10": "SVM, C = 10", **NAMES}
CORPORA = {"ravdess": "RAVDESS (speech)", "emodb": "EmoDB", "crema-d": "CREMA-D", "meld": "MELD"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    for name, known in {"features": FEATURES, "models": MODELS, "tasks": TASKS}.items():
        parser.add_argument(f"--{name}", help=f"some of {','.join(known)} (default: all)")
    add_options(parser, RECORD, "--corpus", "--n-folds", "--cache")


def read_named_corpus(text: str, target: str) -> pd.DataFrame:
    """Table of `LAYOUT=FOLDER`, or of a CSV file."""
    layout, equals, folder = text.partition("=")
    return read_corpus(folder, layout=layout, target=target) if equals else read_corpus(text, target=target)


def about_corpus(text: str, corpus: pd.DataFrame, n_folds: int) -> dict[str, Any]:
    """What a record says of a corpus, and the number of folds."""
    name = text.partition("=")[0] if "=" in text else Path(text).name
    return {"corpus": name, "n_clips": len(corpus), "n_speakers": corpus["speaker"].nunique(), "n_folds": n_folds}


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    features = chosen(arguments.features, FEATURES, "--features")
    models, tasks = chosen(arguments.models, MODELS, "--models"), chosen(arguments.tasks, TASKS, "--tasks")
    cache = FeatureCache(arguments.cache) if arguments.cache else True
    corpora = {task: read_named_corpus(arguments.corpus, task) for task in tasks}  # the same clips in the same order
    corpus = corpora[tasks[0]]
    encoded = {name: encode_clips(FEATURES[name][0](cache), corpus) for name in features}
    record = new_record(
        arguments.command_line,
        **about_corpus(arguments.corpus, corpus, arguments.n_folds),
        audit=dict(Counter(finding.code for finding in audit(corpus).findings)),
        features={
            name: {"n_values": found.rows.shape[1], "n_broken": len(found.failures)} for name, found in encoded.items()
        },
        models={name: configuration(make_pipeline(*MODELS[name]())) for name in models},
        tasks={},
    )
    for task, clips in corpora.items():
        evaluations, results = {}, []
        for name, model in product(features, models):
            pipeline = make_pipeline(*map(clone, FEATURES[name][1]), *MODELS[model]())
            found = evaluate(pipeline, clips, n_folds=arguments.n_folds, features=encoded[name].rows)
            folds = found.folds.drop(columns="fold").to_dict("records")
            measures = found.intervals.to_dict("index")
            results.append({"features": name, "model": model, "measures": measures, "folds": folds})
            evaluations[name, model] = found
            print(f"{task} {name} {model}: UAR {found.intervals.loc['uar', 'value']:.3f}", flush=True)
        compared = comparisons_of(evaluations, features, models)
        classes = sorted(clips["label"].unique())
        record["tasks"][task] = {"classes": classes, "results": results, "comparisons": compared}
    write_record(record, arguments.output)
    return 0


def comparisons_of(
    evaluations: dict[tuple[str, str], Evaluation], features: Sequence[str], models: Sequence[str]
) -> list[dict[str, Any]]:
    """Paired comparisons: the first model with every other on the same features, and all features under the first model."""
    first, *peers = models
    of_peers = [
        {"features": name, **compare(evaluations[name, first], evaluations[name, peer], names=(first, peer)).as_dict()}
        for name, peer in product(features, peers)
    ]
    of_features = [
        {"model": first, **compare(evaluations[a, first], evaluations[b, first], names=(a, b)).as_dict()}
        for a, b in combinations(features, 2)
    ]
    return of_peers + of_features


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without a record."""
    if (record := read_record(results / RECORD.name)) is None:
        return {}
    tasks = record["tasks"]
    widths = {
        name: median(row["measures"]["uar"]["high"] - row["measures"]["uar"]["low"] for row in task["results"])
        for name, task in tasks.items()
    }
    return {
        "record": record,
        "corpus": CORPORA.get(record["corpus"], record["corpus"]),
        "in_short": {name: _in_short(task) for name, task in tasks.items()},
        "how_sure": [f"{width / 2:.3f} for {name}" for name, width in widths.items()],
        "texts": TEXTS,
        "differences": {name: _differences(task) for name, task in tasks.items()},
        "figures": _figures,
        "encoding": encoding.context(results),
    }


def better(compared: dict[str, Any], measure: str) -> int:
    """1 where the first of two is better beyond chance, -1 where it is worse, else 0."""
    return Interval.of(compared["differences"][measure]).verdict(measure not in LOWER_IS_BETTER)


def _in_short(task: dict[str, Any]) -> str:
    """The best features of the first model, and how it does beside the others."""
    subject = task["results"][0]["model"]
    own = {row["features"]: row["measures"]["uar"] for row in task["results"] if row["model"] == subject}
    best = max(own, key=lambda name: own[name]["value"])
    text = f"`{subject}` has its highest UAR, {Interval.of(own[best]).text(3)}, on {TEXTS[best][0]}"
    rivals = [row for row in task["comparisons"] if "model" in row and best in row["names"]]
    undecided = [
        TEXTS[next(name for name in row["names"] if name != best)][0]
        for row in rivals
        if better(row, "uar") != (1 if row["names"][0] == best else -1)
    ]
    if rivals:
        beyond = f"all other features but {' and '.join(sorted(undecided))}" if undecided else "the other features"
        text += f"; the differences from its UAR on {beyond} have intervals that exclude zero"
    if peers := [row for row in task["comparisons"] if "features" in row]:
        said = []
        for measure in ("uar", "log_loss"):
            verdicts = [better(row, measure) for row in peers]
            said.append(f"better in {TITLES[measure]} in {verdicts.count(1)} and worse in {verdicts.count(-1)}")
        text += f". Of {len(peers)} comparisons with another classifier on the same features, `{subject}` is "
        text += f"{', '.join(said)}; the rest are undecided"
    return text


def _differences(task: dict[str, Any]) -> str:
    rows = [
        [f"{TEXTS[row['features']][0]}: {PEERS[row['names'][1]]}"]
        + [Interval.of(row["differences"][measure]).difference(3) for measure in ("uar", "log_loss")]
        for row in task["comparisons"]
        if "features" in row
    ]
    return table(("Compared with", "UAR", "Log-loss"), rows)


def _figures(task: dict[str, Any], *measures: str) -> str:
    """Measures of all features and classifiers."""
    rows = [
        [f"{TEXTS[row['features']][0]}: {PEERS.get(row['model'], row['model'])}"]
        + [Interval.of(row["measures"][measure]).text(3) for measure in measures]
        for row in task["results"]
    ]
    return table(("Features: classifier", *(TITLES[measure] for measure in measures)), rows)
