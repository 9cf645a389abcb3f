"""The pages about speech: what they show runs, on clips that are synthesised."""

import re
import shlex
from pathlib import Path

import pytest
import soundfile

from benchmarks.story import PICTURES, run_code
from gendiffclf import cli
from gendiffclf.speech import LAYOUTS, synthesize_vowel
from gendiffclf.speech.synthesis import RATE

DOCS = Path(__file__).parents[2] / "docs"
# Arousal by pitch, level and pace, as far as a vowel can have it.
MANNERS = {
    "angry": {"pitch": 1.5, "level": 0.9, "seconds": 0.2, "breath": 0.1},
    "sad": {"pitch": 0.8, "level": 0.1, "seconds": 0.35, "breath": 0.01},
    "happy": {"pitch": 1.9, "level": 0.5, "seconds": 0.2, "breath": 0.001},
}
VOWELS = ("heed", "hod")
BROKEN = "ignore:Got 1 of . clips that are broken .*they have no prediction"  # the pages try one


def write(path, vowel, gender, seed, **manner):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, synthesize_vowel(vowel, gender, random_state=seed, **manner), RATE)


@pytest.fixture
def corpora(tmp_path, monkeypatch):
    """The folders that the pages name, in the working folder."""
    monkeypatch.chdir(tmp_path)
    rows = ["path,label,speaker"]
    for actor in range(1, 11):
        gender, tract = ("female", "male")[actor % 2], 0.95 + 0.01 * actor
        for emotion, manner in MANNERS.items():
            code = {"angry": "05", "sad": "04", "happy": "03"}[emotion]
            for i, vowel in enumerate(VOWELS):
                name = f"RAVDESS/Actor_{actor:02}/03-01-{code}-01-0{i + 1}-01-{actor:02}.wav"
                write(Path(name), vowel, gender, actor, tract=tract, **manner)
                rows.append(f"{name},{emotion},{actor}")
    for speaker, gender in {"03": "male", "08": "female", "10": "male", "09": "female"}.items():
        for letter, emotion in {"W": "angry", "T": "sad"}.items():
            write(Path(f"EmoDB/wav/{speaker}a01{letter}a.wav"), "hud", gender, int(speaker), **MANNERS[emotion])
    for i in range(3):
        write(Path(f"clips/s{i}/angry_1.wav"), "hod", "male", i, **MANNERS["angry"])
        write(Path(f"recordings/{i}.wav"), "hod", "female", i)
    Path("recordings/broken.wav").write_bytes(b"this is no audio")
    Path("clips.csv").write_text("\n".join(rows) + "\n")
    rated, counted = ["path,speaker,anna,ben,cleo"], ["path,speaker,angry,happy,sad"]
    for i, row in enumerate(rows[1:]):
        path, label, speaker = row.split(",")
        votes = [label, label, list(MANNERS)[i % 3]]
        rated.append(f"{path},{speaker},{','.join(votes)}")
        counted.append(f"{path},{speaker},{votes.count('angry')},{votes.count('happy')},{votes.count('sad')}")
    Path("rated.csv").write_text("\n".join(rated) + "\n")
    Path("counted.csv").write_text("\n".join(counted) + "\n")


def blocks(page, language):
    found = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found


@pytest.mark.usefixtures("quick", "corpora")
@pytest.mark.parametrize("page", ["speech-emotion.md", "gender.md", "speech-votes.md"])
@pytest.mark.filterwarnings(BROKEN)
def test_examples_run(page, capsys):
    text = (DOCS / page).read_text(encoding="utf-8")
    names = run_code("".join(part for part in text.split("\n## ") if "resemblyzer" not in part))
    assert names["evaluation"].shared_speakers == ()
    assert len(names["evaluation"].failures) == 0
    out = capsys.readouterr().out
    assert "UAR" in out
    if page == "speech-votes.md":
        assert names["evaluation"].votes.loc["jensen_shannon", "value"] > 0
        assert names["fitted"].classes_.tolist() == ["angry", "happy", "sad"]
    if page == "speech-emotion.md":
        assert names["predictions"]["error"].notna().sum() == 1
        assert set(names["found"].segments["label"]) <= {"heed", "hod", "hud", "whod"}
        for line in "".join(blocks(page, "text")).splitlines():
            assert line in out
        for written, name in PICTURES.items():
            assert Path(written).stat().st_size > 0
            assert f"(img/{name})" in (DOCS / page).read_text(encoding="utf-8")
            assert (DOCS / "img" / name).is_file()


@pytest.mark.usefixtures("quick", "corpora")
@pytest.mark.filterwarnings("ignore:Please import `binary_dilation`:DeprecationWarning")  # the package's own import
def test_the_pretrained_encoder_runs(capsys):
    pytest.importorskip("resemblyzer")
    corpus, *parts = (DOCS / "gender.md").read_text(encoding="utf-8").split("\n## ")[1:]
    names = run_code(corpus + "".join(part for part in parts if "resemblyzer" in part))
    assert names["featurizer"].transform(names["corpus"]["path"][:2]).shape == (2, 256)
    assert "UAR" in capsys.readouterr().out


@pytest.mark.usefixtures("quick", "corpora")
@pytest.mark.parametrize("page", ["speech-emotion.md", "gender.md", "speech-votes.md"])
@pytest.mark.filterwarnings("ignore:Got a corpus in which 4 of 4 speakers")  # numbers in both corpora
@pytest.mark.filterwarnings(BROKEN)
def test_commands_run(page):
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "gendiffclf"
        assert cli.main([*words, "--quiet"]) == 0


def test_the_page_lists_every_layout():
    page = (DOCS / "speech-emotion.md").read_text(encoding="utf-8")
    assert set(re.findall(r'^\| `"([\w-]+)"`', page, re.MULTILINE)) == set(LAYOUTS)
