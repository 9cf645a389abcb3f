"""Training a pipeline on a corpus, without broken clips and with speakers as groups."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from ..classifier import GenerativeTransportClassifier
from ..featurizers import SpeechFeaturizer
from ..featurizers.audio import AudioError
from ..validation import check_names, first_few
from .auditing import audit_first
from .corpora import check_corpus, check_gaps, clips
from .findings import Audit
from .folds import N_DIGITS
from .names import NO_CONTENT
from .provenance import steps_of
from .recordings import measure_recordings
from .sound_checks import about_paths
from .votes import votes_of


@dataclass(frozen=True)
class ClipFeatures:
    """
    Features of the clips of a corpus.

    `rows` has shape (n, d) or (n, layers, d), with NaN for broken clips; frames, which featurisers return as a list, are an
    array of n objects. `failures` holds the reason for each broken clip, by its row.
    """

    corpus: pd.DataFrame
    rows: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def valid(self) -> np.ndarray:
        """Row numbers of clips that are not broken."""
        return np.setdiff1d(np.arange(len(self.rows)), list(self.failures))

    @property
    def broken(self) -> pd.DataFrame:
        """The broken clips as a table of `path` and `reason`, indexed by their row."""
        rows = list(self.failures)
        paths = self.corpus["path"].iloc[rows].tolist()
        return pd.DataFrame({"path": paths, "reason": list(self.failures.values())}, index=rows)

    def speakers(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the speakers of some rows as strings; None if unknown."""
        return self.corpus["speaker"].to_numpy()[rows].astype(str) if "speaker" in self.corpus else None

    @property
    def message(self) -> str:
        """Message about the broken clips."""
        named = first_few(
            [f"{self.corpus['path'][i]}: {reason}" for i, reason in self.failures.items()], separator="; "
        )
        return f"Got {len(self.failures)} of {len(self.rows)} clips that are broken ({named})"


