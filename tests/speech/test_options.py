"""Outputs of the commands, which replace neither what is read nor each other."""

import shutil
from pathlib import Path

import pytest

from gendiffclf.speech.options import check_outputs

from .conftest import PATTERN, run


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working folder, with a table whose clips do not exist."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.csv").write_text("path,label,speaker\n1.wav,angry,anna\n2.wav,calm,ben\n")
    (tmp_path / "link.csv").symlink_to("c.csv")
    return tmp_path


READ = "a file that is also read, expected a file of its own; choose another name."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("audit c.csv --output c.csv", f"Got --output c.csv, {READ}"),
        ("audit c.csv --output link.csv", f"Got --output link.csv, {READ}"),
        ("audit link.csv --output new/../c.csv", READ),
        ("features c.csv --output c.csv", READ),
        ("predict model clips c.csv --output c.csv", READ),
        ("timeline model c.csv --output c.csv", READ),
        ("few-shot --train c.csv --test d.csv --output c.csv", READ),
        ("few-shot --train d.csv --test c.csv --output c.csv", READ),
        ("compare c.csv d.csv --output c.csv", READ),
        ("compare d.csv c.csv --output c.csv", READ),
        ("evaluate c.csv --output c.csv", READ),
        ("evaluate c.csv --predictions c.csv", f"Got --predictions c.csv, {READ}"),
        ("evaluate c.csv --report c.csv", f"Got --report c.csv, {READ}"),
        (
            "evaluate c.csv --output same --predictions same",
            "Got --predictions same, a file that is also written by --output, expected a file of its own",
        ),
        ("evaluate c.csv --predictions same --report same", "Got --report same, a file that is also written by --pred"),
        ("evaluate c.csv --output p --report r.html --pictures p", "Got --output p, which is a folder, expected"),
    ],
)
def test_what_is_read_or_written_is_not_replaced(words, message, place, capsys):
    before = (place / "c.csv").read_text()
    with pytest.raises(SystemExit) as stop:
        run(*words.split())
    assert stop.value.code == 1
    assert message in capsys.readouterr().err
    assert (place / "c.csv").read_text() == before


@pytest.mark.usefixtures("quick")
def test_a_model_does_not_replace_the_folder_of_its_table(clip_folder, tmp_path, capsys):
    model = tmp_path / "model"
    assert run("train", clip_folder, *PATTERN, "--output", model) == 0
    table = shutil.copytree(clip_folder, model / "clips")
    with pytest.raises(SystemExit):
        run("train", table, *PATTERN, "--output", model, "--overwrite")
    assert f"would be replaced together with {table}, which is read, expected another one" in capsys.readouterr().err


def test_other_files_and_streams_may_be_written(place):
    (place / "old.json").write_text("old")
    assert run("audit", "c.csv", "--table-only", "--output", "old.json") == 0
    assert "n_clips" in (place / "old.json").read_text()
    null = Path("/dev/null")
    check_outputs(["c.csv"], ("--output", null), ("--predictions", null))
