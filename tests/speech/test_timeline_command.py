"""`timeline`, `--normalize`, `--encoder`, and how commands end."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from featurizers.conftest import save_checkpoint, tiny_config

from gendiffclf import cli

from .test_commands import PATTERN, run

pytestmark = pytest.mark.usefixtures("quick")


def test_a_recording_over_time(clip_folder, vowels, tmp_path, capsys):
    run("train", clip_folder, *PATTERN, "--output", tmp_path / "model")
    wave = np.concatenate([soundfile.read(path)[0] for path in vowels["path"]])
    soundfile.write(tmp_path / "long.wav", wave, 16000)
    capsys.readouterr()
    words = ["--window", "0.5", "--hop", "0.25", "--min-duration", "0.5", "--output", tmp_path / "out" / "t.csv"]
    assert cli.main([*map(str, ["timeline", tmp_path / "model", tmp_path / "long.wav", *words]), "--all-sound"]) == 0
    out, err = capsys.readouterr()
    assert "s of recording in" in err
    assert any(label in out for label in ("heed", "hod", "whod"))
    table = pd.read_csv(tmp_path / "out" / "t.csv")
    np.testing.assert_allclose(table.filter(like="p_").sum(axis=1), 1, rtol=1e-4)
    with pytest.raises(SystemExit):
        run("timeline", tmp_path / "nomodel", tmp_path / "long.wav", "--output", tmp_path / "t.xlsx")
    assert "expected a name ending in one of .csv" in capsys.readouterr().err


def test_a_timeline_has_no_options_of_the_cache(capsys):
    with pytest.raises(SystemExit):
        cli.main(["timeline", "--help"])
    out = capsys.readouterr().out
    assert "cache" not in out
    assert "--quiet" in out
    assert "do not print run time and memory" in " ".join(out.split())


def test_normalisation_by_speaker(clip_folder, tmp_path, capsys):
    words = [*PATTERN, "--normalize", "speaker"]
    measures = ["--set", "normalizer__n_clips=2", "--output", tmp_path / "measures.json"]
    assert run("evaluate", clip_folder, *words, "--n-folds", "2", *measures) == 0
    pipeline = json.loads((tmp_path / "measures.json").read_text())["about"]["pipeline"]
    assert pipeline[1]["parameters"] == {"n_clips": 2}
    assert run("train", clip_folder, *words, "--output", tmp_path / "model") == 0
    assert run("predict", tmp_path / "model", clip_folder, *PATTERN, "--output", tmp_path / "p.csv") == 0
    assert pd.read_csv(tmp_path / "p.csv")["error"].isna().all()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run("predict", tmp_path / "model", clip_folder)
    assert "expected 'speaker' among them, since features are normalised by speaker" in capsys.readouterr().err


def test_evaluation_of_a_model_refuses_what_it_would_ignore(clip_folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("evaluate", clip_folder, *PATTERN, "--model", tmp_path, "--n-folds=3", "--set", "classifier__depth=2")
    assert "Got --set, --n-folds with --model, expected --model alone" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("evaluate", clip_folder, *PATTERN, "--model", tmp_path, "--norm", "speaker")
    assert "unrecognized arguments: --norm speaker" in capsys.readouterr().err


def test_the_encoder_of_a_model_may_move(clip_folder, tmp_path, capsys):
    encoder = save_checkpoint(tmp_path / "encoder", tiny_config("hubert", "layer"))
    words = ["--encoder", encoder, "--device", "cpu", "--output", tmp_path / "model"]
    assert run("train", clip_folder, *PATTERN, *words, "--set", "featurizer__layers=-1") == 0
    encoder.rename(tmp_path / "moved")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run("predict", tmp_path / "model", clip_folder)
    assert "whose speech encoder is neither in" in capsys.readouterr().err
    words = ["--encoder", tmp_path / "moved", "--device", "cpu", "--output", tmp_path / "p.csv"]
    assert run("predict", tmp_path / "model", clip_folder, *words) == 0


def test_an_impossible_place_for_a_model_is_said_before_any_work(clip_folder, encoded, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        run("train", clip_folder, *PATTERN, "--output", tmp_path / "file" / "model")
    assert "in a folder without write access" in capsys.readouterr().err
    assert not encoded


def test_features_are_there_whole_or_not_at_all(clip_folder, tmp_path, monkeypatch):
    def broken(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    (tmp_path / "f.npz").write_bytes(b"before")
    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(SystemExit):
        run("features", clip_folder, *PATTERN, "--output", tmp_path / "f.npz")
    assert (tmp_path / "f.npz").read_bytes() == b"before"
    assert not list(tmp_path.glob(".f.npz*"))


def test_a_reader_that_leaves_ends_the_command_quietly(clip_folder):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gendiffclf", "audit", str(clip_folder), *PATTERN]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""
