"""The ablation runs, shares fits, resumes, and gives a page that says what its numbers allow."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import ablation, runner
from benchmarks.__main__ import main
from benchmarks.ablation import agreement, page
from benchmarks.ablation.estimators import COMBINATIONS, AfterFit
from benchmarks.ablation.parts import all_parts, choice
from benchmarks.models import configuration
from benchmarks.records import RecordStore
from benchmarks.summary import METRICS, Comparison, Interval
from benchmarks.verdicts import GAIN, LOSS, difference, verdict
from gendiffclf import GenerativeTransportClassifier
from gendiffclf.parameters import check_parameters
from gendiffclf.transport.learned import LearnedPath


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of two parts and of agreement, with a tiny default."""
    folder = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_warm_up", lambda model: None)
        patch.setattr(runner.gc, "collect", lambda: 0)  # a quarter of a second before each run
        patch.setattr(agreement, "STEPS", (1, 4))
        for name, value in {"max_steps": 3, "n_members": 2, "width": 32, "depth": 1}.items():
            patch.setitem(GenerativeTransportClassifier.__init__.__kwdefaults__, name, value)
        words = ["ablation", "--tables", "sk_wine", "--splits", "0,1", "--output", str(folder)]
        assert main([*words, "--only", "steps,combination,agreement"]) == 0
        sizes = [path.stat().st_size for path in sorted(folder.glob("*.jsonl"))]
        assert main([*words, "--only", "steps,combination"]) == 0
        assert [path.stat().st_size for path in sorted(folder.glob("*.jsonl"))] == sizes
    return folder


def test_every_choice_makes_a_valid_classifier_of_its_own():
    parts = all_parts()
    assert len({part.key for part in parts}) == len(parts)
    for part in parts:
        names = [choice.name for choice in part.choices]
        assert len(set(names)) == len({choice.label for choice in part.choices}) == len(names) >= 2
        for one in part.choices:
            check_parameters(one.create().estimator.get_params(deep=False))
            RecordStore(ablation.RESULTS).path(one.label)
    labels = {one.label: one for part in parts for one in part.choices}
    assert len({json.dumps(configuration(one.create())) for one in labels.values()}) == len(labels)


def test_choices_that_share_a_fit_are_neighbours():
    labels = [one.label for one in ablation.distinct(all_parts())]
    assert len(set(labels)) == len(labels)
    for base in ("default", "estimator=network+learned"):
        first = labels.index(base)
        shared = [label for label in labels if "then_" in label and label.startswith("then_") == (base == "default")]
        assert sorted(labels[first + 1 : first + 1 + len(shared)]) == sorted(shared)


def test_a_changed_default_is_not_compared_with_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(GenerativeTransportClassifier.__init__.__kwdefaults__, "n_members", 2)
    names = {part.key: [one.name for one in part.choices] for part in all_parts()}
    assert names["members"] == ["2", "1", "3", "6"]


def test_fits_are_shared(iris, tiny, monkeypatch: pytest.MonkeyPatch):
    X, y = iris[0], iris[1].astype(str)
    fits = []
    fit = GenerativeTransportClassifier.fit
    monkeypatch.setattr(GenerativeTransportClassifier, "fit", lambda self, *rows: fits.append(1) or fit(self, *rows))
    classifier = tiny(estimator="network", path=LearnedPath())
    one, many = (AfterFit(classifier, after).fit(X, y) for after in ({}, {"n_steps": 4}))
    assert len(fits) == 1
    assert not np.allclose(one.predict_proba(X), many.predict_proba(X))
    np.testing.assert_array_equal(one.predict_proba(X), fit(classifier, X, y).predict_proba(X))
    AfterFit(classifier, {}).fit(X[:100], y[:100])
    assert len(fits) == 2


