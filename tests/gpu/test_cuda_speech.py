"""Featurisers and systems on a CUDA device."""

import numpy as np
import pytest
import torch
from featurizers.conftest import NORMS, RATE, save_checkpoint, tiny_config, tone

from gendiffclf import EmoSphereRegressor, FbankFeaturizer, HubertFeaturizer


@pytest.fixture(scope="module", params=list(NORMS))
def folder(request, tmp_path_factory):
    """Folder of a small HuBERT."""
    return save_checkpoint(tmp_path_factory.mktemp(request.param), tiny_config("hubert", request.param))


@pytest.fixture(scope="module")
def clips():
    """Clips of 0.1 to 3 s."""
    return [(tone(seconds, 200 + 40 * i, seed=i), RATE) for i, seconds in enumerate(np.geomspace(0.1, 3, 24))]


def distance(found, expected):
    """The largest distance of a row, relative to its length."""
    return (np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)).max()


@pytest.mark.parametrize(("precision", "low", "high"), [("float32", 0.0, 1e-5), ("bfloat16", 1e-4, 3e-2)])
@pytest.mark.parametrize("allowed", [False, True], ids=["as it comes", "TF32 allowed"])
def test_features_are_those_of_the_cpu(folder, clips, precision, low, high, allowed):
    expected = HubertFeaturizer(folder, device="cpu", cache=None).transform(clips)
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        found = HubertFeaturizer(folder, device="cuda", precision=precision, cache=None).transform(clips)
        assert torch.backends.cuda.matmul.allow_tf32 == allowed
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert low <= distance(found, expected) <= high


def test_features_do_not_depend_on_the_batch(folder, clips):
    featurizer = HubertFeaturizer(folder, device="cuda", cache=None)
    together = featurizer.transform(clips)
    alone = np.concatenate([featurizer.transform([clip]) for clip in clips])
    assert distance(together, alone) <= 1e-5


def test_batches_that_do_not_fit_are_halved(folder, clips, little_memory, caplog):
    featurizer = HubertFeaturizer(folder, device="cuda", cache=None, batch_seconds=300)
    expected = featurizer.transform(clips * 8)
    with caplog.at_level("INFO", logger="gendiffclf.featurizers.batching"):
        little_memory(24 * 2**20)
        found = featurizer.transform(clips * 8)
    assert "does not fit in memory" in caplog.text
    assert distance(found, expected) <= 1e-5


def test_a_clip_that_does_not_fit_is_missing_and_the_others_are_there(folder, clips, little_memory):
    featurizer = HubertFeaturizer(folder, device="cuda", cache=None, on_error="nan")
    expected = featurizer.transform(clips)
    little_memory(24 * 2**20)
    found = featurizer.transform([*clips, (tone(900, 300), RATE)])
    assert [(failure.index, failure.reason) for failure in featurizer.failures_] == [
        (24, "its 900.0 s do not fit in the memory of cuda; set max_seconds=30 to encode it in chunks")
    ]
    assert np.isnan(found[-1]).all()
    assert distance(found[:-1], expected) <= 1e-5


def test_ratings_are_learnt_on_the_device():
    rng = np.random.default_rng(0)
    loudness = rng.uniform(0.05, 0.9, 32)
    clips = [((x * tone(0.3, 300, seed=i)).astype(np.float32), RATE) for i, x in enumerate(loudness)]
    ratings = np.column_stack([1 + 4 * loudness, 5 - 4 * loudness, 1 + 4 * loudness])
    regressor = EmoSphereRegressor(
        encoder=FbankFeaturizer(n_mels=8), dimensions=["arousal", "valence", "dominance"], value_range=(1, 5), width=16,
        n_epochs=2, batch_size=8, device="cuda", random_state=0,
    )  # fmt: skip
    found = regressor.fit(clips, ratings).predict(clips)
    on_cpu = regressor.set_params(device="cpu").predict(clips)
    np.testing.assert_allclose(found, on_cpu, atol=0.02)
