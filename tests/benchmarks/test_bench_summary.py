"""Means and intervals."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.summary import Interval, best, bootstrap, complete, current, less, means, pivot, runs


def make_record(label: str, table: str, split: int, accuracy: float, **changes: object) -> dict:
    record = {"label": label, "table": table, "split": split, "accuracy": accuracy, "fit_seconds": 1.0}
    return {**record, "inner": False, "configuration": {}, "date": "2026-01-01", **changes}


def grid(values: dict[str, list[float]]) -> list[dict]:
    """Records of two tables with two splits."""
    cells = [("t", 0), ("t", 1), ("u", 0), ("u", 1)]
    return [make_record(label, *cell, a) for label, row in values.items() for cell, a in zip(cells, row, strict=True)]


def test_means():
    found = runs(grid({"low": [0.1, 0.3, 0.5, 0.5], "high": [0.4, 0.4, 0.5, 0.9]}))
    assert list(found["accuracy"]) == ["high", "low"]
    assert means(found["accuracy"]).to_dict() == pytest.approx({"high": 0.55, "low": 0.35})
    assert best(means(found["accuracy"]), "accuracy") == "high"
    assert best(means(found["accuracy"]), "log_loss") == "low"
    assert found["ece"].isna().all(axis=None)  # what was not measured stays unknown


def test_tables_weigh_the_same_whatever_their_splits():
    found = runs([make_record("m", "t", split, 0.0) for split in range(3)] + [make_record("m", "u", 0, 1.0)])
    assert means(found["accuracy"])["m"] == 0.5


def test_compares_on_shared_runs_only():
    records = [*grid({"a": [0.1] * 4}), make_record("b", "t", 0, 0.9)]
    assert list(runs(records).index) == [("t", 0)]
    assert complete(records, "a") == ["a"]
    assert complete(records, "b") == ["a", "b"]
    assert complete(records, "nobody") == ["a"]
    assert runs([make_record("a", "t", 0, 1), make_record("b", "t", 1, 1)]).empty
    assert runs(records, ["nobody"]).empty


def test_current_is_the_latest_configuration_without_inner():
    old = make_record("a", "t", 0, 0.1, configuration={"x": 1})
    new = make_record("a", "t", 0, 0.2, configuration={"x": 2}, date="2026-01-02")
    inner = make_record("a", "t", 0, 0.3, configuration={"x": 3}, date="2026-01-03", inner=True)
    assert current([new, old, inner]) == [new]


def test_interval_covers_the_spread_of_tables_and_repeats_itself():
    index = pd.MultiIndex.from_tuples([(f"t{n}", s) for n in range(20) for s in range(1 + n % 3)])
    rng = np.random.default_rng(0)
    effect = {f"t{n}": rng.normal() for n in range(20)}
    values = pd.DataFrame({"m": [effect[table] for table, _ in index], "two": 2.0}, index=index)
    interval = bootstrap(values)["m"]
    centre, error = np.mean(list(effect.values())), np.std(list(effect.values())) / np.sqrt(20)
    assert interval.mean == pytest.approx(centre)
    assert interval.low == pytest.approx(centre - 1.96 * error, abs=0.1)
    assert interval.high == pytest.approx(centre + 1.96 * error, abs=0.1)
    assert bootstrap(values) == {"m": interval, "two": Interval(2, 2, 2)}


def test_interval_covers_the_spread_of_splits():
    index = pd.MultiIndex.from_product([["t"], range(50)])
    values = pd.DataFrame({"m": np.random.default_rng(0).normal(size=50)}, index=index)
    interval = bootstrap(values)["m"]
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / np.sqrt(50), rel=0.25)


@pytest.mark.parametrize(
    ("bounds", "more", "fewer"),
    [((0.1, 0.3), 1, -1), ((-0.3, -0.1), -1, 1), ((-0.1, 0.3), 0, 0), ((0.2, 0.2), 0, 0)],
)
def test_verdicts(bounds: tuple[float, float], more: int, fewer: int):
    interval = Interval(sum(bounds) / 2, *bounds)
    assert (interval.verdict(True), interval.verdict(False)) == (more, fewer)
    assert interval.difference(2).startswith("**") is bool(more)


def test_intervals_as_text():
    interval = Interval.of({"value": 0.5, "low": 0.25, "high": 0.75})
    assert interval == Interval.of({"difference": 0.5, "low": 0.25, "high": 0.75})
    assert interval.text(1, 100) == "50.0 (25.0 to 75.0)"
    assert interval.text(2, best=True) == "**0.50** (0.25 to 0.75)"
    assert interval.difference(1, 100) == "**+50.0**<br>(+25.0 to +75.0)"
    assert Interval(np.nan, np.nan, np.nan).difference(2) == "–"


def test_differences_are_from_the_reference():
    values = runs(grid({"low": [0.1, 0.3, 0.5, 0.5], "high": [0.4, 0.4, 0.5, 0.9]}))["accuracy"]
    assert less(values, "low")["high"].mean == pytest.approx(0.2)
    assert list(less(values, "low")) == ["high"]
    assert less(values[["low"]], "low") == {}


def test_runs_that_lack_a_name_are_left_out():
    rows = [
        {"table": "t", "split": split, "case": "x", "name": name, "auroc": value}
        for split, name, value in ((0, "b", 0.5), (0, "a", None), (1, "b", 0.6), (1, "a", 0.7))
    ]
    found = pivot(rows, "auroc", "case")
    assert list(found) == ["b", "a"]
    assert found.to_numpy().tolist() == [[0.6, 0.7]]
