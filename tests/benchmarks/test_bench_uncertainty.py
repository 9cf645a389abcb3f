"""The parts of the uncertainty benchmark run, write records, and give a page."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from benchmarks import uncertainty
from benchmarks.__main__ import main
from benchmarks.data import load_table
from benchmarks.uncertainty import cells, errors, out_of_distribution, page, robustness
from gendiffclf import GenerativeTransportClassifier


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of a run with tiny models."""
    folder = tmp_path_factory.mktemp("uncertainty")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GenerativeTransportClassifier.__init__.__kwdefaults__, "estimator", "kernel")
        for name in ("extratrees", *cells.BOOSTED):
            patch.setitem(cells.CREATORS, name, lambda: cells.create_model("extratrees", {"n_estimators": 5}))
        for name in cells.CREATORS:
            if " + " in name:
                patch.setitem(cells.CREATORS, name, lambda: cells._calibrated("svc", "sigmoid"))
        patch.setitem(cells.CREATORS, "mlp", lambda: MLPClassifier((4,), max_iter=5))
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
    page.write_uncertainty_page(records, tmp_path / "uncertainty.md")
    text = (tmp_path / "uncertainty.md").read_text()
    for module in uncertainty.PARTS.values():
        assert f"\n## {module.TITLE}\n" in text
    assert "\nNot measured.\n" not in text
    assert text.count("- Commit: ") == 1
    for table in [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]:
        assert len({line.count("|") for line in table}) == 1
    assert str(records.parent) not in text


def test_parts_that_are_not_asked_for_keep_their_record(records: Path, tmp_path: Path, monkeypatch):
    for path in records.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(robustness, "measure", lambda cell: [{"case": "unchanged", "name": "ours", "accuracy": 0.5}])
    words = ["uncertainty", "robustness", "--tables", "sk_wine", "--splits", "2", "--output", str(tmp_path)]
    assert main(words) == 0
    assert (tmp_path / "errors.json").read_text() == (records / "errors.json").read_text()
    assert [row["split"] for row in json.loads((tmp_path / "robustness.json").read_text())["rows"]] == [2]
    assert page.uncertainty_page(tmp_path).count("- Commit: ") == 2


def test_a_page_without_records_says_so(tmp_path: Path):
    assert page.uncertainty_page(tmp_path / "none").count("\nNot measured.\n") == len(uncertainty.PARTS)


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["uncertainty", "luck"]) == 2
    assert "Got part luck, expected some of errors, out-of-distribution" in capsys.readouterr().err


def test_area_under_risk_and_coverage():
    wrong = np.array([False, False, True, True])
    assert errors.risk_coverage_area(wrong, np.array([0, 1, 2, 3])) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert errors.risk_coverage_area(wrong, np.array([3, 2, 1, 0])) == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert errors.risk_coverage_area(wrong, np.zeros(4)) == pytest.approx(1 / 2)  # a constant says nothing


def test_auroc_without_an_error_is_left_out():
    assert errors.auroc(np.array([False, False]), np.array([0.1, 0.2])) is None
    wrong, score = np.array([False, True, True]), np.array([0.1, 0.0, 0.2])
    assert errors.auroc(wrong, score) == roc_auc_score(wrong, score) == 0.5
    rows = [
        {"table": "t", "split": split, "name": name, "auroc": value}
        for split, name, value in ((0, "a", 0.5), (0, "b", None), (1, "a", 0.6), (1, "b", 0.7))
    ]
    assert page.pivot(rows, "auroc").to_numpy().tolist() == [[0.6, 0.7]]


def test_changed_rows_are_nested():
    X = np.random.default_rng(0).normal(5, 2, (400, 10)).astype(np.float32)
    found = robustness.changed(X, X, seed=0)
    assert found["unchanged"] is X
    missing = [found[f"{share:.0%} missing"] != X for share in robustness.SHARES]
    assert (missing[0] <= missing[1]).all()
    assert (missing[1] <= missing[2]).all()
    np.testing.assert_allclose([part.mean() for part in missing], robustness.SHARES, atol=0.03)
    np.testing.assert_allclose((found["noise 1 SD"] - X).std(), 2, rtol=0.05)
    np.testing.assert_allclose(found["noise 1 SD"] - X, 2 * (found["noise 0.5 SD"] - X), atol=1e-4)


def test_rows_far_from_training_are_far_from_neighbours(iris):
    X, _ = iris
    near, far = out_of_distribution.neighbour_distance(X, np.stack([X[0], X[0] + 10]))
    assert near < far


@pytest.mark.parametrize("name", [cells.OURS, cells.MLP])
def test_models_trained_with_feature_dropout_learn_from_copies(name: str, monkeypatch: pytest.MonkeyPatch):
    seen: dict = {}

    class Noting:
        def fit(self, X, y, **of_fit):
            seen.update(X=X, y=y, **of_fit)
            return self

    monkeypatch.setitem(cells.CREATORS, name, Noting)
    cell = cells.Cell(load_table("sk_wine"), 0)
    robustness.fit_with_dropout(name, cell)
    n, copies = len(cell.X_train), robustness.N_COPIES
    whole, changed = seen["X"][:n], seen["X"][n:]
    np.testing.assert_array_equal(whole, cell.X_train)
    missing = changed != np.tile(cell.X_train, (copies, 1))
    assert 0.2 < missing.mean() < 0.3
    np.testing.assert_array_equal(changed[missing], np.broadcast_to(np.median(whole, axis=0), missing.shape)[missing])
    np.testing.assert_array_equal(seen["y"], np.tile(cell.y_train, copies + 1))
    if name == cells.OURS:
        np.testing.assert_array_equal(seen["groups"], np.tile(np.arange(n), copies + 1))
    else:
        assert "groups" not in seen
