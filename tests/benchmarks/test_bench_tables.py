"""The command that runs models on tables."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from benchmarks import models
from benchmarks.__main__ import command_line, main
from benchmarks.data import Split, Table, load_table, split_table
from benchmarks.options import chosen_splits
from benchmarks.records import RecordStore
from benchmarks.runner import measure
from benchmarks.tables import parse_variants

Bench = Callable[..., int]
SCHEMA = {
    "schema": int, "label": str, "model": str,
    "parameters": dict, "configuration": dict, "command": str, "date": str,
    "table": str, "split": int, "inner": bool, "grouped": bool, "takes_groups": bool, "data_digest": str,
    "n_train": int, "n_test": int, "n_features": int, "n_classes": int,
    "accuracy": float, "uar": float, "log_loss": float, "brier": float, "ece": float, "reliability": dict,
    "fit_seconds": float, "fit_cpu_seconds": float, "predict_seconds": float, "predict_cpu_seconds": float,
    "load_average": (float, type(None)), "warnings": list,
    "versions": dict, "hardware": dict, "threads": dict, "commit": (str, type(None)),
    "dirty": (bool, type(None)),
}  # fmt: skip


class Frequencies(ClassifierMixin, BaseEstimator):
    """Predicts how frequent each class was, whatever the row."""

    n_fits = 0

    def __init__(self, smoothing: float = 1.0) -> None:
        self.smoothing = smoothing

    def fit(self, X: np.ndarray, y: np.ndarray) -> "Frequencies":
        type(self).n_fits += 1
        self.classes_, counts = np.unique(y, return_counts=True)
        self.proba_ = (counts + self.smoothing) / (counts + self.smoothing).sum()
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.tile(self.proba_, (len(X), 1))


@pytest.fixture
def frequencies(monkeypatch: pytest.MonkeyPatch) -> type[Frequencies]:
    """The model's class, registered as "frequencies"; `n_fits` counts from 0."""
    monkeypatch.setitem(models.MODELS, "frequencies", Frequencies)
    monkeypatch.setattr(Frequencies, "n_fits", 0)
    return Frequencies


@pytest.fixture
def bench(frequencies: type[Frequencies], tmp_path: Path) -> Callable[..., int]:
    """Run `tables` with the free model on one table into `records`; later words override."""

    def run(*words: str) -> int:
        given = ["--models", "frequencies", "--tables", "sk_wine", "--reference", "frequencies"]
        return main(["tables", *given, "--output", str(tmp_path / "records"), *words])

    return run


def test_record_has_all_it_should(bench: Bench, tmp_path: Path):
    assert bench("--splits", "0") == 0
    (record,) = RecordStore(tmp_path / "records").read()
    assert set(record) == set(SCHEMA)
    for name, kind in SCHEMA.items():
        assert isinstance(record[name], kind), name
    assert record["configuration"] == {"smoothing": 1.0}
    assert (record["n_train"], record["n_test"], record["n_features"], record["n_classes"]) == (124, 54, 13, 3)
    assert sum(record["reliability"]["n_rows"]) == record["n_test"]
    assert {"python", "numpy", "scikit-learn", "torch"} <= set(record["versions"])
    assert record["hardware"]["cpu"]
    assert str(tmp_path) not in json.dumps(record)


def test_our_model_is_measured_with_parameters(bench: Bench, tmp_path: Path):
    parameters = ["max_steps=5", "n_members=2", "width=32", "depth=1"]
    assert bench("--models", "", "--variant", "ours", "ours", *parameters, "--splits", "0") == 0
    (record,) = RecordStore(tmp_path / "records").read()
    assert (record["label"], record["model"], record["configuration"]["max_steps"]) == ("ours", "ours", 5)
    assert record["accuracy"] > 0.8


