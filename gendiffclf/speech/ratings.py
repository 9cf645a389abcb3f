"""Training, prediction and evaluation for ratings of arousal, valence and dominance instead of labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from ..featurizers import SpeechFeaturizer
from ..metrics import concordance_correlation
from ..systems.emosphere_targets import DIMENSIONS
from ..validation import shown
from .corpora import check_corpus, with_index_of
from .evaluation import REPORTED
from .folds import Fold, checked_folds, fold_rows, shared_speakers, warn_of_learnt
from .intervals import bounds_text, draw_weights, interval, units_text
from .names import counted
from .prediction import encode_with_remarks
from .provenance import JsonResult, as_json, describe_run, steps_of
from .tables import number_voices
from .training import ClipFeatures, before_classifier, encode_audited, fit_rows, joined, split_pipeline

IGNORED = (*REPORTED, "no-labels")
"""Findings of `audit` that are reported elsewhere, or do not matter for ratings."""
_KEPT = ("path", "start", "end", "speaker")


@dataclass(frozen=True)
class RatingEvaluation(JsonResult):
    """
    Result of `evaluate_ratings`. Printing it shows the concordance of each dimension, overall and by fold.

    Attributes
    ----------
    dimensions : tuple of str
        Names of the ratings.
    folds : DataFrame
        One row per fold: `n_train`, `n_test`, and the concordance correlation coefficient (CCC) of each dimension, NaN for a
        single clip.
    predictions : DataFrame
        One row per tested clip, with its index in the corpus: `path` and, if known, `start`, `end` and `speaker`; each
        dimension, `voice`, `predicted_<dimension>` and `fold`.
    failures : DataFrame
        Broken clips, which are in no fold: `path` and `reason`, with their index in the corpus.
    about : dict
        Everything needed to repeat the evaluation.
    """

    dimensions: tuple[str, ...]
    folds: pd.DataFrame
    predictions: pd.DataFrame
    failures: pd.DataFrame
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def ccc(self) -> dict[str, float]:
        """CCC of each dimension over the tested clips of all folds, and their `mean`."""
        values = _concordance(self.predictions, self.dimensions)
        return {**values, "mean": float(np.mean(list(values.values())))}

    def _resampled(self, random_state: int) -> np.ndarray:
        """CCC of bootstrap samples of voices with all their clips, (b, dimensions), the same samples for the same clips."""
        unit, n_voices = number_voices(self.predictions)
        x = self.predictions[list(self.dimensions)].to_numpy(dtype=np.float64)
        y = self.predictions[[f"predicted_{name}" for name in self.dimensions]].to_numpy(dtype=np.float64)
        moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)  # (clips, 6, dimensions)
        sums = np.zeros((n_voices, *moments.shape[1:]))
        np.add.at(sums, unit, moments)
        draws = np.concatenate(list(draw_weights(n_voices, random_state)))
        n, *rest = np.moveaxis(np.tensordot(draws, sums, axes=1), 1, 0)  # 6 × (b, dimensions)
        x, y, xx, yy, xy = (total / n for total in rest)
        distance = xx - x**2 + yy - y**2 + (x - y) ** 2
        return np.asarray(2 * (xy - x * y) / np.where(distance > 0, distance, np.nan))

    def intervals(self, random_state: int = 0) -> dict[str, tuple[float, float]]:
        """
        95 % bootstrap intervals of `ccc` over voices.

        Parameters
        ----------
        random_state : int, default=0
            Seed of the bootstrap.

        Returns
        -------
        intervals : dict of str to (float, float)
            Ends for each dimension and the mean; NaN for fewer than 5 voices.
        """
        return self._bounds(self._resampled(random_state))

    def _bounds(self, drawn: np.ndarray) -> dict[str, tuple[float, float]]:
        """95 % intervals of values for each bootstrap sample and dimension, and of their mean."""
        n_voices = self.predictions["voice"].nunique()
        columns = [*drawn.T, drawn.mean(axis=1)]
        return {name: interval(column, n_voices) for name, column in zip(self.ccc, columns, strict=True)}

    def less(self, other: RatingEvaluation, random_state: int = 0) -> dict[str, dict[str, float]]:
        """
        Return the difference in CCC to another evaluation of the same clips in the same folds.

        Parameters
        ----------
        other : RatingEvaluation
            Of the same table.
        random_state : int, default=0
            Seed of the bootstrap, which samples the same voices for both.

        Returns
        -------
        differences : dict
            For each dimension and the mean: `difference` (this minus other), and `low` and `high` of its 95 % interval.

        Raises
        ------
        ValueError
            If dimensions, clips, ratings, voices or folds differ.
        """
        first, second = (
            each.predictions.drop(columns=[f"predicted_{name}" for name in each.dimensions]).reset_index(drop=True)
            for each in (self, other)
        )
        if self.dimensions != other.dimensions or not first.equals(second):
            raise ValueError(
                f"Got evaluations of {len(first)} and {len(second)} clips that are not the same, expected the same dimensions, "
                "clips, ratings, voices and folds; evaluate both on the same table with the same folds, n_folds and random_state."
            )
        bounds, other_ccc = self._bounds(self._resampled(random_state) - other._resampled(random_state)), other.ccc
        return {
            name: {"difference": value - other_ccc[name], "low": bounds[name][0], "high": bounds[name][1]}
            for name, value in self.ccc.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Return everything except the predictions as JSON types."""
        return as_json(
            {
                "ccc": self.ccc,
                "intervals": self.intervals(),
                "folds": self.folds,
                "failures": self.failures,
                "about": self.about,
            }
        )

    def __str__(self) -> str:
        bounds = self.intervals()
        lines = [f"{'CCC':<12}{'':>7}  95 % interval"]
        for name, value in self.ccc.items():
            lines.append(f"{name:<12}{value:>7.3f}  {bounds_text(*bounds[name])}")
        n_voices = self.predictions["voice"].nunique()
        lines.append(f"\n{units_text(n_voices, 'voices')}")
        lines.append(f"{len(self.predictions)} clips, {n_voices} voices, {counted(len(self.folds), 'fold')}:")
        lines.append(self.folds.to_string(float_format="{:.3f}".format))
        return "\n".join(lines)


