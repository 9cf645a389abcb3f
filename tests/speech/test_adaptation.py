"""Out of domain and a few shots later: speakers apart, nested shots, gains, and the command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier, cli
from gendiffclf.speech import FewShot, synthesize_corpus
from gendiffclf.speech.adaptation import _disjoint_rows, _sample_shots, few_shot
from gendiffclf.speech.system_pipelines import SMALL

from .conftest import QUICK


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """48 clips of 2 vowels, 3 times by 8 voices."""
    folder = tmp_path_factory.mktemp("voices")
    return synthesize_corpus(folder, n_speakers=8, n_takes=3, vowels=("heed", "hod"))


class Recorded(GenerativeTransportClassifier):
    """Notes what it learns from."""

    seen = []  # noqa: RUF012

    def fit(self, X, y, **settings):
        type(self).seen.append(("fit", np.asarray(X)))
        return super().fit(X, y, **settings)

    def partial_fit(self, X, y, **settings):
        type(self).seen.append(("partial_fit", np.asarray(X)))
        return super().partial_fit(X, y, **settings)


def test_shots_and_tests_are_of_other_speakers(voices):
    Recorded.seen = []
    featurizer = FbankFeaturizer(n_mels=8)
    first, second = (voices[voices["take"] % 2 == k] for k in (0, 1))
    found = few_shot(make_pipeline(featurizer, Recorded(**QUICK)), first, second, shots=[1, 2], n_repeats=3)
    assert found.runs.groupby("shots")["n_shots"].first().to_dict() == {0: 0, 1: 2, 2: 4}
    features = featurizer.transform(list(voices["path"]))
    rows = {row.tobytes(): speaker for row, speaker in zip(features, voices["speaker"], strict=True)}
    (_, learnt), *adapted = Recorded.seen
    before = {rows[row.tobytes()] for row in learnt.astype(np.float32)}
    assert found.n_train_speakers == len(before) == 4
    assert len(adapted) == 6
    for (_, small), (_, large) in zip(adapted[::2], adapted[1::2], strict=True):
        assert {row.tobytes() for row in small} <= {row.tobytes() for row in large}
        assert not {rows[row.tobytes()] for row in large.astype(np.float32)} & before
    assert (found.runs["n_test_speakers"] == 2).all()


def test_labels_that_are_only_trained_are_warned_of(voices):
    first, second = (voices[voices["take"] % 2 == k] for k in (0, 1))
    tested = second[second["label"] == "heed"].assign(speaker="new " + second["speaker"])
    pipeline = make_pipeline(FbankFeaturizer(n_mels=8), GenerativeTransportClassifier(**QUICK))
    with pytest.warns(UserWarning, match=r"labels that no tested clip has \(hod\): .*--train-where COLUMN=VALUES"):
        few_shot(pipeline, first, tested, shots=[0], n_repeats=2)


def test_labels_that_are_only_tested_are_warned_of(voices):
    first, second = (voices[voices["take"] % 2 == k] for k in (0, 1))
    pipeline = make_pipeline(FbankFeaturizer(n_mels=8), GenerativeTransportClassifier(**QUICK))
    message = (
        r"Got \d+ of \d+ clips with .* not have \(hod\): each counts as an error without shots; .*--test-where COLUMN"
    )
    with pytest.warns(UserWarning, match=message), pytest.warns(UserWarning, match=r"no tested clip has \(who'd\)"):
        found = few_shot(pipeline, first.replace({"label": {"hod": "who'd"}}), second, shots=[0, 1], n_repeats=2)
    assert (found.runs.loc[found.runs["shots"] == 0, "uar"] <= 0.5).all()


class Cautious(GenerativeTransportClassifier):
    """Decides for the first class, however improbable it is."""

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_decisions_of_the_classifier_are_measured(voices):
    pipeline = make_pipeline(FbankFeaturizer(n_mels=8), Cautious(**QUICK))
    found = few_shot(pipeline, voices, voices, shots=[1], n_repeats=2)
    assert found.runs["uar"].tolist() == [0.5] * 4


def test_halves_of_shared_speakers():
    rng = np.random.default_rng(0)
    tested = np.array([False] * 6 + [True] * 6)
    names = np.array(list("aabbcd" + "ccddee"))
    learnt, others = _disjoint_rows(np.arange(12), tested, names, rng)
    assert not set(names[learnt]) & set(names[others])
    assert {"a", "b"} <= set(names[learnt])
    assert "e" in set(names[others])
    held_out, chosen = _sample_shots(np.array(list("xyxyxy")), np.array(list("ccddee")), [0, 1, 5], rng)
    assert set(chosen) == {0, 1, 5}
    assert len(chosen[0]) == 0
    assert not set(held_out) & set(chosen[5])
    with pytest.raises(ValueError, match="Got 1 speakers to train on and 1 to test, expected at least 1 and 2"):
        _disjoint_rows(np.arange(4), np.array([False, False, True, True]), np.array(list("aabb")), rng)


def test_intervals_stay_within_the_range_of_measures():
    """Student's t would end at 1.01."""
    runs = pd.DataFrame({"repeat": [0, 1, 0, 1], "shots": [0, 0, 2, 2], "wa": 1.0, "uar": [0.5, 0.5, 0.99, 1.0]})
    row = FewShot(runs, 1, 1).summary.loc[2]
    assert row[["uar_low", "uar_high"]].tolist() == [pytest.approx(0.931, abs=1e-3), 1]
    assert row[["uar_gain_low", "uar_gain_high"]].tolist() == [
        pytest.approx(0.431, abs=1e-3),
        pytest.approx(0.559, abs=1e-3),
    ]


