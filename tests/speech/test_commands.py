"""The command line from clips to measures, killed and resumed, with broken clips."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gendiffclf import cli
from gendiffclf.featurizers import FEATURIZERS, FeatureCache
from gendiffclf.featurizers.acoustic import AcousticEncoder
from gendiffclf.speech import options
from gendiffclf.training import loop

from .conftest import PATTERN, run

pytestmark = pytest.mark.usefixtures("quick")


def test_names_in_options_are_those_of_the_code():
    assert set(options.FEATURIZER_NAMES) == set(FEATURIZERS) - {"function"}  # which no word can give


def test_from_clips_to_measures(clip_folder, cache_folder, encoded, tmp_path, capsys):
    model = tmp_path / "model"
    assert run("features", clip_folder, *PATTERN, "--output", tmp_path / "features.npz") == 0
    assert "18 of 18 clips have features of shape (249,)" in capsys.readouterr().out
    with np.load(tmp_path / "features.npz") as stored:  # nothing pickled
        assert stored["features"].shape == (18, 249)
        assert stored["label"][0] == "heed"
    assert len(FeatureCache(cache_folder)) == 18

    assert run("train", clip_folder, *PATTERN, "--output", model) == 0
    assert "Trained on 18 clips of heed, hod, whod" in capsys.readouterr().out
    assert json.loads((model / "model.json").read_text())["about"]["n_speakers"] == 6

    assert (
        run("predict", model, clip_folder / "m01", clip_folder / "f02" / "hod_0.wav", "--output", tmp_path / "p.csv")
        == 0
    )
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"Wrote predictions to {tmp_path / 'p.csv'}.\n")
    found = pd.read_csv(tmp_path / "p.csv")
    assert len(found) == 4
    assert {"path", "predicted", "p_heed", "error"} <= set(found.columns)

    measured = tmp_path / "new" / "measures.json"
    words = ["--n-folds", "2", "--output", measured, "--predictions", tmp_path / "other" / "folds.csv"]
    assert run("evaluate", clip_folder, *PATTERN, *words) == 0
    out, err = capsys.readouterr()
    assert "UAR" in out
    assert err == f"Wrote measures to {measured}, predictions to {tmp_path / 'other' / 'folds.csv'}.\n"
    assert len(json.loads(measured.read_text())["folds"]) == 2
    assert len(pd.read_csv(tmp_path / "other" / "folds.csv")) == 18
    with (
        pytest.warns(UserWarning, match="6 of 6 speakers are also in the model's training data"),
        pytest.warns(UserWarning, match="Got 18 of 18 clips that are in the model's training data"),
    ):
        assert run("evaluate", clip_folder, *PATTERN, "--model", model) == 0
    assert "18 clips in 1 fold." in capsys.readouterr().out
    assert sum(encoded) == 18  # by the first command


def test_where_the_report_is_is_said(clip_folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    report, pictures = tmp_path / "report.html", tmp_path / "pictures"
    words = ["--n-folds", "2", "--report", report, "--pictures", pictures]
    assert run("evaluate", clip_folder, *PATTERN, *words) == 0
    assert capsys.readouterr().err == f"Wrote report to {report}, pictures to {pictures}.\n"
    assert report.exists()


def test_frames_are_stored_without_pickles(clip_folder, tmp_path, capsys):
    framed = ["--featurizer", "fbank", "--set", "featurizer__pooling=none", "--output", tmp_path / "frames.npz"]
    assert run("features", clip_folder, *PATTERN, *framed) == 0
    assert "18 of 18 clips have frames of shape (120,)" in capsys.readouterr().out
    with np.load(tmp_path / "frames.npz") as stored:
        assert stored["features"].shape == (stored["n_frames"].sum(), 120)
        assert len(stored["n_frames"]) == 18


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (
            "evaluate",
            ["--output", "{}/file/x.json"],
            "/file/x.json' in a folder without write access (it cannot be created: ",
        ),
        ("evaluate", ["--predictions", "{}/file/x.csv"], "Got --predictions"),
        ("evaluate", ["--output", "{}"], "which is a folder, expected the path of a file"),
        ("evaluate", ["--report", "{}"], "which is a folder, expected the path of a file"),
        (
            "evaluate",
            ["--report", "{}/r.html", "--pictures", "{}/file"],
            "which is a file, expected the path of a folder",
        ),
        ("evaluate", ["--report", "{}/r.html", "--pictures", "{}/file/x"], "in a folder without write access"),
        ("features", ["--output", "{}/file/x.npz"], "without write access"),
        ("predict", ["--output", "{}/file/x.csv"], "without write access"),
        (
            "predict",
            ["--output", "{}/out.json"],
            "out.json, expected a name ending in .csv or .jsonl; use --format",
        ),
    ],
)
def test_outputs_are_checked_before_the_work(command, words, message, clip_folder, encoded, tmp_path, capsys):
    (tmp_path / "file").touch()
    model = ["nomodel"] if command == "predict" else []
    with pytest.raises(SystemExit):
        run(command, *model, clip_folder, *PATTERN, *(word.format(tmp_path) for word in words))
    assert message in capsys.readouterr().err
    assert not encoded


@pytest.mark.parametrize(
    "words", [("evaluate", "--report", "{}/r.html"), ("timeline", "{}/model", "--output", "{}/t.png")]
)
def test_pictures_without_matplotlib_are_refused_before_the_work(
    words, clip_folder, encoded, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    command, *rest = (word.format(tmp_path) for word in words)
    with pytest.raises(SystemExit):
        run(command, *rest, clip_folder)
    assert "needs the package 'matplotlib', which is not installed" in capsys.readouterr().err
    assert not encoded


def test_format_allows_any_ending(clip_folder, tmp_path):
    run("train", clip_folder, *PATTERN, "--output", tmp_path / "model")
    words = ["--output", tmp_path / "out.json", "--format", "jsonl"]
    assert run("predict", tmp_path / "model", clip_folder / "m01", *words) == 0
    assert len((tmp_path / "out.json").read_text().splitlines()) == 3


def test_json_lines_on_standard_output(clip_folder, broken, tmp_path, capsys):
    run("train", clip_folder, *PATTERN, "--output", tmp_path / "model")
    capsys.readouterr()
    with pytest.warns(UserWarning, match="1 of 4 clips that are broken"):
        assert run("predict", tmp_path / "model", broken, clip_folder / "m01", "--format", "jsonl") == 0
    out = capsys.readouterr().out
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["error"] is None for row in rows] == [False, True, True, True]
    assert set(rows[1]["probabilities"]) == {"heed", "hod", "whod"}


def test_clips_to_predict_may_be_missing_or_without_label(clip_folder, tmp_path, capsys):
    model, good = tmp_path / "model", clip_folder / "m01" / "heed_0.wav"
    run("train", clip_folder, *PATTERN, "--output", model)
    table = tmp_path / "clips.csv"
    table.write_text(f"path,label\n{good},\n{good},heed\n")
    capsys.readouterr()
    with pytest.warns(UserWarning, match="1 of 4 clips that are broken"):
        assert run("predict", model, good, tmp_path / "nothere.wav", table, "--format", "jsonl") == 0
    out = capsys.readouterr().out
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["error"] is None for row in rows] == [True, False, True, True]
    assert [row["label"] for row in rows] == [None, None, None, "heed"]
    assert rows[1]["path"] == str(tmp_path / "nothere.wav")
    assert run("predict", model, good, *PATTERN, "--target", "label", "--format", "jsonl") == 0
    assert json.loads(capsys.readouterr().out)["error"] is None
    for missing in ("nowhere", "nothere.csv"):
        with pytest.raises(SystemExit):
            run("predict", model, good, tmp_path / missing)
        assert "which does not exist" in capsys.readouterr().err


def test_a_prediction_without_any_clip_that_can_be_read_fails(clip_folder, broken, tmp_path, capsys):
    model, output = tmp_path / "model", tmp_path / "out.csv"
    run("train", clip_folder, *PATTERN, "--output", model)
    for paths, message in (
        (
            [tmp_path / "nothere.wav"],
            "Got no prediction for 1 clip (.*nothere.wav: there is no such file), expected .*, with / between folders",
        ),
        (
            [broken, broken],
            "Got no prediction for 2 clips (.*broken.wav: it cannot be read as audio.*), expected at least one",
        ),
    ):
        with pytest.warns(UserWarning, match="clips that are broken"), pytest.raises(SystemExit) as stop:
            run("predict", model, *paths, "--output", output)
        assert stop.value.code == 1
        assert re.search(message.replace("(", r"\(").replace(")", r"\)"), capsys.readouterr().err)
        assert len(pd.read_csv(output)) == len(paths)  # with the reasons


def test_broken_clips_do_not_stop_the_others(clip_folder, tmp_path, capsys):
    (clip_folder / "m01" / "heed_0.wav").write_bytes(b"this is no audio")
    assert run("features", clip_folder, *PATTERN) == 0
    out = capsys.readouterr().out
    assert "17 of 18 clips have features" in out
    assert "heed_0.wav: it cannot be read as audio" in out
    with pytest.warns(UserWarning, match="Got 1 of 18 clips that are broken"):
        assert run("train", clip_folder, *PATTERN, "--output", tmp_path / "model") == 0
    assert json.loads((tmp_path / "model" / "model.json").read_text())["about"]["n_broken"] == 1


def test_a_run_that_is_stopped_goes_on(clip_folder, encoded, monkeypatch, capsys):
    counted = AcousticEncoder.encode
    monkeypatch.setattr(AcousticEncoder, "batch_seconds", 1.0)

    def stopped(self, waves):
        if sum(encoded) >= 9:
            raise KeyboardInterrupt
        return counted(self, waves)

    monkeypatch.setattr(AcousticEncoder, "encode", stopped)
    assert run("features", clip_folder, *PATTERN) == 130
    assert "gendiffclf features: interrupted" in capsys.readouterr().err
    before = sum(encoded)
    assert 9 <= before < 18
    monkeypatch.setattr(AcousticEncoder, "encode", counted)
    assert run("features", clip_folder, *PATTERN) == 0
    assert sum(encoded) == 18
    assert run("evaluate", clip_folder, *PATTERN, "--n-folds", "2") == 0
    assert sum(encoded) == 18


@pytest.mark.parametrize("command", ["evaluate", "train"])
@pytest.mark.filterwarnings("ignore:Got an interrupt;")
def test_an_interrupt_of_the_training_ends_the_command(command, clip_folder, monkeypatch, tmp_path, capsys):
    update, steps = loop._Learner.update, []

    def interrupted(self, step):
        steps.append(step)
        if len(steps) == 15:  # which `fit` takes as an early end
            signal.raise_signal(signal.SIGINT)
        return update(self, step)

    monkeypatch.setattr(loop._Learner, "update", interrupted)
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # shells make programs in the background ignore it
    outputs = [
        "--output",
        tmp_path / "out",
        *(["--predictions", tmp_path / "out.csv"] if command == "evaluate" else []),
    ]
    try:
        assert run(command, clip_folder, *PATTERN, *outputs) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"gendiffclf {command}: interrupted" in err
    assert len(steps) == 15
    assert not list(tmp_path.glob("out*"))


def test_an_interrupt_during_an_import_ends_the_command(clip_folder, monkeypatch, capsys):
    def imported(cause):
        def encode(self, waves):
            raise RuntimeError("Error calling __set_name__") from cause

        return encode

    monkeypatch.setattr(AcousticEncoder, "encode", imported(KeyboardInterrupt()))
    assert run("features", clip_folder, *PATTERN) == 130
    assert "gendiffclf features: interrupted" in capsys.readouterr().err
    monkeypatch.setattr(AcousticEncoder, "encode", imported(ValueError()))
    with pytest.raises(RuntimeError, match="__set_name__"):
        run("features", clip_folder, *PATTERN)


def test_a_run_that_is_killed_goes_on(clip_folder, cache_folder, encoded):
    program = (
        "import os, sys\n"
        "from gendiffclf import cli\n"
        "from gendiffclf.featurizers import cache\n"
        "from gendiffclf.featurizers.acoustic import AcousticEncoder\n"
        "AcousticEncoder.batch_seconds = 1.0\n"
        "put, kept = cache.FeatureCache.put, []\n"
        "def killed(self, *entry):\n"
        "    put(self, *entry)\n"
        "    kept.append(entry)\n"
        "    if len(kept) == 7:\n"
        "        os.kill(os.getpid(), 9)\n"
        "cache.FeatureCache.put = killed\n"
        "cli.main(sys.argv[1:])\n"
    )
    words = ["features", str(clip_folder), *PATTERN, "--quiet"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, check=False)
    assert done.returncode == -9
    assert len(FeatureCache(cache_folder)) == 7
    assert cli.main(words) == 0
    assert sum(encoded) == 11


def test_settings_reach_their_step(clip_folder, tmp_path):
    words = ["--featurizer", "fbank", "--set", "featurizer__n_mels=13", "--set", "featurizer__pooling=mean"]
    words += ["--set", "classifier__depth=2"]
    assert run("train", clip_folder, *PATTERN, *words, "--seed", "3", "--output", tmp_path / "model") == 0
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    assert description["featurizer"]["parameters"]["n_mels"] == 13
    assert description["featurizer"]["parameters"]["pooling"] == "mean"


def test_an_encoder_by_its_folder(clip_folder, tmp_path, capsys):
    from featurizers.conftest import save_checkpoint, tiny_config

    encoder = save_checkpoint(tmp_path / "encoder", tiny_config("hubert", "layer"))
    assert run("features", clip_folder, "--encoder", encoder, "--device", "cpu", "--no-cache") == 0
    assert "features of shape (4, 32)" in capsys.readouterr().out
    words = ["--encoder", encoder, "--device", "cpu", "--set", "featurizer__layers=-1"]
    assert run("train", clip_folder, *PATTERN, *words, "--output", tmp_path / "model") == 0
    assert run("predict", tmp_path / "model", clip_folder / "m01", "--device", "cpu") == 0


def test_known_layouts_and_targets(vowels, tmp_path, capsys):
    folder = tmp_path / "emodb"
    folder.mkdir()
    for i, speaker in enumerate(("03", "10", "11", "08", "09", "13")):
        for j, emotion in enumerate("WN"):
            (folder / f"{speaker}a01{emotion}a.wav").write_bytes(Path(vowels["path"][i * 3 + j]).read_bytes())
    (folder / "notes.wav").touch()
    with pytest.warns(UserWarning, match="Got 1 of 13 files"):
        assert run("evaluate", folder, "--layout", "emodb", "--target", "gender", "--n-folds", "3", "--skip-unfit") == 0
    assert "female" in capsys.readouterr().out


def test_the_demo(capsys):
    assert run("demo-speech", "--speakers", "4", "--takes", "1") == 0
    assert "40 synthesised clips of 4 speakers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["features", "{}", "--set", "n_mels=3"], "Got --set n_mels=3, expected step__name=value"),
        (["features", "{}/nowhere"], "which does not exist"),
        (["train", "{}", "--output", "{}"], "which exists, expected a new folder"),
        (["train", "{}", "--output", "{}/new"], "expected 'label' among them"),
        (["predict", "{}", "{}"], "without a readable model.json"),
        (
            ["audit", "{}/clips.csv", "--layout", "emodb"],
            "clips.csv' with a layout or pattern, expected a folder; leave",
        ),
        (["evaluate", "{}/clips.csv", *PATTERN], "clips.csv' with a layout or pattern, expected a folder; leave out"),
        (["evaluate", "{}", "--pattern", "{label}/*"], "there is no column 'speaker'"),
        (
            ["evaluate", "{}", *PATTERN, "--set", "classifier__estimator=kernl"],
            "Got estimator='kernl', expected one of",
        ),
        (["train", "{}", *PATTERN, "--set", "classifier__depth=0", "--output", "{}/new"], "Got depth=0, expected"),
        (
            ["evaluate", "{}", *PATTERN, "--featurizer", "fbank", "--set", "featurizer__pooling=none"],
            "Got pooling='none' with GenerativeTransportClassifier, expected one vector per clip and not its frames",
        ),
        (["evaluate", "{}", *PATTERN, "--set", "classifier__deep=2"], "Invalid parameter 'deep' for estimator Gen"),
    ],
)
def test_wrong_words_are_one_line_before_the_work(words, message, clip_folder, encoded, capsys):
    (clip_folder / "clips.csv").write_text("path,label,speaker\nm01/heed_0.wav,heed,m01\n")
    with pytest.raises(SystemExit) as stop:
        run(*(word.replace("{}", str(clip_folder)) for word in words))
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not encoded


def test_a_number_of_folds_is_another_option(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", "clips", "--folds", "20"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "argument --folds: Got 20, expected a kind of folds (speaker, " in error
    assert "their number is --n-folds 20." in error


def test_warnings_are_lines_without_source(clip_folder, tmp_path):
    (clip_folder / "m01" / "heed_0.wav").write_bytes(b"this is no audio")
    words = ["evaluate", str(clip_folder), *PATTERN, "--n-folds", "2", "--quiet", "--set", "classifier__max_steps=1"]
    done = subprocess.run(
        [sys.executable, "-m", "gendiffclf", *words, "--set", "classifier__n_members=2"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.splitlines() == [line for line in done.stderr.splitlines() if line.startswith("warning: Got 1")]
