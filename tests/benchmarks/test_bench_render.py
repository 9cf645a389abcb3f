"""The page is made from records alone, and the same from the same."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import data, readme
from benchmarks.__main__ import main
from benchmarks.figures import pooled_bins
from benchmarks.records import RecordStore

ROOT = Path(__file__).parents[2]


def measure(folder: Path, *words: str) -> int:
    """Run `tables` on a small table into the folder; later words override."""
    return main(["tables", "--tables", "sk_wine", "--output", str(folder), *words])


def render(tmp_path: Path, name: str, *words: str) -> dict[str, bytes]:
    """Files of a page rendered into a folder of that name."""
    folder = tmp_path / name
    places = [
        "--records",
        str(tmp_path / "records"),
        "--page",
        str(folder / "page.md"),
        "--images",
        str(folder / "img"),
    ]
    options = ["--subject", "constant", "--reference", "logreg"]
    assert main(["render", *places, *options, *words]) == 0
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    words = ["--models", "logreg", "--tables", "sk_wine,sk_breast_cancer", "--splits", "0,1"]
    assert measure(folder, *words, "--variant", "constant", "logreg", "logisticregression__C=1e-6") == 0
    return folder


@pytest.fixture
def records(_records: Path, tmp_path: Path) -> None:
    """Records of two labels on two tables and two splits, for each test to change."""
    shutil.copytree(_records, tmp_path / "records")


@pytest.mark.usefixtures("records")
def test_page_is_the_same_twice_and_needs_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = render(tmp_path, "one")

    def refuse(*_: object) -> None:
        raise AssertionError("the page must come from records alone")

    monkeypatch.setattr(data, "load_table", refuse)
    monkeypatch.setattr(data, "table_names", refuse)
    assert render(tmp_path, "two") == first
    images = {name for name in first if name.endswith(".svg")}
    assert images == {f"img/benchmark_{name}.svg" for name in ("ranks", "reliability", "time")}
    page = first["page.md"].decode()
    assert all(f"]({name})" in page for name in images)
    assert all(len(first[name]) < 100 * 1024 for name in images)


@pytest.mark.usefixtures("records")
def test_page_shows_what_records_hold(tmp_path: Path):
    page = render(tmp_path, "one")["page.md"].decode()
    found = RecordStore(tmp_path / "records").read()
    for label in ("constant", "logreg"):
        mean = 100 * np.mean([record["accuracy"] for record in found if record["label"] == label])
        assert any(label in line and f"{mean:.2f}" in line for line in page.splitlines())
    assert found[0]["command"] in page
    assert found[0]["hardware"]["cpu"] in page
    assert (found[0]["commit"] or "unknown")[:12] in page
    assert str(tmp_path) not in page


@pytest.mark.usefixtures("records")
def test_kinds_of_tables_have_means_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert "## By kind of table" not in render(tmp_path, "one")["page.md"].decode()  # all are of one kind
    monkeypatch.setitem(data.SUBSETS, "small", ("sk_wine", "elsewhere"))
    page = render(tmp_path, "two")["page.md"].decode()
    _, _, part = page.partition("## By kind of table")
    assert part.startswith("\n\n### Tables of up to 310 rows\n\nsk_wine.\n\n| Model |")
    found = [r for r in RecordStore(tmp_path / "records").read() if r["table"] == "sk_wine" and r["label"] == "logreg"]
    assert f"| logreg | {100 * np.mean([r['accuracy'] for r in found]):.3f} |" in part


@pytest.mark.usefixtures("records")
def test_tables_far_behind_are_named(tmp_path: Path):
    page = render(tmp_path, "one")["page.md"].decode()
    (line,) = [line for line in page.splitlines() if line.startswith("More than 2 points below")]
    assert re.findall(r"(sk_\w+) by \d+\.\d\d points \(logreg\)", line) == ["sk_wine", "sk_breast_cancer"]
    page = render(tmp_path, "two", "--subject", "logreg")["page.md"].decode()
    assert "On no table is `logreg` more than 2 points below" in page


@pytest.mark.usefixtures("records")
def test_the_best_is_bold_only_where_all_were_measured(tmp_path: Path):
    def briers(name: str, *words: str) -> dict[str, str]:
        page = render(tmp_path, name, *words)["page.md"].decode()
        rows = [line.strip("| ").split(" | ") for line in page.partition("Accuracy and UAR")[0].splitlines()]
        return {row[0]: row[4] for row in rows if len(row) > 4}

    assert briers("one")["logreg"].startswith("**")
    entries = [stored_entry(table, split) for table in ("sk_wine", "sk_breast_cancer") for split in (0, 1)]
    (tmp_path / "peers.json").write_text(json.dumps(entries))
    found = briers("two", "--peers", str(tmp_path / "peers.json"))
    assert found["catboost (stored)"] == "–"
    assert not found["logreg"].startswith("**")


@pytest.mark.usefixtures("records")
def test_a_summary_goes_between_the_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    for _ in range(2):
        render(tmp_path, "one", "--readme", str(path))
        text = path.read_text()
        assert text.startswith(f"before\n{readme.BEGIN}\n")
        assert text.endswith(f"\n{readme.END}\nafter\n")
        assert "old" not in text
    assert "| **constant** |" in text
    assert re.search(r"^\| logistic regression \| \d\d\.\d\d \|", text, re.MULTILINE)
    assert "- accuracy: beyond chance over none\n- log-loss: beyond chance over none\n- ECE: beyond chance over" in text
    path.write_text("no marks")
    places = ["--records", str(tmp_path / "records"), "--page", str(tmp_path / "p.md"), "--images", str(tmp_path)]
    assert main(["render", *places, "--readme", str(path)]) == 2
    assert "without the marks" in capsys.readouterr().err


def test_pages_are_those_of_the_records(tmp_path: Path):
    pages = ("benchmarks", "ablation", "uncertainty", "speed", "speech-results")
    shutil.copy(ROOT / "README.md", tmp_path)
    places = ["--records", "benchmarks/results/tables", "--page", str(tmp_path / "docs" / "benchmarks.md")]
    options = [*places, "--images", str(tmp_path / "docs" / "img"), "--readme", str(tmp_path / "README.md")]
    done = subprocess.run([sys.executable, "-m", "benchmarks", "render", *options], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    for name in ("README.md", *(f"docs/{page}.md" for page in pages)):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), f"{name}: make bench-render makes it anew"


@pytest.mark.usefixtures("records")
def test_order_of_lines_does_not_matter(tmp_path: Path):
    before = render(tmp_path, "one")
    for path in (tmp_path / "records").iterdir():
        path.write_text("".join(f"{line}\n" for line in reversed(path.read_text().splitlines())))
    assert render(tmp_path, "two") == before


def stored_entry(table: str, split: int, model: str = "catboost", **changes: object) -> dict:
    scores = {"acc": 0.5, "uar": 0.5, "logloss": 1.0, "ece": 0.1, "fit_s": 3.0, "predict_s": 1.0}
    return {"data": table, "split": split, "model": model, **scores, **changes}


@pytest.mark.usefixtures("records")
def test_stored_results_are_marked(tmp_path: Path):
    cells = [(table, split) for table in ("sk_wine", "sk_breast_cancer", "elsewhere") for split in (0, 1, 2)]
    entries = [stored_entry(*cell) for cell in cells] + [stored_entry(*cell, "logreg", acc=0.0123) for cell in cells]
    (tmp_path / "peers.json").write_text(json.dumps(entries))
    page = render(tmp_path, "one", "--peers", str(tmp_path / "peers.json"))["page.md"].decode()
    assert "| catboost (stored) | 50.00 | 50.00 | 1.0000 | – | 0.1000 |" in page
    assert "logreg (stored)" not in page  # it was measured here
    assert "elsewhere" not in page


@pytest.mark.usefixtures("records")
def test_stored_results_with_few_splits_are_compared_on_those(tmp_path: Path):
    (tmp_path / "peers.json").write_text(json.dumps([stored_entry("sk_wine", 0)]))
    page = render(tmp_path, "one", "--peers", str(tmp_path / "peers.json"))["page.md"].decode()
    whole, _, shared = page.partition("## On the runs that all models have")
    assert "4 runs of each model, on 2 tables" in whole
    assert "catboost (stored)" not in whole
    assert "1 runs of each model, on 1 tables" in shared
    assert "| catboost (stored) |" in shared


@pytest.mark.usefixtures("records")
def test_one_more_run_of_one_model_does_not_hide_the_others(tmp_path: Path):
    measure(tmp_path / "records", "--models", "logreg", "--splits", "2")
    page = render(tmp_path, "one")["page.md"].decode()
    assert "4 runs of each model, on 2 tables" in page
    assert "| **constant** |" in page


def test_stored_file_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "peers.json").write_text('[{"data": "sk_wine"}]')
    assert (
        measure(tmp_path / "records", "--models", "logreg", "--splits", "0", "--peers", str(tmp_path / "peers.json"))
        == 2
    )
    assert "got an entry without acc, ece" in capsys.readouterr().err


def test_without_records_the_page_says_so(tmp_path: Path):
    pages = render(tmp_path, "one")
    assert sorted(pages) == ["ablation.md", "page.md", "speed.md", "uncertainty.md"]
    assert all(b"Not measured." in text for name, text in pages.items() if name != "page.md")
    assert b"no records yet" in (tmp_path / "one" / "page.md").read_bytes()


@pytest.mark.usefixtures("records")
def test_records_of_different_data_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "records" / "logreg.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "data_digest": "other"}) + "\n" for line in lines))
    assert main(["render", "--records", str(path.parent), "--page", str(tmp_path / "p.md")]) == 2
    assert "Got records of different data for sk_breast_cancer, sk_wine" in capsys.readouterr().err


def test_records_that_share_no_run_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    measure(tmp_path / "records", "--models", "logreg", "--splits", "0")
    measure(tmp_path / "records", "--models", "logreg", "--label", "again", "--splits", "1")
    assert main(["render", "--records", str(tmp_path / "records"), "--page", str(tmp_path / "p.md")]) == 2
    assert "that share no table and split" in capsys.readouterr().err


def test_pooled_bins_weigh_by_rows():
    def record(confidence: list[float], accuracy: list[float], n_rows: list[int]) -> dict:
        return {"reliability": {"n_bins": 2, "confidence": confidence, "accuracy": accuracy, "n_rows": n_rows}}

    confidence, accuracy, n_rows = pooled_bins([record([0.5, 0.9], [0.0, 1.0], [1, 3]), record([0.7], [0.0], [1])])
    np.testing.assert_allclose(confidence, [0.5, (3 * 0.9 + 0.7) / 4])
    np.testing.assert_allclose(accuracy, [0, 0.75])
    np.testing.assert_array_equal(n_rows, [1, 4])
