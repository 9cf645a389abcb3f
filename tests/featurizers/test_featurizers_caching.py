"""Every featuriser encodes a clip once: in a cache, in grid searches, and in several processes."""

import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf.featurizers import (
    AcousticFeaturizer,
    AudioError,
    EgemapsFeaturizer,
    FbankFeaturizer,
    FeatureCache,
    FunctionFeaturizer,
    HubertFeaturizer,
)

from .conftest import RATE, tone

# Each process of joblib imports torch and loads the encoder anew.
IN_PROCESSES = pytest.mark.parametrize("make", ["fbank", pytest.param("hubert", marks=pytest.mark.slow)], indirect=True)
# Loky replaces a worker that has grown by an import of torch, and says so in a thread of its own.
LOKY = pytest.mark.filterwarnings("ignore:A worker stopped while some jobs")

CHANGES = {
    AcousticFeaturizer: [{"n_mfcc": 5}, {"f0_min": 250.0}, {"f0_max": 200.0}, {"normalize_level": False}],
    EgemapsFeaturizer: [{"level": "lld"}, {"feature_set": "GeMAPSv01b"}],
    FbankFeaturizer: [
        *[{"pooling": "max"}, {"n_mels": 10}, {"deltas": 1}, {"f_min": 50.0}, {"f_max": 7000.0}, {"pre_emphasis": 0.5}],
        *[{"dither": 0.0}, {"normalize_level": False}, {"window_seconds": 0.03}, {"hop_seconds": 0.02}],
    ],
    FunctionFeaturizer: [{"name": "quantiles-2"}, {"sampling_rate": 8000}],
    HubertFeaturizer: [
        *[{"pooling": "max"}, {"layers": 0}, {"layers": "all"}, {"max_seconds": 0.1}, {"do_normalize": False}],
        *[{"precision": "float64"}, {"precision": "bfloat16"}],
    ],
}
"""Parameters of each featuriser that change its features."""
NUMPY = {
    AcousticFeaturizer: {"n_mfcc": (5, np.int64(5)), "normalize_level": (False, np.False_)},
    EgemapsFeaturizer: {"feature_set": ("GeMAPSv01b", np.str_("GeMAPSv01b"))},
    FbankFeaturizer: {"n_mels": (10, np.int64(10)), "f_min": (50, np.float32(50)), "normalize_level": (True, np.True_)},
    FunctionFeaturizer: {"sampling_rate": (8000, np.int64(8000))},
    HubertFeaturizer: {"layers": (0, np.int64(0)), "max_seconds": (1, np.float64(1)), "do_normalize": (True, np.True_)},
}
"""The same values as numbers of Python and of NumPy."""


def test_second_run_encodes_nothing_and_a_changed_setting_encodes_again(make, files, encoded):
    first = make(cache=True).transform(files)
    assert sum(encoded) == len(files)
    encoded.clear()
    np.testing.assert_array_equal(make(cache=True).transform(files), first)
    assert encoded == []
    np.testing.assert_array_equal(make(cache=True).transform(files[::-1]), first[::-1])
    assert encoded == []
    for change in CHANGES[type(make())]:
        make(cache=True, **change).transform(files)
        assert sum(encoded) == len(files), change
        encoded.clear()
    same = {"layers": [3], "batch_seconds": 1.0} if isinstance(make(), HubertFeaturizer) else {"n_jobs": 2}
    make(cache=True, **same).transform(files)
    assert encoded == []


def test_numbers_of_numpy_are_those_of_python(make, files, encoded):
    values = NUMPY[type(make())]
    expected = make(cache=True, **{name: plain for name, (plain, _) in values.items()}).transform(files)
    encoded.clear()
    found = make(cache=True, n_jobs=np.int64(1), **{name: value for name, (_, value) in values.items()})
    np.testing.assert_array_equal(found.transform(files), expected)
    assert encoded == []


def test_content_decides_not_the_name(make, files, encoded, tmp_path):
    make(cache=True).transform(files[:1])
    encoded.clear()
    copy = tmp_path / "copy.wav"
    with open(files[0], "rb") as source:
        copy.write_bytes(source.read())
    make(cache=True).transform([copy, str(copy)])
    assert encoded == []
    soundfile.write(files[0], tone(0.2, 999), RATE)
    make(cache=True).transform(files[:1])
    assert sum(encoded) == 1


