"""The command that measures exported classifiers, and the page that shows its record."""

import json

import pytest

from benchmarks import onnx
from benchmarks.__main__ import main
from benchmarks.render import render


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("records") / "onnx.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gendiffclf.export.scaling.N_STEPS", 0)  # as `without_gaps`
        assert main(["onnx", "--quick", "--tables", "sk_wine", "--output", str(path)]) == 0
    return json.loads(path.read_text())


def test_record(record):
    (found,) = record["tables"].values()
    assert found["n_train"] + found["n_test"] == 178
    assert found["difference"]["float64"] <= onnx.GOALS["difference"]
    assert found["bytes"]["int8"] < found["bytes"]["onnx"]
    assert min(figure["median"] for figure in found["seconds"].values()) > 0
    assert set(record["startup_seconds"]) == {"import", "load"}


def test_section(record, tmp_path):
    assert onnx.context(tmp_path) == {}
    (tmp_path / "onnx.json").write_text(json.dumps(record))
    text = render("deployment", onnx.context(tmp_path))
    assert (
        f"Largest difference to `predict_proba` over 1 tables: {record['tables']['sk_wine']['difference']['float64']:.1e}"
        in text
    )
    assert "| sk_wine |" in text
    assert record["command"] in text


def test_quick_figures_are_no_record(capsys):
    assert main(["onnx", "--quick"]) == 2
    assert "Got --quick without --output" in capsys.readouterr().err
