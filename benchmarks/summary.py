"""Means, ranks and intervals over the runs that models share, as data frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .records import Record

SCORES = ("accuracy", "uar", "log_loss", "brier", "ece")
SECONDS = ("fit_seconds", "fit_cpu_seconds", "predict_seconds")
HIGHER_IS_BETTER = {"accuracy", "uar"}
N_RESAMPLES = 5000


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


def current(records: Sequence[Record]) -> list[Record]:
    """Records of test parts, of each label's latest configuration."""
    outer = [record for record in records if not record["inner"]]
    latest = {record["label"]: record["configuration"] for record in sorted(outer, key=lambda record: record["date"])}
    return [record for record in outer if record["configuration"] == latest[record["label"]]]


def runs(records: Sequence[Record], labels: Sequence[str] | None = None) -> pd.DataFrame:
    """
    Measures of models on the runs that all of them have.

    Parameters
    ----------
    records : sequence of dict
        At most one per label, table and split.
    labels : sequence of str, optional
        By default all.

    Returns
    -------
    DataFrame
        One row per (table, split); columns (measure, label), so that `["accuracy"]` has one column per label, the best
        mean accuracy first. Empty where no run is shared.
    """
    measures = [*SCORES, *SECONDS]
    chosen = [record for record in records if labels is None or record["label"] in labels]
    if not chosen:
        return pd.DataFrame()
    long = pd.DataFrame(chosen).reindex(columns=["table", "split", "label", *measures])
    wide = long.pivot(index=["table", "split"], columns="label", values=measures).astype(float)
    wide = wide[wide["accuracy"].notna().all(axis=1)]
    accuracy = means(wide["accuracy"])
    ordered = sorted(accuracy.index, key=lambda label: (-accuracy[label], label))
    return wide.reindex(columns=ordered, level=1)


def complete(records: Sequence[Record], subject: str) -> list[str]:
    """Labels that have every (table, split) that the subject has, or that any label has if the subject has none."""
    cells: dict[str, set[tuple[str, int]]] = {}
    for record in records:
        cells.setdefault(record["label"], set()).add((record["table"], record["split"]))
    wanted = cells.get(subject) or set().union(*cells.values())
    return [label for label, own in sorted(cells.items()) if own >= wanted]


def means(values: pd.DataFrame) -> pd.Series:
    """Mean over tables of the mean over splits, one per column."""
    return values.groupby(level=0).mean().mean()


def ranks(values: pd.DataFrame) -> pd.DataFrame:
    """Rank in accuracy in each run from 1, the best; equals share their mean rank."""
    return values.rank(axis=1, ascending=False)


def best(values: pd.Series, measure: str) -> str:
    """Label of the best mean."""
    return str(values.idxmax() if measure in HIGHER_IS_BETTER else values.idxmin())


def bootstrap(values: pd.DataFrame) -> dict[str, Interval]:
    """
    Mean over tables of each column, with an interval.

    Parameters
    ----------
    values : DataFrame
        One row per (table, split).

    Returns
    -------
    dict of str to Interval

    Notes
    -----
    Tables are drawn with replacement, and splits within each drawn table: splits of one table are not independent of
    each other. The seed is fixed, so that equal records give equal intervals.
    """
    tables = [rows.to_numpy() for _, rows in values.groupby(level=0)]
    rng = np.random.default_rng(0)
    # One mean over redrawn splits per table and resample: (tables, resamples, columns).
    redrawn = np.stack([t[rng.integers(len(t), size=(N_RESAMPLES, len(t)))].mean(axis=1) for t in tables])
    drawn = rng.integers(len(tables), size=(len(tables), N_RESAMPLES))
    resampled = redrawn[drawn, rng.integers(N_RESAMPLES, size=drawn.shape)].mean(axis=0)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    centre = values.groupby(level=0).mean().mean(skipna=False)
    return {
        label: Interval(float(centre[label]), float(low[number]), float(high[number]))
        for number, label in enumerate(values.columns)
    }