def test_summary_has_gains_over_no_shots(voices):
    found = few_shot(
        make_pipeline(FbankFeaturizer(n_mels=8), GenerativeTransportClassifier(**QUICK)), voices, voices, shots=[2]
    )
    wide = found.runs.pivot(index="repeat", columns="shots", values="uar")
    row = found.summary.loc[2]
    assert row["uar"] == pytest.approx(wide[2].mean())
    assert row["uar_gain"] == pytest.approx((wide[2] - wide[0]).mean())
    half = 2.2622 * wide[2].std() / np.sqrt(10)  # t of 9 degrees of freedom
    assert row["uar_high"] - row["uar"] == pytest.approx(half, rel=1e-3)
    assert found.summary.loc[0, "uar_gain"] == 0
    assert "shots on" not in str(found)


def test_classes_of_too_few_clips_are_mentioned(voices):
    pipeline = make_pipeline(FbankFeaturizer(n_mels=8), GenerativeTransportClassifier(**QUICK))
    found = few_shot(pipeline, voices, voices, shots=[2, 7, 99], n_repeats=2)
    assert found.runs.groupby("shots")["fewest"].max().to_dict() == {0: 0, 2: 2, 7: 6, 99: 6}
    assert "From 7 shots on, some class has fewer clips (at least 6); all of them are used." in str(found)


def test_what_cannot_be_adapted_is_refused(voices):
    with pytest.raises(ValueError, match="Got a classifier of type SVC, expected one with partial_fit"):
        few_shot(make_pipeline(FbankFeaturizer(n_mels=8), SVC()), voices, voices)
    with pytest.raises(ValueError, match="Got n_repeats=1, expected an integer >= 2"):
        few_shot(make_pipeline(FbankFeaturizer(n_mels=8), SVC()), voices, voices, n_repeats=1)
    for wrong in (-1, "4"):
        with pytest.raises(ValueError, match=f"Got shots={wrong!r}, expected an integer >= 0"):
            few_shot(make_pipeline(FbankFeaturizer(n_mels=8), SVC()), voices, voices, shots=[wrong])


@pytest.fixture
def tables(voices, tmp_path):
    """The corpus as a table, and a copy of other speakers under the same names."""
    paths = []
    for name, table in (("a", voices[voices["take"] < 2]), ("b", voices[voices["take"] == 2])):
        path = tmp_path / f"{name}.csv"
        pd.DataFrame(table).to_csv(path, index=False)
        paths.append(str(path))
    return paths