def train_ratings(
    pipeline: Any, corpus: pd.DataFrame, dimensions: Iterable[str] = DIMENSIONS, *, accept: Iterable[str] = ()
) -> Pipeline:
    """
    Train a pipeline on the rated clips of a corpus.

    Parameters
    ----------
    pipeline : Pipeline or regressor
        A featuriser first and a regressor last, which gets a DataFrame of ratings; or a regressor of clips. It is cloned.
    corpus : DataFrame
        With `path` and a column for each dimension, as returned by `read_corpus`.
    dimensions : iterable of str, default=("arousal", "valence", "dominance")
        Columns of ratings.
    accept : iterable of str, default=()
        Codes of findings of `audit` to accept.

    Returns
    -------
    pipeline : Pipeline
        Fitted; with `speakers_` and `clips_`, as from `train`. Broken clips are left out with a warning.

    Raises
    ------
    ValueError
        If the table is invalid, all clips are broken, or `audit` finds an error.
    """
    names = tuple(dimensions)
    corpus = _rated(corpus, names)
    featurizer, rest = _split(pipeline, corpus)
    featurizer = None if featurizer is None else clone(featurizer)
    encoded = encode_audited(featurizer, corpus, accept=accept, ignore=IGNORED)
    valid = encoded.valid
    fitted = fit_rows(rest, encoded, valid, corpus.loc[valid, list(names)])
    return joined(pipeline, featurizer, fitted, "regressor", encoded)


def predict_ratings(pipeline: Any, corpus: pd.DataFrame, dimensions: Iterable[str] | None = None) -> pd.DataFrame:
    """
    Predict the ratings of every clip.

    Parameters
    ----------
    pipeline : Pipeline or regressor
        Fitted, as returned by `train_ratings` or `load_model`.
    corpus : DataFrame
        With `path`, as returned by `read_corpus`.
    dimensions : iterable of str, optional
        Names of the predictions; by default the regressor's `dimensions_`.

    Returns
    -------
    predictions : DataFrame
        One row per clip, with the index of `corpus`: `path` and, if known, `start`, `end` and `speaker`; a column for each
        dimension; `warning` and `error`, as in `predict_clips`.

    Warns
    -----
    UserWarning
        If there are broken clips or clips with a warning.
    """
    given, corpus = corpus, check_corpus(corpus, ("path",), ())
    featurizer, rest = _split(pipeline, corpus)
    encoded, remarks = encode_with_remarks(featurizer, corpus)
    valid = encoded.valid
    names = list(steps_of(rest)[-1][1].dimensions_ if dimensions is None else dimensions)
    table = corpus[[name for name in _KEPT if name in corpus]].assign(**dict.fromkeys(names, np.nan))
    if len(valid):
        table.loc[valid, names] = _predict(rest, encoded, valid)
    return with_index_of(given, table.assign(**remarks))


