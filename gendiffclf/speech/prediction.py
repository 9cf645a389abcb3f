"""Prediction of labels and probabilities for clips, as a table that includes broken clips."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any, TextIO

import numpy as np
import pandas as pd

from ..featurizers import SpeechFeaturizer
from ..files import atomic_file
from .corpora import check_corpus, with_index_of
from .provenance import as_json
from .sound_checks import warn_of_sound
from .training import ClipFeatures, before_classifier, encode_clips, split_pipeline

_KEPT = ("path", "start", "end", "label", "speaker")
FEW_CLIPS = 5
"""Fewer may all be novel by chance."""
MOST_CLIPS = 1000
"""So many are enough to tell the share of novel ones."""


def predict_clips(pipeline: Any, corpus: pd.DataFrame, *, features: Any = None) -> pd.DataFrame:
    """
    Predict the label of every clip.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, with a featuriser first and a classifier last, as returned by `train` or `load_model`.
    corpus : DataFrame
        With `path`, as returned by `read_corpus`; also with `speaker`, if a step such as `SpeakerNormalizer` needs it.
    features : array-like of shape (n, d) or (n, layers, d), optional
        Precomputed features of the clips, for a pipeline without a featuriser.

    Returns
    -------
    predictions : DataFrame
        One row per clip, with the index of `corpus`: `path` and, if known, `start`, `end`, `label` and `speaker`; `predicted`;
        a column `p_<label>` for each class; `confidence`, the probability of the predicted label; `score`, the classifier's
        `score_samples`, which is lower for clips unlike the training data; `warning`, codes of warnings of `audit`, such as
        "silent" or "short", with which predictions are unreliable; `error`, the reason for a broken clip. Broken clips have no
        label, probabilities and score; the latter two are also empty if the classifier has none. With `features`, no clip is
        read, and `warning` is empty.

    Raises
    ------
    ValueError
        If table or pipeline are invalid.

    Warns
    -----
    UserWarning
        If there are broken clips or clips with a warning, or most clips are unlike the training clips.

    Examples
    --------
    >>> from gendiffclf.speech import load_model, predict_clips, read_corpus
    >>> predictions = predict_clips(load_model("model"), read_corpus("new clips"))  # doctest: +SKIP
    """
    given, corpus = corpus, check_corpus(corpus, ("path",), ())
    featurizer, rest = split_pipeline(pipeline, corpus, whole=features is not None)
    encoded, remarks = encode_with_remarks(featurizer, corpus, features)
    valid, classes = encoded.valid, rest.classes_
    table = corpus[[name for name in _KEPT if name in corpus]].assign(predicted=np.full(len(corpus), None))
    table[[*(f"p_{label}" for label in classes), "confidence", "score"]] = np.nan
    if len(valid):
        predicted = predict_rows(rest, encoded, valid, classes, warn=True)
        table.loc[valid, predicted.columns] = predicted
    return with_index_of(given, table.assign(**remarks))


def predict_rows(
    fitted: Any, encoded: ClipFeatures, rows: np.ndarray, classes: np.ndarray, *, warn: bool = False
) -> pd.DataFrame:
    """
    Predict some rows of a corpus; with `warn`, warn if most are unlike the training clips.

    Returns a table, indexed by these rows, of `predicted`, `p_<label>` for each of the sorted `classes`, 0 for those that the
    classifier lacks, `confidence` and `score`; what the classifier does not compute is NaN.
    """
    classifier, X = before_classifier(fitted, encoded.rows[rows], encoded.speakers(rows))
    predicted, proba = classifier.predict(X), np.full((len(X), len(classes)), np.nan)
    if hasattr(classifier, "predict_proba"):
        proba[:] = 0
        proba[:, np.searchsorted(classes, classifier.classes_)] = classifier.predict_proba(X)
    table = pd.DataFrame(proba, index=rows, columns=[f"p_{label}" for label in classes])
    table.insert(0, "predicted", predicted)
    table["confidence"] = proba[np.arange(len(X)), np.searchsorted(classes, predicted)]
    table["score"] = classifier.score_samples(X) if hasattr(classifier, "score_samples") else np.nan
    if warn:
        _warn_of_unlike(classifier, X)
    return table


def _warn_of_unlike(classifier: Any, X: np.ndarray) -> None:
    """Warn if more than half of the rows are novel to the classifier, as far as it can tell."""
    if len(X) < FEW_CLIPS or not hasattr(classifier, "is_novel"):
        return
    try:
        novel = classifier.is_novel(X[:: -(-len(X) // MOST_CLIPS)])
    except ValueError:  # it has too few held-out rows to compare with
        return
    if novel.mean() > 0.5:
        warnings.warn(
            f"Got clips of which {novel.mean():.0%} are unlike the training clips (is_novel), expected at most half: labels and "
            "probabilities are not to be trusted; compare bandwidth, noise and microphones (gendiffclf audit), or train on such "
            "clips too.",
            stacklevel=4,
        )


def encode_with_remarks(
    featurizer: SpeechFeaturizer | None, corpus: pd.DataFrame, features: Any = None
) -> tuple[ClipFeatures, dict[str, pd.Series]]:
    """Encode clips unless `features` are given, and return the columns `warning` and `error`, which are also shown."""
    encoded, cautions = encode_clips(featurizer, corpus, features), pd.Series([None] * len(corpus), dtype=object)
    if features is None:
        cautions = warn_of_sound(corpus, None if featurizer is None else featurizer.n_jobs)
    if encoded.failures:
        warnings.warn(f"{encoded.message}; they have no prediction, see the column error.", stacklevel=3)
    errors = pd.Series([encoded.failures.get(i) for i in range(len(corpus))], dtype=object)
    return encoded, {"warning": cautions, "error": errors}


def write_predictions(predictions: pd.DataFrame, output: str | os.PathLike[str] | TextIO, form: str = "csv") -> None:
    """Write predictions as CSV or as JSON lines, with an object `probabilities`, to a stream or a file."""
    if isinstance(output, str | os.PathLike):
        with atomic_file(output) as file:
            write_predictions(predictions, file, form)
    elif form == "csv":
        predictions.to_csv(output, index=False, lineterminator="\n")
    else:
        for row in predictions.to_dict("records"):
            output.write(json.dumps(_json_row(row), ensure_ascii=False) + "\n")


def _json_row(row: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in row.items() if not name.startswith("p_")}
    proba = {name.removeprefix("p_"): value for name, value in row.items() if name.startswith("p_")}
    return as_json({**plain, "probabilities": None if row["error"] is not None else proba})