@pytest.mark.usefixtures("quick")
def test_the_command_runs_between_corpora_and_within_one(tables, tmp_path, capsys):
    a, b = tables
    quick = ["--set", "featurizer__n_mfcc=8", "--repeats", "2", "--quiet", "--shots", "0,1"]
    assert cli.main(["few-shot", "--train", a, "--test", b, "--output", str(tmp_path / "out.json"), *quick]) == 0
    assert "Trained on 32 clips of 8 speakers; tested on 8 clips of 4 others, 2 times" in capsys.readouterr().out
    stored = json.loads((tmp_path / "out.json").read_text())
    assert [row["shots"] for row in stored["summary"]] == [0, 1]
    assert stored["about"]["command"].startswith("gendiffclf few-shot --train ")
    where = ["--train-where", "take=0", "--test-where", "take=1"]
    assert cli.main(["few-shot", "--train", a, "--test", a, *where, *quick]) == 0
    within = capsys.readouterr().out
    assert "Trained on 8 clips of 4 speakers; tested on 4 clips of 2 others" in within
    Path(a).with_name("moods=a").symlink_to(Path(a).parent)  # the same table by another path, which is no layout
    other = str(Path(a).with_name("moods=a") / Path(a).name)
    assert cli.main(["few-shot", "--train", a, "--test", other, *where, *quick]) == 0
    assert capsys.readouterr().out == within
    table = pd.read_csv(a).rename(columns={"speaker": "who", "path": "file"})
    table.to_csv(a, index=False)
    named = ["--speaker-column", "who", "--path-column", "file"]
    assert cli.main(["few-shot", "--train", a, "--test", a, *where, *named, *quick]) == 0
    assert capsys.readouterr().out == within


def emotional(folder, seed, name):
    """A corpus of 4 voices who say one clip each of two emotions, under names that `name` gives them."""
    made = synthesize_corpus(folder / "made", n_speakers=4, n_takes=1, vowels=("heed", "hod"), random_state=seed)
    for number, row in enumerate(made.itertuples()):
        path = folder / "clips" / name({"heed": "angry", "hod": "sad"}[row.label], 1 + number // 2)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(row.path, path)
    return folder / "clips"


def test_folders_of_several_corpora(tmp_path, monkeypatch, capfd):
    pytest.importorskip("accelerate")
    monkeypatch.setitem(SMALL, "selm", {**SMALL["selm"], "n_epochs": 2, "n_prefix": 2})
    numbers = {"angry": "05", "sad": "04"}
    a, b = (emotional(tmp_path / part, seed, "{1}/{0}_x.wav".format) for seed, part in enumerate("ab"))
    c = emotional(tmp_path / "c", 2, lambda label, speaker: f"03-01-{numbers[label]}-01-01-01-{speaker:02}.wav")
    words = ["--train", str(a), "--train", str(b), "--pattern", "{speaker}/{label}_*.wav", "--test", f"ravdess={c}"]
    words += ["--system", "selm", "--set", "classifier__few_shot_epochs=1", "--repeats", "2", "--shots", "1,2"]
    assert cli.main(["few-shot", *words, "--no-cache", "--output", str(tmp_path / "out.json")]) == 0
    shown = capfd.readouterr()
    assert "Trained on 16 clips of 8 speakers; tested on 4 clips of 2 others, 2 times" in shown.out
    assert shown.err.count("100%") < 10  # a bar for clips, training and repetitions, and none for each adaptation
    stored = json.loads((tmp_path / "out.json").read_text())
    assert [(run["shots"], run["n_shots"]) for run in stored["runs"]] == 2 * [(0, 0), (1, 2), (2, 4)]
    assert all(row["uar_low"] <= row["uar"] <= row["uar_high"] for row in stored["summary"])


def test_a_pattern_is_for_folders_beside_tables(tmp_path, tables, capsys):
    folder = emotional(tmp_path / "a", 0, "{1}/{0}_x.wav".format)
    where = ["--train-where", "label=angry,sad", "--pattern", "{speaker}/{label}_*.wav"]
    with pytest.raises(SystemExit):
        cli.main(["few-shot", "--train", str(folder), "--test", tables[0], *where, "--test-where", "label=none"])
    assert "Got 'label=none', which no clip of" in capsys.readouterr().err  # the table was read


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shots", "few"], "Got --shots few, expected numbers such as"),
        (["--train-where", "color=red"], "Got 'color=red', expected COLUMN=VALUES with a column among"),
        (["--test-where", "take=9"], "Got 'take=9', which no clip of"),
    ],
)
def test_wrong_words_say_so(words, message, tables, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["few-shot", "--train", tables[0], "--test", tables[1], *words])
    assert caught.value.code == 1
    assert message in capsys.readouterr().err


def test_only_systems_that_classify_are_offered(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["few-shot", "--train", "a", "--test", "b", "--system", "emosphere"])
    assert caught.value.code == 2
    assert "argument --system: invalid choice: 'emosphere'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["few-shot", "--help"])
    out = capsys.readouterr().out
    assert "--system" in out
    assert "--value-range" not in out
    assert "--tune-encoder" not in out
