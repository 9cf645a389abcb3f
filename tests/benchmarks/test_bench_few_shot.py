"""The few-shot record says what was measured, and gives a section."""

import json

import pytest

from benchmarks import few_shot
from benchmarks.__main__ import main
from benchmarks.records import new_record, write_record
from gendiffclf import GenerativeTransportClassifier


def test_a_record_and_its_section(tmp_path, monkeypatch):
    monkeypatch.setitem(GenerativeTransportClassifier.__init__.__kwdefaults__, "estimator", "kernel")
    output = tmp_path / "few_shot.json"
    assert main(["few-shot", "--draws", "2", "--examples", "5", "--output", str(output)]) == 0
    record = json.loads(output.read_text())
    assert (record["draws"], record["examples"]) == (2, 5)
    assert [(run["draw"], run["model"]) for run in record["runs"]] == [
        (draw, model) for draw in (0, 1) for model in (few_shot.OURS, few_shot.JOINT)
    ]
    assert min(run["old_accuracy"] for run in record["runs"]) > 0.9
    ours = [run["new_recall"] for run in record["runs"] if run["model"] == few_shot.OURS]
    assert min(ours) > 0.5
    first = few_shot.context(tmp_path)["rows"][0]
    assert first[0] == few_shot.OURS
    assert first[2].startswith(f"{100 * sum(ours) / 2:.2f} ± ")


def test_loss_is_from_the_accuracy_before(tmp_path):
    runs = [
        {"model": model, "old_accuracy": accuracy, "new_recall": 0.5}
        for model in (few_shot.OURS, few_shot.JOINT)
        for accuracy in (0.8, 0.9)
    ]
    sizes = {"examples": 7, "draws": 2, "old_accuracy_before": 0.9}
    write_record(new_record("python -m benchmarks few-shot", **sizes, runs=runs), tmp_path / "few_shot.json")
    found = few_shot.context(tmp_path)
    assert found["lost"] == pytest.approx(5)
    assert found["rows"][1] == [few_shot.JOINT, "85.00 ± 5.00", "50.00 ± 0.00"]