@dataclass(frozen=True)
class AuditedFeatures(ClipFeatures):
    """Features of the clips of an audited corpus."""

    audit: Audit = field(kw_only=True)

    def voices(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the voices of some rows, to keep on one side of a split; None if speakers are unknown."""
        return None if self.audit.n_speakers is None else self.audit.voices[rows]


def encode_clips(featurizer: SpeechFeaturizer | None, corpus: pd.DataFrame, features: Any = None) -> ClipFeatures:
    """
    Compute the features of all clips, unless they are given, and collect broken ones, whatever the featuriser's `on_error` is.

    The broken clips are also in the featuriser's `failures_`. Given features with NaN or infinity count as broken clips. Without
    features and featuriser, the rows are the clips themselves, which are decoded to find broken ones.
    """
    if features is not None:
        rows = _indexable(features)
        if (rows.ndim < 2 and rows.dtype != object) or len(rows) != len(corpus):
            raise ValueError(f"Got features of shape {rows.shape} for {len(corpus)} clips, expected one row per clip.")
        broken = [i for i, row in enumerate(rows) if not np.isfinite(row).all()]
        return ClipFeatures(corpus, rows, dict.fromkeys(broken, "its features hold NaN or infinity"))
    if featurizer is None:
        items = clips(corpus)
        failures = {i: r.reason for i, r in enumerate(measure_recordings(items)) if isinstance(r, AudioError)}
        return ClipFeatures(corpus, pd.Series(items, dtype=object).to_numpy(), failures)
    tolerant = clone(featurizer).set_params(on_error="nan")
    rows = _indexable(tolerant.transform(clips(corpus)))
    featurizer.failures_ = tolerant.failures_
    return ClipFeatures(corpus, rows, {failure.index: failure.reason for failure in tolerant.failures_})


def encode_audited(
    featurizer: SpeechFeaturizer | None,
    corpus: pd.DataFrame,
    features: Any = None,
    *,
    accept: Iterable[str],
    ignore: Iterable[str],
) -> AuditedFeatures:
    """Audit a corpus and then encode its clips, unless `features` are given; warn of broken ones, an error if all are."""
    if features is None:
        audited = audit_first(corpus, accept=accept, ignore=ignore)
        encoded = encode_clips(featurizer, corpus)
    else:
        encoded = encode_clips(None, corpus, features)
        audited = audit_first(corpus, encoded.rows, accept=accept, ignore=ignore)
    if len(encoded.failures) == len(corpus):
        remedy = f"check the paths{about_paths(encoded.failures.values())}"
        raise ValueError(f"{encoded.message}, expected at least one that can be read; {remedy}.")
    if encoded.failures:
        warnings.warn(f"{encoded.message}; they are left out.{_lost_labels(corpus, encoded.valid)}", stacklevel=3)
    return AuditedFeatures(**vars(encoded), audit=audited)


def _lost_labels(corpus: pd.DataFrame, valid: np.ndarray) -> str:
    """Sentence about labels without `valid` clips; empty if there are none."""
    if "label" not in corpus:
        return ""
    labels = corpus["label"].astype(str)
    lost = sorted(set(labels) - set(labels.iloc[valid]))
    if not lost:
        return ""
    of_labels = f"{len(lost)} of {labels.nunique()} labels ({first_few(lost)})"
    return f" No clip is left of {of_labels}, so that models and measures lack them."


def _indexable(features: Any) -> np.ndarray:
    """Return features as an array; a list of frame arrays becomes an array of objects."""
    if not isinstance(features, list) or np.ndim(features[0]) < 2:
        return np.asarray(features)
    rows = np.empty(len(features), dtype=object)
    rows[:] = features
    return rows


def split_pipeline(pipeline: Any, corpus: pd.DataFrame | None = None, *, whole: bool = False) -> tuple[Any, Any]:
    """
    Return the featuriser and a pipeline of the steps after it; with `whole`, for precomputed features, None and the pipeline.

    The steps are checked, also that a corpus has the speakers that they need.
    """
    steps = steps_of(pipeline)
    featurizer, rest = (None, pipeline) if whole else (steps[0][1], Pipeline(steps[1:]))
    if not whole:
        _check_steps(steps)
    if corpus is not None and needs_speakers(rest):
        if "speaker" not in corpus:
            raise ValueError(
                f"Got a corpus with the columns {list(corpus.columns)}, expected 'speaker' among them, since features are "
                "normalised by speaker; specify the column by speaker_column (--speaker-column), or take it from paths by "
                "pattern (--pattern)."
            )
        check_gaps(corpus, "speaker")
    return featurizer, rest


def _check_steps(steps: list[tuple[str, Any]]) -> None:
    if len(steps) < 2 or not isinstance(steps[0][1], SpeechFeaturizer):
        names = " -> ".join(type(step).__name__ for _, step in steps)
        raise ValueError(
            f"Got pipeline {names}, expected a featuriser first and a classifier last, such as "
            "make_pipeline(AcousticFeaturizer(), GenerativeTransportClassifier())."
        )
    for _, step in steps:
        if hasattr(step, "_checked_parameters"):
            step._checked_parameters()  # before hours of encoding, not only in `fit`
    featurizer, last = steps[0][1], steps[-1][1]
    frames = {"pooling": "none", "level": "lld"}
    for name, value in frames.items():
        if getattr(featurizer, name, None) == value and isinstance(last, GenerativeTransportClassifier):
            raise ValueError(
                f"Got {name}={value!r} with GenerativeTransportClassifier, expected one vector per clip and not its frames; "
                f"choose another {name}, or an estimator that pools frames."
            )


def fit_rows(
    estimator: Any, encoded: AuditedFeatures, rows: np.ndarray, y: Any, votes: pd.DataFrame | None = None
) -> Any:
    """
    Fit a clone to some rows, with voices as `groups` for every step whose `fit` accepts them, and for the splitters of searches.

    The classifier then validates on held-out speakers, so that its hyperparameters, number of updates and calibration are
    chosen for new speakers. Steps whose `transform` accepts groups get speakers, as in prediction, unless metadata routing is
    enabled. A classifier with `fit_votes` is trained on the votes if there are any, others on the labels.
    """
    estimator = clone(estimator)
    X, voices, speakers = encoded.rows[rows], encoded.voices(rows), encoded.speakers(rows)
    if votes is not None and hasattr(estimator, "fit_votes"):
        return estimator.fit_votes(X, votes, groups=voices)
    if votes is not None and isinstance(estimator, Pipeline) and hasattr(estimator.steps[-1][1], "fit_votes"):
        name, classifier = estimator.steps[-1]  # a pipeline has no fit_votes
        fitted = fit_rows(Pipeline([*estimator.steps[:-1], (name, "passthrough")]), encoded, rows, y)
        features = before_classifier(fitted, X, speakers)[1]
        return Pipeline([*fitted.steps[:-1], (name, classifier.fit_votes(features, votes, groups=voices))])
    if voices is None:
        return estimator.fit(X, y)
    steps = steps_of(estimator)
    for _, step in steps:
        if isinstance(step, BaseSearchCV) and not isinstance(step.cv, Iterable) and not _fits_by_groups(step):
            warnings.warn(
                f"Got {type(step).__name__} with cv={step.cv}, whose folds may share speakers, expected a splitter by groups, "
                "so that it chooses for new speakers; set cv=StratifiedGroupKFold(), or GroupKFold() for ratings.",
                stacklevel=3,
            )
    takers = {name: step for name, step in steps if _fits_by_groups(step)}
    if not takers:
        return estimator.fit(X, y)
    if sklearn.get_config()["enable_metadata_routing"]:
        for inner in estimator.get_params().values():
            if _takes_groups(inner, "fit"):
                inner.set_fit_request(groups=True)
    elif isinstance(estimator, Pipeline):
        groups = {name: speakers if _takes_groups(step, "transform") else voices for name, step in takers.items()}
        return estimator.fit(X, y, **{f"{name}__groups": values for name, values in groups.items()})
    return estimator.fit(X, y, groups=voices)


def end_if_interrupted(fitted: Any) -> None:
    """
    Raise KeyboardInterrupt if a fit was stopped early by an interrupt.

    The classifier's `fit` then returns with its best weights so far, which should not be evaluated.
    """
    if getattr(steps_of(fitted)[-1][1], "history_", {}).get("stopped_by") == "interrupt":
        raise KeyboardInterrupt("training was interrupted")


def before_classifier(fitted: Any, X: np.ndarray, speakers: np.ndarray | None) -> tuple[Any, np.ndarray]:
    """
    Return the last step of a fitted pipeline, and the rows transformed by the steps before it.

    Speakers are passed to every step whose `transform` accepts them; `Pipeline.predict` does so only with metadata routing.
    """
    if not isinstance(fitted, Pipeline):
        return fitted, X
    for _, step in fitted.steps[:-1]:
        if step is not None and step != "passthrough":
            X = step.transform(X, groups=speakers) if _takes_groups(step, "transform") else step.transform(X)
    return fitted.steps[-1][1], X


def needs_speakers(fitted: Any) -> bool:
    """Whether a step's `transform` needs speakers, as that of `SpeakerNormalizer`."""
    return isinstance(fitted, Pipeline) and any(_takes_groups(step, "transform") for _, step in fitted.steps)


def _fits_by_groups(step: Any) -> bool:
    """Whether `fit` accepts groups; that of scikit-learn's searches does if their splitter needs them."""
    if not isinstance(step, BaseSearchCV):
        return _takes_groups(step, "fit")
    splitter = check_cv(step.cv)
    if hasattr(splitter, "get_metadata_routing"):
        return bool(splitter.get_metadata_routing().split.requests.get("groups"))
    return not sklearn.get_config()["enable_metadata_routing"]  # which passes nothing to others' splitters


def _takes_groups(step: Any, method: str) -> bool:
    return hasattr(step, method) and "groups" in inspect.signature(getattr(step, method)).parameters


def joined(
    pipeline: Any, featurizer: SpeechFeaturizer | None, fitted: Any, name: str, encoded: AuditedFeatures
) -> Pipeline:
    """
    Return a fitted pipeline of the featuriser and the steps after it; another fitted estimator is a step with this name.

    It has `speakers_`, if known, and `clips_`, digests of the clips, of the training clips.
    """
    first = [] if featurizer is None else [(pipeline.steps[0][0], featurizer)]
    trained = Pipeline([*first, *steps_of(fitted, name)])
    speakers = encoded.speakers(encoded.valid)
    if speakers is not None:
        trained.speakers_ = sorted(set(speakers.tolist()))
    content = encoded.audit.content[encoded.valid].tolist()
    trained.clips_ = sorted({digest[:N_DIGITS] for digest in content if not digest.startswith(NO_CONTENT)})
    return trained


def train(
    pipeline: Any,
    corpus: pd.DataFrame,
    *,
    features: Any = None,
    without_speakers: bool = False,
    accept: Sequence[str] = (),
) -> Pipeline:
    """
    Train a pipeline of featuriser and classifier on a corpus.

    Parameters
    ----------
    pipeline : Pipeline
        A featuriser first and a classifier last; with `features`, a classifier or a pipeline without a featuriser. It is
        cloned.
    corpus : DataFrame
        With `path` and `label`, as returned by `read_corpus`. The column `speaker` is passed to the classifier as `groups`,
        so that it chooses hyperparameters, the number of updates and calibration on held-out speakers; for searches, see the
        notes of `evaluate`. Speakers who share a clip count as one. With columns `votes_<label>`, a classifier with
        `fit_votes` is trained on the shares of votes; clips have equal weight.
    features : array-like of shape (n, d) or (n, layers, d), optional
        Precomputed features of the clips; rows with NaN or infinity count as broken clips. The returned pipeline
        then has no featuriser.
    without_speakers : bool, default=False
        Whether the column `speaker` may be missing. The probabilities are then calibrated on speakers in the training data,
        and too confident for others.
    accept : sequence of str, default=()
        Codes of findings of `audit` to accept, such as "copies-across-labels".

    Returns
    -------
    pipeline : Pipeline
        Fitted. Broken clips are left out, with a warning, and listed in its featuriser's `failures_`. `speakers_` holds the
        sorted names of the training speakers, if known, and `clips_` digests of the training clips.

    Raises
    ------
    ValueError
        If table or pipeline are invalid, all clips are broken, or `audit` finds an error.

    Warns
    -----
    UserWarning
        If clips are broken, the folds of a search may share speakers, or `audit` has warnings.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from gendiffclf import AcousticFeaturizer, GenerativeTransportClassifier
    >>> from gendiffclf.speech import read_corpus, train
    >>> pipeline = make_pipeline(AcousticFeaturizer(), GenerativeTransportClassifier())
    >>> fitted = train(pipeline, read_corpus("clips.csv"))  # doctest: +SKIP
    """
    corpus = check_corpus(corpus)
    featurizer, rest = split_pipeline(pipeline, corpus, whole=features is not None)
    check_names("accept", accept)
    accept = (*accept, *(("no-speakers",) if without_speakers else ()))
    featurizer = None if featurizer is None else clone(featurizer)
    encoded = encode_audited(featurizer, corpus, features, accept=accept, ignore=("broken",))
    valid = encoded.valid
    votes = votes_of(corpus.iloc[valid])
    fitted = fit_rows(rest, encoded, valid, corpus["label"].to_numpy()[valid], votes)
    return joined(pipeline, featurizer, fitted, "classifier", encoded)
