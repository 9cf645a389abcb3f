"""Evaluation of pipelines on unseen speakers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..validation import first_few
from .class_labels import warn_of_foreign, with_classes
from .corpora import check_corpus, with_index_of
from .folds import Fold, checked_folds, fold_rows, shared_speakers, warn_of_learnt
from .measures import Tally
from .prediction import predict_rows
from .provenance import describe_run, steps_of
from .results import Evaluation
from .tables import group_columns
from .training import AuditedFeatures, encode_audited, end_if_interrupted, fit_rows, split_pipeline
from .votes import vote_columns, votes_of

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
    given, corpus = corpus, check_corpus(corpus)
    folds = checked_folds(corpus, folds, n_folds)
    columns = group_columns(corpus, groups)
    featurizer, estimator = split_pipeline(pipeline, corpus, whole=features is not None)
    encoded = encode_audited(featurizer, corpus, features, accept=accept, ignore=REPORTED)
    audited = encoded.audit
    settings = {"n_folds": n_folds, "random_state": random_state}
    pairs = fold_rows(corpus, audited, encoded.valid, folds, **settings)
    _check_classes(corpus["label"].to_numpy(), pairs)
    shared = shared_speakers(corpus, pairs, audited.voices)
    about = describe_run(pipeline, corpus, audited.content, folds, [test for _, test in pairs], **settings)
    y, votes = corpus["label"].to_numpy(), votes_of(corpus)
    classes = np.unique(y[encoded.valid]) if votes is None else votes.columns.to_numpy().astype(str)
    tables, layer_weights = [], []
    for train, test in tqdm(pairs, unit="fold", desc="Folds", disable=not verbose):
        shares = None if votes is None else votes.iloc[train]
        fitted = fit_rows(estimator, encoded, train, y[train], shares)
        end_if_interrupted(fitted)
        tables.append(predict_rows(fitted, encoded, test, classes))
        layer_weights.append(getattr(steps_of(fitted)[-1][1], "layer_weights_", None))
    details = {"shared_speakers": shared, "about": about, "random_state": random_state}
    return _combined(tables, layer_weights, pairs, encoded, classes, columns, given, **details)


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
        With `path` and `label`. If all labels are the text of classes that are numbers or truth values, such as "1" from a table
        and 1, or the reverse, they count as these classes.
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
        If speakers or clips are known to be in the training data, clips are broken, labels are none of the pipeline's classes,
        the pipeline predicts labels that no clip has, or most clips are unlike the training clips.
    """
    given, corpus = corpus, check_corpus(corpus)
    columns = group_columns(corpus, groups)
    featurizer, rest = split_pipeline(pipeline, corpus)
    corpus = with_classes(corpus, rest.classes_)
    of_training = ("rare-class", "one-class", "speakers-by-class", "corpora-by-class")
    encoded = encode_audited(featurizer, corpus, accept=accept, ignore=(*REPORTED, *of_training))
    test, content = encoded.valid, encoded.audit.content
    warn_of_learnt(pipeline, corpus, test, content)
    y, trained = corpus["label"].to_numpy()[test], rest.classes_
    labels = np.unique(y)
    if not np.isin(labels, trained).any():
        raise ValueError(
            f"Got a corpus with the labels {labels.tolist()}, expected some of the model's classes {trained.tolist()}; rename "
            "the labels, or take them from another column by target (--label-column)."
        )
    warn_of_foreign(y, trained)
    votes = votes_of(corpus)
    possible = labels if votes is None else votes.columns.to_numpy().astype(str)
    classes = np.union1d(trained, possible)
    about = describe_run(pipeline, corpus, content, "a fitted pipeline", [test], random_state=random_state)
    table = predict_rows(rest, encoded, test, classes, warn=True)
    absent = table["predicted"][~table["predicted"].isin(possible)]
    if len(absent):
        warnings.warn(
            f"Got {len(absent)} of {len(test)} clips for which the model predicts labels that no clip of the corpus has "
            f"({first_few(sorted(absent.astype(str).unique()))}): each counts as an error; if these labels cannot occur, train a "
            "model without them.",
            stacklevel=2,
        )
    pairs, weights = [(np.empty(0, int), test)], [getattr(steps_of(rest)[-1][1], "layer_weights_", None)]
    details = {"about": about, "random_state": random_state}
    return _combined([table], weights, pairs, encoded, classes, columns, given, **details)


def _check_classes(y: np.ndarray, pairs: Sequence[Fold]) -> None:
    """Raise a ValueError if the training clips of a fold have a single label of y, (n_clips,)."""
    for number, (train, _) in enumerate(pairs, 1):
        labels = np.unique(y[train])
        if len(labels) == 1:
            raise ValueError(
                f"Got fold {number} of {len(pairs)} in which all {len(train)} training clips have the label {labels[0]!r}, "
                "expected at least two labels; use other folds, or add speakers."
            )


def _combined(
    tested: Sequence[pd.DataFrame],
    layer_weights: Sequence[Any],
    pairs: Sequence[Fold],
    encoded: AuditedFeatures,
    classes: np.ndarray,
    groups: tuple[str, ...],
    given: pd.DataFrame,
    **details: Any,
) -> Evaluation:
    """
    Combine folds into an `Evaluation`.

    `tested` are the tables of `predict_rows` for each fold, `groups` the columns whose groups are measured, `given` the corpus
    with its own index, and `details` other attributes.
    """
    corpus = encoded.corpus
    columns = ["path", "start", "end", "fold", "speaker", *groups, *vote_columns(corpus), "voice", "label"]
    tables = []
    for fold, predicted in enumerate(tested):
        table = corpus.assign(fold=fold, voice=encoded.audit.voices).loc[predicted.index]
        tables.append(table[[name for name in dict.fromkeys(columns) if name in table]].join(predicted))
    predictions = pd.concat(tables).sort_index()
    tally = Tally.of(predictions, classes, predictions["fold"].to_numpy(), len(tables))
    sizes = {
        "n_train": [len(train) for train, _ in pairs],
        "n_test": [len(test) for _, test in pairs],
        "n_test_speakers": [table["speaker"].nunique() if "speaker" in table else None for table in tables],
    }
    layered = all(np.ndim(weights) == 1 and len(weights) > 1 for weights in layer_weights)
    return Evaluation(
        classes,
        pd.DataFrame({"fold": range(len(tables)), **sizes, **tally.measures()}),
        tally.confusion,
        with_index_of(given, predictions),
        with_index_of(given, encoded.broken),
        groups=groups,
        audit=encoded.audit,
        layer_weights=np.stack(layer_weights) if layered else None,
        **details,
    )
