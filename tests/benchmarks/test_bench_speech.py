"""The commands that measure speech, on synthesised clips and a tiny random encoder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from benchmarks import across, speech, speech_page
from benchmarks.__main__ import command_line, main
from benchmarks.render import render
from benchmarks.summary import Interval
from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier
from gendiffclf.featurizers import SpeakerNormalizer
from gendiffclf.speech import synthesize_corpus
from gendiffclf.speech.names import MEASURES
from gendiffclf.speech.training import encode_clips

soundfile = pytest.importorskip("soundfile")

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
def ravdess(_ravdess, monkeypatch):
    """Their folder; commands find quick models."""
    quick = GenerativeTransportClassifier(random_state=0, device="cpu", **OURS)
    monkeypatch.setitem(speech.MODELS, "ours", lambda: [clone(quick)])
    monkeypatch.setitem(speech.KINDS, "egemaps", lambda cache: FbankFeaturizer(n_mels=13, cache=cache))
    monkeypatch.setitem(speech.FEATURES, "egemaps_speaker", (("egemaps", "fbank"), [SpeakerNormalizer()]))
    return _ravdess


@pytest.fixture
def record(ravdess, tmp_path):
    """Of two features and three models."""
    words = ["speech", "--corpus", f"ravdess={ravdess}", "--features", "fbank,egemaps_speaker", "--n-folds", "2"]
    words += ["--models", "ours,logreg,svm"]
    assert main([*words, "--output", str(tmp_path / "speech")]) == 0
    return json.loads((tmp_path / "speech" / "ravdess.json").read_text())


def test_speech_records_figures_and_differences(record, ravdess):
    assert str(ravdess) not in json.dumps(record)
    assert (record["corpus"], record["n_clips"], record["n_speakers"]) == ("ravdess", 32, 8)
    assert record["features"]["egemaps_speaker"] == {"n_values": 186, "n_broken": 0}
    for task, labels in {"emotion": ["angry", "sad"], "gender": ["female", "male"]}.items():
        found = record["tasks"][task]
        assert found["classes"] == labels
        tried = ["fbank", "egemaps_speaker"] if task == "emotion" else ["fbank"]
        assert [(row["features"], row["model"]) for row in found["results"]] == [
            (features, model) for features in tried for model in ("ours", "logreg", "svm")
        ]
        for row in found["results"]:
            assert set(row["measures"]) == set(MEASURES)
            assert row["measures"]["uar"]["low"] <= row["measures"]["uar"]["value"] <= row["measures"]["uar"]["high"]
            assert sum(fold["n_test"] for fold in row["folds"]) == 32
        # Ours with each peer on each features, and the features with each other.
        assert [row["names"] for row in found["comparisons"]] == [
            *[["ours", "logreg"], ["ours", "svm"]] * len(tried),
            *([tried] if len(tried) > 1 else []),
        ]
        values = {(row["features"], row["model"]): row["measures"]["uar"]["value"] for row in found["results"]}
        difference = found["comparisons"][1]["differences"]["uar"]["difference"]
        assert difference == pytest.approx(values["fbank", "ours"] - values["fbank", "svm"])


def test_an_svm_keeps_its_labels_and_is_calibrated_on_other_speakers():
    rng = np.random.default_rng(0)
    speaker, y = np.repeat(np.arange(10), 12), np.tile(["a", "b", "c"], 40)
    # Voices differ more than classes: who was learnt from is told well, others are not.
    X = 0.3 * (y[:, None] == ["a", "b", "c"]) + rng.normal(0, 2, (10, 3))[speaker] + rng.normal(0, 0.1, (120, 3))
    model = speech.SpeakerCalibratedSVC(C=10.0).fit(X, y, groups=speaker)
    np.testing.assert_array_equal(model.predict(X), SVC(C=10.0).fit(X, y).predict(X))
    mixed = speech.SpeakerCalibratedSVC(C=10.0).fit(X, y, groups=np.arange(120))
    assert model.predict_proba(X).max(axis=1).mean() < mixed.predict_proba(X).max(axis=1).mean() - 0.1


def test_the_page_leads_with_answers(record, tmp_path):
    page = render("speech-results", speech_page.context(tmp_path))
    assert page.index("## In short") < page.index("## The features") < page.index("## RAVDESS")
    own = record["tasks"]["gender"]["results"][0]["measures"]
    assert f"| log-mel statistics: ours | {Interval.of(own['uar']).text(3)} | " in page
    assert max(line.count("|") for line in page.splitlines()) == 4  # three columns at most: nothing scrolls sideways
    assert speech_page.context(tmp_path / "nothing") == {}


@pytest.fixture(scope="session")
def emodb(tmp_path_factory):
    """16 clips of 4 speakers under names of EmoDB: vowels for anger and sadness, and boredom, which RAVDESS has not."""
    folder = tmp_path_factory.mktemp("emodb")
    made = synthesize_corpus(folder / "made", n_speakers=4, n_takes=2, vowels=("heed", "hod"), random_state=1)
    for row in made.itertuples():
        speaker = ["08", "03", "09", "10"][int(row.speaker[1:]) - 1]
        emotion = {"heed": "W", "hod": "L" if row.take else "T"}[row.label]
        shutil.move(row.path, folder / f"{speaker}a0{row.take + 1}{emotion}a.wav")
    shutil.rmtree(folder / "made")
    return folder


def test_classifiers_of_other_corpora(ravdess, emodb, tmp_path):
    words = ["across", "--corpora", f"ravdess={ravdess}", f"emodb={emodb}", "--features", "fbank", "--tasks", "emotion"]
    assert main([*words, "--models", "logreg,svm", "--output", str(tmp_path / "across.json")]) == 0
    record = json.loads((tmp_path / "across.json").read_text())
    assert str(emodb) not in json.dumps(record)
    found = record["tasks"]["emotion"]
    assert found["classes"] == ["angry", "sad"]  # boredom is in one of them only
    assert [(row["features"], row["model"]) for row in found["results"]] == [("fbank", "logreg"), ("fbank", "svm")]
    pooled = across.pooled_corpora([f"ravdess={ravdess}", f"emodb={emodb}"], "emotion")
    assert pooled["corpus"].value_counts().to_dict() == {"ravdess": 32, "emodb": 12}
    rows = encode_clips(FbankFeaturizer(cache=None), pooled).rows
    one, other = (pooled["corpus"] == name for name in ("ravdess", "emodb"))
    model = make_pipeline(*speech.MODELS["logreg"]()).fit(rows[one], pooled["label"][one])
    uar = balanced_accuracy_score(pooled["label"][other], model.predict(rows[other]))
    assert found["results"][0]["corpora"]["emodb"]["uar"]["value"] == pytest.approx(uar)


def _all_measures(value):
    return {name: {"value": value, "low": 0, "high": 1} for name in MEASURES}


def test_the_page_shows_classifiers_of_other_corpora(record, tmp_path):
    uars = {"ours": {"ravdess": 0.7, "emodb": 0.6}, "svm": {"ravdess": 0.8, "emodb": 0.5}}
    results = [
        {"features": "fbank", "model": model, "corpora": {name: _all_measures(uar) for name, uar in found.items()}}
        for model, found in uars.items()
    ]
    parts = {key: record[key] for key in ("schema", "command", "date", "environment", "defaults")}
    tasks = {"emotion": {"classes": ["angry", "sad"], "results": results}}
    (tmp_path / "across.json").write_text(json.dumps({**parts, "tasks": tasks}))
    page = render("speech-results", speech_page.context(tmp_path))
    assert "| log-mel statistics | **0.700** | **0.600** |" in page
    assert "| SVM | **0.800** | 0.500 |" in page
    assert "those that all have: angry, sad." in " ".join(page.split())
    (tmp_path / "across.json").write_text(json.dumps({**parts, "tasks": {"gender": tasks["emotion"]}}))
    page = render("speech-results", speech_page.context(tmp_path))
    assert "### Gender, trained on other corpora" in page
    assert "those that all have" not in page


def test_a_single_corpus_has_no_others(ravdess, capsys):
    assert main(["across", "--corpora", f"ravdess={ravdess}"]) == 2
    assert "expected at least two, of which one is tested at a time" in capsys.readouterr().err


def test_corpora_need_labels_in_common(ravdess, tmp_path):
    for name in ("03a01La.wav", "08a01Ta.wav"):  # bored and sad
        (tmp_path / name).touch()
    with pytest.raises(
        ValueError, match=r"^Got corpora with the labels \['sad'\] in all of them, expected at least two"
    ):
        across.pooled_corpora([f"ravdess={ravdess}", f"emodb={tmp_path}"], "emotion")


def test_the_page_about_gender_quotes_the_record():
    root = Path(__file__).parents[2]
    found = json.loads((root / speech.FOLDER / "ravdess.json").read_text())["tasks"]["gender"]["results"]
    page = " ".join((root / "docs" / "gender.md").read_text().split())
    for features, form in {"ge2e": "UAR of {} (95 % interval {} to {})", "acoustic": "it is {} ({} to {})"}.items():
        (row,) = [row["measures"]["uar"] for row in found if (row["features"], row["model"]) == (features, "ours")]
        assert form.format(*(f"{row[part]:.3f}" for part in ("value", "low", "high"))) in page


def test_verdicts():
    bounds = {"uar": (0.1, 0.2), "wa": (-0.1, 0.2), "log_loss": (0.1, 0.2)}
    row = {"differences": {name: {"difference": 0.1, "low": low, "high": high} for name, (low, high) in bounds.items()}}
    assert [speech_page.better(row, measure) for measure in bounds] == [1, 0, -1]


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
