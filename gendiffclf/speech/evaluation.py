"""How well a pipeline does on voices it has not heard, by the measures of the field."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score, recall_score
from tqdm import tqdm

from ..metrics import expected_calibration_error
from ..validation import check_integer
from .corpora import check_corpus
from .folds import Fold, fold_rows, shared_speakers, warn_of_learnt_speakers
from .prediction import whole_file
from .training import (
    ClipFeatures,
    encode_clips,
    failed,
    fit_rows,
    given_features,
    report_failures,
    split_pipeline,
)

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("wa", "uar", "macro_f1", "ece")
_TITLES = {"wa": "WA", "uar": "UAR", "macro_f1": "macro-F1", "ece": "ECE"}


@dataclass(frozen=True)
class Evaluation:
    """
    What `evaluate` found.

    Attributes
    ----------
    classes : ndarray of shape (K,)
        Labels, sorted.
    folds : DataFrame
        A row for each fold: `n_train`, `n_test`, `n_test_speakers`, and the measures `wa` (accuracy), `uar` (mean recall of
        the classes that occur), `macro_f1` and `ece` (calibration error; NaN without probabilities).
    confusions : ndarray of shape (folds, K, K), int
        Clips by true label (rows) and predicted one (columns).
    predictions : DataFrame
        A row for each tested clip, indexed by its row in the corpus: `path`, `fold`, `label`, `predicted`, and a column
        `p_<label>` for each class.
    failures : DataFrame
        Broken clips, which no fold has: `path` and `reason`, indexed by their row in the corpus.
    shared_speakers : tuple of str
        Speakers who were on both sides of a fold. Where there are any, the measures say little about new voices.
    """

    classes: np.ndarray
    folds: pd.DataFrame
    confusions: np.ndarray
    predictions: pd.DataFrame
    failures: pd.DataFrame
    shared_speakers: tuple[str, ...] = ()

    @property
    def confusion(self) -> np.ndarray:
        """Confusion matrix of all folds together, of shape (K, K)."""
        return self.confusions.sum(axis=0)

    @property
    def pooled(self) -> dict[str, float]:
        """The measures of all tested clips together."""
        columns = [f"p_{label}" for label in self.classes]
        proba = self.predictions[columns].to_numpy()
        return measures(self.predictions["label"], self.predictions["predicted"], proba, self.classes)

    @property
    def mean(self) -> dict[str, float]:
        """The measures' means over folds."""
        return {name: float(self.folds[name].mean()) for name in MEASURES}

    @property
    def standard_error(self) -> dict[str, float]:
        """Standard errors of those means; NaN for a single fold."""
        return {name: float(self.folds[name].sem()) for name in MEASURES}

    def to_json(self, path: str | Path) -> None:
        """
        Write measures, folds and confusion matrices as JSON.

        Parameters
        ----------
        path : path-like
            Replaced if it exists, once the new content is complete.
        """
        content = {
            "classes": [str(label) for label in self.classes],
            "pooled": self.pooled,
            "mean": self.mean,
            "standard_error": self.standard_error,
            "folds": self.folds.to_dict("records"),
            "confusion": self.confusion.tolist(),
            "confusions": self.confusions.tolist(),
            "shared_speakers": list(self.shared_speakers),
            "failures": self.failures.to_dict("records"),
        }
        text = json.dumps(_without_nan(content), indent=1) + "\n"
        with whole_file(path) as file:
            file.write(text)

    def __str__(self) -> str:
        """The confusion matrix of all folds, and the measures with their standard errors."""
        lines = [confusion_text(self.confusion, self.classes), ""]
        mean, error, pooled = self.mean, self.standard_error, self.pooled
        several = len(self.folds) > 1
        lines.append(f"{'':<10}{'all clips':>10}" + (f"{'mean of folds':>15}{'standard error':>16}" if several else ""))
        for name in MEASURES:
            by_fold = f"{mean[name]:>15.3f}{error[name]:>16.3f}" if several else ""
            lines.append(f"{_TITLES[name]:<10}{pooled[name]:>10.3f}{by_fold}")
        n_folds, n_clips = len(self.folds), len(self.predictions)
        lines += ["", f"{n_clips} clips in {n_folds} {'fold' if n_folds == 1 else 'folds'}."]
        if self.shared_speakers:
            lines.append(f"{len(self.shared_speakers)} speakers were on both sides of a fold.")
        if len(self.failures):
            lines.append(f"{len(self.failures)} clips are broken and were left out.")
        return "\n".join(lines)


