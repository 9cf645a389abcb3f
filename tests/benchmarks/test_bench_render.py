"""The page is made from records alone, and the same from the same."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import data, page
from benchmarks.__main__ import main
from benchmarks.figures import pooled_bins
from benchmarks.records import SCHEMA, RecordStore
from benchmarks.render import BEGIN, END, MADE, put_between_marks

ROOT = Path(__file__).parents[2]


def measure(folder: Path, *words: str) -> int:
    """Run `tables` on a small table into the folder; later words override."""
    return main(["tables", "--tables", "sk_wine", "--output", str(folder), *words])


def render(tmp_path: Path, name: str, *words: str) -> dict[str, str]:
    """Files of a page rendered into a folder of that name."""
    folder = tmp_path / name
    assert main(["render", "--results", str(tmp_path), "--docs", str(folder), *words]) == 0
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    words = ["--models", "logreg", "--tables", "sk_wine,sk_breast_cancer", "--splits", "0,1"]
    assert measure(folder, *words, "--variant", "ours", "logreg", "logisticregression__C=1e-6") == 0
    return folder


@pytest.fixture
def records(_records: Path, tmp_path: Path) -> Path:
    """Records of two labels on two tables and two splits, for each test to change."""
    return Path(shutil.copytree(_records, tmp_path / "tables"))


def test_page_is_the_same_twice_and_needs_no_data(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = render(tmp_path, "one")

    def refuse(*_: object) -> None:
        raise AssertionError("the page must come from records alone")

    monkeypatch.setattr(data, "load_table", refuse)
    for path in records.iterdir():  # the order of lines makes no difference
        path.write_text("".join(f"{line}\n" for line in reversed(path.read_text().splitlines())))
    assert render(tmp_path, "two") == first
    images = {name for name in first if name.endswith(".svg")}
    assert images == {f"img/benchmark_{name}.svg" for name in ("reliability", "time")}
    assert all(f"]({name})" in first["benchmarks.md"] and len(first[name]) < 100 * 1024 for name in images)


def test_large_tables_have_a_section(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(records, tmp_path / "large")
    monkeypatch.setattr(page, "LARGE", ("sk_wine",))
    section = (
        render(tmp_path, "one")["benchmarks.md"].partition("## More than ten thousand rows")[2].partition("## ")[0]
    )
    assert re.match(r"\s+1 real tables \(sk_wine\), of which each model learns from 70 %, 124 to\n124 rows", section)
    assert "least log-loss on 0 of the 1 tables, logistic regression on 1." in section


def test_further_tables_have_a_section(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert "## Further tables" not in render(tmp_path, "one")["benchmarks.md"]
    shutil.copytree(records, tmp_path / "further")
    monkeypatch.setattr(page, "FURTHER", ("sk_wine",))
    (tmp_path / "README.md").write_text(f"{BEGIN}\n{END}\n")
    text = render(tmp_path, "two", "--readme", str(tmp_path / "README.md"))["benchmarks.md"]
    section = text.partition("## Further tables")[2].partition("## Reliability")[0]
    found = pd.DataFrame(RecordStore(records).read())
    of_wine = found[found["table"] == "sk_wine"].groupby("label")["log_loss"].mean()
    assert re.search(rf"^\| logistic regression \|.* \**{of_wine['logreg']:.3f}", section, re.MULTILINE)
    assert "least log-loss on 0 of the 1 tables, logistic regression on 1." in section
    assert f"log-loss of {of_wine['ours']:.3f}; the best others" in (tmp_path / "README.md").read_text()


def test_page_shows_what_records_hold(records: Path, tmp_path: Path):
    files = render(tmp_path, "one")
    text = files["benchmarks.md"]
    found = pd.DataFrame(RecordStore(records).read())
    for label, name in (("ours", "**ours**"), ("logreg", "logistic regression")):
        own = found[found["label"] == label]
        accuracy, log_loss = 100 * own["accuracy"].mean(), own["log_loss"].mean()
        assert re.search(rf"^\| {re.escape(name)} \| \**{accuracy:.2f}", text, re.MULTILINE)
        assert re.search(rf"^\| {re.escape(name)} \| \**{log_loss:.3f}", text, re.MULTILINE)
    for value in (found["command"][0], found["hardware"][0]["cpu"], (found["commit"][0] or "unknown")[:12]):
        assert value in text
    assert str(tmp_path) not in text
    csv = pd.read_csv(tmp_path / "one" / "benchmarks.csv").set_index(["table", "label"])
    wine = found[(found["table"] == "sk_wine") & (found["label"] == "logreg")]
    assert csv.loc[("sk_wine", "logreg"), "brier"] == pytest.approx(wine["brier"].mean(), abs=1e-5)


def test_kinds_of_data_have_places_of_their_own(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(page.KINDS, "Embeddings", lambda record: record["table"] == "sk_wine")
    text = render(tmp_path, "one")["benchmarks.md"]
    lines = [line for line in text.splitlines() if re.match(r"\| [\w ]+\(\d\)", line)]
    assert [line.split(" | ")[0] for line in lines] == [
        "| All (2)", "| Embeddings (1)", "| Other tables (2)", "| Fewer than 400 rows to learn from (2)",
    ]  # fmt: skip
    wine = [r["accuracy"] for r in RecordStore(records).read() if (r["table"], r["label"]) == ("sk_wine", "logreg")]
    assert f"| 1. logistic regression {100 * np.mean(wine):.2f} (<0.1)<br>2. **ours**" in lines[1]


def test_tables_far_behind_and_leads_are_named(records: Path, tmp_path: Path):
    text = render(tmp_path, "one")["benchmarks.md"]
    (line,) = [line for line in text.splitlines() if line.startswith("`ours` is more than 2 points")]
    leads = re.findall(r"(sk_\w+) by (\d+\.\d\d) points \(logistic regression\)", line)
    assert {name for name, _ in leads} == {"sk_breast_cancer", "sk_wine"}
    assert float(leads[0][1]) > float(leads[1][1])
    assert re.search(r"^\| Brier \| 0\.\d+ \| logistic regression<br>0\.\d+ \| \*\*-0", text, re.MULTILINE)


def test_tables_where_others_lead_are_listed_the_largest_lead_first():
    accuracies = {
        "near": {"ours": 0.9, "mlp": 0.903},
        "lost": {"ours": 0.8, "mlp": 0.9, "logreg": 0.85},
        "won": {"ours": 0.9, "mlp": 0.8},
        "worse": {"ours": 0.5, "logreg": 0.7},
        "elsewhere": {"mlp": 0.9},
    }
    records = [
        {"table": table, "label": label, "accuracy": accuracy, "n_train": 70, "n_test": 30}
        for table, own in accuracies.items()
        for label, accuracy in own.items()
    ]
    found = [(name, round(gap), *rest) for name, gap, *rest in page._behind(records, list(accuracies))]
    assert found == [
        ("worse", 20, "logistic regression", 100, "70.0", "50.0"),
        ("lost", 10, "MLP (256, 256)", 100, "90.0", "80.0"),
    ]


def test_a_model_that_lacks_tables_stands_beside_the_subject(records: Path, tmp_path: Path):
    path = records / "logreg.jsonl"
    path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines() if '"table": "sk_wine"' in line))
    whole = (records / "ours.jsonl").read_text()
    (records / "mlp.jsonl").write_text(whole.replace('"label": "ours"', '"label": "mlp"'))
    text = render(tmp_path, "one")["benchmarks.md"]
    assert "| logistic regression (1)<br>**ours** |" in text
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    render(tmp_path, "one", "--readme", str(readme))
    assert "Of the 1 others" in (summary := " ".join(readme.read_text().split()))
    assert "Models measured on fewer tables are not compared: logistic regression (1)." in summary
    assert "| sk_wine |" in text.partition("## Each table")[2].partition("## Reliability")[0]
    assert re.search(r"^\| \*\*ours\*\* \| \*\*\d\d\.\d\d\*\* \|", text, re.MULTILINE)


def test_one_more_run_of_a_peer_hides_nothing(records: Path, tmp_path: Path):
    measure(records, "--models", "logreg", "--splits", "2")
    assert "4 runs of each model" in render(tmp_path, "one")["benchmarks.md"]


def test_records_of_ours_of_an_older_schema_are_on_no_page(records: Path, tmp_path: Path):
    path = records / "ours.jsonl"
    lines = [json.loads(line) | {"model": "ours", "schema": SCHEMA - 1} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert render(tmp_path, "one") == {}


def test_records_without_groups_and_busy_machines_are_told(records: Path, tmp_path: Path):
    found = RecordStore(records).read()
    changes = {"grouped": True, "label": "svc_rbf", "load_average": 99.0}
    (records / "svc_rbf.jsonl").write_text("".join(json.dumps(r | changes) + "\n" for r in found[:4]))
    for path in (records / "logreg.jsonl", records / "ours.jsonl"):
        lines = [json.loads(line) | {"load_average": 0.0} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = render(tmp_path, "one")["benchmarks.md"]
    assert "of records made before that, SVM had none" in text
    assert "in 4 of 12 runs" in text


def test_a_summary_goes_between_the_marks(records: Path, tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        render(tmp_path, "one", "--readme", str(path))
        text = path.read_text()
        assert text.startswith(f"before\n{BEGIN}\n")
        assert text.endswith(f"\n{END}\nafter\n")
        assert "old" not in text
    assert "| **ours** |" in text
    assert re.search(r"^\| logistic regression \| \d\d\.\d \|", text, re.MULTILINE)
    assert "- Accuracy: none\n- UAR: none\n- Log-loss: none\n- ECE: " in text


@pytest.mark.parametrize(
    "text",
    ["no marks", f"{BEGIN}\nold\n{END}\n{BEGIN}\nold\n{END}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n"],
)
def test_marks_that_are_no_pair_for_each_text_are_refused(tmp_path: Path, text: str):
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"Got .*page\.md with \d marks .* expected 1 of each in turn, .*; add those"):
        put_between_marks(path, "new")
    assert path.read_text() == text


def test_pages_are_those_of_the_records_whatever_the_locale(tmp_path: Path):
    made = ("three-systems", "benchmarks", "ablation", "uncertainty", "speed", "speech-results")
    between_marks = ("deployment", "missing-values", "labels", "long-recordings", "which-classifier")
    names = [f"docs/{name}.md" for name in (*made, *between_marks)]
    (tmp_path / "docs").mkdir()
    for name in ("README.md", *(f"docs/{name}.md" for name in between_marks)):
        shutil.copy(ROOT / name, tmp_path / name)
    options = ["--docs", str(tmp_path / "docs"), "--readme", str(tmp_path / "README.md")]
    ascii_alone = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "benchmarks", "render", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, env=ascii_alone)
    assert done.returncode == 0, done.stderr
    for name in ("README.md", "docs/benchmarks.csv", *names):
        made_anew, present = ((folder / name).read_text(encoding="utf-8") for folder in (tmp_path, ROOT))
        assert made_anew == present, f"{name}: make bench-render makes it anew"


def test_tables_fit_a_phone():
    for path in (ROOT / "docs" / f"{name}.md" for name in ("benchmarks", "ablation", "speed")):
        text = path.read_text()
        assert text.startswith(MADE)
        assert not [line for line in text.splitlines() if line.startswith("|") and line.count("|") > 6], path.name


def test_without_records_nothing_is_written(tmp_path: Path):
    assert render(tmp_path, "one") == {}


def test_records_of_different_data_are_refused(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = records / "logreg.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "data_digest": "other"}) + "\n" for line in lines))
    assert main(["render", "--results", str(tmp_path), "--docs", str(tmp_path / "docs")]) == 2
    assert "Got records of different data for sk_breast_cancer, sk_wine" in capsys.readouterr().err


def test_pooled_bins_weigh_by_rows():
    def record(confidence: list[float], accuracy: list[float], n_rows: list[int]) -> dict:
        return {"reliability": {"n_bins": 2, "confidence": confidence, "accuracy": accuracy, "n_rows": n_rows}}

    confidence, accuracy, n_rows = pooled_bins([record([0.5, 0.9], [0.0, 1.0], [1, 3]), record([0.7], [0.0], [1])])
    np.testing.assert_allclose(confidence, [0.5, (3 * 0.9 + 0.7) / 4])
    np.testing.assert_allclose(accuracy, [0, 0.75])
    np.testing.assert_array_equal(n_rows, [1, 4])
