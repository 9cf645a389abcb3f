"""Means, ranks and intervals over the runs that all models share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from .records import Record

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("accuracy", "uar", "log_loss", "brier", "ece", "fit_seconds", "fit_cpu_seconds", "predict_seconds")
HIGHER_IS_BETTER = {"accuracy", "uar"}
N_RESAMPLES = 5000


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """
    Models on the runs that all of them have.

    Attributes
    ----------
    labels : list of str
        Best mean accuracy first.
    values : dict of str to DataFrame
        For each of `METRICS` one row per (table, split), one column per label; NaN where it was not measured.
    """

    labels: list[str]
    values: dict[str, pd.DataFrame]

    @property
    def cells(self) -> list[tuple[str, int]]:
        """Tables and splits compared on."""
        return list(self.values["accuracy"].index)

    def mean(self, metric: str) -> pd.Series:
        """Mean over tables of the mean over splits, one per label."""
        return self.per_table(metric).mean(skipna=False)

    def per_table(self, metric: str) -> pd.DataFrame:
        """Mean over splits, one row per table."""
        return self.values[metric].groupby(level=0).mean()

    def ranks(self, metric: str = "accuracy") -> pd.DataFrame:
        """Rank in each run from 1, the best; equals share their mean rank."""
        values = self.values[metric]
        signed = -values if metric in HIGHER_IS_BETTER else values
        ranked = values.copy()
        ranked[:] = rankdata(signed.to_numpy(), axis=1, nan_policy="propagate")
        return ranked

    def fit_time_ratio(self, reference: str, metric: str = "fit_seconds") -> pd.Series:
        """Sum of fit seconds, or of `"fit_cpu_seconds"`, in units of the reference's."""
        total = self.values[metric].sum(skipna=False)
        return total / total[reference]

    def difference(self, metric: str, reference: str) -> pd.DataFrame:
        """Each label's value less the reference's, run by run."""
        return self.values[metric].sub(self.values[metric][reference], axis=0)


def current(records: Sequence[Record]) -> list[Record]:
    """Records of test parts, of each label's latest configuration."""
    outer = [record for record in records if not record["inner"]]
    latest = {record["label"]: record["configuration"] for record in sorted(outer, key=lambda record: record["date"])}
    return [record for record in outer if record["configuration"] == latest[record["label"]]]


def complete_labels(records: Sequence[Record]) -> list[str]:
    """Labels that have every (table, split) that any label has."""
    cells = {(record["table"], record["split"]) for record in records}
    return [label for label, own in _cells_of(records).items() if own == cells]


def compare(records: Sequence[Record], labels: Sequence[str] | None = None) -> Comparison | None:
    """
    Compare labels on the runs that all of them have.

    Parameters
    ----------
    records : sequence of dict
        At most one per label, table and split.
    labels : sequence of str, optional
        By default all.

    Returns
    -------
    Comparison or None
        None where no run is shared.
    """
    import pandas as pd

    cells_of = _cells_of(records)
    chosen = list(cells_of) if labels is None else [label for label in labels if label in cells_of]
    shared = set.intersection(*(cells_of[label] for label in chosen)) if chosen else set()
    if not shared:
        return None
    index = pd.MultiIndex.from_tuples(sorted(shared), names=["table", "split"])
    by_cell = {(record["label"], record["table"], record["split"]): record for record in records}
    values = {
        metric: pd.DataFrame(
            {label: [by_cell[label, *cell].get(metric, np.nan) for cell in index] for label in chosen},
            index=index,
            dtype=float,
        )
        for metric in METRICS
    }
    means = values["accuracy"].groupby(level=0).mean().mean()
    ordered = sorted(chosen, key=lambda label: (-means[label], label))
    return Comparison(ordered, {metric: table[ordered] for metric, table in values.items()})


def _cells_of(records: Sequence[Record]) -> dict[str, set[tuple[str, int]]]:
    found: dict[str, set[tuple[str, int]]] = {}
    for record in records:
        found.setdefault(record["label"], set()).add((record["table"], record["split"]))
    return dict(sorted(found.items()))


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
    n_splits = np.array([len(rows) for rows in tables])
    padded = np.zeros((len(tables), n_splits.max(), values.shape[1]))
    for number, rows in enumerate(tables):
        padded[number, : len(rows)] = rows
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(tables), size=(N_RESAMPLES, len(tables)))
    means = np.zeros((N_RESAMPLES, values.shape[1]))
    for position in range(len(tables)):
        table = drawn[:, position]
        draws = rng.random((N_RESAMPLES, n_splits.max()))
        split = (draws * n_splits[table][:, None]).astype(int)
        used = np.arange(n_splits.max()) < n_splits[table][:, None]
        picked = padded[table[:, None], split] * used[..., None]  # (resamples, splits, labels)
        means += picked.sum(axis=1) / n_splits[table][:, None] / len(tables)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    centre = values.groupby(level=0).mean().mean(skipna=False)
    return {
        label: Interval(float(centre[label]), float(low[number]), float(high[number]))
        for number, label in enumerate(values.columns)
    }
