"""Fitting a pipeline to a corpus: features once, broken clips aside, speakers kept together inside the fit."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ..featurizers import SpeechFeaturizer
from .auditing import audit_first
from .corpora import check_corpus, clips
from .folds import N_DIGITS
from .votes import votes_of

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
        NaN where a clip is broken. Frames, which featurisers give as a list, are an array of n objects.
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
    rows = _indexable(patient.transform(clips(corpus)))
    featurizer.failures_ = patient.failures_
    return ClipFeatures(rows, {failure.index: failure.reason for failure in patient.failures_})


def given_features(features: Any, n_clips: int) -> ClipFeatures:
    """Features that the caller has; rows with NaN count as broken clips."""
    rows = _indexable(features)
    if (rows.ndim < 2 and rows.dtype != object) or len(rows) != n_clips:
        raise ValueError(f"Got features of shape {rows.shape} for {n_clips} clips, expected one row for each.")
    broken = [i for i, row in enumerate(rows) if np.isnan(row).any()]
    return ClipFeatures(rows, {int(i): "its features hold NaN" for i in broken})


def _indexable(features: Any) -> np.ndarray:
    """Features as an array whose first axis can be indexed: a list of arrays of frames becomes an array of objects."""
    if not isinstance(features, list) or np.ndim(features[0]) < 2:
        return np.asarray(features)
    rows = np.empty(len(features), dtype=object)
    rows[:] = features
    return rows


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


def fit_rows(
    estimator: Any, X: np.ndarray, y: np.ndarray, speakers: np.ndarray | None, votes: pd.DataFrame | None = None
) -> Any:
    """
    Fit a clone, with speakers as `groups` of every step whose `fit` takes them.

    The classifier then keeps each speaker on one side of its own validation, so that the hyperparameters, the number of
    updates and the calibration it chooses hold for voices it has not heard. Of votes, a classifier with `fit_votes` learns;
    others learn from the labels.
    """
    estimator = clone(estimator)
    if votes is not None and hasattr(estimator, "fit_votes"):
        return estimator.fit_votes(X, votes, groups=speakers)
    if votes is not None and isinstance(estimator, Pipeline) and hasattr(estimator.steps[-1][1], "fit_votes"):
        name, classifier = estimator.steps[-1]  # a pipeline has no fit_votes
        fitted = fit_rows(Pipeline([*estimator.steps[:-1], (name, "passthrough")]), X, y, speakers)
        rows = before_classifier(fitted, X, speakers)[1]
        return Pipeline([*fitted.steps[:-1], (name, classifier.fit_votes(rows, votes, groups=speakers))])
    steps = estimator.steps if isinstance(estimator, Pipeline) else [("", estimator)]
    takers = [(name, step) for name, step in steps if speakers is not None and _takes_groups(step, "fit")]
    if not takers:
        return estimator.fit(X, y)
    if not isinstance(estimator, Pipeline):
        return estimator.fit(X, y, groups=speakers)
    if sklearn.get_config()["enable_metadata_routing"]:
        for _, step in takers:
            step.set_fit_request(groups=True)
        return estimator.fit(X, y, groups=speakers)
    return estimator.fit(X, y, **{f"{name}__groups": speakers for name, _ in takers})


def end_if_interrupted(fitted: Any) -> None:
    """
    Raise KeyboardInterrupt for a fit that an interrupt ended early.

    The classifier's `fit` keeps its best weights so far, which is no fit of the parameters asked for: neither a figure nor the
    next fold should come of it.
    """
    classifier = fitted.steps[-1][1] if isinstance(fitted, Pipeline) else fitted
    if getattr(classifier, "history_", {}).get("stopped_by") == "interrupt":
        raise KeyboardInterrupt("training was interrupted")


def before_classifier(fitted: Any, X: np.ndarray, speakers: np.ndarray | None) -> tuple[Any, np.ndarray]:
    """
    The last step of a fitted pipeline, and the rows as it sees them.

    Speakers go to every step whose `transform` takes them, which `Pipeline.predict` only does with metadata routing.
    """
    if not isinstance(fitted, Pipeline):
        return fitted, X
    for _, step in fitted.steps[:-1]:
        if step is not None and step != "passthrough":
            X = step.transform(X, groups=speakers) if _takes_groups(step, "transform") else step.transform(X)
    return fitted.steps[-1][1], X


def scores_of(classifier: Any, X: np.ndarray) -> np.ndarray | None:
    """How much rows are like those of training, (n,), as of `score_samples`; None for a classifier without it."""
    return np.asarray(classifier.score_samples(X)) if hasattr(classifier, "score_samples") else None


def needs_speakers(fitted: Any) -> bool:
    """Whether a step of a pipeline, such as `SpeakerNormalizer`, takes speakers when it transforms."""
    return isinstance(fitted, Pipeline) and any(_takes_groups(step, "transform") for _, step in fitted.steps)


def check_speakers(estimator: Any, corpus: pd.DataFrame) -> None:
    """Say before the work that a step takes speakers and the corpus has none."""
    if needs_speakers(estimator) and "speaker" not in corpus:
        raise ValueError(
            f"Got a corpus with the columns {list(corpus.columns)}, expected 'speaker' among them, since features are normalised "
            "by speaker; name the column by speaker_column (--speaker-column), or take it from paths by pattern (--pattern)."
        )


def speakers_of(corpus: pd.DataFrame, rows: np.ndarray) -> np.ndarray | None:
    """Speakers of some rows of a corpus, as texts; None if it does not tell."""
    return corpus["speaker"].to_numpy()[rows].astype(str) if "speaker" in corpus else None


def _takes_groups(step: Any, method: str) -> bool:
    return hasattr(step, method) and "groups" in inspect.signature(getattr(step, method)).parameters


def train(
    pipeline: Any,
    corpus: pd.DataFrame,
    *,
    features: Any = None,
    without_speakers: bool = False,
    accept: Sequence[str] = (),
) -> Pipeline:
    """
    Fit a pipeline of featuriser and classifier to a corpus.

    Parameters
    ----------
    pipeline : Pipeline
        A featuriser first, a classifier last; with `features` a classifier, or a pipeline without featuriser. It is cloned.
    corpus : DataFrame
        With `path` and `label`, as of `read_corpus`. A column `speaker` goes to the classifier as `groups`, so that what
        it sets aside to choose hyperparameters, updates and calibration are voices it does not learn from. Speakers who
        share a clip count as one. From columns `votes_<label>`, which `read_corpus` makes of votes, a classifier with
        `fit_votes` learns the share of votes for each label; each clip weighs the same.
    features : array-like of shape (n, d) or (n, layers, d), optional
        Features of the clips, if they are there already; rows with NaN count as broken clips. The pipeline that comes back
        then has no featuriser either.
    without_speakers : bool, default=False
        Whether a table without the column `speaker` may be learnt from. The probabilities are then calibrated on voices that
        were learnt from, and too sure of others.
    accept : sequence of str, default=()
        Codes of findings of `audit` that are right as they are, such as "copies-across-labels".

    Returns
    -------
    pipeline : Pipeline
        Fitted. Clips that are broken were left out, with one warning; its featuriser's `failures_` lists them. Where there
        are speakers, its `speakers_` lists those it learnt from, sorted; `clips_` lists digests of their clips.

    Raises
    ------
    ValueError
        If the table or the pipeline is not as above, all clips are broken, or `audit` finds an error.

    Warns
    -----
    UserWarning
        Of what else `audit` finds, and of broken clips.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier
    >>> from gendiffclf.speech import read_corpus, train
    >>> pipeline = make_pipeline(FbankFeaturizer(), GenerativeTransportClassifier())
    >>> fitted = train(pipeline, read_corpus("clips.csv"))  # doctest: +SKIP
    """
    corpus = check_corpus(corpus, ("path", "label", *(["speaker"] if "speaker" in corpus else [])))
    featurizer, rest = split_pipeline(pipeline) if features is None else (None, pipeline)
    check_speakers(rest, corpus)
    accept = (*accept, *(("no-speakers",) if without_speakers else ()))
    if featurizer is None:
        encoded = given_features(features, len(corpus))
        audited = audit_first(corpus, encoded.rows, accept=accept, ignore=("broken",))
    else:
        audited = audit_first(corpus, accept=accept, ignore=("broken",))  # those are reported below
        featurizer = clone(featurizer)
        encoded = encode_clips(featurizer, corpus)
    report_failures(encoded, corpus)
    whole = encoded.whole
    voices = audited.voices[whole] if "speaker" in corpus else None
    votes = votes_of(corpus.iloc[whole])
    fitted = fit_rows(rest, encoded.rows[whole], corpus["label"].to_numpy()[whole], voices, votes)
    steps = fitted.steps if isinstance(fitted, Pipeline) else [("classifier", fitted)]
    found = Pipeline(steps if featurizer is None else [(pipeline.steps[0][0], featurizer), *steps])
    learnt_from = speakers_of(corpus, whole)
    if learnt_from is not None:
        found.speakers_ = sorted(set(learnt_from.tolist()))
    found.clips_ = sorted({digest[:N_DIGITS] for digest in audited.content[whole].tolist()})
    return found


def report_failures(features: ClipFeatures, corpus: pd.DataFrame) -> None:
    """Warn of broken clips, which are left out, and raise where there are no others."""
    if len(features.failures) == len(corpus):
        raise ValueError(f"{_broken(features, corpus)}, expected some that are not.")
    if features.failures:
        warnings.warn(f"{_broken(features, corpus)}; they are left out.", stacklevel=3)


def warn_of_broken(features: ClipFeatures, corpus: pd.DataFrame) -> None:
    """Warn of broken clips, which keep their rows."""
    if features.failures:
        warnings.warn(f"{_broken(features, corpus)}; the column error says why each has no label.", stacklevel=3)


def _broken(features: ClipFeatures, corpus: pd.DataFrame) -> str:
    shown = "; ".join(f"{corpus['path'][i]}: {reason}" for i, reason in list(features.failures.items())[:N_SHOWN])
    rest = "; …" if len(features.failures) > N_SHOWN else ""
    return f"Got {len(features.failures)} of {len(corpus)} clips that are broken ({shown}{rest})"


def failed(features: ClipFeatures, corpus: pd.DataFrame) -> pd.DataFrame:
    """Broken clips as a table of `path` and `reason`, indexed by their row."""
    import pandas as pd

    rows = list(features.failures)
    reasons = list(features.failures.values())
    return pd.DataFrame({"path": corpus["path"].iloc[rows].tolist(), "reason": reasons}, index=rows)