def evaluate_ratings(
    pipeline: Any,
    corpus: pd.DataFrame,
    folds: str | Iterable[Fold] | Any = "speaker",
    *,
    dimensions: Iterable[str] = DIMENSIONS,
    n_folds: int = 5,
    random_state: int = 0,
    features: Any = None,
    fitted: bool = False,
    accept: Iterable[str] = (),
    verbose: int = 0,
) -> RatingEvaluation:
    """
    Cross-validate a regressor of ratings, or evaluate a fitted one, by the concordance correlation coefficient.

    Parameters
    ----------
    pipeline : Pipeline or regressor
        A featuriser first and a regressor last, or a regressor of clips; with `features`, without a featuriser. It is cloned
        for each fold.
    corpus : DataFrame
        With `path`, `speaker` and a column for each dimension.
    folds : str, splitter or iterable, default="speaker"
        As for `evaluate`, but not stratified.
    dimensions : iterable of str, default=("arousal", "valence", "dominance")
        Columns of ratings; the regressor gets them as a DataFrame, and predicts in their order or that of its `dimensions_`.
    n_folds : int >= 2, default=5
        Number of folds; at most the number of speakers.
    random_state : int, default=0
        Seed of the folds.
    features : array-like or list of ndarrays, optional
        Precomputed features or frames of the clips; rows with NaN or infinity count as broken clips.
    fitted : bool, default=False
        Whether the pipeline is already fitted, on other clips; all clips are then one fold.
    accept : iterable of str, default=()
        Codes of findings of `audit` to accept.
    verbose : int, default=0
        If nonzero, show a progress bar.

    Returns
    -------
    evaluation : RatingEvaluation

    Raises
    ------
    ValueError
        If table, pipeline or folds are invalid, or `audit` finds an error.

    Warns
    -----
    UserWarning
        If a speaker is on both sides of a fold, clips are broken, which are left out, or all ratings of a dimension are equal.
    """
    names = tuple(dimensions)
    given, corpus = corpus, _rated(corpus, names)
    for name in names:
        if len(corpus) > 1 and corpus[name].nunique() == 1:
            warnings.warn(
                f"Got {corpus[name].iloc[0]:g} in the column {name!r} for all {len(corpus)} clips, expected different ratings: "
                f"the CCC of {name} and the mean CCC say nothing; look at the other dimensions alone.",
                stacklevel=2,
            )
    if not fitted:
        folds = checked_folds(corpus, folds, n_folds)
    featurizer, rest = _split(pipeline, corpus, features)
    encoded = encode_audited(featurizer, corpus, features, accept=accept, ignore=IGNORED)
    audited = encoded.audit
    settings = {"random_state": random_state} if fitted else {"n_folds": n_folds, "random_state": random_state}
    if fitted:
        folds = "a fitted pipeline"
        warn_of_learnt(pipeline, corpus, encoded.valid, audited.content)
        pairs = [(np.empty(0, int), encoded.valid)]
    else:
        pairs = fold_rows(corpus.assign(label="rated"), audited, encoded.valid, folds, **settings)
        shared_speakers(corpus, pairs, audited.voices)
    rows, tables, model = [], [], rest
    for number, (train, test) in enumerate(tqdm(pairs, unit="fold", desc="Folds", disable=not verbose)):
        if not fitted:
            model = fit_rows(rest, encoded, train, corpus.loc[train, list(names)])
        predicted = _predict(model, encoded, test)
        order = list(getattr(steps_of(model)[-1][1], "dimensions_", names))
        kept = [name for name in _KEPT if name in corpus]
        table = corpus.loc[test, [*kept, *names]].assign(voice=audited.voices[test])
        table = table.assign(**{f"predicted_{name}": predicted[:, order.index(name)] for name in names})
        rows.append({"n_train": len(train), "n_test": len(test), **_concordance(table, names)})
        tables.append(table.assign(fold=number))
    about = describe_run(pipeline, corpus, audited.content, folds, [test for _, test in pairs], **settings)
    about["audit"] = audited.as_dict()
    predictions, broken = (with_index_of(given, table) for table in (pd.concat(tables), encoded.broken))
    return RatingEvaluation(names, pd.DataFrame(rows), predictions, broken, about)


def _predict(fitted: Any, encoded: ClipFeatures, rows: np.ndarray) -> np.ndarray:
    """Predict the ratings of some rows, as an array of shape (n_clips, n_dimensions)."""
    regressor, X = before_classifier(fitted, encoded.rows[rows], encoded.speakers(rows))
    return np.asarray(regressor.predict(X)).reshape(len(rows), -1)  # regressors return (n_clips,) for one dimension


def _concordance(predictions: pd.DataFrame, names: tuple[str, ...]) -> dict[str, float]:
    """CCC of each dimension; NaN for a single clip."""
    if len(predictions) < 2:
        return dict.fromkeys(names, np.nan)
    predicted = predictions[[f"predicted_{name}" for name in names]]
    values = concordance_correlation(predictions[list(names)], predicted, multioutput="raw_values")
    return dict(zip(names, np.ravel(values).tolist(), strict=True))


def _rated(corpus: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """Return the table with ratings as numbers."""
    corpus = check_corpus(corpus, ("path", *names))
    corpus = corpus.drop(columns="label", errors="ignore")  # so that the audit does not check it
    for name in names:
        numbers = pd.to_numeric(corpus[name], errors="coerce")
        if numbers.isna().any():
            wrong = corpus[name][numbers.isna()].iloc[0]
            raise ValueError(f"Got {shown(wrong)} in the column {name!r}, expected numbers; correct the table.")
        corpus[name] = numbers.astype(np.float64)
    return corpus


def _split(pipeline: Any, corpus: pd.DataFrame, features: Any = None) -> tuple[Any, Any]:
    """Return the featuriser, None with features or for a regressor of clips, and the steps after it."""
    whole = features is not None or not isinstance(steps_of(pipeline)[0][1], SpeechFeaturizer)
    return split_pipeline(pipeline, corpus, whole=whole)
