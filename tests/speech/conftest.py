"""Synthesised clips, a classifier that fits in a blink, and the command line."""

import shutil

import pytest
from sklearn.pipeline import make_pipeline

from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier, cli
from gendiffclf.speech import synthesize_corpus

pytest.importorskip("pandas")
pytest.importorskip("soundfile")

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
