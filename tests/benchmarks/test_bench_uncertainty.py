"""The parts of the uncertainty benchmark run, write a record, and give a page."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from benchmarks import uncertainty
from benchmarks.__main__ import main
from benchmarks.data import load_table
from benchmarks.uncertainty import cells, errors, foreign, page, robustness, transports
from gendiffclf import GenerativeTransportClassifier


@pytest.fixture(scope="module")
def record_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record of a run with tiny models."""
    path = tmp_path_factory.mktemp("uncertainty") / "uncertainty.json"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"max_epochs": 2, "n_members": 2, "width": 32, "depth": 1}.items():
            patch.setitem(GenerativeTransportClassifier.__init__.__kwdefaults__, name, value)
        patch.setattr(errors, "N_DRAWS", 2)
        for name in ("extratrees", *cells.BOOSTED):
            patch.setitem(cells.CREATORS, name, lambda: cells.create_model("extratrees", {"n_estimators": 5}))
        patch.setattr(cells, "_calibrated", lambda name, method: cells._svc(method))
        patch.setitem(cells.CREATORS, "mlp", lambda: MLPClassifier((4,), max_iter=5))
        words = ["uncertainty", "--tables", "sk_wine,sk_breast_cancer", "--splits", "0", "--output", str(path)]
        assert main(words) == 0
    return path


def test_the_record_holds_every_part(record_file: Path):
    record = json.loads(record_file.read_text())
    assert set(record) == set(uncertainty.PARTS)
    for part in record.values():
        assert set(part) == {"command", "date", "environment", "defaults", "rows"}
        keys = [(row["table"], row["split"], row.get("case"), row["name"]) for row in part["rows"]]
        assert len(set(keys)) == len(keys)
    assert {row["table"] for row in record["foreign"]["rows"]} == {"sk_wine"}  # the other has two classes
    assert {row["case"] for row in record["foreign"]["rows"]} == {"0", "1", "2"}


def test_the_page_is_made_from_the_record(record_file: Path, tmp_path: Path):
    page.write_uncertainty_page(record_file, tmp_path / "uncertainty.md")
    text = (tmp_path / "uncertainty.md").read_text()
    for module in uncertainty.PARTS.values():
        assert f"\n## {module.TITLE}\n" in text
    assert "\nNot measured.\n" not in text
    assert text.count("- Commit: ") == 1
    for table in [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]:
        assert len({line.count("|") for line in table}) == 1
    assert str(record_file.parent) not in text


def test_parts_that_are_not_asked_for_keep_their_record(record_file: Path, tmp_path: Path, monkeypatch):
    path = tmp_path / "record.json"
    path.write_text(record_file.read_text())
    monkeypatch.setattr(robustness, "measure", lambda cell: [{"case": "as they are", "name": "ours", "accuracy": 0.5}])
    words = ["uncertainty", "robustness", "--tables", "sk_wine", "--splits", "2", "--output", str(path)]
    assert main(words) == 0
    before, after = (json.loads(file.read_text()) for file in (record_file, path))
    assert after["errors"] == before["errors"]
    assert [row["split"] for row in after["robustness"]["rows"]] == [2]
    assert page.uncertainty_page(path).count("- Commit: ") == 2


def test_a_page_without_a_record_says_so(tmp_path: Path):
    assert page.uncertainty_page(tmp_path / "none.json").count("\nNot measured.\n") == len(uncertainty.PARTS)


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["uncertainty", "luck"]) == 2
    assert "Got part luck, expected some of errors, foreign" in capsys.readouterr().err


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


def test_members_probabilities_average_to_the_prediction(iris, tiny):
    X, y = iris
    classifier = tiny().fit(X, y)
    of_members = transports.member_probabilities(classifier, X)
    assert of_members.shape == (2, 150, 3)
    np.testing.assert_allclose(of_members.mean(axis=0), classifier.predict_proba(X), atol=1e-6)


