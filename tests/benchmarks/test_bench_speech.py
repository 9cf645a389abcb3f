"""The commands that measure speech, on synthesised clips and a tiny random encoder."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import speech
from benchmarks.__main__ import command_line, main
from gendiffclf import GenerativeTransportClassifier
from gendiffclf.speech import read_corpus, synthesize_corpus

pytest.importorskip("soundfile")

QUICK = ["max_steps=3", "width=32", "n_members=2", "depth=1", "n_frequencies=1"]
OURS = dict(zip((q.split("=")[0] for q in QUICK), (int(q.split("=")[1]) for q in QUICK), strict=True))


@pytest.fixture(scope="session")
def _ravdess(tmp_path_factory):
    """32 clips of 8 speakers and 2 emotions, which are vowels, under names of RAVDESS."""
    folder = tmp_path_factory.mktemp("ravdess")
    made = synthesize_corpus(folder / "made", n_speakers=8, n_takes=2, vowels=("heed", "hod"))
    for row in made.itertuples():
        emotion = {"heed": "05", "hod": "04"}[row.label]
        actor = int(row.speaker[1:])
        path = folder / "ravdess" / f"03-01-{emotion}-01-01-0{row.take + 1}-{actor:02}.wav"
        path.parent.mkdir(exist_ok=True)
        shutil.move(row.path, path)
    return folder / "ravdess"


@pytest.fixture
def ravdess(_ravdess, tmp_path, monkeypatch):
    """Their folder; features are kept in a folder of the test's own, and commands find quick models."""
    monkeypatch.setenv("GENDIFFCLF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(speech, "CANDIDATES", [{"n_mels": 13, "deltas": 0}, {"n_mels": 20, "deltas": 1}])
    monkeypatch.setattr(speech, "N_INNER", 2)
    monkeypatch.setitem(
        speech.MODELS, "ours", lambda: GenerativeTransportClassifier(random_state=0, device="cpu", **OURS)
    )
    return _ravdess


def test_speech_records_every_run(ravdess, tmp_path, capsys):
    output = tmp_path / "speech.json"
    words = ["speech", "--corpus", f"ravdess={ravdess}", "--models", "ours,logreg,svm", "--n-folds", "2"]
    assert main([*words, "--output", str(output)]) == 0
    record = json.loads(output.read_text())
    assert str(ravdess) not in output.read_text()
    assert record["corpus"] == "ravdess"
    assert set(record["models"]) == {"ours", "logreg", "svm"}
    for task, measure in speech.TASKS.items():
        found = record["tasks"][task]
        assert (found["n_clips"], found["n_speakers"], found["measure"]) == (32, 8, measure)
        assert [(run["fold"], run["model"]) for run in found["runs"]] == [
            (fold, model) for fold in (0, 1) for model in ("ours", "logreg", "svm")
        ]
        for run in found["runs"]:
            assert run["features"] in speech.CANDIDATES
            assert len(run["inner_uar_of_features"]) == 2
            assert run["n_train"] + run["n_test"] == 32
            assert (run["ece"] is None) == (run["model"] == "svm")
        assert found["summary"]["ours"]["first_less_this"] == 0
    assert "ours less this" in capsys.readouterr().out


def test_features_are_chosen_by_training_speakers_alone(ravdess, monkeypatch):
    corpus = read_corpus(ravdess, layout="ravdess")
    seen = []
    monkeypatch.setattr(
        speech, "_evaluate", lambda model, table, folds, features: seen.append(table) or SimpleResult(features)
    )
    train = np.flatnonzero(corpus["speaker"].isin(["01", "02", "03", "04"]))
    features = [speech.ClipFeatures(np.full((32, 1), value)) for value in (0.1, 0.9, 0.9)]
    chosen, reached = speech.choose_features(corpus, features, train)
    assert chosen == 1
    assert reached == pytest.approx([0.1, 0.9, 0.9])
    assert {speaker for table in seen for speaker in table["speaker"]} == {"01", "02", "03", "04"}


class SimpleResult:
    """What an evaluation says of recall: the features' own value."""

    def __init__(self, features):
        self.mean = {"uar": features.rows[0, 0]}


def test_summary_is_over_folds():
    runs = [
        {"model": model, "wa": 0.5, "uar": uar, "macro_f1": 0.5, "ece": None if model == "b" else 0.1, "seconds": 1.0}
        for model, values in {"a": (0.6, 0.8), "b": (0.5, 0.5)}.items()
        for uar in values
    ]
    table = speech.summary(runs, "uar")
    assert table["a"]["uar"] == pytest.approx(0.7)
    assert table["a"]["uar_se"] == pytest.approx(0.1)
    assert table["b"]["first_less_this"] == pytest.approx(0.2)
    assert table["b"]["first_less_this_se"] == pytest.approx(0.1)
    assert "ece" not in table["b"]
    assert re.search(r"^a +0\.7000.*\nb +0\.5000", speech.summary_text(table), re.MULTILINE)


def test_originals_get_the_labels_of_their_twins(ravdess, tmp_path, capsys):
    soundfile, soxr = pytest.importorskip("soundfile"), pytest.importorskip("soxr")
    (tmp_path / "originals").mkdir()
    for path in sorted(ravdess.glob("*-01.wav"))[:2]:
        samples, rate = soundfile.read(path)
        resampled = soxr.resample(samples, rate, 48000)
        soundfile.write(tmp_path / "originals" / path.name, np.stack([resampled, resampled], axis=1), 48000)
    output = tmp_path / "speech.json"
    words = ["speech", "--corpus", f"ravdess={ravdess}", "--models", "logreg", "--tasks", "gender", "--n-folds", "2"]
    assert main([*words, "--originals", str(tmp_path / "originals"), "--output", str(output)]) == 0
    pairs = json.loads(output.read_text())["originals"]
    assert len(pairs) == 4
    for pair in pairs:
        assert pair["published"] == pair["twin"]
        assert pair["largest_difference_of_probability"] < 0.25
    assert "originals: 4 of 4 labels are those of the twins" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["speech", "--models", "nobody"], "Got --models nobody, expected some of ours"),
        (["speech", "--tasks", "age"], "Got --tasks age"),
    ],
)
def test_wrong_words(words, message, ravdess, capsys):
    assert main([*words, "--corpus", f"ravdess={ravdess}"]) == 2
    assert message in capsys.readouterr().err


def test_commands_name_no_folder():
    words = ["speech", "--corpus", f"ravdess={Path('/a/b/RAVDESS')}"]
    assert command_line(words) == "python -m benchmarks speech --corpus ravdess=RAVDESS"
