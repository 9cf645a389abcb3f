"""The record of the three systems and its page, on synthesised clips."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from benchmarks import avd, systems
from benchmarks.__main__ import main
from benchmarks.render import render
from gendiffclf import GenerativeTransportClassifier
from gendiffclf.speech import synthesize_corpus
from gendiffclf.systems import spherical

pytest.importorskip("soundfile")
pytest.importorskip("accelerate")


@pytest.fixture
def ravdess(tmp_path):
    """32 clips of 8 speakers, 2 emotions and 2 statements under names of RAVDESS."""
    made = synthesize_corpus(tmp_path / "made", n_speakers=8, n_takes=2, vowels=("heed", "hod"))
    folder = tmp_path / "ravdess"
    folder.mkdir()
    for row in made.itertuples():
        emotion, actor = {"heed": "05", "hod": "04"}[row.label], int(row.speaker[1:])
        actor = 2 * actor - (row.speaker[0] == "m")  # odd numbers are male
        shutil.move(row.path, folder / f"03-01-{emotion}-02-0{row.take + 1}-01-{actor:02}.wav")
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    own = GenerativeTransportClassifier(random_state=0, device="cpu", max_steps=3, width=32, n_members=2, depth=1)
    monkeypatch.setitem(systems.CLASSIFIERS, "Gen-SER", ("statistics", lambda: own))
    for name, changes in (
        ("selm", {"n_prefix": 2, "n_epochs": 1}),
        ("emosphere", {"width": 8, "n_epochs": 1, "batch_size": 8}),
    ):
        monkeypatch.setitem(systems.SMALL, name, {**systems.SMALL[name], **changes})
    monkeypatch.setattr(systems, "N_INNER", 2)
    monkeypatch.setattr(systems, "N_REPEATS", 2)


def test_targets_follow_the_table():
    corpus = pd.DataFrame({"emotion": ["angry", "angry", "neutral"], "intensity": ["strong", "normal", "normal"]})
    found = avd.with_targets(corpus)[list(avd.DIMENSIONS)].to_numpy()
    np.testing.assert_allclose(found, [[0.6, -0.5, 0.3], [0.36, -0.3, 0.18], [0, 0, 0]])
    assert (np.abs(list(avd.POINTS.values())) <= 1).all()
    # Anger and fear differ in dominance: regions of their own. All octants but two hold an emotion.
    assert spherical.regions(avd.POINTS["angry"]) != spherical.regions(avd.POINTS["fearful"])
    with pytest.raises(ValueError, match="Got emotion 'bored', expected some of neutral"):
        avd.with_targets(corpus.assign(emotion="bored"))


def test_every_part_is_recorded_and_on_the_page(ravdess, tmp_path):
    output = tmp_path / "systems.json"
    assert systems.context(tmp_path) == {}
    words = ["systems", "--corpus", f"ravdess={ravdess}", "--cache", str(tmp_path / "cache"), "--output", str(output)]
    assert main([*words, "--n-folds", "2", "--parts", "gender,ratings"]) == 0
    assert main([*words, "--n-folds", "2", "--parts", "few-shot"]) == 0
    parts = json.loads(output.read_text())["parts"]
    assert str(ravdess) not in output.read_text()
    assert set(parts) == {"gender", "ratings", "few-shot"}
    assert set(parts["gender"]["models"]) == set(systems.CLASSIFIERS)
    assert set(parts["ratings"]["models"]) == set(systems.REGRESSORS)
    assert "less_baseline" in parts["ratings"]["models"]["EmoSphere-SER"]
    assert "less_baseline" not in parts["ratings"]["models"]["ridge regression"]
    changed = parts["ratings"]["models"]["without the auxiliary task"]
    assert changed["less_system"]["mean"]["difference"] == pytest.approx(
        changed["measures"]["mean"]["value"] - parts["ratings"]["models"]["EmoSphere-SER"]["measures"]["mean"]["value"]
    )
    assert set(parts["few-shot"]["models"]) == set(systems.ADAPTABLE)
    text = render("three-systems", systems.context(tmp_path))
    mean = parts["ratings"]["models"]["EmoSphere-SER"]["measures"]["mean"]["value"]
    assert f"{mean:.3f}" in text
    assert "### Gender" in text
    assert "gain over no shots" in text


def test_unknown_parts_are_refused(capsys):
    assert main(["systems", "--corpus", "ravdess=x", "--parts", "age"]) == 2
    assert "Got --parts age, expected some of gender, emotion, ratings, few-shot" in capsys.readouterr().err
