"""The benchmark of labels on a small table, with groups and without, and what its page opens with."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import labels
from benchmarks.__main__ import main
from benchmarks.data import load_table, split_table
from benchmarks.render import BREAK, render


@pytest.fixture
def few_updates(monkeypatch):
    """Fits of few updates of few members."""
    defaults = labels.GenerativeTransportClassifier.__init__.__kwdefaults__
    for name, value in {"max_steps": 10, "n_members": 2}.items():
        monkeypatch.setitem(defaults, name, value)


def test_flipped_labels_are_others():
    y = np.repeat(["a", "b", "c"], 4000)
    noisy = labels.flip(y, 0.2)
    np.testing.assert_allclose((noisy != y).mean(), 0.2, atol=0.01)
    np.testing.assert_allclose([(noisy[y == "a"] == label).mean() for label in "bc"], 0.1, atol=0.01)


@pytest.mark.usefixtures("few_updates")
def test_sets_of_groups():
    table = load_table("sk_wine", None)
    table = dataclasses.replace(table, groups=np.arange(len(table.y)) % 20)
    found = labels.measure_sets(split_table(table, max_train=100))
    assert {run["model"] for run in found} == {"ours", "ours without groups", "logreg"}
    assert [run["level"] for run in found if run["model"] == "ours"] == list(labels.LEVELS)
    assert all(0.5 < run["coverage"] <= 1 and 0.5 < run["size"] < 3 for run in found)


@pytest.fixture
def record(tmp_path, few_updates):
    path = tmp_path / "labels.json"
    words = ["--tables", "sk_wine", "--max-train", "100", "--splits", "0"]
    assert main(["labels", *words, "--output", str(path)]) == 0
    return json.loads(path.read_text())


def test_record_and_page(record, tmp_path):
    ours = [run for run in record["suspects"] if run["way"] == "ours"]
    assert [run["share"] for run in ours] == list(labels.FLIPPED)
    assert all(run["average_precision"] > 2 * run["share"] for run in ours)  # that of chance is the share
    grouped = [{**run, "grouped": True, "table": "speakers"} for run in record["sets"]]
    grouped += [{**run, "model": "ours without groups", "coverage": 0.5} for run in grouped if run["model"] == "ours"]
    (tmp_path / "labels.json").write_text(json.dumps({**record, "sets": record["sets"] + grouped}))
    lead, rest = render("labels", labels.context(tmp_path)).split(BREAK)
    first, second = (f"{run['average_precision']:.3f}" for run in ours)
    assert f"curve of {first} and {second}; the best of cleanlab's" in lead
    held = [f"{100 * run['coverage']:.1f}" for run in record["sets"] if run["model"] == "ours"]
    coverage, ranges = f"{held[0]}, {held[1]} and {held[2]} %", ", ".join(f"{value} to {value}" for value in held[:2])
    asked = "prediction sets with a coverage of 80, 90 and 95 % contain the class of"
    assert (
        f"For rows like those of training, {asked} {coverage} of test rows ({ranges} and {held[2]} to {held[2]} % on"
        in lead
    )
    assert f"For speakers that were not in training, {asked} {coverage} of test rows" in lead
    assert "Without `groups` in `fit`, it is 50.0, 50.0 and 50.0 %." in lead
    assert "test rows of speakers that were not in training (speakers)" in rest
    assert record["command"] in rest
