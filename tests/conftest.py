"""Data and classifiers small enough for every test."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from sklearn.datasets import load_digits, load_iris

from gendiffclf import GenerativeTransportClassifier

collect_ignore = ["smoke.py"]

# Before anything imports huggingface_hub, which reads it once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

settings.register_profile("same-everywhere", derandomize=True, deadline=None)
settings.load_profile("same-everywhere")


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> None:
    """What imports and earlier tests left is skipped by garbage collection, which each training of a system asks for."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny() -> Callable[..., GenerativeTransportClassifier]:
    """A function that makes a classifier that fits in a twentieth of a second, with the parameters it is given."""

    def create(**changes: Any) -> GenerativeTransportClassifier:
        defaults = {
            "max_steps": 3,
            "width": 32,
            "n_members": 2,
            "depth": 1,
            "n_frequencies": 1,
            "dropout": 0.0,
            "device": "cpu",
            "precision": "float32",  # "auto" is bfloat16 on some machines
            "random_state": 0,
        }
        return GenerativeTransportClassifier(**{**defaults, **changes})

    return create


@pytest.fixture
def set_defaults(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that changes default parameters of the classifier for a test."""

    def change(**values: Any) -> None:
        for name, value in values.items():
            monkeypatch.setitem(GenerativeTransportClassifier.__init__.__kwdefaults__, name, value)

    return change


@pytest.fixture
def without_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests whose rows have no gaps: exported without the steps of imputation, which take a third of the time."""
    monkeypatch.setattr("gendiffclf.export.scaling.N_STEPS", 0)


@pytest.fixture
def pyplot() -> Iterator[ModuleType]:
    """Matplotlib without windows; figures are closed after the test."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    yield pyplot
    pyplot.close("all")


@pytest.fixture
def iris() -> tuple[np.ndarray, np.ndarray]:
    """150 flowers of 3 species, 4 features."""
    return load_iris(return_X_y=True)


@pytest.fixture
def digits() -> tuple[np.ndarray, np.ndarray]:
    """1797 pictures of the digits 0 to 9, 64 features."""
    return load_digits(return_X_y=True)


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator of the test's own."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `cache=True` keeps features during a test."""
    folder = tmp_path_factory.mktemp("cache") / "features"
    monkeypatch.setenv("GENDIFFCLF_CACHE", str(folder))
    return folder


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by the number of clips whenever an encoder is given some."""
    from gendiffclf.featurizers.acoustic import AcousticEncoder
    from gendiffclf.featurizers.egemaps import SmileEncoder
    from gendiffclf.featurizers.encoder import SpeechEncoder
    from gendiffclf.featurizers.function import FunctionEncoder
    from gendiffclf.featurizers.mel import FbankEncoder

    counts: list[int] = []
    for owner in (SpeechEncoder, AcousticEncoder, FbankEncoder, FunctionEncoder, SmileEncoder):
        original = owner.encode

        def counted(self: Any, waves: list[np.ndarray], original: Callable[..., Any] = original) -> Any:
            counts.append(len(waves))
            return original(self, waves)

        monkeypatch.setattr(owner, "encode", counted)
    return counts
