"""The few-shot record says what was measured."""

import json

import pytest

from benchmarks.__main__ import main
from gendiffclf import GenerativeTransportClassifier


def test_a_record_is_written(tmp_path, monkeypatch, capsys):
    for name, value in {"max_epochs": 3, "n_members": 2}.items():
        monkeypatch.setitem(GenerativeTransportClassifier.__init__.__kwdefaults__, name, value)
    output = tmp_path / "few_shot.json"
    assert main(["few-shot", "--draws", "2", "--examples", "5", "--output", str(output)]) == 0
    record = json.loads(output.read_text())
    assert (record["draws"], record["examples"]) == (2, 5)
    assert record["joint_logistic_regression_old_accuracy_mean"] > 0.9
    assert record["old_accuracy_before"] > 0.5
    assert record["partial_fit_new_recall_mean"] == pytest.approx(0.5, abs=0.5)
    assert f"{record['partial_fit_new_recall_mean']:.4f}" in capsys.readouterr().out
