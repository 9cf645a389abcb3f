"""Emotion and gender from speech: features and classifiers on folds of whole speakers, with intervals over speakers."""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from gendiffclf import FbankFeaturizer, FeatureCache
from gendiffclf.featurizers import EgemapsFeaturizer, FunctionFeaturizer, SpeakerNormalizer
from gendiffclf.speech import Evaluation, audit, compare, evaluate, read_corpus
from gendiffclf.speech.corpora import clips
from gendiffclf.speech.training import encode_clips

from .models import configuration, create_model
from .provenance import provenance, write_record

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path("benchmarks/results/speech.json")
TASKS = ("emotion", "gender")


class SpeakerCalibratedSVC(ClassifierMixin, BaseEstimator):
    """
    An SVM whose labels are its own, and whose probabilities are calibrated on speakers it has not learnt from.

    Parameters
    ----------
    C : float, default=1.0
    """

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
    "egemaps": (lambda cache: EgemapsFeaturizer(cache=cache), []),
    "egemaps_speaker": (lambda cache: EgemapsFeaturizer(cache=cache), [SpeakerNormalizer()]),
    "fbank": (lambda cache: FbankFeaturizer(cache=cache), []),
    "ge2e": (ge2e, []),
}
"""A featuriser with its cache, and the steps that follow it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_corpus_argument(parser)
    for name, known in {"features": FEATURES, "models": MODELS, "tasks": TASKS}.items():
        parser.add_argument(f"--{name}", default=",".join(known), help="some of (default: %(default)s)")
    parser.add_argument("--n-folds", type=int, default=5, help="folds of whole speakers (default: %(default)s)")
    parser.add_argument("--cache", help="folder of the features (default: the user's own)")
    parser.add_argument("--originals", type=Path, help="folder of the same clips as published, to compare labels with")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the record (default: %(default)s)")


def add_corpus_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--corpus LAYOUT=FOLDER`."""
    parser.add_argument("--corpus", required=True, metavar="LAYOUT=FOLDER", help="a corpus, such as ravdess=FOLDER")


def read_named_corpus(text: str, target: str) -> pd.DataFrame:
    """Table of `LAYOUT=FOLDER`, or of a CSV file."""
    layout, equals, folder = text.partition("=")
    return read_corpus(folder, layout=layout, target=target) if equals else read_corpus(text, target=target)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    features = _names(arguments.features, FEATURES, "--features")
    models, tasks = _names(arguments.models, MODELS, "--models"), _names(arguments.tasks, TASKS, "--tasks")
    cache = FeatureCache(arguments.cache) if arguments.cache else True
    corpora = {task: read_named_corpus(arguments.corpus, task) for task in tasks}  # the same clips in the same order
    corpus = corpora[tasks[0]]
    encoded = {name: encode_clips(FEATURES[name][0](cache), corpus) for name in features}
    record: dict[str, Any] = {
        **provenance(arguments.command_line),
        "corpus": arguments.corpus.partition("=")[0] if "=" in arguments.corpus else Path(arguments.corpus).name,
        "n_clips": len(corpus),
        "n_speakers": int(corpus["speaker"].nunique()),
        "n_folds": arguments.n_folds,
        "audit": dict(Counter(finding.code for finding in audit(corpus).findings)),
        "features": {
            name: {"n_values": found.rows.shape[1], "n_broken": len(found.failures)} for name, found in encoded.items()
        },
        "models": {name: configuration(make_pipeline(*MODELS[name]())) for name in models},
        "tasks": {},
    }
    for task, table in corpora.items():
        evaluations = {}
        for name in features:
            for model in models:
                pipeline = pipeline_of(name, model)
                evaluations[name, model] = evaluate(
                    pipeline, table, n_folds=arguments.n_folds, features=encoded[name].rows
                )
                uar, low, high = evaluations[name, model].intervals.loc["uar"]
                print(f"{task} {name} {model}: UAR {uar:.3f} ({low:.3f} to {high:.3f})", flush=True)
        record["tasks"][task] = {
            "classes": sorted(table["label"].unique()),
            "results": results(evaluations),
            "comparisons": comparisons(evaluations),
        }
    if arguments.originals is not None:
        record["originals"] = compare_originals(arguments, cache)
    write_record(record, arguments.output)
    return 0


def pipeline_of(features: str, model: str) -> Pipeline:
    """What follows the featuriser: steps of the features, and the classifier."""
    return make_pipeline(*map(clone, FEATURES[features][1]), *MODELS[model]())


def results(evaluations: dict[tuple[str, str], Evaluation]) -> list[dict[str, Any]]:
    """A record of each evaluation: measures over all clips with intervals over speakers, and those of each fold."""
    return [
        {
            "features": features,
            "model": model,
            "measures": found.intervals.to_dict("index"),
            "folds": found.folds.drop(columns="fold").to_dict("records"),
        }
        for (features, model), found in evaluations.items()
    ]


def comparisons(evaluations: dict[tuple[str, str], Evaluation]) -> list[dict[str, Any]]:
    """Paired comparisons: the first model with every other on the same features, and all features under the first model."""
    features, models = (list(dict.fromkeys(names)) for names in zip(*evaluations, strict=True))
    compared = []
    for name in features:
        for peer in models[1:]:
            found = compare(evaluations[name, models[0]], evaluations[name, peer], names=(models[0], peer))
            compared.append({"features": name, **found.as_dict()})
    for a, b in combinations(features, 2):
        found = compare(evaluations[a, models[0]], evaluations[b, models[0]], names=(a, b))
        compared.append({"model": models[0], **found.as_dict()})
    return compared


def compare_originals(arguments: argparse.Namespace, cache: Any) -> list[dict[str, Any]]:
    """
    Labels of clips as published, of any rate and number of channels, beside those of their twins in the corpus.

    The classifier learns from the other speakers.
    """
    compared = []
    for task in TASKS:
        corpus = read_named_corpus(arguments.corpus, task)
        layout = arguments.corpus.partition("=")[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            originals = read_corpus(arguments.originals, layout=layout, target=task)
        names = originals["path"].map(_stem)
        twins = corpus.assign(stem=corpus["path"].map(_stem)).set_index("stem").loc[names]
        others = corpus[~corpus["speaker"].isin(originals["speaker"])]
        featurizer = FbankFeaturizer(cache=cache)
        model = make_pipeline(*MODELS["ours"]())[-1]
        model.fit(featurizer.transform(clips(others)), others["label"], groups=others["speaker"].to_numpy().astype(str))
        published, twin = (model.predict_proba(featurizer.transform(clips(table))) for table in (originals, twins))
        same = published.argmax(axis=1) == twin.argmax(axis=1)
        for row, name in enumerate(names):
            difference = float(np.abs(published[row] - twin[row]).max())
            compared.append({"clip": name, "task": task, "same_label": bool(same[row]), "difference": difference})
    n_same = sum(pair["same_label"] for pair in compared)
    print(f"originals: {n_same} of {len(compared)} labels are those of the twins")
    return compared


def _stem(path: str) -> str:
    return Path(path).stem


def _names(text: str, known: Any, option: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"Got {option} {text}, expected some of {','.join(known)}.")
    return names
