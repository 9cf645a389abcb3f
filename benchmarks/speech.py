"""Emotion and gender from speech: features and classifiers on folds of whole speakers, with intervals over speakers."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import combinations, product
from pathlib import Path
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

from gendiffclf import AcousticFeaturizer, FbankFeaturizer
from gendiffclf.featurizers import EgemapsFeaturizer, FunctionFeaturizer, SpeakerNormalizer
from gendiffclf.speech import Evaluation, audit, compare, evaluate, read_corpus
from gendiffclf.speech.training import ClipFeatures, encode_clips

from .models import configuration, create_model
from .options import add_options, chosen
from .records import RESULTS, new_record, write_record

FOLDER = RESULTS / "speech"
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


KINDS: dict[str, Callable[[Any], Any]] = {
    "acoustic": lambda cache: AcousticFeaturizer(cache=cache),
    "egemaps": lambda cache: EgemapsFeaturizer(cache=cache),
    "fbank": lambda cache: FbankFeaturizer(cache=cache),
    "ge2e": ge2e,
}
"""Featurisers with their cache."""
FEATURES: dict[str, tuple[tuple[str, ...], list[BaseEstimator]]] = {
    "acoustic": (("acoustic",), []),
    "acoustic_speaker": (("acoustic",), [SpeakerNormalizer()]),
    "egemaps": (("egemaps",), []),
    "egemaps_speaker": (("egemaps",), [SpeakerNormalizer()]),
    "fbank": (("fbank",), []),
    "ge2e": (("ge2e",), []),
    "acoustic_ge2e": (("acoustic", "ge2e"), []),
    "acoustic_ge2e_speaker": (("acoustic", "ge2e"), [SpeakerNormalizer()]),
}
"""Featurisers whose rows are joined, and the steps that follow them."""


CORPORA = {"ravdess": "RAVDESS (speech)", "emodb": "EmoDB", "nemo": "nEMO", "urdu": "URDU"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    for name, known in {"features": FEATURES, "models": MODELS, "tasks": TASKS}.items():
        parser.add_argument(f"--{name}", help=f"some of {','.join(known)} (default: all)")
    add_options(parser, FOLDER, "--corpus", "--n-folds", "--cache")


def read_named_corpus(text: str, target: str) -> pd.DataFrame:
    """Table of `LAYOUT=FOLDER`, or of a CSV file."""
    layout, equals, folder = text.partition("=")
    return read_corpus(folder, layout=layout, target=target) if equals else read_corpus(text, target=target)


def about_corpus(text: str, corpus: pd.DataFrame, n_folds: int) -> dict[str, Any]:
    """What a record says of a corpus, and the number of folds."""
    name = text.partition("=")[0] if "=" in text else Path(text).name
    return {"corpus": name, "n_clips": len(corpus), "n_speakers": corpus["speaker"].nunique(), "n_folds": n_folds}


def features_of_task(task: str, features: Sequence[str]) -> list[str]:
    """Those with which a task is tried: not gender with normalisation by speaker, which removes much of it."""
    return [name for name in features if task == "emotion" or not FEATURES[name][1]]


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    features = chosen(arguments.features, FEATURES, "--features")
    models, tasks = chosen(arguments.models, MODELS, "--models"), chosen(arguments.tasks, TASKS, "--tasks")
    corpora = {task: read_named_corpus(arguments.corpus, task) for task in tasks}  # the same clips in the same order
    corpus = corpora[tasks[0]]
    encoded = encode_kinds(features, corpus, arguments.cache)
    rows = {name: np.hstack([encoded[kind].rows for kind in FEATURES[name][0]]) for name in features}
    record = new_record(
        arguments.command_line,
        **about_corpus(arguments.corpus, corpus, arguments.n_folds),
        audit=dict(Counter(finding.code for finding in audit(corpus).findings)),
        features={
            name: {
                "n_values": rows[name].shape[1],
                "n_broken": len(set().union(*(encoded[kind].failures for kind in FEATURES[name][0]))),
            }
            for name in features
        },
        models={name: configuration(make_pipeline(*MODELS[name]())) for name in models},
        tasks={},
    )
    for task, clips in corpora.items():
        evaluations, results = {}, []
        tried = features_of_task(task, features)
        for name, model in product(tried, models):
            pipeline = make_pipeline(*map(clone, FEATURES[name][1]), *MODELS[model]())
            found = evaluate(pipeline, clips, n_folds=arguments.n_folds, features=rows[name])
            folds = found.folds.drop(columns="fold").to_dict("records")
            measures = found.intervals.to_dict("index")
            results.append({"features": name, "model": model, "measures": measures, "folds": folds})
            evaluations[name, model] = found
            print(f"{task} {name} {model}: UAR {found.intervals.loc['uar', 'value']:.3f}", flush=True)
        compared = comparisons_of(evaluations, tried, models)
        classes = sorted(clips["label"].unique())
        record["tasks"][task] = {"classes": classes, "results": results, "comparisons": compared}
    write_record(record, arguments.output / f"{record['corpus']}.json")
    return 0


def encode_kinds(features: Sequence[str], corpus: pd.DataFrame, cache: Any) -> dict[str, ClipFeatures]:
    """Encode the clips by each of `KINDS` that some of `FEATURES` consist of."""
    kinds = dict.fromkeys(kind for name in features for kind in FEATURES[name][0])
    return {kind: encode_clips(KINDS[kind](cache), corpus) for kind in kinds}


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
