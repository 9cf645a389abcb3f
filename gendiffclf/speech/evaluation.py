"""Evaluation of pipelines on unseen speakers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..validation import first_few
from .corpora import check_corpus
from .folds import Fold, check_folds, fold_rows, shared_speakers, warn_of_learnt, without_copies
from .provenance import describe_run
from .results import Evaluation, summarize
from .tables import group_columns
from .training import (
    before_classifier,
    encode_audited,
    end_if_interrupted,
    fit_rows,
    scores_of,
    split_pipeline,
    voices_at,
)
from .votes import votes_of

REPORTED = ("broken", "no-speakers")
"""Findings reported by `encode_audited` and `shared_speakers` instead."""


def evaluate(
    pipeline: Any,
    corpus: pd.DataFrame,
    folds: str | Iterable[Fold] | Any = "speaker",
    *,
    n_folds: int = 5,
    random_state: int = 0,
    features: Any = None,
    groups: Sequence[str] | None = None,
    accept: Sequence[str] = (),
    verbose: int = 0,
) -> Evaluation:
    """
    Cross-validate a pipeline on a corpus.

    Parameters
    ----------
    pipeline : Pipeline
        A featuriser first and a classifier last; with `features`, a classifier or a pipeline without a featuriser. It is
        cloned for each fold.
    corpus : DataFrame
        With `path`, `label` and, except for random folds, `speaker`, as returned by `read_corpus`. Votes are used for
        training as in `train`, and `Evaluation.votes` compares the probabilities with them.
    folds : {"speaker", "leave-one-speaker-out", "split", "random"}, splitter or iterable, default="speaker"
        "speaker": `n_folds` stratified folds that keep speakers together. "split": trains on clips with "train" or "dev" in
        the column `split` and tests on those with "test", as published with a corpus. "random": stratified, ignoring
        speakers. Or a splitter of scikit-learn, or pairs of arrays of training and test rows.
    n_folds : int >= 2, default=5
        Number of folds; at most the number of speakers.
    random_state : int, default=0
        Seed of the folds and the bootstrap.
    features : array-like of shape (n, d) or (n, layers, d), optional
        Precomputed features of the clips; rows with NaN or infinity count as broken clips.
    groups : sequence of str, optional
        Columns of the corpus, such as `gender`, whose groups are measured. By default gender, sex, age, corpus, language,
        accent, intensity and channel, as far as the corpus has them.
    accept : sequence of str, default=()
        Codes of findings of `audit` to accept, such as "copies-across-labels". They neither stop nor warn, and are recorded.
    verbose : int, default=0
        If nonzero, show a progress bar.

    Returns
    -------
    evaluation : Evaluation
        Printing it shows the confusion matrix and the measures.

    Raises
    ------
    ValueError
        If table, pipeline or folds are invalid, or `audit` finds an error.
    KeyboardInterrupt
        Also if an interrupt stopped the training of a fold early.

    Warns
    -----
    UserWarning
        If a speaker is on both sides of a fold, or may be in a search, if clips are broken, which are left out, or if `audit`
        has warnings.

    Notes
    -----
    Each clip is encoded once for all folds. The folds are of all clips, and broken ones are then left out, so that another
    featuriser has the same folds.

    Speakers are passed to every step whose `fit` takes `groups`, so that the classifier chooses hyperparameters, the number of
    updates and calibration on held-out speakers. Searches of scikit-learn pass them to their splitter, such as
    `cv=StratifiedGroupKFold()`; the estimator inside gets them only with metadata routing. Other meta-estimators, such as
    `CalibratedClassifierCV`, do not get them.

    Copies of a clip are never on both sides of a fold: speakers who share a clip count as one, and with other kinds of
    folds, training clips that are also tested are left out. With `features`, clips of equal features count as copies.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> import numpy as np
    >>> import pandas as pd
    >>> from gendiffclf.speech import evaluate
    >>> speaker = np.repeat(["anna", "ben", "cleo", "dan"], 6)
    >>> label = np.tile(["angry", "calm"], 12)
    >>> corpus = pd.DataFrame({"path": "clip.wav", "label": label, "speaker": speaker})
    >>> features = (label == "calm")[:, None] + np.random.default_rng(0).normal(0, 0.1, (24, 3))
    >>> evaluation = evaluate(LogisticRegression(), corpus, features=features, n_folds=2)
    >>> evaluation.mean["uar"]
    1.0
    """
    corpus = check_corpus(corpus)
    check_folds(corpus, folds, n_folds)
    columns = group_columns(corpus, groups)
    featurizer, estimator = split_pipeline(pipeline, corpus, whole=features is not None)
    encoded, audited = encode_audited(featurizer, corpus, features, accept=accept, ignore=REPORTED)
    settings = {"n_folds": n_folds, "random_state": random_state}
    pairs = fold_rows(corpus, encoded.valid, folds, voices=audited.voices, **settings)
    pairs = without_copies(pairs, audited)
    _check_classes(corpus["label"].to_numpy(), pairs)
    shared = shared_speakers(corpus, pairs, audited.voices)
    about = describe_run(pipeline, corpus, audited.content, folds, [test for _, test in pairs], **settings)
    y, votes = corpus["label"].to_numpy(), votes_of(corpus)
    classes = np.unique(y[encoded.valid]) if votes is None else votes.columns.to_numpy().astype(str)
    tested = []
    for train, test in tqdm(pairs, unit="fold", desc="Folds", disable=not verbose):
        shares = None if votes is None else votes.iloc[train]
        fitted = fit_rows(estimator, encoded.rows[train], y[train], voices_at(train, audited), shares)
        end_if_interrupted(fitted)
        tested.append(_test(fitted, encoded.rows[test], classes, voices_at(test, audited), test))
    details = {"shared_speakers": shared, "about": about, "random_state": random_state}
    tables, weights = map(list, zip(*tested, strict=True))
    n_train = [len(train) for train, _ in pairs]
    return summarize(corpus, classes, tables, n_train, weights, encoded.broken, audited, columns, **details)


def evaluate_fitted(
    pipeline: Any,
    corpus: pd.DataFrame,
    *,
    groups: Sequence[str] | None = None,
    accept: Sequence[str] = (),
    random_state: int = 0,
) -> Evaluation:
    """
    Evaluate a fitted pipeline on a corpus that it was not trained on.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, as returned by `train` or `load_model`.
    corpus : DataFrame
        With `path` and `label`.
    groups : sequence of str, optional
        As for `evaluate`.
    accept : sequence of str, default=()
        As for `evaluate`.
    random_state : int, default=0
        Seed of the bootstrap.

    Returns
    -------
    evaluation : Evaluation
        With a single fold.

    Raises
    ------
    ValueError
        If no label of the corpus is a class of the pipeline, or `audit` finds an error.

    Warns
    -----
    UserWarning
        If speakers or clips are known to be in the training data, clips are broken, or labels are none of the pipeline's classes.
    """
    corpus = check_corpus(corpus)
    columns = group_columns(corpus, groups)
    featurizer, rest = split_pipeline(pipeline, corpus)
    # Rare classes matter for training only.
    ignored = (*REPORTED, "rare-class", "one-class")
    encoded, audited = encode_audited(featurizer, corpus, accept=accept, ignore=ignored)
    test = encoded.valid
    warn_of_learnt(pipeline, corpus, test, audited.content)
    labels, trained = np.unique(corpus["label"].to_numpy()[test]), rest.classes_
    if not np.isin(labels, trained).any():
        raise ValueError(
            f"Got a corpus with the labels {labels.tolist()}, expected some of the model's classes {trained.tolist()}."
        )
    foreign = ~np.isin(corpus["label"].to_numpy()[test], trained)
    if foreign.any():
        unknown = np.setdiff1d(labels, trained).astype(str).tolist()
        warnings.warn(
            f"Got {foreign.sum()} of {len(test)} clips with labels that the model does not have ({first_few(unknown)}): each "
            "counts as an error; leave them out, or rename the labels.",
            stacklevel=2,
        )
    votes = votes_of(corpus)
    classes = np.union1d(trained, labels if votes is None else votes.columns.to_numpy().astype(str))
    table, weights = _test(rest, encoded.rows[test], classes, voices_at(test, audited), test)
    about = describe_run(pipeline, corpus, audited.content, "a fitted pipeline", [test], random_state=random_state)
    details = {"about": about, "random_state": random_state}
    return summarize(corpus, classes, [table], [0], [weights], encoded.broken, audited, columns, **details)


def _check_classes(y: np.ndarray, pairs: Sequence[Fold]) -> None:
    """Raise a ValueError if the training clips of a fold have a single label of y, (n_clips,)."""
    for number, (train, _) in enumerate(pairs, 1):
        labels = np.unique(y[train])
        if len(labels) == 1:
            raise ValueError(
                f"Got fold {number} of {len(pairs)} in which all {len(train)} training clips have the label {labels[0]!r}, "
                "expected at least two labels; use other folds, or add speakers."
            )


def _test(
    fitted: Any, X: np.ndarray, classes: np.ndarray, speakers: np.ndarray | None, rows: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Predict the rows of a fold, whose features are X; also return the classifier's layer weights, None without any."""
    classifier, features = before_classifier(fitted, X, speakers)
    predicted, proba = classifier.predict(features), class_probabilities(classifier, features, classes)
    table = pd.DataFrame(proba, index=rows, columns=[f"p_{label}" for label in classes])
    table.insert(0, "predicted", predicted)
    table["confidence"] = proba[np.arange(len(rows)), np.searchsorted(classes, predicted)]
    table["score"] = scores_of(classifier, features)
    return table, getattr(classifier, "layer_weights_", None)


def class_probabilities(fitted: Any, X: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Probabilities of shape (n, K) for `classes`: 0 for unknown classes, NaN if the model has no probabilities."""
    if not hasattr(fitted, "predict_proba"):
        return np.full((len(X), len(classes)), np.nan)
    proba = np.zeros((len(X), len(classes)))
    proba[:, np.searchsorted(classes, fitted.classes_)] = fitted.predict_proba(X)
    return proba
