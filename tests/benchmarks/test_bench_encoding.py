"""The command that measures encoding, with a tiny encoder, and the page of speech made from records."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import encoding
from benchmarks.__main__ import main
from benchmarks.speech_page import speech_page

pytest.importorskip("transformers")
pytest.importorskip("soundfile")

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def _records(tmp_path_factory):
    """Records of encoding with a tiny model of each kind of normalisation."""
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "SIZES", {"base": TINY, "large": TINY | {"feat_extract_norm": "layer"}})
        for size, name in (("base", "encoding.json"), ("large", "encoding_large.json")):
            words = ["encoding", "--size", size, "--n-clips", "5", "--rounds", "2", "--batch-size", "2"]
            assert main([*words, "--output", str(folder / name)]) == 0
    return folder


@pytest.fixture
def records(_records, tmp_path):
    """A copy of them, for each test to change."""
    for path in _records.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    return tmp_path


@pytest.mark.parametrize("name", ["encoding.json", "encoding_large.json"])
def test_record_of_encoding(records, name):
    record = json.loads((records / name).read_text())
    assert str(records) not in json.dumps(record)
    assert record["clips"]["count"] == 5
    assert (
        1 <= record["clips"]["min_seconds"] <= record["clips"]["median_seconds"] <= record["clips"]["max_seconds"] <= 12
    )
    assert len(record["rounds"]) == 2
    for found in record["rounds"]:
        assert set(found["seconds"]) == set(found["cpu_seconds"]) == set(encoding.WAYS)
        assert min(found["seconds"].values()) > 0
    for way in ("ours", "cached"):
        assert 0 < record["differences"][way]["max"] <= encoding.TOLERANCE
    speed = record["summary"]["audio_per_second"]["single"]
    measured = [record["clips"]["seconds"] / found["seconds"]["single"] for found in record["rounds"]]
    assert speed == pytest.approx({"median": np.median(measured), "min": min(measured), "max": max(measured)})
    ratio = [found["seconds"]["padded"] / found["seconds"]["ours"] for found in record["rounds"]]
    assert record["summary"]["ratios"]["ours_to_padded"]["max"] == pytest.approx(max(ratio))


def test_padding_changes_features_of_models_with_group_norm(records):
    assert json.loads((records / "encoding.json").read_text())["differences"]["padded"]["max"] > 1e-3
    # With a mask and layer norm transformers keeps padding out, so this also checks the reference itself.
    assert json.loads((records / "encoding_large.json").read_text())["differences"]["padded"]["max"] < 1e-5


def test_features_that_differ_are_reported(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(encoding, "SIZES", {"base": TINY})
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
    encoding.measure(methods, [], 4, 1.0)
    assert "".join(order) == "abcbcacababc"


def speech_record():
    """A record of two models on two tasks, and of one clip as published."""
    features = {"n_mels": 26, "deltas": 0, "dither": 1.0}
    runs = [{"model": model, "fold": fold, "features": features} for fold in (0, 1) for model in ("ours", "svm")]
    ours = {"wa": 0.5, "uar": 0.4, "macro_f1": 0.3, "ece": 0.1, "first_less_this": 0.0}
    svm = {"wa": 0.25, "uar": 0.45, "macro_f1": 0.2, "first_less_this": -0.05}
    errors = {"wa_se": 0.01, "uar_se": 0.02, "macro_f1_se": 0.03, "ece_se": 0.004, "first_less_this_se": 0.01}
    more = {"seconds": 1.5, "measure": "uar"}
    task = {
        "n_clips": 12,
        "n_broken": 1,
        "n_speakers": 4,
        "n_folds": 2,
        "measure": "uar",
        "runs": runs,
        "summary": {"svm": svm | errors | more, "ours": ours | errors | more},
    }
    pair = {"clip": "a", "task": "emotion", "published": "sad", "twin": "sad"}
    pair |= {"largest_difference_of_probability": 0.0123, "largest_difference_of_features": 0.0456}
    made = json.loads((ROOT / "benchmarks/results/encoding.json").read_text())["environment"]
    return {
        "command": "python -m benchmarks speech --corpus ravdess=ravdess",
        "date": "2001-02-03T04:05:06+00:00",
        "environment": made,
        "corpus": "ravdess",
        "candidates": [features],
        "judges": ["logreg", "svm"],
        "tasks": {"emotion": task, "gender": task | {"measure": "wa", "n_broken": 0}},
        "originals": [pair, pair | {"twin": "calm"}],
    }


def test_page_of_speech_shows_what_records_hold(records):
    (records / "speech.json").write_text(json.dumps(speech_record()))
    page = speech_page(records)
    assert page == speech_page(records)
    assert str(records) not in page
    emotion, _, rest = page.partition("### Gender")
    assert "Of 1 settings" in emotion
    assert "12 clips of 4 speakers, in 2 folds of whole speakers. 1 broken clips are left out." in emotion
    # With two folds an interval reaches 12.71 standard errors.
    best, second = (line for line in emotion.splitlines() if line.startswith(("| svm", "| **ours")))
    assert best == "| svm | 25.00 ± 1.00 | **45.00** ± 2.00 | 20.00 ± 3.00 | – | -5.00 (-17.71 to +7.71) | 1.50 |"
    assert second.startswith(
        "| **ours** | **50.00** ± 1.00 | 40.00 ± 2.00 | **30.00** ± 3.00 | **0.100** ± 0.004 | – |"
    )
    assert "n_mels=26, deltas=0, dither=1 in 2" in emotion
    assert "| emotion | 2 | 1 | 0.0123 | 0.0456 |" in rest
    assert "2001-02-03" in rest
    record = json.loads((records / "encoding.json").read_text())
    for way in encoding.WAYS:
        shown = record["summary"]["audio_per_second"][way]["median"]
        assert any(f"{way}" in line and f"{shown:.0f}" in line for line in page.splitlines() if line.startswith("|"))
    assert "## Encoding: HuBERT base on CPU" in page
    assert "## Encoding: HuBERT large on CPU" in page
    assert record["command"] in page


def test_pages_leave_out_what_was_not_measured(records, tmp_path):
    assert "## Emotion and gender" not in speech_page(records)
    (records / "encoding.json").unlink()
    (records / "encoding_large.json").unlink()
    assert speech_page(records) == ""
    record = speech_record()
    del record["originals"]
    (records / "speech.json").write_text(json.dumps(record))
    page = speech_page(records)
    assert "## Encoding" not in page
    assert "as published" not in page
    assert "`benchmarks/results/speech.json`." in page


def test_render_writes_the_page_of_speech_beside_the_other(records):
    page = records / "docs" / "benchmarks.md"
    assert main(["render", "--records", str(records / "tables"), "--page", str(page)]) == 0
    assert (page.parent / "speech-results.md").read_text() == speech_page(records)
