"""Labels and probabilities for clips, as a table in which a broken clip is a row with a reason."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from .corpora import check_corpus
from .files import whole_file
from .sound_checks import warn_of_sound
from .training import (
    before_classifier,
    check_speakers,
    encode_clips,
    given_features,
    scores_of,
    speakers_of,
    split_pipeline,
    warn_of_broken,
)

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "jsonl")
_KEPT = ("path", "start", "end", "label", "speaker")


def predict_clips(pipeline: Any, corpus: pd.DataFrame, *, features: Any = None) -> pd.DataFrame:
    """
    Predict the label of every clip.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted: a featuriser first, a classifier last, as of `train` or `load_model`.
    corpus : DataFrame
        With `path`, as of `read_corpus`; with `speaker` too, if a step such as `SpeakerNormalizer` asks for it.
    features : array-like of shape (n, d) or (n, layers, d), optional
        Features of the clips, for a pipeline without featuriser.

    Returns
    -------
    predictions : DataFrame
        A row for each clip, in order: `path` and, where known, `start`, `end`, `label` and `speaker`; `predicted`; a column
        `p_<label>` for each class, if the classifier has probabilities; `confidence`, the probability of the predicted label;
        `score`, the classifier's `score_samples`: the lower, the less the clip is like those that were learnt from; `warning`,
        codes of what `audit` would warn of, such as "silent" or "short", whose labels say little; `error`, what is wrong with
        a broken clip. Broken clips have an error in place of a label, probabilities and score, which are empty too
        where a classifier has none. With `features`, no clip is read, and `warning` is empty.

    Raises
    ------
    ValueError
        If table or pipeline are not as above.

    Warns
    -----
    UserWarning
        Of broken clips, and of those with a warning.

    Examples
    --------
    >>> from gendiffclf.speech import load_model, predict_clips, read_corpus
    >>> predictions = predict_clips(load_model("model"), read_corpus("new clips"))  # doctest: +SKIP
    """
    import pandas as pd

    corpus = check_corpus(corpus, ("path",))
    cautions: list[str | None] = [None] * len(corpus)
    if features is None:
        featurizer, rest = split_pipeline(pipeline)
        check_speakers(rest, corpus)
        cautions = warn_of_sound(corpus, featurizer.n_jobs)
        encoded = encode_clips(featurizer, corpus)
    else:
        rest, encoded = pipeline, given_features(features, len(corpus))
        check_speakers(rest, corpus)
    warn_of_broken(encoded, corpus)
    whole, classes = encoded.whole, rest.classes_
    proba, scores = np.full((len(corpus), len(classes)), np.nan), np.full(len(corpus), np.nan)
    predicted: list[Any] = [None] * len(corpus)
    if len(whole):
        classifier, rows = before_classifier(rest, encoded.rows[whole], speakers_of(corpus, whole))
        if hasattr(classifier, "predict_proba"):
            proba[whole] = classifier.predict_proba(rows)
            labels = classes[proba[whole].argmax(axis=1)]
        else:
            labels = classifier.predict(rows)
        if (found := scores_of(classifier, rows)) is not None:
            scores[whole] = found
        for i, label in zip(whole, labels, strict=True):
            predicted[i] = label
    table = {name: corpus[name] for name in _KEPT if name in corpus}
    table["predicted"] = pd.Series(predicted, dtype=object)
    table |= {f"p_{label}": pd.Series(proba[:, k]) for k, label in enumerate(classes)}
    table |= {"confidence": pd.Series(proba.max(axis=1)), "score": pd.Series(scores)}
    table["warning"] = pd.Series(cautions, dtype=object)
    table["error"] = pd.Series([encoded.failures.get(i) for i in range(len(corpus))], dtype=object)
    return pd.DataFrame(table)


def write_predictions(predictions: pd.DataFrame, output: str | os.PathLike[str] | TextIO, form: str = "csv") -> None:
    """
    Write predictions as CSV or as JSON lines.

    Parameters
    ----------
    predictions : DataFrame
        As of `predict_clips`.
    output : path-like or text stream
        A file appears under its name only when it is complete.
    form : {"csv", "jsonl"}, default="csv"
        In JSON lines, probabilities are one object, `{"probabilities": {label: ...}}`.
    """
    if isinstance(output, str | os.PathLike):
        with whole_file(output) as file:
            write_predictions(predictions, file, form)
    elif form == "csv":
        predictions.to_csv(output, index=False, lineterminator="\n")
    else:
        for row in predictions.to_dict("records"):
            output.write(json.dumps(_json_row(row), ensure_ascii=False) + "\n")


def _json_row(row: dict[str, Any]) -> dict[str, Any]:
    plain = {name: _known(value) for name, value in row.items() if not name.startswith("p_")}
    names = [name for name in row if name.startswith("p_")]
    proba = {name.removeprefix("p_"): row[name] for name in names}
    plain["probabilities"] = None if row["error"] is not None else proba
    return plain


def _known(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value