def evaluate(
    pipeline: Any,
    corpus: pd.DataFrame,
    folds: str | Iterable[Fold] | Any = "speaker",
    *,
    n_folds: int = 5,
    random_state: int = 0,
    features: Any = None,
    verbose: int = 0,
) -> Evaluation:
    """
    Cross-validate a pipeline on a corpus.

    Parameters
    ----------
    pipeline : Pipeline
        A featuriser first, a classifier last; with `features` a classifier, or a pipeline without featuriser. It is cloned
        for each fold.
    corpus : DataFrame
        With `path`, `label` and, but for random folds, `speaker`, as of `read_corpus`.
    folds : {"speaker", "leave-one-speaker-out", "split", "random"}, splitter or iterable, default="speaker"
        "speaker": `n_folds` stratified folds of whole speakers. "split": learns from the clips whose column `split` says
        "train" or "dev" and tests on those of "test", as a corpus' authors mean it. "random": stratified, whoever speaks.
        Or a splitter of scikit-learn, or pairs of arrays of training and test rows.
    n_folds : int >= 2, default=5
        At most as many as there are speakers.
    random_state : int, default=0
        Of the folds.
    features : array-like of shape (n, d) or (n, layers, d), optional
        Features of the clips, if they are there already; rows with NaN count as broken clips.
    verbose : int, default=0
        Whether to show progress.

    Returns
    -------
    evaluation : Evaluation
        Printing it shows the confusion matrix and the measures.

    Raises
    ------
    ValueError
        If table, pipeline or folds are not as above.

    Warns
    -----
    UserWarning
        If a speaker is on both sides of a fold, or clips are broken; these are left out.

    Notes
    -----
    Each clip is encoded once for all folds. Speakers are handed on to every step whose `fit` takes `groups`: the
    classifier then chooses hyperparameters, updates and calibration by voices it does not learn from.

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
    check_integer("n_folds", n_folds, 2)
    by_speaker = isinstance(folds, str) and folds in ("speaker", "leave-one-speaker-out")
    has_speakers = "speaker" in corpus
    corpus = check_corpus(corpus, ("path", "label", *(["speaker"] if by_speaker or has_speakers else [])))
    if features is None:
        featurizer, estimator = split_pipeline(pipeline)
        encoded = encode_clips(featurizer, corpus)
    else:
        estimator, encoded = pipeline, given_features(features, len(corpus))
    report_failures(encoded, corpus)
    pairs = fold_rows(corpus, encoded.whole, folds, n_folds=n_folds, random_state=random_state)
    shared = shared_speakers(corpus, pairs)
    return _cross_validate(estimator, corpus, encoded, pairs, shared, verbose)


def evaluate_fitted(pipeline: Any, corpus: pd.DataFrame) -> Evaluation:
    """
    Try a fitted pipeline on a corpus it has not learnt from, as one fold.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, as of `train` or `load_model`.
    corpus : DataFrame
        With `path` and `label`.

    Raises
    ------
    ValueError
        If no label of the corpus is a class of the pipeline.

    Warns
    -----
    UserWarning
        If speakers are among those the pipeline learnt from, as far as both are known, or clips are broken.
    """
    corpus = check_corpus(corpus, ("path", "label", *(["speaker"] if "speaker" in corpus else [])))
    featurizer, rest = split_pipeline(pipeline)
    encoded = encode_clips(featurizer, corpus)
    report_failures(encoded, corpus)
    test = encoded.whole
    warn_of_learnt_speakers(pipeline, corpus, test)
    found, known = np.unique(corpus["label"].to_numpy()[test]), rest.classes_
    if not np.isin(found, known).any():
        raise ValueError(f"Got a corpus of the labels {found.tolist()}, expected some of {known.tolist()}.")
    classes = np.union1d(known, found)
    proba = class_probabilities(rest, encoded.rows[test], classes)
    part = (np.empty(0, int), test, rest.predict(encoded.rows[test]), proba)
    return summarize(corpus, classes, [part], failed(encoded, corpus))


def _cross_validate(
    estimator: Any,
    corpus: pd.DataFrame,
    encoded: ClipFeatures,
    pairs: list[Fold],
    shared: tuple[str, ...],
    verbose: int,
) -> Evaluation:
    y = corpus["label"].to_numpy()
    speakers = corpus["speaker"].to_numpy().astype(str) if "speaker" in corpus else None
    classes = np.unique(y[encoded.whole])
    parts = []
    for train, test in tqdm(pairs, unit="fold", desc="Folds", disable=not verbose):
        fitted = fit_rows(estimator, encoded.rows[train], y[train], None if speakers is None else speakers[train])
        proba = class_probabilities(fitted, encoded.rows[test], classes)
        predicted = fitted.predict(encoded.rows[test])
        parts.append((train, test, predicted, proba))
    return summarize(corpus, classes, parts, failed(encoded, corpus), shared)


def summarize(
    corpus: pd.DataFrame,
    classes: np.ndarray,
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    failures: pd.DataFrame,
    shared: tuple[str, ...] = (),
) -> Evaluation:
    """The evaluation of folds, each given by training rows, test rows, predicted labels and probabilities."""
    import pandas as pd

    rows, confusions, predictions = [], [], []
    for number, (train, test, predicted, proba) in enumerate(parts):
        truth = corpus["label"].to_numpy()[test]
        speakers = corpus["speaker"].iloc[test].nunique() if "speaker" in corpus else None
        sizes = {"n_train": len(train), "n_test": len(test), "n_test_speakers": speakers}
        rows.append({"fold": number, **sizes, **measures(truth, predicted, proba, classes)})
        confusions.append(confusion_matrix(truth, predicted, labels=classes))
        columns = {"path": corpus["path"].iloc[test], "fold": number, "label": truth, "predicted": predicted}
        columns |= {f"p_{label}": proba[:, k] for k, label in enumerate(classes)}
        predictions.append(pd.DataFrame(columns, index=test))
    return Evaluation(
        classes, pd.DataFrame(rows), np.stack(confusions), pd.concat(predictions).sort_index(), failures, shared
    )


def measures(y_true: Any, y_pred: Any, proba: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """
    The measures of the field.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels.
    proba : ndarray of shape (n, K)
        Probabilities; NaN where there are none.
    classes : ndarray of shape (K,)
        Label of each column, sorted.
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    # The mean over the classes that occur: a fold of one speaker need not have all.
    present = np.unique(y_true)
    uar = recall_score(y_true, y_pred, labels=present, average="macro", zero_division=0)
    f1 = f1_score(y_true, y_pred, labels=present, average="macro", zero_division=0)
    known = not np.isnan(proba).any()
    ece = expected_calibration_error(y_true, proba, labels=classes) if known else float("nan")
    return {"wa": float((y_true == y_pred).mean()), "uar": float(uar), "macro_f1": float(f1), "ece": ece}


