"""Short clips, ratings made from what can be heard in them, and regressors small enough for every test."""

import numpy as np
import pytest

from gendiffclf import EmoSphereRegressor, FbankFeaturizer

RATE = 16000
NAMES = ["arousal", "valence", "dominance"]


def tone(seconds, frequency, loudness, seed):
    """A sine in a little noise, float32."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(size=len(time))
    return (loudness * np.sin(2 * np.pi * frequency * time) + 0.01 * noise).astype(np.float32)


@pytest.fixture(scope="session")
def rated():
    """24 clips of 0.15 to 0.4 s, and ratings from 1 to 5 that follow loudness and pitch."""
    rng = np.random.default_rng(0)
    loudness, pitch, seconds = rng.uniform(0.05, 0.9, 24), rng.uniform(150, 900, 24), rng.uniform(0.15, 0.4, 24)
    clips = [(tone(*of_clip, seed), RATE) for seed, of_clip in enumerate(zip(seconds, pitch, loudness, strict=True))]
    a, v = 1 + 4 * loudness, 1 + 4 * (pitch - 150) / 750
    return clips, np.column_stack([a, v, (a + v) / 2])


@pytest.fixture
def small():
    """A function that makes a regressor of log-mel frames that fits in tenths of a second, with the parameters it is given."""

    def create(**changes):
        settings = {
            "encoder": FbankFeaturizer(n_mels=8),
            "dimensions": NAMES,
            "value_range": (1, 5),
            "width": 16,
            "n_epochs": 2,
            "batch_size": 8,
            "device": "cpu",
            "precision": "float32",  # "auto" is bfloat16 on some machines
            "random_state": 0,
        }
        return EmoSphereRegressor(**{**settings, **changes})

    return create