def test_second_run_adds_nothing(bench: Bench, frequencies, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert bench() == 0
    written, n_fits = (tmp_path / "records" / "frequencies.jsonl").read_bytes(), frequencies.n_fits
    assert n_fits == 4  # one to warm up
    capsys.readouterr()
    assert bench() == 0
    assert (tmp_path / "records" / "frequencies.jsonl").read_bytes() == written
    assert frequencies.n_fits == n_fits
    assert "3 runs of each model" in capsys.readouterr().out  # it still sums up


def test_goes_on_where_it_was_killed(bench: Bench, tmp_path: Path):
    bench()
    path = tmp_path / "records" / "frequencies.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    assert len(RecordStore(path.parent).read()) == 2
    assert bench() == 0
    records = RecordStore(path.parent).read()
    assert sorted(record["split"] for record in records) == [0, 1, 2]


def test_other_configuration_runs_again(bench: Bench, tmp_path: Path):
    bench("--splits", "0")
    bench("--splits", "0", "--variant", "frequencies", "frequencies", "smoothing=3")
    records = RecordStore(tmp_path / "records").read()
    assert [record["configuration"]["smoothing"] for record in records] == [1.0, 3]


def test_records_of_before_count(bench: Bench, frequencies, tmp_path: Path, capsys):
    bench("--splits", "0")
    bench("--splits", "0,1")
    assert frequencies.n_fits == 4
    assert "1 of 2 runs were recorded before in" in capsys.readouterr().out


@pytest.mark.parametrize(("model", "n_runs"), [("ours", 2), ("frequencies", 1)])
def test_only_ours_of_an_older_schema_runs_again(
    bench: Bench, frequencies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, n_runs: int
):
    monkeypatch.setitem(models.MODELS, "ours", frequencies)
    bench("--splits", "0", "--models", model, "--reference", model)
    path = tmp_path / "records" / f"{model}.jsonl"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "schema": record["schema"] - 1}) + "\n")
    bench("--splits", "0", "--models", model, "--reference", model)
    assert len(path.read_text().splitlines()) == n_runs


def test_again_measures_anew(bench: Bench, frequencies, tmp_path: Path):
    bench("--splits", "0")
    bench("--splits", "0", "--again")
    assert frequencies.n_fits == 4
    assert len(RecordStore(tmp_path / "records").read()) == 1


def test_inner_records_are_marked_and_apart(bench: Bench, tmp_path: Path):
    bench("--splits", "0")
    bench("--splits", "0", "--inner")
    outer, inner = RecordStore(tmp_path / "records").read()
    assert (outer["inner"], inner["inner"]) == (False, True)
    assert inner["n_train"] + inner["n_test"] == outer["n_train"]