def class_probabilities(fitted: Any, X: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Probabilities with a column for each of `classes`, (n, K): 0 for those not learnt, NaN where a model has none."""
    if not hasattr(fitted, "predict_proba"):
        return np.full((len(X), len(classes)), np.nan)
    proba = np.zeros((len(X), len(classes)))
    proba[:, np.searchsorted(classes, fitted.classes_)] = fitted.predict_proba(X)
    return proba


# ------------------------------------------------------------------------ text


def confusion_text(confusion: np.ndarray, classes: np.ndarray) -> str:
    """A confusion matrix as aligned text, with the recall of each class."""
    names = [str(label) for label in classes]
    width = max(6, *(len(name) + 2 for name in names))
    first = max(len("true"), *map(len, names))
    lines = [f"{'true':<{first}}" + "".join(f"{name:>{width}}" for name in names) + f"{'recall':>8}"]
    for name, row, k in zip(names, confusion, range(len(names)), strict=True):
        recall = f"{row[k] / row.sum():>8.2f}" if row.sum() else f"{'':>8}"
        lines.append(f"{name:<{first}}" + "".join(f"{count:>{width}}" for count in row) + recall)
    return "\n".join(lines)


def _without_nan(value: Any) -> Any:
    """NaN as None, which JSON has a word for."""
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value
