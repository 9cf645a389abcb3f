"""Synthesised clips, files of noise, a table of features, a classifier that fits in a blink, and the command line."""

import shutil

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier, cli
from gendiffclf.speech import synthesize_corpus

pd = pytest.importorskip("pandas")
soundfile = pytest.importorskip("soundfile")

QUICK = {
    "max_steps": 20,
    "width": 32,
    "n_members": 2,
    "depth": 1,
    "n_frequencies": 1,
    "device": "cpu",
    "precision": "float32",
    "learning_rate": 0.01,
    "random_state": 0,
}
RATE = 16000
PATTERN = ["--pattern", "{speaker}/{label}_*.wav"]


def run(*words):
    """Run a command without progress bars."""
    return cli.main([*map(str, words), *([] if words[0] == "demo-speech" else ["--quiet"])])


@pytest.fixture
def pipeline():
    """Featuriser and classifier, not fitted."""
    return make_pipeline(FbankFeaturizer(n_mels=20), GenerativeTransportClassifier(**QUICK))


@pytest.fixture
def quick(set_defaults):
    """Classifiers of default parameters fit in a blink."""
    set_defaults(**QUICK)


@pytest.fixture(scope="session")
def _vowels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vowels")
    return folder, synthesize_corpus(folder, n_speakers=6, n_takes=1, vowels=("heed", "hod", "who'd"))


@pytest.fixture
def vowels(_vowels):
    """18 clips of 3 vowels by 6 voices; a copy of the table for each test."""
    return _vowels[1].copy()


@pytest.fixture
def clip_folder(_vowels, tmp_path):
    """A copy of their folder, `<speaker>/<vowel>_<take>.wav`."""
    return shutil.copytree(_vowels[0], tmp_path / "clips")


@pytest.fixture
def broken(tmp_path):
    """A file that is no audio."""
    path = tmp_path / "broken.wav"
    path.write_bytes(b"this is no audio")
    return str(path)


@pytest.fixture
def table():
    """96 clips of 3 labels by 8 speakers of two genders, and features that tell labels with some error."""
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat(["angry", "calm", "sad"], 32))
    number = np.tile(np.arange(8), 12)
    corpus = pd.DataFrame(
        {
            "path": [f"{i}.wav" for i in range(96)],
            "label": label,
            "speaker": [f"s{i}" for i in number],
            "gender": np.where(number % 2, "female", "male"),
            "year": 1950 + 5 * np.arange(96) % 60,
        }
    )
    codes = np.unique(label, return_inverse=True)[1]
    noise = np.where(corpus["gender"] == "male", 1.5, 0.5)[:, None]
    return corpus, np.eye(3)[codes] + noise * rng.normal(0, 1, (96, 3))


@pytest.fixture
def found(table):
    """An evaluation of it."""
    from gendiffclf.speech import evaluate

    return evaluate(LogisticRegression(), table[0], features=table[1])


def noise(seconds=0.5, seed=0, level=0.05):
    return np.random.default_rng(seed).normal(0, level, int(seconds * RATE)).astype(np.float32)


def write(folder, clips, rate=RATE, subtype=None):
    """A table of WAV files from samples by name, of two labels and as many speakers as there are clips, by turns."""
    rows = []
    for i, (name, samples) in enumerate(clips.items()):
        soundfile.write(folder / name, samples, rate, subtype=subtype)
        rows.append({"path": str(folder / name), "label": "ab"[i % 2], "speaker": f"s{i // 2}"})
    return pd.DataFrame(rows)


def codes(found):
    return {finding.code: finding for finding in found.findings}


def good(n=8):
    return {f"{i}.wav": noise(seed=i) for i in range(n)}


@pytest.fixture
def sixty_clips():
    """60 clips of 3 labels by 5 speakers, and features that tell labels with some error."""
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat(["angry", "calm", "sad"], 20))
    speaker = np.tile([f"s{i}" for i in range(5)], 12)
    corpus = pd.DataFrame({"path": [f"{i}.wav" for i in range(60)], "label": label, "speaker": speaker})
    codes = np.unique(label, return_inverse=True)[1]
    return corpus, np.eye(3)[codes] + rng.normal(0, 0.6, (60, 3))
