"""The ablation runs, shares fits, resumes, and gives a page that says what its numbers allow."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import ablation, runner
from benchmarks.__main__ import main
from benchmarks.ablation import page
from benchmarks.ablation.estimators import AfterFit, WithoutCondition
from benchmarks.ablation.parts import UNIFORM, all_parts, choice
from benchmarks.records import RecordStore
from benchmarks.summary import METRICS, Comparison, Interval
from benchmarks.verdicts import GAIN, LOSS, difference, verdict
from gendiffclf import GenerativeTransportClassifier
from gendiffclf.parameters import check_parameters


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of two parts, with a tiny default."""
    folder = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_warm_up", lambda model: None)
        patch.setattr(runner.gc, "collect", lambda: 0)  # a quarter of a second before each of 44 runs
        for name, value in {"max_epochs": 3, "n_members": 2, "width": 32, "depth": 1}.items():
            patch.setitem(GenerativeTransportClassifier.__init__.__kwdefaults__, name, value)
        words = ["ablation", "--tables", "sk_wine", "--splits", "0,1", "--only", "steps,condition"]
        assert main([*words, "--output", str(folder)]) == 0
        sizes = [path.stat().st_size for path in sorted(folder.glob("*.jsonl"))]
        assert main([*words, "--output", str(folder)]) == 0
        assert [path.stat().st_size for path in sorted(folder.glob("*.jsonl"))] == sizes
    return folder


def test_every_choice_makes_a_valid_classifier_of_its_own():
    parts = all_parts()
    assert len({part.key for part in parts}) == len(parts)
    for part in parts:
        names = [choice.name for choice in part.choices]
        assert len(set(names)) == len(names) >= 2
        assert part.paper is None or part.paper in names
        assert len({choice.label for choice in part.choices}) == len(names)
        for one in part.choices:
            classifier = one.create().estimator
            check_parameters({**classifier.get_params(), **one.after})
            RecordStore(ablation.RESULTS).path(one.label)
    labels = {one.label: one for part in parts for one in part.choices}
    configurations = {json.dumps([one.parameters, one.after, one.condition_seen]) for one in labels.values()}
    assert len(configurations) == len(labels)


def test_the_issue_s_parts_come_first_and_slow_ones_run_last():
    assert [part.key for part in all_parts()][:3] == ["objective", "times", "mean"]
    assert [part.key for part in all_parts() if part.slow] == ["tokens"]


def test_choices_that_share_a_fit_are_neighbours():
    labels = [one.label for one in ablation.distinct(all_parts())]
    assert len(set(labels)) == len(labels)
    assert labels.index("default") + 1 == labels.index(next(label for label in labels if label.startswith("then_")))


def test_a_changed_default_is_not_compared_with_itself(monkeypatch: pytest.MonkeyPatch):
    defaults = GenerativeTransportClassifier.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "n_members", 3)
    monkeypatch.setitem(defaults, "time_sampling", "biased")
    names = {part.key: [one.name for one in part.choices] for part in all_parts()}
    assert names["members"] == ["3", "1", "6", "12"]
    assert names["times"] == ["biased", "terminal", "uniform", "mixed", "logit_normal"]


def test_fits_are_shared(iris, tiny, monkeypatch: pytest.MonkeyPatch):
    X, y = iris[0], iris[1].astype(str)
    fits = []
    fit = GenerativeTransportClassifier.fit
    monkeypatch.setattr(GenerativeTransportClassifier, "fit", lambda self, *rows: fits.append(1) or fit(self, *rows))
    classifier = tiny(**UNIFORM)
    one, many = (AfterFit(classifier, after).fit(X, y) for after in ({}, {"n_steps": 4}))
    assert len(fits) == 1
    assert not np.allclose(one.predict_proba(X), many.predict_proba(X))
    np.testing.assert_array_equal(one.predict_proba(X), fit(tiny(**UNIFORM), X, y).predict_proba(X))
    AfterFit(classifier, {}).fit(X[:100], y[:100])
    assert len(fits) == 2


