"""The few-shot record says what was measured, and gives a section."""

import json

import pytest

from benchmarks import few_shot
from benchmarks.__main__ import main
from benchmarks.provenance import provenance, write_record
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
    section = few_shot.few_shot_section(tmp_path)
    assert f"| {few_shot.OURS} | 9" in section
    assert f" | {100 * sum(ours) / 2:.2f} ± " in section


def test_loss_is_from_the_accuracy_before(tmp_path):
    runs = [
        {"model": model, "old_accuracy": accuracy, "new_recall": 0.5}
        for model in (few_shot.OURS, few_shot.JOINT)
        for accuracy in (0.8, 0.9)
    ]
    sizes = {"examples": 7, "draws": 2, "old_accuracy_before": 0.9}
    write_record({**provenance("python -m benchmarks few-shot"), **sizes, "runs": runs}, tmp_path / "few_shot.json")
    text = few_shot.few_shot_section(tmp_path)
    assert "from 7 examples" in text
    assert "had 90.00 % accuracy on the old classes before, and loses 5.00 points" in text
    assert f"| {few_shot.JOINT} | 85.00 ± 5.00 | 50.00 ± 0.00 |" in text


@pytest.mark.parametrize("content", [None, "{}"])
def test_without_a_record_the_section_says_so(content, tmp_path):
    if content:
        (tmp_path / "few_shot.json").write_text(content)
    assert few_shot.few_shot_section(tmp_path) == "\n## New classes\n\nNot measured.\n"
