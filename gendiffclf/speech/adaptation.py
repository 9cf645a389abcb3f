"""Few-shot adaptation: train on some corpora, test on speakers of another, before and after adapting to a few of its clips."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t
from sklearn.metrics import accuracy_score, recall_score
from tqdm import tqdm

from ..validation import check_integer, first_few
from .class_labels import warn_of_foreign
from .corpora import check_corpus
from .folds import without_copies
from .intervals import LEVEL
from .provenance import JsonResult, as_json, describe_run
from .training import before_classifier, encode_audited, end_if_interrupted, fit_rows, split_pipeline

SHOTS = (0, 4, 8, 16)
MEASURES = ("wa", "uar")


@dataclass(frozen=True)
class FewShot(JsonResult):
    """
    Result of `few_shot`. Printing it shows UAR and its gain by number of shots.

    Attributes
    ----------
    runs : DataFrame
        A row for each repetition and number of shots: `repeat`, `shots`, `n_shots` (clips adapted to), `fewest` (clips of the
        rarest class among them), `n_test`, `n_test_speakers`, `wa` (accuracy) and `uar` (mean recall).
    n_train, n_train_speakers : int
        Number of training clips and speakers before adaptation.
    about : dict
        Everything needed to repeat the run.
    """

    runs: pd.DataFrame
    n_train: int
    n_train_speakers: int
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> pd.DataFrame:
        """
        Means over repetitions with 95 % intervals, one row per number of shots.

        Columns are `uar`, `uar_low`, `uar_high`, the same for `wa`, and `uar_gain`, the difference to no shots in the same
        repetitions, with `uar_gain_low` and `uar_gain_high`. Intervals are Student's t over repetitions, within the range of the
        measure. The repetitions sample shots and speakers from one corpus, so they say nothing about other corpora.
        """
        wide = {name: self.runs.pivot(index="repeat", columns="shots", values=name) for name in MEASURES}
        wide["uar_gain"] = wide["uar"].sub(wide["uar"].iloc[:, 0], axis=0)
        columns: dict[str, pd.Series] = {}
        for name, table in wide.items():
            mean, half_width = table.mean(), t.ppf((1 + LEVEL) / 2, len(table) - 1) * table.sem()
            lowest = -1 if name == "uar_gain" else 0
            columns |= {name: mean, f"{name}_low": (mean - half_width).clip(lower=lowest)}
            columns[f"{name}_high"] = (mean + half_width).clip(upper=1)
        return pd.DataFrame(columns)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return as_json({"summary": self.summary.reset_index(), **vars(self)})

    def __str__(self) -> str:
        lines = [f"{'shots per class':<17}{'UAR':>7}{'95 % interval':>18}{'gain':>9}{'95 % interval':>18}"]
        for shots, row in self.summary.iterrows():
            bounds = f"{row['uar_low']:.3f} to {row['uar_high']:.3f}"
            gain = (
                f"{row['uar_gain']:>+9.3f}{row['uar_gain_low']:>+9.3f} to {row['uar_gain_high']:+.3f}" if shots else ""
            )
            lines.append(f"{shots:<17}{row['uar']:>7.3f}{bounds:>18}{gain}")
        n_test, n_speakers = (int(self.runs[name].median()) for name in ("n_test", "n_test_speakers"))
        lines.append(
            f"\nTrained on {self.n_train} clips of {self.n_train_speakers} speakers; tested on {n_test} clips of {n_speakers} "
            f"others, {self.runs['repeat'].nunique()} times."
        )
        short = self.runs[self.runs["fewest"] < self.runs["shots"]]
        if len(short):
            shots, fewest = short["shots"].min(), short["fewest"].min()
            lines.append(
                f"From {shots} shots on, some class has fewer clips (at least {fewest}); all of them are used."
            )
        return "\n".join(lines)


def few_shot(
    pipeline: Any,
    train: pd.DataFrame | Sequence[pd.DataFrame],
    test: pd.DataFrame,
    *,
    shots: Iterable[int] = SHOTS,
    n_repeats: int = 10,
    random_state: int = 0,
    accept: Iterable[str] = (),
    verbose: int = 0,
) -> FewShot:
    """
    Train on some corpora and test on another, before and after adapting to a few labelled clips of it.

    Parameters
    ----------
    pipeline : Pipeline
        A featuriser first; a classifier with `partial_fit` last, such as `GenerativeTransportClassifier` or `SelmClassifier`.
    train : DataFrame or sequence of DataFrames
        Training corpora, as returned by `read_corpus`.
    test : DataFrame
        The corpus to test on and adapt to. Speakers with the same name in `train` and `test` are taken to be the same person:
        half of them are used for training and half for testing. Rename different speakers of the same name.
    shots : iterable of int, default=(0, 4, 8, 16)
        Numbers of clips per class to adapt to; all clips of a class that has fewer. Smaller sets are subsets of larger ones.
    n_repeats : int >= 2, default=10
        Number of repetitions. Each splits the speakers of `test` into halves, one for the shots and one for testing.
    random_state : int, default=0
        Seed of the splits and shots.
    accept : iterable of str, default=()
        Codes of findings of `audit` to accept.
    verbose : int, default=0
        If nonzero, show a progress bar.

    Returns
    -------
    result : FewShot

    Raises
    ------
    ValueError
        If a table is invalid, the classifier has no `partial_fit`, too few speakers are left, or `audit` finds an error.

    Warns
    -----
    UserWarning
        If clips are broken, or training clips are also tested, both of which are left out; if training clips have labels that
        no tested clip has, or the reverse.

    Examples
    --------
    >>> from gendiffclf.speech import read_corpus
    >>> result = few_shot(pipeline, [read_corpus("a.csv"), read_corpus("b.csv")], read_corpus("c.csv"))  # doctest: +SKIP
    """
    check_integer("n_repeats", n_repeats, 2)
    shots = {0, *shots}
    for number in shots:
        check_integer("shots", number, 0)
    numbers = sorted(shots)
    featurizer, rest = split_pipeline(pipeline)
    if not hasattr(rest.steps[-1][1], "partial_fit"):
        raise ValueError(
            f"Got a classifier of type {type(rest.steps[-1][1]).__name__}, expected one with partial_fit, such as "
            "GenerativeTransportClassifier or SelmClassifier."
        )
    parts = [train] if isinstance(train, pd.DataFrame) else list(train)
    tables = [check_corpus(part, ("path", "label", "speaker")) for part in (*parts, test)]
    corpus = pd.concat(tables, ignore_index=True)
    tested = np.arange(len(corpus)) >= len(corpus) - len(tables[-1])
    encoded = encode_audited(featurizer, corpus, accept=accept, ignore=("broken", "copies"))  # reported below
    audited = encoded.audit
    rng = np.random.default_rng(random_state)
    rows = _disjoint_rows(encoded.valid, tested, audited.voices, rng)
    (train_rows, test_rows), *_ = without_copies([rows], audited)
    y, voices = corpus["label"].to_numpy(), audited.voices[test_rows]
    absent = np.setdiff1d(y[train_rows], y[test_rows])
    if len(absent):
        warnings.warn(
            f"Got training clips with labels that no tested clip has ({first_few(absent.astype(str).tolist())}): predictions of "
            "these count as errors; if they cannot occur, leave out these clips (--train-where COLUMN=VALUES).",
            stacklevel=2,
        )
    effect = "each counts as an error without shots; leave them out (--test-where COLUMN=VALUES), or rename the labels"
    warn_of_foreign(y[test_rows], y[train_rows], effect)
    fitted = fit_rows(rest, encoded, train_rows, y[train_rows])
    end_if_interrupted(fitted)
    classifier, features = before_classifier(fitted, encoded.rows[test_rows], encoded.speakers(test_rows))
    if "verbose" in classifier.get_params(deep=False):
        classifier.set_params(verbose=0)  # there is a progress bar over repetitions
    splits = [_sample_shots(y[test_rows], voices, numbers, rng) for _ in range(n_repeats)]
    runs = []
    for repeat, (held_out, shot_rows) in enumerate(tqdm(splits, unit="repeat", desc="Few shots", disable=not verbose)):
        sizes = {"n_test": len(held_out), "n_test_speakers": len(np.unique(voices[held_out]))}
        for count, chosen in shot_rows.items():
            run = _adapt(classifier, features, y[test_rows], chosen, held_out)
            runs.append({"repeat": repeat, "shots": count, **sizes, **run})
    settings = {"shots": numbers, "n_repeats": n_repeats, "random_state": random_state}
    about = describe_run(pipeline, corpus, audited.content, "few shots", [test_rows], **settings)
    return FewShot(pd.DataFrame(runs), len(train_rows), len(np.unique(audited.voices[train_rows])), about)


def _adapt(classifier: Any, X: np.ndarray, y: np.ndarray, chosen: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    """Adapt a copy of the classifier to the chosen rows, and measure it on the held-out ones."""
    adapted = copy.deepcopy(classifier)
    if len(chosen):
        adapted.partial_fit(X[chosen], y[chosen])
    truth, predicted = y[held_out], adapted.predict(X[held_out])
    return {
        "n_shots": len(chosen),
        "fewest": int(min(np.unique(y[chosen], return_counts=True)[1], default=0)),
        "wa": accuracy_score(truth, predicted),
        "uar": recall_score(truth, predicted, labels=np.unique(truth), average="macro"),
    }


def _disjoint_rows(
    valid: np.ndarray, tested: np.ndarray, voices: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training corpora and of the tested one, with disjoint voices; shared voices are split in halves."""
    shared = rng.permutation(np.intersect1d(voices[valid[~tested[valid]]], voices[valid[tested[valid]]]))
    half = len(shared) // 2
    train = valid[~tested[valid] & ~np.isin(voices[valid], shared[half:])]
    test = valid[tested[valid] & ~np.isin(voices[valid], shared[:half])]
    n_train, n_test = len(np.unique(voices[train])), len(np.unique(voices[test]))
    if n_train < 1 or n_test < 2:
        raise ValueError(
            f"Got {n_train} speakers to train on and {n_test} to test, expected at least 1 and 2 different ones; add speakers."
        )
    return train, test


def _sample_shots(
    y: np.ndarray, voices: np.ndarray, numbers: Sequence[int], rng: np.random.Generator
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Rows of the tested speakers, and for each number of shots the rows to adapt to, of other speakers."""
    names = rng.permutation(np.unique(voices))
    adapted_to = np.isin(voices, names[: len(names) // 2])
    order = pd.Series(rng.permutation(np.flatnonzero(adapted_to)))
    by_class = order.groupby(y[order])
    return np.flatnonzero(~adapted_to), {count: np.sort(by_class.head(count)) for count in numbers}
