"""`--system` in train, predict and evaluate."""

import json

import pandas as pd
import pytest

from gendiffclf import EmoSphereRegressor, FbankFeaturizer, HubertFeaturizer, LearnedPath, SelmClassifier, cli
from gendiffclf.featurizers import EgemapsFeaturizer
from gendiffclf.parameters import presets
from gendiffclf.speech.model_folder import load_model
from gendiffclf.speech.names import PRESETS, SYSTEMS
from gendiffclf.speech.system_pipelines import LAYERS, SMALL, system_pipeline

from .conftest import PATTERN, run

pytest.importorskip("accelerate")


@pytest.fixture
def short(monkeypatch):
    """Systems on log-mel frames that fit in a blink."""
    for name, changes in (("selm", {"n_prefix": 2}), ("emosphere", {"width": 8})):
        monkeypatch.setitem(SMALL, name, {**SMALL[name], "n_epochs": 1, **changes})


def test_names_in_options_are_those_of_the_code():
    assert SYSTEMS[1:] == tuple(LAYERS)
    assert tuple(presets()) == PRESETS


def test_the_papers_recipe_from_clips_to_measures(clip_folder, tmp_path, capsys):
    words = ["--preset", "gen-ser"]
    for setting in ("width=32", "max_steps=20", "path__time_width=16", "path__n_steps=4"):
        words += ["--set", f"classifier__{setting}"]
    model = tmp_path / "model"
    assert run("train", clip_folder, *PATTERN, *words, "--output", model) == 0
    classifier = load_model(model)[-1]
    assert (classifier.depth, classifier.n_iter_, classifier.kernel_) == (4, 20, None)
    expected = LearnedPath(solver="euler", n_steps=4, time_width=16)
    assert classifier.path_.get_params() == expected.get_params()
    assert run("evaluate", clip_folder, *PATTERN, *words, "--n-folds", "2") == 0
    assert "UAR" in capsys.readouterr().out


@pytest.mark.usefixtures("short")
def test_selm_from_clips_to_measures(clip_folder, tmp_path, capsys):
    model = tmp_path / "model"
    assert run("train", clip_folder, *PATTERN, "--system", "selm", "--output", model) == 0
    assert "Trained on 18 clips of heed, hod, whod" in capsys.readouterr().out
    assert run("predict", model, clip_folder / "m01", "--output", tmp_path / "p.csv") == 0
    found = pd.read_csv(tmp_path / "p.csv")
    assert len(found) == 3
    assert found[["p_heed", "p_hod", "p_whod"]].sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    words = ["--system", "selm", "--n-folds", "2", "--predictions", tmp_path / "folds.csv"]
    assert run("evaluate", clip_folder, *PATTERN, *words) == 0
    assert "UAR" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "folds.csv")) == 18


@pytest.fixture
def ratings(clip_folder, tmp_path):
    """A table of clips with ratings from 1 to 7."""
    clips = sorted(clip_folder.rglob("*.wav"))
    table = pd.DataFrame({"path": [str(clip) for clip in clips], "speaker": [clip.parent.name for clip in clips]})
    table = table.assign(arousal=[1 + i % 7 for i in range(18)], valence=[7 - i % 7 for i in range(18)])
    table = table.assign(dominance=[2 + i % 5 for i in range(18)])
    table.to_csv(tmp_path / "ratings.csv", index=False)
    return tmp_path / "ratings.csv"


@pytest.mark.usefixtures("short")
def test_emosphere_from_ratings_to_measures(ratings, clip_folder, tmp_path, capsys):
    model, options = tmp_path / "model", ["--system", "emosphere", "--value-range", 1, 7]
    assert run("train", ratings, *options, "--output", model) == 0
    assert "Trained on 18 clips rated for arousal, valence, dominance" in capsys.readouterr().out
    assert run("predict", model, clip_folder / "m01", "--output", tmp_path / "p.csv") == 0
    found = pd.read_csv(tmp_path / "p.csv")
    assert found[["arousal", "valence", "dominance"]].stack().between(1, 7).all()
    files = ["--output", tmp_path / "e.json", "--predictions", tmp_path / "e.csv"]
    assert run("evaluate", ratings, *options, "--n-folds", 2, *files) == 0
    assert "18 clips, 6 voices, 2 folds" in capsys.readouterr().out
    stored = json.loads((tmp_path / "e.json").read_text())
    assert set(stored["ccc"]) == {"arousal", "valence", "dominance", "mean"}
    assert stored["about"]["command"].startswith("gendiffclf evaluate ")
    assert stored["about"]["audit"]["n_clips"] == 18
    assert len(pd.read_csv(tmp_path / "e.csv")) == 18
    with (
        pytest.warns(UserWarning, match="6 of 6 speakers are also in the model"),
        pytest.warns(UserWarning, match="18 of 18 clips that are in the model's training data"),
    ):
        assert run("evaluate", ratings, "--model", model) == 0
    assert "18 clips, 6 voices, 1 fold:" in capsys.readouterr().out


