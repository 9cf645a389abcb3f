"""`pooling="none"`: frames as they are, whose statistics are what the other poolings give."""

import numpy as np
import pytest
from sklearn.preprocessing import FunctionTransformer

from gendiffclf.featurizers import FbankFeaturizer, HubertFeaturizer

from .conftest import RATE, tone


def make(kind, checkpoint, **parameters):
    if kind == "fbank":
        return FbankFeaturizer(**{"n_mels": 12, "deltas": 1, "cache": None} | parameters)
    return HubertFeaturizer(**{"model": checkpoint, "layers": -1, "device": "cpu", "cache": None} | parameters)


KINDS = pytest.mark.parametrize("kind", ["fbank", "hubert"])


@KINDS
def test_frames_pool_to_what_the_other_poolings_give(kind, checkpoint, clips):
    frames = make(kind, checkpoint, pooling="none").transform(clips)
    assert isinstance(frames, list)
    assert len({len(f) for f in frames}) > 1
    assert all(f.dtype == np.float32 for f in frames)
    mean_std = make(kind, checkpoint, pooling="mean_std").transform(clips)
    maximum = make(kind, checkpoint, pooling="max").transform(clips)
    for i, f in enumerate(frames):
        np.testing.assert_allclose(np.r_[f.mean(axis=0), f.std(axis=0)], mean_std[i], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(f.max(axis=0), maximum[i], rtol=1e-4, atol=1e-5)


def test_layers_are_the_middle_axis(checkpoint, clips):
    every = HubertFeaturizer(checkpoint, pooling="none", device="cpu", cache=None).transform(clips)
    last = make("hubert", checkpoint, pooling="none").transform(clips)
    assert every[0].shape == (len(last[0]), 4, 32)
    for a, b in zip(every, last, strict=True):
        np.testing.assert_allclose(a[:, -1], b, atol=1e-5)


def test_chunks_stay_in_order(checkpoint):
    wave = tone(1.0)
    chunked = make("hubert", checkpoint, pooling="none", max_seconds=0.23, do_normalize=False)
    (found,) = chunked.transform([(wave, RATE)])
    parts = [(part, RATE) for part in np.array_split(wave, 5)]
    alone = make("hubert", checkpoint, pooling="none", do_normalize=False).transform(parts)
    np.testing.assert_allclose(found, np.concatenate(alone), atol=1e-5)


@KINDS
def test_frames_are_cached(kind, checkpoint, clips, encoded):
    first = make(kind, checkpoint, pooling="none", cache=True).transform(clips)
    assert sum(encoded) == len(clips)
    again = make(kind, checkpoint, pooling="none", cache=True).transform(clips[::-1])
    assert sum(encoded) == len(clips)
    for a, b in zip(first, again[::-1], strict=True):
        np.testing.assert_array_equal(a, b)


@KINDS
def test_a_broken_clip_is_a_frame_of_nan(kind, checkpoint, clips):
    featurizer = make(kind, checkpoint, pooling="none", on_error="nan")
    found = featurizer.transform([*clips[:2], "missing.wav"])
    assert found[2].shape == (1, found[0].shape[1])
    assert np.isnan(found[2]).all()
    assert np.isfinite(found[1]).all()
    assert [failure.index for failure in featurizer.failures_] == [2]


@KINDS
def test_names_are_those_of_a_frame(kind, checkpoint, clips):
    featurizer = make(kind, checkpoint, pooling="none")
    names = featurizer.get_feature_names_out()
    assert len(set(names)) == featurizer.transform(clips[:1])[0].shape[1]


@KINDS
def test_frames_fit_no_table(kind, checkpoint, clips):
    with pytest.raises(ValueError, match="with layers or frames, expected features of shape"):
        make(kind, checkpoint, pooling="none").set_output(transform="pandas").transform(clips)


@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs")
def test_processes_of_joblib_return_frames(clips):
    import joblib

    featurizer = FbankFeaturizer(12, pooling="none")
    with joblib.parallel_config("loky", n_jobs=2):
        found = featurizer.transform(clips)
    for a, b in zip(found, featurizer.transform(clips), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_estimator_that_pools_by_itself_cross_validates(clips):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline

    own = FunctionTransformer(lambda X: np.stack([np.quantile(frames, 0.9, axis=0) for frames in X]))
    pipeline = make_pipeline(FbankFeaturizer(12, pooling="none"), own, LogisticRegression())
    assert np.isfinite(cross_val_score(pipeline, clips, [0, 1] * 3, cv=2)).all()
