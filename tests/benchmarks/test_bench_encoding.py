"""The command that measures encoding, with a tiny encoder, and the page of speech made from records."""

import json
from pathlib import Path

import numpy as np
import pytest
from featurizers.conftest import TINY

from benchmarks import encoding, speech_page
from benchmarks.__main__ import main
from benchmarks.records import SCHEMA
from benchmarks.render import render
from gendiffclf.speech.names import MEASURES

pytest.importorskip("transformers")
pytest.importorskip("soundfile")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def _records(tmp_path_factory):
    """A record of encoding with a tiny model."""
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(encoding.SIZES, "base", TINY)
        words = ["encoding", "--n-clips", "5", "--rounds", "2", "--batch-size", "2"]
        assert main([*words, "--output", str(folder / "encoding.json")]) == 0
    return folder


@pytest.fixture
def records(_records, tmp_path):
    """A copy of them, for each test to change."""
    for path in _records.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    return tmp_path


def test_record_of_encoding(records):
    record = json.loads((records / "encoding.json").read_text())
    assert str(records) not in json.dumps(record)
    assert record["clips"]["count"] == 5
    assert (
        1 <= record["clips"]["min_seconds"] <= record["clips"]["median_seconds"] <= record["clips"]["max_seconds"] <= 12
    )
    assert len(record["rounds"]) == 2
    for found in record["rounds"]:
        assert set(found["seconds"]) == set(found["cpu_seconds"]) == {"ours", "single", "padded", "cached"}
        assert min(found["seconds"].values()) > 0
    for way in ("ours", "cached"):
        assert 0 < record["differences"][way]["max"] <= encoding.TOLERANCE
    assert record["differences"]["padded"]["max"] > 1e-3  # padding changes features of models with group norm
    speeds = [record["clips"]["seconds"] / found["seconds"]["single"] for found in record["rounds"]]
    shown = {way: cell for way, cell, _ in encoding.context(records)["speeds"]}
    assert shown["single"].startswith(f"{np.median(speeds):.{0 if np.median(speeds) >= 100 else 2}f} (")


