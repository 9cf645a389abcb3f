"""Fitting a pipeline to a corpus: features once, broken clips aside, speakers kept together inside the fit."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ..featurizers import SpeechFeaturizer
from .corpora import check_corpus, clips

if TYPE_CHECKING:
    import pandas as pd

N_SHOWN = 3


@dataclass(frozen=True)
class ClipFeatures:
    """
    Features of a corpus' clips.

    Attributes
    ----------
    rows : ndarray of shape (n, d) or (n, layers, d), float32
        NaN where a clip is broken.
    failures : dict of int to str
        What is wrong with each broken clip, by its row.
    """

    rows: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def whole(self) -> np.ndarray:
        """Numbers of the rows whose clips are not broken."""
        return np.setdiff1d(np.arange(len(self.rows)), list(self.failures))


def encode_clips(featurizer: SpeechFeaturizer, corpus: pd.DataFrame) -> ClipFeatures:
    """
    Compute the features of all clips; a broken one costs no other its features.

    With `on_error="raise"`, which is the featurisers' default and guards labels elsewhere, broken clips are collected
    like with "nan": the caller here drops features and labels together. They are also in its `failures_`.
    """
    patient = clone(featurizer).set_params(on_error="nan")
    rows = patient.transform(clips(corpus))
    featurizer.failures_ = patient.failures_
    return ClipFeatures(rows, {failure.index: failure.reason for failure in patient.failures_})


def given_features(features: Any, n_clips: int) -> ClipFeatures:
    """Features that the caller has; rows with NaN count as broken clips."""
    rows = np.asarray(features)
    if rows.ndim < 2 or len(rows) != n_clips:
        raise ValueError(f"Got features of shape {rows.shape} for {n_clips} clips, expected one row for each.")
    broken = np.flatnonzero(np.isnan(rows.reshape(n_clips, -1)).any(axis=1))
    return ClipFeatures(rows, {int(i): "its features hold NaN" for i in broken})


def split_pipeline(pipeline: Any) -> tuple[SpeechFeaturizer, Pipeline]:
    """
    The featuriser that stands first, and what comes after it as a pipeline of its own.

    Raises
    ------
    ValueError
        If there is no such beginning, or nothing after it.
    """
    steps = pipeline.steps if isinstance(pipeline, Pipeline) else [("", pipeline)]
    if len(steps) < 2 or not isinstance(steps[0][1], SpeechFeaturizer):
        names = " -> ".join(type(step).__name__ for _, step in steps)
        raise ValueError(
            f"Got pipeline {names}, expected a featuriser first and a classifier last, such as "
            "make_pipeline(FbankFeaturizer(), GenerativeTransportClassifier())."
        )
    return steps[0][1], Pipeline(steps[1:])


def fit_rows(estimator: Any, X: np.ndarray, y: np.ndarray, speakers: np.ndarray | None) -> Any:
    """
    Fit a clone, with speakers as `groups` of every step whose `fit` takes them.

    The classifier then keeps each speaker on one side of its own validation, so that the hyperparameters, the number of
    updates and the calibration it chooses hold for voices it has not heard.
    """
    estimator = clone(estimator)
    steps = estimator.steps if isinstance(estimator, Pipeline) else [("", estimator)]
    takers = [(name, step) for name, step in steps if speakers is not None and _takes_groups(step)]
    if not takers:
        return estimator.fit(X, y)
    if not isinstance(estimator, Pipeline):
        return estimator.fit(X, y, groups=speakers)
    if sklearn.get_config()["enable_metadata_routing"]:
        for _, step in takers:
            step.set_fit_request(groups=True)
        return estimator.fit(X, y, groups=speakers)
    return estimator.fit(X, y, **{f"{name}__groups": speakers for name, _ in takers})


def _takes_groups(step: Any) -> bool:
    return hasattr(step, "fit") and "groups" in inspect.signature(step.fit).parameters


def train(pipeline: Any, corpus: pd.DataFrame) -> Pipeline:
    """
    Fit a pipeline of featuriser and classifier to a corpus.

    Parameters
    ----------
    pipeline : Pipeline
        A featuriser first, a classifier last. It is cloned.
    corpus : DataFrame
        With `path` and `label`, as of `read_corpus`. A column `speaker` goes to the classifier as `groups`, so that what
        it sets aside to choose hyperparameters, updates and calibration are voices it does not learn from.

    Returns
    -------
    pipeline : Pipeline
        Fitted. Its featuriser's `failures_` lists clips that are broken: they were left out, with one warning. Where there
        are speakers, its `speakers_` lists those it learnt from, sorted.

    Raises
    ------
    ValueError
        If the table or the pipeline is not as above, or all clips are broken.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier
    >>> from gendiffclf.speech import read_corpus, train
    >>> pipeline = make_pipeline(FbankFeaturizer(), GenerativeTransportClassifier())
    >>> fitted = train(pipeline, read_corpus("clips.csv"))  # doctest: +SKIP
    """
    corpus = check_corpus(corpus, ("path", "label", *(["speaker"] if "speaker" in corpus else [])))
    featurizer, rest = split_pipeline(pipeline)
    featurizer = clone(featurizer)
    features = encode_clips(featurizer, corpus)
    report_failures(features, corpus)
    whole = features.whole
    speakers = corpus["speaker"].to_numpy().astype(str)[whole] if "speaker" in corpus else None
    fitted = fit_rows(rest, features.rows[whole], corpus["label"].to_numpy()[whole], speakers)
    found = Pipeline([(pipeline.steps[0][0], featurizer), *fitted.steps])
    if speakers is not None:
        found.speakers_ = sorted(set(speakers.tolist()))
    return found


def report_failures(features: ClipFeatures, corpus: pd.DataFrame) -> None:
    """Warn of broken clips, and raise where there are no others."""
    if not features.failures:
        return
    shown = "; ".join(f"{corpus['path'][i]}: {reason}" for i, reason in list(features.failures.items())[:N_SHOWN])
    rest = "; …" if len(features.failures) > N_SHOWN else ""
    message = f"Got {len(features.failures)} of {len(corpus)} clips that are broken ({shown}{rest})"
    if len(features.failures) == len(corpus):
        raise ValueError(f"{message}, expected some that are not.")
    warnings.warn(f"{message}; they are left out.", stacklevel=3)


def failed(features: ClipFeatures, corpus: pd.DataFrame) -> pd.DataFrame:
    """Broken clips as a table of `path` and `reason`, indexed by their row."""
    import pandas as pd

    rows = list(features.failures)
    reasons = list(features.failures.values())
    return pd.DataFrame({"path": corpus["path"].iloc[rows].tolist(), "reason": reasons}, index=rows)