@pytest.mark.usefixtures("short")
def test_broken_clips_are_no_training_clips(ratings, tmp_path, capsys):
    table = pd.read_csv(ratings)
    table.loc[0, "path"] = "nowhere.wav"
    table.to_csv(ratings, index=False)
    options = ["--system", "emosphere", "--value-range", 1, 7, "--output", tmp_path / "model"]
    with pytest.warns(UserWarning, match="Got 1 of 18 clips that are broken"):
        assert run("train", ratings, *options) == 0
    assert "Trained on 17 clips rated for arousal" in capsys.readouterr().out
    about = json.loads((tmp_path / "model" / "model.json").read_text())["about"]
    assert (about["target"], about["n_clips"], about["n_broken"]) == ("ratings", 17, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--system", "emosphere"],
            "Got --system emosphere without --value-range, expected the ends of the rating scale",
        ),
        (
            ["--system", "selm", "--value-range", "1", "7"],
            "Got --value-range with --system selm, expected --system emosphere",
        ),
        (["--tune-encoder"], "Got --tune-encoder with --system gen-ser, expected --system emosphere"),
        (["--system", "selm", "--preset", "gen-ser"], "Got --preset with --system selm, expected --system gen-ser"),
        (["--system", "selm", "--normalize", "speaker"], "Got --normalize with --system selm, which standardises"),
        (
            ["--system", "emosphere", "--value-range", "1", "7", "--tune-encoder"],
            "Got --tune-encoder without --encoder, expected both",
        ),
        (
            ["--system", "emosphere", "--value-range", "1", "7", "--report", "r.html"],
            "Got --report or --group for ratings, expected labels",
        ),
        (
            ["--system", "emosphere", "--value-range", "1", "7", "--set", "regressor__pooling=none"],
            "Got pooling='none', expected one of",
        ),
    ],
)
def test_wrong_words_say_so(words, message, ratings, encoded, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        cli.main(["evaluate", str(ratings), *words])
    assert caught.value.code == 1
    assert message in capsys.readouterr().err
    assert not encoded


def test_pipelines_of_encoders_have_the_sizes_of_the_papers():
    selm = system_pipeline("selm", HubertFeaturizer("x"))
    assert (selm[0].pooling, selm[0].layers) == ("none", LAYERS["selm"])
    assert selm[1].language_model == SelmClassifier().language_model
    emosphere = system_pipeline("emosphere", HubertFeaturizer("x"), value_range=(1, 7))
    assert emosphere[1].width == EmoSphereRegressor().width
    tuned = system_pipeline("emosphere", HubertFeaturizer("x"), value_range=(1, 7), tuned_encoder="x")
    assert (len(tuned), tuned[0].tune_encoder, tuned[0].encoder) == (1, True, "x")
    small = system_pipeline("emosphere", FbankFeaturizer(), value_range=(1, 7), width=8)[1]
    assert (small.width, small.dropout) == (8, SMALL["emosphere"]["dropout"])
    with pytest.raises(ValueError, match="with SELM, expected None: its encoder is frozen"):
        system_pipeline("selm", FbankFeaturizer(), tuned_encoder="x")
    with pytest.raises(ValueError, match="Got a featuriser of type EgemapsFeaturizer for selm"):
        system_pipeline("selm", EgemapsFeaturizer())
    with pytest.raises(ValueError, match="Got system='other', expected one of 'emosphere', 'selm'"):
        system_pipeline("other", FbankFeaturizer())