def test_features_that_differ_are_reported(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(encoding.SIZES, "base", TINY)
    monkeypatch.setattr(encoding, "TOLERANCE", 0.0)
    words = ["encoding", "--n-clips", "2", "--rounds", "1", "--output", str(tmp_path / "e.json")]
    assert main(words) == 1
    assert "ours: features differ from clip by clip by" in capsys.readouterr().out
    assert (tmp_path / "e.json").exists()


@pytest.mark.parametrize("option", ["--n-clips", "--rounds", "--batch-size"])
def test_counts_of_nothing_are_refused(option, tmp_path, capsys):
    assert main(["encoding", option, "0", "--output", str(tmp_path / "e.json")]) == 2
    assert f"Got {option} 0, expected an integer >= 1" in capsys.readouterr().err
    assert not (tmp_path / "e.json").exists()


def test_rounds_begin_with_another_way(monkeypatch):
    order = []
    methods = {name: lambda paths, name=name: order.append(name) for name in "abc"}
    encoding.measure(methods, [], 4)
    assert "".join(order) == "abcbcacababc"


def speech_record():
    """A record of two features and two classifiers on one task."""
    figures = {"ours": (0.5, 0.4, 0.6), "svm": (0.45, 0.3, 0.5)}
    results = [
        {"features": features, "model": model, "measures": {name: parts_of(*figures[model]) for name in MEASURES}}
        for features in ("fbank", "ge2e")
        for model in figures
    ]
    # UAR is better, and so is log-loss, which is less; features do not differ.
    better = {"uar": (0.05, 0.01, 0.09), "log_loss": (-0.2, -0.3, -0.1)}
    same = {name: (0.0, -0.1, 0.1) for name in better}
    comparisons = [
        {kind: value, "names": names, "differences": {n: parts_of(*v, first="difference") for n, v in found.items()}}
        for kind, value, names, found in (
            ("features", "fbank", ["ours", "svm"], better),
            ("features", "ge2e", ["ours", "svm"], same),
            ("model", "ours", ["fbank", "ge2e"], same),
        )
    ]
    return {
        "schema": SCHEMA,
        "command": "python -m benchmarks speech --corpus ravdess=ravdess",
        "date": "2001-02-03T04:05:06+00:00",
        "environment": json.loads((ROOT / "benchmarks/results/encoding.json").read_text())["environment"],
        "corpus": "ravdess",
        **{"n_clips": 12, "n_speakers": 4, "n_folds": 2},
        "audit": {"copies": 1},
        "features": {"fbank": {"n_values": 160, "n_broken": 1}, "ge2e": {"n_values": 256, "n_broken": 0}},
        "tasks": {"emotion": {"classes": ["calm", "sad"], "results": results, "comparisons": comparisons}},
    }


def parts_of(value, low, high, first="value"):
    return {first: value, "low": low, "high": high}


def write_speech(records, record):
    (records / "speech").mkdir()
    (records / "speech" / "ravdess.json").write_text(json.dumps(record))


def test_page_of_speech_shows_what_records_hold(records):
    write_speech(records, speech_record())
    page = render("speech-results", speech_page.context(records))
    assert str(records) not in page
    text = " ".join(page.split())
    assert "12 clips of 4 speakers in 2 folds" in text
    assert "- log-mel statistics (160 values): `FbankFeaturizer()`, which needs no further package - GE2E (256" in text
    assert "Calm, sad. `ours` has its highest UAR, 0.500 (0.400 to 0.600), on log-mel statistics; the" in text
    assert (
        "differences from its UAR on all other features but GE2E have intervals that exclude zero. Of 2 comparisons"
        in text
    )
    assert "better in UAR in 1 and worse in 0, better in log-loss in 1 and worse in 0; the rest are undecided" in text
    assert "most speakers have clips of mainly one emotion" not in text
    assert "nEMO" not in text
    lines = page.splitlines()
    assert "| GE2E: ours | 0.500 (0.400 to 0.600) | 0.500 (0.400 to 0.600) |" in lines
    assert r"| log-mel statistics: SVM | 0.450 (0.300 to 0.500)\* | 0.450 (0.300 to 0.500)\* |" in lines
    assert "| GE2E: SVM | 0.450 (0.300 to 0.500) | 0.450 (0.300 to 0.500) |" in lines
    assert "| log-mel statistics | **0.500** |" in lines  # on which features ours is best
    assert lines.count("| ours | **0.500** |") == 1  # the mean UAR over features
    assert lines.count("| SVM | **0.450** |") == 2  # log-loss and ECE
    assert "2001-02-03" in text
    record = json.loads((records / "encoding.json").read_text())
    for way, shown, _ in encoding.context(records)["speeds"]:
        assert any(way in line and shown in line for line in lines)
    assert "## Encoding: HuBERT base on CPU" in page
    assert record["command"] in page


def test_page_of_speech_names_corpora_whose_speakers_reveal_labels(records):
    write_speech(records, {**speech_record(), "audit": {"speakers-by-class": 1}})
    text = " ".join(render("speech-results", speech_page.context(records)).split())
    assert "In RAVDESS (speech), most speakers have clips of mainly one emotion" in text


def test_the_best_of_a_corpus_is_bold_though_others_were_not_measured():
    found = {("fbank", "emodb"): 0.5, ("ge2e", "emodb"): 0.4, ("acoustic", "ravdess"): 0.3}
    text = speech_page._by_corpus("Features", speech_page.SHOWN, found, ["emodb", "ravdess"])
    assert text.splitlines()[2:5] == [
        "| acoustic | – | **0.300** |",
        "| log-mel statistics | **0.500** | – |",
        "| GE2E | 0.400 | – |",
    ]


def test_pages_leave_out_what_was_not_measured(records):
    assert speech_page.context(records) == {}
    (records / "encoding.json").unlink()
    record = speech_record()
    record["tasks"]["emotion"]["comparisons"] = []  # of one model and one feature
    write_speech(records, record)
    page = render("speech-results", speech_page.context(records))
    assert "## Encoding" not in page
    assert "## Trained on other corpora" not in page
    assert "Of 0 comparisons" not in page
