"""Measures by speaker, class and group, and gaps between groups, with intervals over speakers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from ..validation import check_names
from .corpora import gaps
from .intervals import Sums, interval, resample
from .measures import Tally
from .names import MEANS_OVER_CLASSES, MEASURES

RESULT_COLUMNS = ("fold", "voice", "predicted", "confidence", "score")
"""Columns of predictions that an evaluation makes, besides those of labels."""
GROUP_COLUMNS = ("gender", "sex", "age", "corpus", "language", "accent", "intensity", "channel")
"""Columns whose groups are measured by default, if a corpus has them."""
MAX_GROUPS = 10
"""Numeric columns with more different values are divided into quartiles."""


def draw_measures(tallies: Sequence[Sums], random_state: int) -> list[tuple[dict[str, float], dict[str, np.ndarray]]]:
    """
    Return for each tally the measures over all units, and over b bootstrap samples of units, (b,), the same for all tallies.

    UAR and macro-F1 of samples that lack a class are NaN, as they would be means over fewer classes. As bootstrap samples have
    fewer different clips, their ECE is biased upwards; it is scaled so that its mean equals the ECE over all units.
    """
    results = []
    for tally, drawn in zip(tallies, resample(tallies, random_state), strict=True):
        overall = tally.weighted(np.ones((1, tally.n_units))).measures()
        value, sampled = {name: float(values[0]) for name, values in overall.items()}, drawn.measures()
        if isinstance(tally, Tally) and isinstance(drawn, Tally):
            lacking = (drawn.confusion.any(axis=2) != tally.confusion.any(axis=(0, 2))).any(axis=1)
            sampled |= {name: np.where(lacking, np.nan, sampled[name]) for name in MEANS_OVER_CLASSES}
        if "ece" in sampled and (known := sampled["ece"][~np.isnan(sampled["ece"])]).any():
            sampled["ece"] = sampled["ece"] * (value["ece"] / known.mean())
        results.append((value, sampled))
    return results


def differences(tallies: Sequence[Sums], random_state: int) -> dict[str, tuple[float, ...]]:
    """Return for each measure its values in two tallies of the same units, their difference, and its low and high."""
    (of_a, drawn_a), (of_b, drawn_b) = draw_measures(tallies, random_state)
    bounds = {name: interval(drawn_a[name] - drawn_b[name], tallies[0].n_units) for name in of_a}
    return {name: (of_a[name], of_b[name], of_a[name] - of_b[name], *bounds[name]) for name in of_a}


def with_intervals(tally: Sums, random_state: int) -> pd.DataFrame:
    """Return value, low and high of each measure (rows) over all units."""
    ((value, drawn),) = draw_measures([tally], random_state)
    rows = {name: (value[name], *interval(drawn[name], tally.n_units)) for name in value}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])


def measure_classes(predictions: pd.DataFrame, classes: np.ndarray, random_state: int) -> pd.DataFrame:
    """Return clips, speakers, recall, precision and F1 of each class, with intervals, and the most frequent mistake."""
    voice, n_voices = number_voices(predictions)
    tally = Tally.of(predictions, classes, voice, n_voices)
    (drawn,) = resample([tally], random_state)
    overall = tally.weighted(np.ones((1, n_voices)))
    value, sampled = overall.class_measures(), drawn.class_measures()
    rows = []
    for k, label in enumerate(classes):
        row = {
            "label": label,
            "n_clips": int(value["n_clips"][0, k]),
            "n_speakers": int(tally.confusion[:, k].any(axis=1).sum()),
        }
        for name in ("recall", "precision", "f1"):
            row |= _bounded(name, value[name][0, k], sampled[name][:, k], row["n_speakers"])
        mistakes = np.where(np.arange(len(classes)) == k, 0, overall.confusion[0, k])
        row["most_often_taken_for"] = classes[mistakes.argmax()] if mistakes.any() else None
        rows.append(row)
    return pd.DataFrame(rows)


def measure_groups(
    predictions: pd.DataFrame, classes: np.ndarray, columns: Iterable[str], random_state: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """
    Return the measures of the groups of each column, and the differences between any two groups of a column.

    The former have the columns `column`, `value`, `n_clips`, `n_speakers`, and each measure with `_low` and `_high`; the
    latter `column`, `a`, `b`, `measure`, `difference` (a minus b), `low`, `high`. Bootstrap samples have the same speakers
    for both groups, so that groups within speakers, such as intensities, are compared within speakers.
    """
    voice, n_voices = number_voices(predictions)
    groups, gaps = [], []
    for column in columns:
        of_row = _group_names(predictions[column])
        names = sorted(set(of_row), key=_by_number)
        rows = [np.flatnonzero(of_row == name) for name in names]
        tallies = [Tally.of(predictions.iloc[part], classes, voice[part], n_voices) for part in rows]
        values, drawn = zip(*draw_measures(tallies, random_state), strict=True)
        n_speakers = [len(np.unique(voice[part])) for part in rows]
        for i, name in enumerate(names):
            row = {"column": column, "value": name, "n_clips": len(rows[i]), "n_speakers": n_speakers[i]}
            for measure in MEASURES:
                row |= _bounded(measure, values[i][measure], drawn[i][measure], n_speakers[i])
            groups.append(row)
        for (i, a), (j, b) in combinations(enumerate(names), 2):
            for measure in MEASURES:
                low, high = interval(drawn[i][measure] - drawn[j][measure], min(n_speakers[i], n_speakers[j]))
                difference = values[i][measure] - values[j][measure]
                gaps.append((column, a, b, measure, difference, low, high))
    gap_columns = ["column", "a", "b", "measure", "difference", "low", "high"]
    return pd.DataFrame(groups), pd.DataFrame(gaps, columns=gap_columns)


def _bounded(name: str, value: float, drawn: np.ndarray, n_speakers: int) -> dict[str, float]:
    low, high = interval(drawn, n_speakers)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def group_columns(corpus: pd.DataFrame, groups: Sequence[str] | None) -> tuple[str, ...]:
    """
    Return the names of the columns whose groups are measured, after a check that the corpus has the requested ones.

    By default they are those of `GROUP_COLUMNS` that have several values and are not the label.
    """
    if groups is None:
        present = [name for name in GROUP_COLUMNS if name in corpus and corpus[name].nunique() > 1]
        return tuple(name for name in present if not (corpus[name].astype(str) == corpus["label"].astype(str)).all())
    check_names("groups", groups)
    for name in groups:
        if name not in corpus:
            raise ValueError(f"Got groups={list(groups)!r}, expected columns of the corpus: {list(corpus.columns)}.")
        if name in RESULT_COLUMNS or str(name).startswith("p_"):
            raise ValueError(
                f"Got groups={list(groups)!r}, expected no {name!r}, which is a column of the results; rename that of the corpus."
            )
    return tuple(name for name in groups if name != "label")


def _group_names(column: pd.Series) -> np.ndarray:
    """Return values as strings, quartiles for numbers with many different values, and "unknown" for missing values."""
    numbers = pd.to_numeric(column, errors="coerce")
    if column.nunique() > MAX_GROUPS and numbers.notna().mean() > 0.5:
        quartiles = pd.qcut(numbers, 4, duplicates="drop")
        names = [
            f"{max(part.left, numbers.min()):g} to {part.right:g}" if isinstance(part, pd.Interval) else "unknown"
            for part in quartiles
        ]
        return np.array(names)
    return column.astype(object).mask(gaps(column), "unknown").to_numpy(str)


def _by_number(name: str) -> tuple[float, str]:
    """Sort numbers and ranges by number, and before other names."""
    try:
        return float(name.partition(" to ")[0]), name
    except ValueError:
        return np.inf, name


def number_voices(predictions: pd.DataFrame) -> tuple[np.ndarray, int]:
    """Return the number of each clip's voice, from 0, and the number of voices."""
    names, voice = np.unique(predictions["voice"].to_numpy().astype(str), return_inverse=True)
    return voice, len(names)