def test_without_condition_the_network_sees_the_state_alone(iris, tiny):
    X, y = iris
    parameters = tiny().get_params()
    seeing, blind = (kind(**parameters).fit(X, y) for kind in (GenerativeTransportClassifier, WithoutCondition))
    assert blind.model_.network.shape == seeing.model_.network.shape
    assert blind.predict_proba(X).shape == (150, 3)
    rows = blind.scaler_.transform(np.stack([np.zeros_like(X), X], axis=1))
    assert np.ptp(rows[:, 0]) == 0
    assert np.ptp(rows[:, 1]) > 0


def test_the_page_is_made_from_the_records(records: Path, tmp_path: Path):
    page.write_ablation_page(records, tmp_path / "ablation.md")
    text = (tmp_path / "ablation.md").read_text()
    assert text == page.ablation_page(records)
    for part in all_parts():
        assert f"\n## {part.title}\n" in text
    assert text.count("\nNot measured.\n") == len(all_parts()) - 2
    assert "2 splits of each of 1 tables: sk_wine" in text
    assert "| euler, N = 20 |" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table}) == 1


def test_records_of_other_defaults_are_refused(records: Path, tmp_path: Path):
    for path in records.glob("*.jsonl"):
        text = path.read_text()
        changed = text.replace('"estimator__max_epochs": 3', '"estimator__max_epochs": 4')
        (tmp_path / path.name).write_text(changed if path.stem == "default" else text)
    with pytest.raises(ValueError, match=r"'default' with different defaults, expected one difference; delete"):
        page.ablation_page(tmp_path)


def test_a_page_without_records_says_so(tmp_path: Path):
    assert page.ablation_page(tmp_path / "none").endswith("\nNot measured.\n")


def comparison(labels: list[str], accuracy: list[list[float]]) -> Comparison:
    """A comparison of one split of as many tables as there are rows."""
    index = pd.MultiIndex.from_product([[f"t{n}" for n in range(len(accuracy))], [0]])
    values = pd.DataFrame(accuracy, index=index, columns=labels)
    return Comparison(labels, {name: values if name == "accuracy" else 1 - values for name in METRICS})


def test_transport_is_compared_with_regression():
    def records(label: str, accuracy: float) -> list[dict]:
        found = {"t": accuracy, "u": accuracy**2}  # equal differences say nothing of chance
        scores = {table: {"accuracy": a, "log_loss": 1.0, "brier": 1 - a} for table, a in found.items()}
        return [{"label": label, "table": table, "split": 0, **scores[table]} for table in scores]

    found = {"default": 0.8, "time_sampling=uniform": 0.7, "time_sampling=biased": 0.9, "averaging=0.0": 0.1}
    text = page._regression({label: records(label, accuracy) for label, accuracy in found.items()})
    assert "Of the 2 variants" in text
    for measure, better, worse in (("accuracy", 1, 1), ("log-loss", 0, 0), ("Brier score", 1, 1)):
        assert f"in {measure} {better} are better beyond chance and {worse} worse" in text
    assert page._regression({"default": records("default", 0.8)}) == ""
    assert page._regression({"time_sampling=uniform": records("time_sampling=uniform", 0.8)}) == ""


def test_the_paper_s_choice_is_judged_by_its_interval():
    part = next(part for part in all_parts() if part.key == "codes")
    labels = [one.label for one in part.choices]
    found = comparison(labels, [[0.7, 0.8, 0.6, 0.9], [0.7, 0.9, 0.5, 0.5]])
    text = page._paper([(part, found)])
    assert "in accuracy the paper's choice gains in 1, loses in 1, and in 1 the difference is not beyond chance" in text
    rows = {line.split(" | ")[2]: line for line in text.splitlines() if line.startswith("| Codes")}
    assert "**-15.00** (-20.00 to -10.00)" in rows["paired"]
    assert rows["paired"].endswith("| loses |")
    assert rows["one hot"].endswith("| gains |")
    assert rows["random"].endswith("| no difference beyond chance |")
    body = page._part(part, found)
    assert "- Accuracy: Better than the reference: paired. Worse: one hot. No difference beyond chance: random." in body


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
    assert "Got part luck, expected some of objective, times" in capsys.readouterr().err


def test_labels_tell_parameters():
    assert choice("x").label == "default"
    assert choice("x", {"sigma": 2.0}, after={"n_steps": 4}).label == "sigma=2.0+then_n_steps=4"
