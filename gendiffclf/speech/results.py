"""Result of an evaluation: predictions, measures with intervals, and provenance."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .findings import Audit
from .intervals import LEVEL, N_RESAMPLES, bounds_text, units_text
from .measures import Tally, confusion_text
from .names import MEASURES, TITLES, counted
from .provenance import JsonResult, as_json
from .tables import measure_classes, measure_groups, number_voices, with_intervals
from .votes import VoteTally, votes_of


@dataclass(frozen=True)
class Evaluation(JsonResult):
    """
    Result of `evaluate`. Printing it shows the confusion matrix and the measures.

    Attributes
    ----------
    classes : ndarray of shape (K,)
        Labels, sorted.
    folds : DataFrame
        One row per fold: `n_train`, `n_test`, `n_test_speakers`, and the measures `wa` (accuracy), `uar` (mean recall over
        the classes that occur), `macro_f1`, `log_loss` and `ece` (calibration error); the last two are NaN without
        probabilities.
    confusions : ndarray of shape (folds, K, K), int
        Number of clips by true label (rows) and predicted label (columns).
    predictions : DataFrame
        One row per tested clip, with its index in the corpus: `path`, `start` and `end` if the corpus has them, `fold`,
        `speaker`, the columns of groups, `voice` (the unit of the bootstrap: the speaker, the first of several speakers who
        share a clip, or the clip if speakers are unknown), `label`, `predicted`, a column `p_<label>` for each class,
        `confidence` (the probability of the predicted label) and `score` (`score_samples`, lower for clips unlike the
        training data; NaN if the classifier has none). With votes, also the columns `votes_<label>`.
    failures : DataFrame
        Broken clips, which are in no fold: `path` and `reason`, with their index in the corpus.
    shared_speakers : tuple of str
        Speakers on both sides of a fold. If there are any, the measures say little about new speakers.
    groups : tuple of str
        Columns of `predictions` whose groups are measured.
    audit : Audit or None
        Audit of the corpus.
    about : dict
        Everything needed to repeat the evaluation: pipeline, parameters, seed, folds, versions, SHA-256 of the corpus.
    layer_weights : ndarray of shape (folds, layers) or None
        Weights of the layers in the classifier's kernel, for layered features.
    random_state : int
        Seed of the bootstrap.
    """

    classes: np.ndarray
    folds: pd.DataFrame
    confusions: np.ndarray
    predictions: pd.DataFrame
    failures: pd.DataFrame
    shared_speakers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    audit: Audit | None = None
    about: dict[str, Any] = field(default_factory=dict)
    layer_weights: np.ndarray | None = None
    random_state: int = 0

    @property
    def confusion(self) -> np.ndarray:
        """Confusion matrix of all folds together, of shape (K, K)."""
        return self.confusions.sum(axis=0)

    @property
    def pooled(self) -> dict[str, float]:
        """Measures over all tested clips."""
        return self.intervals["value"].to_dict()

    @property
    def measured(self) -> list[str]:
        """Names of the measures that have a value; log-loss and ECE have none without probabilities."""
        return [name for name in MEASURES if not np.isnan(self.pooled[name])]

    @property
    def mean(self) -> dict[str, float]:
        """Means of the measures over folds."""
        return {name: float(self.folds[name].mean()) for name in MEASURES}

    @property
    def standard_error(self) -> dict[str, float]:
        """Standard errors of the means over folds; NaN for a single fold."""
        return {name: float(self.folds[name].sem()) for name in MEASURES}

    @cached_property
    def intervals(self) -> pd.DataFrame:
        """
        Measures over all tested clips (rows): `value`, and `low` and `high` of its 95 % interval over speakers.

        As in all tables, the latter two are NaN for fewer than 5 speakers, whose range is too narrow for an interval. Those of
        UAR and macro-F1 are from the samples of speakers that have every label, and NaN if most lack one.
        """
        tally = Tally.of(self.predictions, self.classes, *number_voices(self.predictions))
        return with_intervals(tally, self.random_state)

    @cached_property
    def votes(self) -> pd.DataFrame | None:
        """
        Measures of probabilities against votes, with 95 % intervals over speakers; None without votes.

        Rows `jensen_shannon` and `cross_entropy`, means over clips in nats, and `majority_accuracy`, over clips where one label
        has more votes than any other; columns `value`, `low`, `high`.
        """
        votes = votes_of(self.predictions)
        if votes is None:
            return None
        tally = VoteTally.of(self.predictions, votes, self.classes, *number_voices(self.predictions))
        return with_intervals(tally, self.random_state)

    @cached_property
    def by_speaker(self) -> pd.DataFrame | None:
        """One row per speaker: `speaker`, `n_clips` and the measures; None if speakers are unknown."""
        if "speaker" not in self.predictions:
            return None
        names, unit = np.unique(self.predictions["speaker"].astype(str), return_inverse=True)
        tally = Tally.of(self.predictions, self.classes, unit, len(names))
        return pd.DataFrame({"speaker": names, "n_clips": np.bincount(unit), **tally.measures()})

    @cached_property
    def by_class(self) -> pd.DataFrame:
        """One row per class: clips, speakers, recall, precision, F1, intervals, and the most frequent wrong prediction."""
        return measure_classes(self.predictions, self.classes, self.random_state)

    @property
    def by_group(self) -> pd.DataFrame:
        """One row per group: `column`, `value`, clips, speakers, and each measure with its interval."""
        return self._by_group[0]

    @property
    def gaps(self) -> pd.DataFrame:
        """One row per measure and pair of groups `a` and `b` of a column: the difference a minus b with its interval."""
        return self._by_group[1]

    @cached_property
    def _by_group(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return measure_groups(self.predictions, self.classes, self.groups, self.random_state)

    @property
    def unit(self) -> str:
        """Unit of the bootstrap: "speakers", or "clips" if speakers are unknown."""
        return "speakers" if "speaker" in self.predictions else "clips"

    def as_dict(self) -> dict[str, Any]:
        """Return measures, intervals, tables, audit and provenance as JSON types."""
        content = {
            "classes": [str(label) for label in self.classes],
            "pooled": self.pooled,
            "intervals": {
                "level": LEVEL,
                "drawn": self.unit,
                "n_drawn": int(self.predictions["voice"].nunique()),
                "n_resamples": N_RESAMPLES,
                "random_state": self.random_state,
                "measures": self.intervals.to_dict("index"),
            },
            "votes": None if self.votes is None else self.votes.to_dict("index"),
            "mean": self.mean,
            "standard_error": self.standard_error,
            "folds": self.folds,
            "confusion": self.confusion,
            "confusions": self.confusions,
            "by_class": self.by_class,
            "by_speaker": self.by_speaker,
            "by_group": self.by_group,
            "gaps": self.gaps,
            "layer_weights": self.layer_weights,
            "shared_speakers": self.shared_speakers,
            "failures": self.failures,
            "audit": None if self.audit is None else self.audit.as_dict(),
            "about": self.about,
        }
        return as_json(content)

    def report(self, path: str | Path, *, title: str = "Evaluation", pictures: str | Path | None = None) -> None:
        """
        Write a report as a self-contained HTML file.

        Parameters
        ----------
        path : path-like
            An existing file is replaced once the new one is complete.
        title : str, default="Evaluation"
            Title of the report.
        pictures : path-like, optional
            Folder to which the figures are also written as SVG files.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from .report import write_report

        write_report(self, path, title=title, pictures=pictures)

    def __str__(self) -> str:
        lines = [confusion_text(self.confusion, self.classes), ""]
        mean, error, intervals = self.mean, self.standard_error, self.intervals
        several = len(self.folds) > 1
        heading = f"{'':<10}{'all clips':>10}{'95 % interval':>18}"
        lines.append(heading + (f"{'mean of folds':>15}{'standard error':>16}" if several else ""))
        for name in self.measured:
            value, low, high = intervals.loc[name]
            by_fold = f"{mean[name]:>15.3f}{error[name]:>16.3f}" if several else ""
            lines.append(f"{TITLES[name]:<10}{value:>10.3f}{bounds_text(low, high):>18}{by_fold}")
        if self.votes is not None:
            lines += ["", f"{'against votes':<30}{'all clips':>10}{'95 % interval':>18}"]
            lines += [
                f"{TITLES[name]:<30}{value:>10.3f}{bounds_text(low, high):>18}"
                for name, value, low, high in self.votes.itertuples()
            ]
        lacking = bool(np.isnan(intervals.loc["uar", "low"]))
        units = units_text(self.predictions["voice"].nunique(), self.unit, lacking=lacking)
        lines.append(f"\n{len(self.predictions)} clips in {counted(len(self.folds), 'fold')}. {units}")
        if self.by_speaker is not None and len(self.by_speaker) > 1:
            by_wa = self.by_speaker.sort_values("wa", kind="stable")
            (worst, low), (best, high) = by_wa[["speaker", "wa"]].iloc[[0, -1]].itertuples(index=False)
            lines.append(f"WA by speaker: from {low:.3f} ({worst}) to {high:.3f} ({best}).")
        if self.shared_speakers:
            lines.append(f"{len(self.shared_speakers)} speakers were on both sides of a fold.")
        if len(self.failures):
            be = "is" if len(self.failures) == 1 else "are"
            lines.append(f"{counted(len(self.failures), 'clip')} {be} broken and left out.")
        return "\n".join(lines)