def test_several_starts_differ_and_one_step_of_the_solver_has_no_noise(iris, tiny):
    X, y = iris
    classifier = tiny(time_sampling="uniform").fit(X, y)
    for draw in (transports.stochastic_probabilities, transports.noisy_start_probabilities):
        found = draw(classifier, X, 3, 4)
        assert found.shape == (3, 150, 3)
        np.testing.assert_allclose(found.sum(axis=-1), 1)
        assert found.std(axis=0).max() > 0
    np.testing.assert_allclose(
        transports.stochastic_probabilities(classifier, X, 2, 1)[1], classifier.predict_proba(X), atol=1e-6
    )


def test_scores_of_estimates(iris, tiny, monkeypatch: pytest.MonkeyPatch):
    classifier = tiny().fit(*iris)
    codes = transports._codes(classifier).numpy()
    between = (codes[0] + codes[1]) / 2
    outside = codes[0] + np.eye(32)[0] * np.linalg.norm(codes[0])
    monkeypatch.setattr(classifier, "transport", lambda X: np.stack([codes[0], between, outside]), raising=False)
    scores = transports.estimate_scores(classifier, iris[0])
    np.testing.assert_allclose(scores["short estimate"][:2], [-1, -np.sqrt(0.5)], rtol=1e-5)
    np.testing.assert_allclose(scores["angle to the nearest code"][:2], [0, 1 - np.sqrt(0.5)], atol=1e-5)
    np.testing.assert_allclose(scores["distance to the nearest code"], [0, np.sqrt(0.5), 1], atol=1e-5)
    np.testing.assert_allclose(scores["part outside the codes' span"][:2], 0, atol=1e-5)
    assert 0.5 < scores["part outside the codes' span"][2] < 1 + 1e-6


def test_spoilt_rows_are_nested():
    X = np.random.default_rng(0).normal(5, 2, (400, 10)).astype(np.float32)
    found = robustness.spoilt(X, X, seed=0)
    assert found["as they are"] is X
    lost = [found[f"{share:.0%} lost"] != X for share in robustness.SHARES]
    assert (lost[0] <= lost[1]).all()
    assert (lost[1] <= lost[2]).all()
    np.testing.assert_allclose([part.mean() for part in lost], robustness.SHARES, atol=0.03)
    np.testing.assert_allclose((found["noise 1 SD"] - X).std(), 2, rtol=0.05)
    np.testing.assert_allclose(found["noise 1 SD"] - X, 2 * (found["noise 0.5 SD"] - X), atol=1e-4)


def test_rows_far_from_training_are_far_from_neighbours(iris):
    X, _ = iris
    near, far = foreign.neighbour_distance(X, np.stack([X[0], X[0] + 10]))
    assert near < far


@pytest.mark.parametrize("name", [cells.OURS, cells.MLP])
def test_models_that_are_used_to_losses_learn_from_spoilt_copies(name: str, monkeypatch: pytest.MonkeyPatch):
    seen: dict = {}

    class Noting:
        def fit(self, X, y, **of_fit):
            seen.update(X=X, y=y, **of_fit)
            return self

    monkeypatch.setitem(cells.CREATORS, name, Noting)
    cell = cells.Cell(load_table("sk_wine"), 0)
    robustness.fit_with_losses(name, cell)
    n, copies = len(cell.X_train), robustness.N_COPIES
    whole, spoilt = seen["X"][:n], seen["X"][n:]
    np.testing.assert_array_equal(whole, cell.X_train)
    lost = spoilt != np.tile(cell.X_train, (copies, 1))
    assert 0.2 < lost.mean() < 0.3
    np.testing.assert_array_equal(spoilt[lost], np.broadcast_to(np.median(whole, axis=0), lost.shape)[lost])
    np.testing.assert_array_equal(seen["y"], np.tile(cell.y_train, copies + 1))
    if name == cells.OURS:
        np.testing.assert_array_equal(seen["groups"], np.tile(np.arange(n), copies + 1))
    else:
        assert "groups" not in seen
