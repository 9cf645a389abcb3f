"""The parts of the uncertainty benchmark run, write records, and give a page."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks import uncertainty
from benchmarks.__main__ import main
from benchmarks.data import load_table, split_table
from benchmarks.render import render
from gendiffclf import GenerativeTransportClassifier


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of records of a run with tiny models."""
    folder = tmp_path_factory.mktemp("results") / "uncertainty"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GenerativeTransportClassifier.__init__.__kwdefaults__, "estimator", "kernel")
        create = uncertainty.create_model
        patch.setattr(
            uncertainty,
            "create_model",
            lambda name: create(name) if name == "ours" else ExtraTreesClassifier(5, random_state=0),
        )
        words = ["uncertainty", "--tables", "sk_wine,sk_breast_cancer", "--splits", "0", "--output", str(folder)]
        assert main(words) == 0
    return folder


def test_there_is_a_record_of_every_part(records: Path):
    assert {path.stem for path in records.iterdir()} == set(uncertainty.PARTS)
    for path in records.iterdir():
        record = json.loads(path.read_text())
        assert set(record) == {"schema", "command", "date", "environment", "defaults", "rows"}
        keys = [(row["table"], row["split"], row.get("case"), row["name"]) for row in record["rows"]]
        assert len(set(keys)) == len(keys)
    rows = json.loads((records / "out-of-distribution.json").read_text())["rows"]
    assert {(row["table"], row["case"]) for row in rows} == {("sk_wine", case) for case in "012"}  # not of two classes


def test_the_page_is_made_from_the_records(records: Path, tmp_path: Path):
    text = render("uncertainty", uncertainty.context(records.parent))
    assert text.count("\n## ") == len(uncertainty.PARTS) + 1
    for title in ("Detecting errors", "Missing and noisy features", "Calibration", "How it was measured"):
        assert f"\n## {title}\n" in text
    assert text.count("- Commit: ") == 1
    for table in [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]:
        assert len({line.count("|") for line in table}) == 1
    assert str(records.parent) not in text
    assert uncertainty.context(tmp_path) == {}


def test_the_page_opens_with_figures_of_its_tables(records: Path):
    text = render("uncertainty", uncertainty.context(records.parent))
    opening, tables = text.split("## Detecting errors")
    answers = uncertainty.context(records.parent)["answers"]
    assert "`score_samples` detects rows of classes that were not in training with an AUROC of " in opening
    for name, value in (("ours: top probability", answers["errors"]), ("5 nearest training rows", answers["outside"])):
        assert f"{value[name]:.3f}" in opening
        assert f"| {name} | {value[name]:.3f}" in tables
    assert "new speakers" not in opening  # none of these tables has any


def test_parts_that_are_not_asked_for_keep_their_record(records: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "uncertainty").mkdir()
    for path in records.iterdir():
        (tmp_path / "uncertainty" / path.name).write_text(path.read_text())
    rows = [{"name": name, **dict.fromkeys(uncertainty.FORMATS, 0.5)} for name in ("ours", "mlp")]
    monkeypatch.setitem(uncertainty.PARTS, "calibration", lambda cell: rows)
    words = ["uncertainty", "calibration", "--tables", "sk_wine", "--splits", "2"]
    assert main([*words, "--output", str(tmp_path / "uncertainty")]) == 0
    assert (tmp_path / "uncertainty" / "errors.json").read_text() == (records / "errors.json").read_text()
    text = render("uncertainty", uncertainty.context(tmp_path))
    assert text.count("- Commit: ") == 2
    assert "| ours | **50.00** | **0.5000** | **0.5000** | **0.5000** |" in text


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["uncertainty", "luck"]) == 2
    assert "Got part luck, expected some of errors, out-of-distribution" in capsys.readouterr().err


def test_area_under_risk_and_coverage():
    wrong = np.array([False, False, True, True])
    assert uncertainty.risk_coverage_area(wrong, np.array([0, 1, 2, 3])) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert uncertainty.risk_coverage_area(wrong, np.array([3, 2, 1, 0])) == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert uncertainty.risk_coverage_area(wrong, np.zeros(4)) == pytest.approx(1 / 2)  # a constant says nothing


def test_auroc_without_an_error_is_left_out():
    assert uncertainty.auroc(np.array([False, False]), np.array([0.1, 0.2])) is None
    wrong, score = np.array([False, True, True]), np.array([0.1, 0.0, 0.2])
    assert uncertainty.auroc(wrong, score) == roc_auc_score(wrong, score) == 0.5


def test_changed_rows_are_nested():
    X = np.random.default_rng(0).normal(5, 2, (400, 10)).astype(np.float32)
    found = uncertainty.changed(X, X, seed=0)
    np.testing.assert_array_equal(found["unchanged"], X)
    missing = [found[f"{share:.0%} missing"] != X for share in uncertainty.SHARES]
    assert (missing[0] <= missing[1]).all()
    assert (missing[1] <= missing[2]).all()
    np.testing.assert_allclose([part.mean() for part in missing], uncertainty.SHARES, atol=0.03)
    np.testing.assert_allclose((found["noise 1 SD"] - X).std(), 2, rtol=0.05)
    np.testing.assert_allclose(found["noise 1 SD"] - X, 2 * (found["noise 0.5 SD"] - X), atol=1e-4)


def test_feature_dropout_adds_copies_that_lack_values(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uncertainty, "fit", lambda name, X, y, groups: (X, y, groups))
    cell = uncertainty.Cell(split_table(load_table("sk_wine")))
    X, y, groups = uncertainty.fit_with_dropout(uncertainty.OURS, cell)
    n, times = len(cell.X_train), uncertainty.N_COPIES + 1
    np.testing.assert_array_equal(X[:n], cell.X_train)
    missing = np.tile(cell.X_train, (times, 1)) != X
    assert 0.2 < missing[n:].mean() < 0.3
    np.testing.assert_array_equal(X[missing], np.broadcast_to(np.median(X[:n], axis=0), X.shape)[missing])
    np.testing.assert_array_equal(y, np.tile(cell.y_train, times))
    np.testing.assert_array_equal(groups, np.tile(np.arange(n), times))
    cell.groups = np.arange(n) // 2
    groups = uncertainty.fit_with_dropout(uncertainty.OURS, cell)[2]
    np.testing.assert_array_equal(groups, np.tile(np.arange(n) // 2, times))


def test_groups_are_held_out_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uncertainty, "create_model", lambda name: LogisticRegression())
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    groups = np.arange(60) // 4
    folds = uncertainty.fit("mlp + sigmoid", X, y, groups).cv
    assert len(folds) == 3
    assert not any(set(groups[train]) & set(groups[test]) for train, test in folds)
    assert uncertainty.fit("mlp + sigmoid", X, y).cv == 3
    monkeypatch.setattr(uncertainty, "create_model", lambda name: GenerativeTransportClassifier(estimator="kernel"))
    with_groups, without = (uncertainty.fit("ours", X, y, of_rows) for of_rows in (groups, None))
    assert np.abs(with_groups.held_out_proba_ - without.held_out_proba_).max() > 1e-3


def test_rows_far_from_training_are_far_from_neighbours(iris):
    X, _ = iris
    near, far = uncertainty.neighbour_distance(X, np.stack([X[0], X[0] + 10]))
    assert near < far
