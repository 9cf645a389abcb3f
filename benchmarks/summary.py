"""Means and intervals over the runs that models share, as data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .records import Record

SCORES = ("accuracy", "uar", "log_loss", "brier", "ece")
SECONDS = ("fit_seconds", "fit_cpu_seconds", "predict_seconds")
HIGHER_IS_BETTER = {"accuracy", "uar", "auroc"}
N_RESAMPLES = 5000


@dataclass(frozen=True)
class Interval:
    """A mean or a difference of means with the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, found: Mapping[str, float]) -> Interval:
        """From a part of a record: `low`, `high`, and `value` or `difference`."""
        return cls(found["value"] if "value" in found else found["difference"], found["low"], found["high"])

    @property
    def sign(self) -> int:
        """
        1 or -1 where the interval excludes zero, else 0.

        An interval without any width comes from a single run, or from equal ones, and says nothing of chance.
        """
        return 0 if self.low == self.high else int(self.low > 0) - int(self.high < 0)

    def verdict(self, more_is_better: bool = True) -> int:
        """1 where a difference is better beyond chance, -1 where it is worse, else 0."""
        return self.sign if more_is_better else -self.sign

    def text(self, digits: int, scale: float = 1, best: bool = False) -> str:
        """A mean with its interval, bold if it is the best."""
        mean, low, high = (f"{scale * value:.{digits}f}" for value in (self.mean, self.low, self.high))
        return f"{f'**{mean}**' if best else mean} ({low} to {high})"

    def difference(self, digits: int, scale: float = 1) -> str:
        """A difference with its interval, bold where that excludes zero; a dash for NaN."""
        if self.mean != self.mean:
            return "–"
        mean, low, high = (f"{scale * value:+.{digits}f}" for value in (self.mean, self.low, self.high))
        return f"{f'**{mean}**' if self.sign else mean}<br>({low} to {high})"


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
    return wide.reindex(columns=sorted(accuracy.index, key=lambda label: (-accuracy[label], label)), level=1)


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


def best(values: pd.Series, measure: str) -> Any:
    """Label of the best mean."""
    return values.idxmax() if measure in HIGHER_IS_BETTER else values.idxmin()


def bootstrap(values: pd.DataFrame) -> dict[str, Interval]:
    """
    Mean over tables of each column, with an interval.

    Parameters
    ----------
    values : DataFrame
        One row per (table, split).

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
    return {label: Interval(*map(float, found)) for label, *found in zip(values, centre, low, high, strict=True)}


def less(values: pd.DataFrame, reference: str | Callable[[str], str]) -> dict[str, Interval]:
    """Interval of each column less its reference's; the reference itself is left out."""
    to = reference if callable(reference) else lambda _: reference
    pairs = {name: values[name] - values[to(name)] for name in values if name != to(name)}
    return bootstrap(pd.DataFrame(pairs)) if pairs else {}


def pivot(rows: Iterable[Mapping[str, Any]], measure: str, *more: str) -> pd.DataFrame:
    """One row per table and run (split and `more`), one column per name in the order of the record; incomplete ones left out."""
    frame = pd.DataFrame(rows)
    frame["run"] = frame[["split", *more]].astype(str).agg("/".join, axis=1)
    wide = frame.pivot(index=["table", "run"], columns="name", values=measure)
    order = pd.MultiIndex.from_frame(frame[["table", "run"]].drop_duplicates())
    return wide.reindex(index=order, columns=list(dict.fromkeys(frame["name"]))).astype(float).dropna()