def test_combinations_are_replaced_after_the_fit(iris, tiny):
    changes = {"": {}} | {name: {"combination": name} for name in COMBINATIONS}
    fitted = {name: AfterFit(tiny(), after).fit(*iris).fitted_ for name, after in changes.items()}
    assert fitted["equal weights"].combination_.weights == (0.5, 0.5)
    assert fitted["equal weights"].combination_.read_outs == fitted[""].combination_.read_outs
    assert fitted["no calibration"].combination_.weights == fitted[""].combination_.weights
    assert fitted["no calibration"].combination_.temperature == 1
    found = [classifier.predict_proba(iris[0]) for classifier in fitted.values()]
    assert not np.allclose(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_exact_steps_agree_with_predictions(iris, tiny):
    classifier = tiny(estimator="kernel").fit(*iris)
    assert [agreement.agreement(classifier, iris[0], "exact", n) for n in (1, 4)] == [1, 1]
    assert agreement.agreement(classifier, iris[0], "euler", 2) < 1


def test_the_page_is_made_from_the_records(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agreement, "STEPS", (1, 4))
    page.write_ablation_page(records, tmp_path / "ablation.md")
    text = (tmp_path / "ablation.md").read_text()
    assert text == page.ablation_page(records)
    for part in all_parts():
        assert f"\n## {part.title}\n" in text
    assert text.count("\nNot measured.\n") == len(all_parts()) - 2
    assert "2 splits of each of 1 tables: sk_wine" in text
    assert "| Euler, N = 10 |" in text
    assert "| exact | 100.0 (100.0) | 100.0 (100.0) |" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table}) == 1


def test_records_of_other_defaults_are_refused(records: Path, tmp_path: Path):
    for path in records.glob("*.jsonl"):
        text = path.read_text()
        changed = text.replace('"estimator__max_steps": 3', '"estimator__max_steps": 4')
        (tmp_path / path.name).write_text(changed if path.stem == "default" else text)
    with pytest.raises(ValueError, match=r"'default' with different defaults, expected one difference; delete"):
        page.ablation_page(tmp_path)


def test_a_page_without_records_of_this_schema_says_so(records: Path, tmp_path: Path):
    for path in records.iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace('"schema": ', '"schema": -'))
    text = page.ablation_page(tmp_path)
    assert text == page.ablation_page(tmp_path / "none")
    assert text.count("\nNot measured.\n") == 2


def comparison(labels: list[str], accuracy: list[list[float]]) -> Comparison:
    """A comparison of one split of as many tables as there are rows."""
    index = pd.MultiIndex.from_product([[f"t{n}" for n in range(len(accuracy))], [0]])
    values = pd.DataFrame(accuracy, index=index, columns=labels)
    return Comparison(labels, {name: values if name == "accuracy" else 1 - values for name in METRICS})


def test_choices_are_judged_by_their_intervals():
    part = next(part for part in all_parts() if part.key == "path")
    labels = [one.label for one in part.choices][:4]
    body = page._part(part, comparison(labels, [[0.7, 0.8, 0.6, 0.9], [0.7, 0.9, 0.5, 0.5]]))
    assert "| uniform times | 85.00 | **+15.00** (+10.00 to +20.00) |" in body
    assert (
        "- Accuracy: Better than the reference: uniform times. Worse: biased times. No difference beyond chance: terminal times."
        in body
    )


@pytest.mark.parametrize(
    ("bounds", "more", "less"),
    [((0.1, 0.3), GAIN, LOSS), ((-0.3, -0.1), LOSS, GAIN), ((-0.1, 0.3), "", ""), ((0.2, 0.2), "", "")],
)
def test_verdicts(bounds: tuple[float, float], more: str, less: str):
    interval = Interval(sum(bounds) / 2, *bounds)
    assert (verdict(interval, True), verdict(interval, False)) == (more, less)
    assert difference(interval).startswith("**") is bool(more)


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["ablation", "--only", "luck"]) == 2
    assert "Got part luck, expected some of estimator, combination" in capsys.readouterr().err


def test_labels_tell_parameters():
    assert choice("x").label == "default"
    assert choice("x", {"dropout": 0.5, "path": LearnedPath(sigma=2.0)}, n_steps=4).label == (
        "dropout=0.5+learned+sigma=2.0+then_n_steps=4"
    )
