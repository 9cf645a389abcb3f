"""The parts run, and the page shows their records."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import speed
from benchmarks.__main__ import main
from benchmarks.render import render


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "CASES", dict(list(speed.CASES.items())[1:2]))
        patch.setattr(speed, "GROWTH", {"n": (200, 400)})
        patch.setattr(speed, "in_fresh_process", lambda function, **arguments: function(**arguments))
        patch.setattr(speed, "STATEMENTS", {"sklearn": "import json", "sklearn and gendiffclf": "import gendiffclf"})
        assert main(["speed", "--quick", "--output", str(folder)]) == 0
    return folder


def test_records_hold_what_was_measured(records: Path):
    found = {part: json.loads((records / f"{part}.json").read_text())["figures"] for part in speed.PARTS}
    assert found["import"]["sklearn"]["seconds"]["median"] > 0
    for case in found["predict"].values():
        assert set(case) == {"ours", "MLPClassifier"}
    (case,) = found["scale"].values()
    assert set(case) == {"ours", "logreg"}
    assert case["logreg"]["accuracy"] > 0.5
    assert case["ours"]["fit_seconds"] > 0
    assert [point["size"] for point in found["growth"]["n"]["points"]] == [200, 400]


def test_page_shows_the_records(records: Path, tmp_path: Path):
    (tmp_path / "speed").symlink_to(records)
    page = render("speed", speed.context(tmp_path))
    assert page.count("## ") == len(speed.PARTS) + 1
    assert page.count("```console") == 1  # of one command
    assert "| 1 row, 200 centres |" in page
    assert "| rows, 200 to 400 |" in page
    assert "1,000,000 rows on disk, 64 features, 10 classes:\n" in page
    assert speed.context(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["luck"], "Got part luck, expected some of import, predict, scale, growth"),
        (["--quick"], "Got --quick without --output"),
    ],
)
def test_options_without_sense_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["speed", *words]) == 2
    assert message in capsys.readouterr().err


def test_calls_take_turns():
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    found = speed.in_turn(calls, 2, 2)
    assert "".join(order) == "aabb" * 3  # the first round does not count
    assert found["a"]["n"] == 4
    assert speed.spread([1.0, 2.0, 4.0]) == {"median": 2.0, "low": 1.5, "high": 3.0, "n": 3}


def test_rows_written_in_chunks_have_every_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(speed, "CHUNK", 40)
    speed.write_rows(tmp_path / "rows.npy", 100, 3, 4)
    X, y = np.load(tmp_path / "rows.npy"), np.load(tmp_path / "labels.npy")
    assert (X.shape, X.dtype, np.bincount(y).tolist()) == ((100, 3), np.float32, [25] * 4)
    assert len(np.unique(X[:, 0])) == 100


def test_a_process_of_its_own_answers_or_says_why():
    assert speed.in_fresh_process(speed.spread, values=[1.0]) == speed.spread([1.0])
    with pytest.raises(RuntimeError, match=r"Got exit status 1 from a process of its own: .*no luck"):
        speed.fresh_process("raise SystemExit('no luck')")


def test_exponents_are_slopes_of_logarithms(monkeypatch: pytest.MonkeyPatch):
    def fit_of_square_seconds(function, *, path: str, **arguments) -> dict[str, float]:
        return {"fit_seconds": float(len(np.load(path)) ** 2), "memory_bytes": 7.0}

    monkeypatch.setattr(speed, "GROWTH", {"n": (100, 200)})
    monkeypatch.setattr(speed, "in_fresh_process", fit_of_square_seconds)
    assert speed.measure_growth(True)["n"]["exponents"] == pytest.approx({"fit_seconds": 2, "memory_bytes": 0})