def test_variants_take_turns(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("--splits", "0,1", "--variant", "smooth", "frequencies", "smoothing=9") == 0
    lines = [line.split()[1:3] for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert lines == [[label, f"sk_wine/{split}:"] for split in (0, 1) for label in ("frequencies", "smooth")]


def test_failure_of_one_model_does_not_end_the_run(
    bench: Bench, frequencies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(
        frequencies, "predict_proba", lambda self, X: np.full((len(X), 3), np.nan if len(X) > 2 else 0.3)
    )
    assert bench("--splits", "0", "--variant", "logreg", "logreg") == 1
    assert "frequencies sk_wine/0: failed, ValueError" in capsys.readouterr().out
    assert [record["label"] for record in RecordStore(tmp_path / "records").read()] == ["logreg"]


def test_class_that_training_lacks(frequencies):
    y = np.array(["a"] * 10 + ["b"] * 10 + ["c"])
    table = Table("t", np.zeros((21, 1), np.float32), y)
    measured = measure(frequencies(), Split(table, np.arange(19), np.array([19, 20])))
    assert measured["n_classes"] == 3
    assert measured["accuracy"] == 0
    assert measured["log_loss"] > 7


def test_summary_compares_with_the_reference(bench: Bench, capsys: pytest.CaptureFixture[str]):
    bench("--tables", "sk_wine,sk_breast_cancer", "--splits", "0", "--variant", "logreg", "logreg")
    out = capsys.readouterr().out
    assert "Accuracy less that of frequencies, in points" in out
    assert re.search(r"^logreg +[-\d.]+ +[-\d.]+$", out, re.MULTILINE)


def test_groups_reach_models_that_take_them(frequencies, monkeypatch: pytest.MonkeyPatch):
    given: dict[str, np.ndarray] = {}
    y, groups = np.array(["a", "b"] * 30), np.repeat(np.arange(10), 6).astype(str)
    table = Table("t", np.zeros((60, 1), np.float32), y, groups)
    split = split_table(table)
    train = split.train
    fit = frequencies.fit

    def fit_groups(self, X, y, groups=None):
        given["groups"] = groups
        return fit(self, X, y)

    def fit_validated(self, X, y, val_idxs=None):
        given["val_idxs"] = val_idxs
        return fit(self, X, y)

    assert not measure(frequencies(), split)["takes_groups"]
    monkeypatch.setattr(frequencies, "fit", fit_groups)
    assert measure(frequencies(), split)["takes_groups"]
    np.testing.assert_array_equal(given["groups"], groups[train])
    monkeypatch.setattr(frequencies, "fit", fit_validated)
    measure(frequencies(), split)
    validated = np.isin(np.arange(len(train)), given["val_idxs"])
    assert 0 < validated.sum() < len(train) / 2
    assert not set(groups[train][validated]) & set(groups[train][~validated])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variant", "x", "frequencies", "smoothing"], "Got parameter 'smoothing', expected name=value"),
        (["--variant", "x", "frequencies", "nothing=1"], "Invalid parameter 'nothing'"),
        (["--variant", "x"], "Got --variant x, expected a label, a model"),
        (["--variant", "a/b", "logreg"], "Got label='a/b'"),
        (["--splits", "3"], "Got --splits 3, expected some of 0, 1, 2"),
        (["--splits", "x"], "Got --splits x"),
        (["--tables", "nowhere"], "Got table 'nowhere'"),
        (["--models", "nobody"], "Got model 'nobody'"),
    ],
)
def test_options_without_sense_are_refused(
    bench: Bench, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert bench(*words) == 2
    assert message in capsys.readouterr().err


def test_values_are_read_as_python_or_text():
    (variant,) = parse_variants("", [["x", "ours", "n_members=3", "dropout=0.25", "scaling=robust", "patience=None"]])
    assert variant.parameters == {"n_members": 3, "dropout": 0.25, "scaling": "robust", "patience": None}
    assert (variant.label, variant.model) == ("x", "ours")
    assert chosen_splits("2,0") == [2, 0]


def test_commands_name_no_folder_of_this_machine(tmp_path: Path):
    words = ["tables", "--data-dir", str(tmp_path), "--output=../x/records"]
    assert command_line(words) == "python -m benchmarks tables --data-dir DATA_DIR --output=records"
    assert command_line(["tables", f"--data-dir={tmp_path}"]) == "python -m benchmarks tables --data-dir=DATA_DIR"
    for folder in (tmp_path / "clips", "../y/clips"):
        assert command_line(["speech", "--corpus", f"ravdess={folder}"]).endswith(" --corpus ravdess=clips")
    assert command_line(["render", "--docs", "docs/x"]) == "python -m benchmarks render --docs docs/x"


def test_help_lists_commands(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(name in out for name in ("tables", "render", "speed"))


def test_splits_are_those_of_the_protocol(bench: Bench, tmp_path: Path):
    bench()
    table = load_table("sk_wine")
    for record in RecordStore(tmp_path / "records").read():
        split = split_table(table, record["split"])
        frequent = max(set(table.y), key=list(split.fitting[1]).count)
        assert record["accuracy"] == pytest.approx((split.evaluation[1] == frequent).mean())
