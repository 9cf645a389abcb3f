"""The parts of the speed benchmark run, write records, and give a page."""

import json
import math
import mmap
import statistics

import numpy as np
import pytest
import torch

from benchmarks import speed
from benchmarks.__main__ import main
from benchmarks.speed import baseline, fit, gpu, growth, measuring, memmap, page

ON_CPU = [part for part in speed.PARTS if part != "gpu"]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Folder of quick records of all parts that need no GPU; measured once, by the test that comes first."""
    return tmp_path_factory.mktemp("speed")


def record_of(records, part):
    path = records / f"{part}.json"
    if not path.exists():
        assert main(["speed", part, "--quick", "--peers", "none", "--output", str(records)]) == 0
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=[pytest.mark.slow] if part == "processes" else []) for part in ON_CPU]
)
def test_a_part_writes_a_record_with_a_ratio(part, records, capsys):
    record = record_of(records, part)
    assert set(record) == {
        *(
            "schema",
            "command",
            "date",
            "environment",
            "defaults",
            "load_average",
            "torch_threads",
            "settings",
            "figures",
            "findings",
        ),
    }
    assert record["command"] == f"python -m benchmarks speed {part} --quick --peers none --output {records.name}"
    assert "×" in {finding["unit"] for finding in record["findings"]}
    assert all(math.isfinite(finding["value"]) for finding in record["findings"])
    if printed := capsys.readouterr().out:
        assert all(finding["name"] in printed for finding in record["findings"])


def test_the_page_is_made_from_the_records(records, tmp_path):
    measured = [part for part in ON_CPU if part != "processes"]  # which takes long
    for part in measured:
        record_of(records, part)
    pytest.importorskip("matplotlib")
    page.write_speed_page(records, tmp_path / "docs" / "speed.md", tmp_path / "docs" / "img")
    text = (tmp_path / "docs" / "speed.md").read_text()
    for module in speed.PARTS.values():
        assert f"\n## {module.TITLE}\n" in text
    assert text.count("\nNot measured.\n") == len(speed.PARTS) - len(measured)
    assert "](img/speed_growth.svg)" in text
    assert (tmp_path / "docs" / "img" / "speed_growth.svg").stat().st_size < 100 * 1024
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert len(tables) == 2 * len(measured)
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
    assert str(records) not in text


def test_a_page_without_records_says_so(tmp_path):
    text = page.speed_page(tmp_path)
    assert text.count("\nNot measured.\n") == len(speed.PARTS)
    assert "](img/" not in text
    assert page.write_growth_plot(tmp_path, tmp_path) is None


def test_goals_are_judged():
    findings = [
        {"name": name, "value": 2.0, "unit": "ms", "at_most": goal}
        for name, goal in (("a", 3.0), ("b", 1.0), ("c", None))
    ]
    rows = page.findings_text(findings).splitlines()[3:]
    assert rows == ["| a | 2.00 ms | ≤ 3.00 ms | yes |", "| b | 2.00 ms | ≤ 1.00 ms | no |", "| c | 2.00 ms | – | – |"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "Got part nothing, expected some of import, predict"),
        (["fit", "--peers", "xgboost"], "Got peers xgboost, expected some of realmlp_td, tabm_d"),
        (["fit", "--quick"], "Got --quick without --output"),
    ],
)
def test_options_that_make_no_sense(words, message, capsys):
    assert main(["speed", *words]) == 2
    assert message in capsys.readouterr().err


def test_import_loads_no_torch(records):
    figures = record_of(records, "import")["figures"]
    assert not figures["sklearn and gendiffclf"]["torch_loaded"]
    assert not figures["sklearn and our classifier"]["torch_loaded"]


def test_calls_take_turns():
    seen = []
    calls = {name: lambda name=name: seen.append(name) for name in "ab"}
    seconds = measuring.interleaved(calls, 3, in_a_row=2)
    assert "".join(seen) == "ab" + "aabb" + "bbaa" + "aabb"
    assert {name: len(found) for name, found in seconds.items()} == {"a": 6, "b": 6}


def test_spread():
    assert measuring.spread([1.0, 2.0, 3.0, 4.0, 10.0]) == {"median": 3.0, "low": 2.0, "high": 4.0, "n": 5}


def test_a_failure_in_a_fresh_process_is_told():
    with pytest.raises(RuntimeError, match=r"Got exit status 1 from a process of its own: .*no such thing"):
        measuring.fresh_process("raise SystemExit('no such thing')")


def test_a_function_runs_in_a_fresh_process():
    assert measuring.call_in_fresh_process(statistics.mean, data=[1, 2, 3]) == 2


def test_rows_have_every_class_and_the_same_centres_for_every_seed():
    X, y = measuring.class_rows(4000, 6, 3, n_layers=2)
    other, labels = measuring.class_rows(4000, 6, 3, n_layers=2, seed=1)
    assert (X.shape, X.dtype) == ((4000, 2, 6), np.float32)
    assert np.bincount(y).tolist() == [1334, 1333, 1333]
    assert not np.array_equal(X, other)
    for label in range(3):
        np.testing.assert_allclose(X[y == label].mean(0), other[labels == label].mean(0), atol=0.2)


def test_exponent_of_a_power():
    sizes = (1, 10, 100)
    assert growth.exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)


def test_totals_are_over_the_runs_that_a_peer_has():
    runs = [
        {"label": label, "table": table, "split": split, "fit_seconds": seconds, **dict.fromkeys(fit.SCORES, accuracy)}
        for label, split, seconds, accuracy in (("ours", 0, 1.0, 0.5), ("ours", 1, 9.0, 0.9), ("tabm_d", 0, 4.0, 0.6))
        for table in "ab"
    ]
    found = fit._summary(runs, "tabm_d")
    assert (found["ours_seconds"], found["tabm_d_seconds"], found["ratio"]) == (2.0, 8.0, 0.25)
    assert (found["ours_accuracy"], found["tabm_d_accuracy"]) == (0.5, 0.6)


@pytest.fixture
def older(tmp_path):
    """A checkout of something that is quicker than any version of the package."""
    (tmp_path / "older" / "gendiffclf").mkdir(parents=True)
    (tmp_path / "older" / "gendiffclf" / "__init__.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier\n"
        "class GenerativeTransportClassifier(DecisionTreeClassifier):\n"
        "    def __init__(self, random_state=None, device=None):\n"
        "        super().__init__(random_state=random_state)\n"
        "        self.device = device\n"
    )
    return tmp_path / "older"


def test_a_baseline_takes_turns(older, tmp_path):
    words = ["--quick", "--peers", "none", "--baseline", str(older), "--output", str(tmp_path / "records")]
    assert main(["speed", "fit", "predict", *words]) == 0
    record = json.loads((tmp_path / "records" / "fit.json").read_text())
    assert [run["label"] for run in record["figures"]["runs"]] == ["ours", "mlp", "baseline"]
    assert record["settings"]["baseline_commit"] is None
    assert 0.9 < record["figures"]["against"]["baseline"]["baseline_accuracy"] < 1
    assert "| baseline | 1 | 0.0 |" in page.speed_page(tmp_path / "records")
    record = json.loads((tmp_path / "records" / "predict.json").read_text())
    assert {"ours", "MLPClassifier", "baseline"} == set(record["figures"]["1 row, 200 centres"])
    assert str(tmp_path) not in json.dumps(record)


def test_a_baseline_that_fails_is_told(older, iris):
    with (
        pytest.raises(RuntimeError, match="Got no answer from the baseline's process"),
        baseline.Baseline(older) as old,
    ):
        old.fit(*iris, nothing=1)


def test_a_baseline_without_the_package_is_refused(tmp_path, capsys):
    assert main(["speed", "fit", "--baseline", str(tmp_path)]) == 2
    assert "without the package, expected a checkout with gendiffclf/" in capsys.readouterr().err


def test_a_baseline_from_elsewhere_is_refused(older, monkeypatch):
    monkeypatch.setattr(baseline, "_CODE", baseline._CODE.replace("gendiffclf.__file__", "pickle.__file__"))
    with (
        pytest.raises(RuntimeError, match=r"Got gendiffclf from .*pickle.*, expected the checkout"),
        baseline.Baseline(older),
    ):
        pass


@pytest.mark.skipif(memmap.anonymous_bytes() is None, reason="the system does not say")
def test_a_copy_counts_as_anonymous_and_a_mapped_file_does_not(tmp_path):
    path = tmp_path / "rows.npy"
    memmap.write_rows(path, 1_000_000, 16)
    mapped = np.load(path, mmap_mode="r")
    # Pages of its own: what the process has freed and kept may be as large.
    fresh = np.frombuffer(mmap.mmap(-1, mapped.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.float32)
    with memmap.AnonymousPeak() as read:
        mapped.sum()
    with memmap.AnonymousPeak() as copied:
        fresh[:] = mapped.ravel()
    assert read.added_bytes < path.stat().st_size / 4
    assert copied.added_bytes > 0.9 * fresh.nbytes


def test_without_a_gpu_there_is_no_record(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["speed", "gpu", "--output", str(tmp_path)]) == 0
    assert "not measured: no CUDA device" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_part_for_a_gpu_runs(tmp_path):
    measured = gpu.measure_on(torch.device("cpu"), gpu.TINY)
    assert set(measured.figures["fits"]) == {"ours", "ours on the CPU"}
    assert all(math.isfinite(finding.value) for finding in measured.findings)
    header, *rows = gpu.section({"figures": measured.figures})
    assert {len(row) for row in rows} == {len(header)}