def test_a_clip_given_twice_is_encoded_once(make, files, encoded):
    found = make(cache=True).transform([files[0], files[1], files[0]])
    assert sum(encoded) == 2
    np.testing.assert_array_equal(found[0], found[2])


def test_what_was_encoded_before_an_interrupt_is_kept(make, files, encoded, monkeypatch):
    put, puts = FeatureCache.put, []

    def interrupted(self, key, row):
        if len(puts) == 3:
            raise KeyboardInterrupt
        puts.append(key)
        put(self, key, row)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureCache, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(cache=True).transform(files)
    encoded.clear()
    make(cache=True).transform(files)
    assert sum(encoded) == len(files) - 3


def test_a_bounded_cache_stays_bounded(make, files, tmp_path):
    make(cache=FeatureCache(tmp_path / "whole")).transform(files)
    whole = FeatureCache(tmp_path / "whole").n_bytes
    cache = FeatureCache(tmp_path / "bounded", max_bytes=whole // 2)
    make(cache=cache).transform(files)
    assert 0 < cache.n_bytes <= whole // 2


def test_a_cache_that_cannot_be_written_costs_only_the_caching(make, files, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="an entry cannot be written .*features are not cached") as caught:
        found = make(cache=tmp_path / "file").transform(files)
    np.testing.assert_array_equal(found, make().transform(files))
    assert len(caught) == 1


def test_an_entry_that_cannot_be_read_costs_that_entry_only(make, files, cache_folder, encoded):
    make(cache=True).transform(files)
    entry = sorted(cache_folder.rglob("*.safetensors"))[0]
    entry.unlink()
    entry.mkdir()  # root may read any file, but no folder as a file
    (entry / "in the way").touch()
    encoded.clear()
    with pytest.warns(UserWarning, match="an entry cannot be written"):
        make(cache=True).transform(files)
    assert sum(encoded) == 1


def test_grid_search_encodes_each_clip_once(make, encoded):
    clips = [(tone(0.2, 200 + 300 * (i % 2), seed=i), RATE) for i in range(12)]
    labels = [i % 2 for i in range(12)]
    pipeline = make_pipeline(make(cache=True), StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0, 10.0]}, cv=3).fit(clips, labels)
    assert sum(encoded) == len(clips)
    assert search.predict(clips).shape == (12,)
    assert sum(encoded) == len(clips)


@LOKY
@IN_PROCESSES
def test_grid_search_in_processes_shares_the_cache(make, files, cache_folder):
    labels = [0, 1] * 3
    pipeline = make_pipeline(make(cache=True), LogisticRegression())
    scores = cross_val_score(pipeline, files, labels, cv=3, n_jobs=2)
    assert np.isfinite(scores).all()
    assert len(FeatureCache(cache_folder)) == len(files)


@IN_PROCESSES
def test_two_processes_at_once(make, files, tmp_path, cache_folder):
    (tmp_path / "featurizer.pkl").write_bytes(pickle.dumps((make(cache=True), files)))
    program = (
        "import pickle, sys, numpy as np\n"
        "featurizer, files = pickle.load(open(sys.argv[1] + '/featurizer.pkl', 'rb'))\n"
        "np.save(sys.argv[2], featurizer.transform(files))\n"
    )
    names = [str(tmp_path / f"{i}.npy") for i in range(2)]
    runs = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], env=os.environ) for name in names]
    assert [run.wait() for run in runs] == [0, 0]
    expected = make().transform(files)
    for name in names:
        np.testing.assert_allclose(np.load(name), expected, rtol=1e-4, atol=1e-5)
    assert len(FeatureCache(cache_folder)) == len(files)


@LOKY
@IN_PROCESSES
def test_processes_of_joblib_share_the_work(make, clips):
    expected = make().transform(clips)
    featurizer = make(on_error="nan")
    with joblib.parallel_config("loky", n_jobs=2):
        found = featurizer.transform([*clips, "missing.wav", None])
        with pytest.raises(AudioError, match=r"Got clip 6 \(missing.wav\): there is no such file"):
            make().transform([*clips, "missing.wav"])
    np.testing.assert_allclose(found[:-2], expected, rtol=1e-4, atol=1e-5)
    assert np.isnan(found[-2:]).all()
    assert [(failure.index, failure.source) for failure in featurizer.failures_] == [
        (6, "missing.wav"),
        (7, "NoneType"),
    ]
