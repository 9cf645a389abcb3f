"""Means, ranks and intervals."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.summary import bootstrap, compare, complete_labels, current


def make_record(label: str, table: str, split: int, accuracy: float, **changes: object) -> dict:
    record = {"label": label, "table": table, "split": split, "accuracy": accuracy, "fit_seconds": 1.0}
    return {**record, "inner": False, "configuration": {}, "date": "2026-01-01", **changes}


def grid(values: dict[str, list[float]]) -> list[dict]:
    """Records of two tables with two splits."""
    cells = [("t", 0), ("t", 1), ("u", 0), ("u", 1)]
    return [make_record(label, *cell, a) for label, row in values.items() for cell, a in zip(cells, row, strict=True)]


def test_means_and_ranks():
    comparison = compare(grid({"low": [0.1, 0.3, 0.5, 0.5], "high": [0.4, 0.4, 0.5, 0.9]}))
    assert comparison is not None
    assert comparison.labels == ["high", "low"]
    assert comparison.mean("accuracy").to_dict() == pytest.approx({"high": 0.55, "low": 0.35})
    assert comparison.ranks()["high"].tolist() == [1, 1, 1.5, 1]
    assert comparison.ranks("fit_seconds")["low"].tolist() == [1.5] * 4
    assert comparison.fit_time_ratio("low").to_dict() == {"high": 1, "low": 1}
    assert comparison.difference("accuracy", "low")["high"].tolist() == pytest.approx([0.3, 0.1, 0, 0.4])


def test_tables_weigh_the_same_whatever_their_splits():
    comparison = compare([make_record("m", "t", split, 0.0) for split in range(3)] + [make_record("m", "u", 0, 1.0)])
    assert comparison is not None
    assert comparison.mean("accuracy")["m"] == 0.5


def test_compares_on_shared_runs_only():
    records = [*grid({"a": [0.1] * 4}), make_record("b", "t", 0, 0.9)]
    comparison = compare(records)
    assert comparison is not None
    assert comparison.cells == [("t", 0)]
    assert complete_labels(records) == ["a"]
    assert compare([make_record("a", "t", 0, 1), make_record("b", "t", 1, 1)]) is None
    assert compare([]) is None


def test_what_was_not_measured_stays_unknown():
    comparison = compare([make_record("a", "t", 0, 1, ece=0.1), make_record("b", "t", 0, 1)])
    assert comparison is not None
    assert np.isnan(comparison.mean("ece")["b"])
    assert comparison.mean("ece")["a"] == 0.1


def test_current_is_the_latest_configuration_without_inner():
    old = make_record("a", "t", 0, 0.1, configuration={"x": 1})
    new = make_record("a", "t", 0, 0.2, configuration={"x": 2}, date="2026-01-02")
    inner = make_record("a", "t", 0, 0.3, configuration={"x": 3}, date="2026-01-03", inner=True)
    assert current([new, old, inner]) == [new]


def test_interval_of_a_constant_is_a_point():
    index = pd.MultiIndex.from_product([["t", "u"], [0, 1]])
    interval = bootstrap(pd.DataFrame({"m": [2.0] * 4}, index=index))["m"]
    assert (interval.mean, interval.low, interval.high) == pytest.approx((2, 2, 2))


def test_interval_covers_the_spread_of_tables_and_repeats_itself():
    index = pd.MultiIndex.from_tuples([(f"t{n}", s) for n in range(20) for s in range(1 + n % 3)])
    rng = np.random.default_rng(0)
    effect = {f"t{n}": rng.normal() for n in range(20)}
    values = pd.DataFrame({"m": [effect[table] for table, _ in index]}, index=index)
    interval = bootstrap(values)["m"]
    means = np.array(list(effect.values()))
    error = means.std() / np.sqrt(20)
    assert interval.mean == pytest.approx(means.mean())
    assert interval.low == pytest.approx(means.mean() - 1.96 * error, abs=0.1)
    assert interval.high == pytest.approx(means.mean() + 1.96 * error, abs=0.1)
    assert bootstrap(values)["m"] == interval
