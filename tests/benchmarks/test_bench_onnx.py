"""The command that measures exported classifiers, and the page that shows its record."""

import json
from pathlib import Path

import pytest

from benchmarks import onnx
from benchmarks.__main__ import main
from benchmarks.provenance import read_record
from benchmarks.readme import BEGIN, END, write_sections

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("records") / "onnx.json"
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
    page = tmp_path / onnx.PAGE
    write_sections(tmp_path / "onnx.json", page, onnx.section)
    assert not page.exists()
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_sections(tmp_path / "onnx.json", page, onnx.section)
    assert "Not measured." in page.read_text()
    (tmp_path / "onnx.json").write_text(json.dumps(record))
    write_sections(tmp_path / "onnx.json", page, onnx.section)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert onnx.summary_text(record) in text
    assert "| sk_wine |" in text


def test_quick_figures_are_no_record(capsys):
    assert main(["onnx", "--quick"]) == 2
    assert "Got --quick without --output" in capsys.readouterr().err


def test_the_page_shows_the_record():
    kept = read_record(ROOT / onnx.RESULTS)
    assert kept is not None
    assert onnx.section(kept) in (ROOT / "docs" / onnx.PAGE).read_text()
