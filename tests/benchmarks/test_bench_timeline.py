"""The benchmark of `timeline`: recordings of the length asked for, and what a record says."""

import json
import re

import numpy as np
import pytest

from benchmarks import __main__ as commands
from benchmarks import timeline
from benchmarks.render import render

soundfile = pytest.importorskip("soundfile")


@pytest.fixture
def clips(tmp_path):
    """A folder like that of RAVDESS: three actors, two emotions."""
    rng = np.random.default_rng(0)
    for actor in range(1, 4):
        for emotion, pitch in {"05": 400, "04": 100}.items():
            for take in ("01", "02"):
                path = tmp_path / f"Actor_{actor:02}" / f"03-01-{emotion}-01-01-{take}-{actor:02}.wav"
                path.parent.mkdir(exist_ok=True)
                time = np.arange(8000) / timeline.RATE
                tone = np.sin(2 * np.pi * (pitch + actor) * time) + 0.1 * rng.normal(size=8000)
                soundfile.write(path, (0.2 * tone).astype(np.float32), timeline.RATE)
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*speaker")
def test_a_record_of_both_lengths(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(timeline, "LEARNT", 2)
    output = tmp_path / "timeline.json"
    words = ["--minutes", "0.1", "0.2", "--rounds", "2", "--output", str(output)]
    assert commands.main(["timeline", "--data-dir", str(clips), *words]) == 0
    record = json.loads(output.read_text())
    assert [[run["duration"] for run in part["rounds"]] for part in record["recordings"]] == [[6, 6], [12, 12]]
    first = record["recordings"][0]
    assert first["summary"]["share"] == pytest.approx(first["summary"]["seconds"] / 6)
    made = render("long-recordings", timeline.context(tmp_path))
    assert capsys.readouterr().out.splitlines()[-1] in made
    assert re.search("0.1 minutes take .* 0.2 minutes take .* medians of 2 runs", made)


def test_wrong_rounds(clips, capsys):
    assert commands.main(["timeline", "--data-dir", str(clips), "--rounds", "0"]) == 2
    assert "Got --rounds 0, expected an integer >= 1" in capsys.readouterr().err
