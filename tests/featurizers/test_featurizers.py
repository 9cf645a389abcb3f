"""What every featuriser owes: order, errors, caching, and scikit-learn's manners."""

import os
import pickle
import re
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import soundfile
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf.featurizers import (
    FEATURIZERS,
    AudioError,
    EgemapsFeaturizer,
    FeatureCache,
    FunctionFeaturizer,
    HubertFeaturizer,
)

from .conftest import RATE, tone

ON_ERROR = ("raise", "nan", "skip_with_warning")


# Each process of joblib imports torch and loads the encoder anew.
IN_PROCESSES = pytest.mark.parametrize("make", ["fbank", pytest.param("hubert", marks=pytest.mark.slow)], indirect=True)
# Loky replaces a worker that has grown by an import of torch, and says so in a thread of its own.
LOKY = pytest.mark.filterwarnings("ignore:A worker stopped while some jobs")


@pytest.fixture(params=FEATURIZERS)
def make(request, checkpoint):
    """A function that makes a featuriser of two dimensions."""
    if request.param == "egemaps":
        pytest.importorskip("opensmile")
    fixed = {
        "egemaps": {},
        "fbank": {"n_mels": 20},
        "function": {"encode": quantiles, "name": "quantiles-1", "sampling_rate": RATE},
        "hubert": {"model": checkpoint, "layers": -1, "device": "cpu"},
    }[request.param]
    return lambda **parameters: FEATURIZERS[request.param](**fixed | {"cache": None} | parameters)


def quantiles(samples):
    """An encoder that is a function; it stands here so that processes can find it."""
    return np.quantile(samples, [0.1, 0.5, 0.9])


@pytest.fixture
def files(tmp_path, clips):
    """The clips as paths."""
    paths = [str(tmp_path / f"{i}.wav") for i in range(len(clips))]
    for path, (wave, rate) in zip(paths, clips, strict=True):
        soundfile.write(path, wave, rate, subtype="FLOAT")
    return paths


def test_parameters_are_stored_and_nothing_else(make):
    featurizer = make()
    assert vars(featurizer).keys() == featurizer.get_params().keys()
    assert all(getattr(featurizer, name) is value for name, value in featurizer.get_params().items())


def test_order_is_kept(make, clips):
    featurizer = make()
    together = featurizer.transform(clips)
    assert together.dtype == np.float32
    assert together.ndim == 2
    alone = np.concatenate([featurizer.transform([clip]) for clip in clips])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(featurizer.transform(clips[::-1]), together[::-1], rtol=1e-4, atol=1e-5)


def test_kinds_of_input_agree(make, clips, files):
    featurizer = make(sampling_rate=RATE)
    expected = featurizer.transform(clips)
    tables = [files, np.array(files), pd.Series(files), pd.DataFrame({"path": files}), [wave for wave, _ in clips]]
    for X in tables:
        np.testing.assert_array_equal(featurizer.transform(X), expected)


@pytest.mark.parametrize("n_jobs", [1, 3, -1])
def test_threads_change_nothing(make, files, n_jobs):
    np.testing.assert_array_equal(make(n_jobs=n_jobs).transform(files), make().transform(files))


@pytest.mark.parametrize("on_error", ON_ERROR)
def test_broken_clips(make, clips, broken, on_error):
    whole = make().transform(clips)
    for name, (item, message) in broken.items():
        featurizer = make(on_error=on_error)
        X = [*clips[:2], item, *clips[2:]]
        if on_error == "raise":
            with pytest.raises(AudioError, match=rf"Got clip 2 .*({message})"):
                featurizer.transform(X)
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = featurizer.transform(X)
        told = [str(warning.message) for warning in caught if "Skipped" in str(warning.message)]
        assert len(found) == len(X), name
        assert np.isnan(found[2]).all(), name
        np.testing.assert_allclose(np.delete(found, 2, axis=0), whole, rtol=1e-4, atol=1e-5)
        (failure,) = featurizer.failures_
        assert failure.index == 2
        assert failure.source
        assert re.search(message, failure.reason)
        assert len(told) == (on_error == "skip_with_warning")
        if told:
            assert "Skipped 1 of 7 clips; their rows are NaN and failures_ lists them. Got clip 2" in told[0]


def test_many_broken_clips_make_one_warning_of_bounded_length(make):
    with pytest.warns(UserWarning, match="Skipped 9 of 9 clips.*And 4 more") as caught:
        make(on_error="skip_with_warning").transform([f"missing{i}.wav" for i in range(9)])
    assert len(caught) == 1


def test_failures_are_those_of_the_latest_call(make, clips):
    featurizer = make(on_error="nan")
    featurizer.transform(["missing.wav"])
    assert len(featurizer.failures_) == 1
    featurizer.transform(clips)
    assert featurizer.failures_ == []


@pytest.mark.parametrize("on_error", ON_ERROR)
def test_arrays_of_unknown_rate_are_an_error_whatever_on_error_says(make, clips, on_error):
    if isinstance(make(), FunctionFeaturizer):
        pytest.skip("its sampling_rate is that of bare arrays too")
    with pytest.raises(ValueError, match="bare array and sampling_rate=None"):
        make(on_error=on_error).transform([clips[0][0]])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("on_error", "ignore", "Got on_error='ignore', expected one of 'raise', 'nan', 'skip_with_warning'"),
        ("sampling_rate", 0, "Got sampling_rate=0, expected a number in"),
        ("n_jobs", 0, "Got n_jobs=0, expected None or an integer other than 0"),
        ("verbose", -1, "Got verbose=-1, expected an integer >= 0"),
        ("cache", 3.5, "Got cache=3.5, expected True, None, a folder or a FeatureCache"),
        ("pooling", "median", "Got pooling='median', expected one of"),
    ],
)
def test_bad_parameters(make, clips, name, value, message):
    if name not in make().get_params():
        pytest.skip("no such parameter")
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match=message):
            getattr(make(**{name: value}), method)(clips)


def test_no_clips(make):
    with pytest.raises(ValueError, match="Got X with 0 clips, expected at least 1"):
        make().transform([])


def test_second_run_encodes_nothing_and_a_changed_setting_encodes_again(make, files, encoded):
    first = make(cache=True).transform(files)
    assert sum(encoded) == len(files)
    encoded.clear()
    np.testing.assert_array_equal(make(cache=True).transform(files), first)
    assert encoded == []
    np.testing.assert_array_equal(make(cache=True).transform(files[::-1]), first[::-1])
    assert encoded == []
    changes = []
    if isinstance(make(), EgemapsFeaturizer):
        changes += [{"level": "lld"}, {"feature_set": "GeMAPSv01b"}]
    elif isinstance(make(), FunctionFeaturizer):
        changes += [{"name": "quantiles-2"}, {"sampling_rate": 8000}]
    elif isinstance(make(), HubertFeaturizer):
        changes += [{"pooling": "max"}, {"layers": 0}, {"layers": "all"}, {"max_seconds": 0.1}, {"do_normalize": False}]
        changes += [{"precision": "float64"}, {"precision": "bfloat16"}]
    else:
        changes += [
            {"pooling": "max"},
            {"n_mels": 10},
            {"deltas": 1},
            {"f_min": 50.0},
            {"f_max": 7000.0},
            {"pre_emphasis": 0.5},
            {"dither": 0.0},
            {"normalize_level": False},
        ]
        changes += [{"window_seconds": 0.03}, {"hop_seconds": 0.02}]
    for change in changes:
        make(cache=True, **change).transform(files)
        assert sum(encoded) == len(files), change
        encoded.clear()
    same = {"layers": [3], "batch_seconds": 1.0} if isinstance(make(), HubertFeaturizer) else {"n_jobs": 2}
    make(cache=True, **same).transform(files)
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


def test_transform_works_unfitted_and_fit_changes_nothing(make, clips):
    featurizer = make()
    found = featurizer.transform(clips)
    before = featurizer.get_params()
    assert featurizer.fit(clips, ["a"] * len(clips)) is featurizer
    assert featurizer.get_params() == before
    np.testing.assert_array_equal(featurizer.fit_transform(clips), found)
    sklearn.utils.validation.check_is_fitted(featurizer)


def test_clone_and_pickle(make, clips):
    featurizer = make(cache=True, on_error="nan")
    found = featurizer.transform(clips)
    copied = clone(featurizer)
    assert copied.get_params() == featurizer.get_params()
    assert not hasattr(copied, "failures_")
    content = pickle.dumps(featurizer)
    assert len(content) < 5000  # no weights
    again = pickle.loads(content)
    assert again.get_params() == featurizer.get_params()
    np.testing.assert_array_equal(again.set_params(cache=None).transform(clips), found)


def test_tags(make):
    tags = sklearn.utils.get_tags(make())
    assert not tags.requires_fit
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.one_d_array
    assert tags.input_tags.string


def test_tables_out(make, files):
    plain = make().transform(files)
    featurizer = make().set_output(transform="pandas")
    table = featurizer.transform(pd.DataFrame({"path": files}, index=list("abcdef")))
    assert list(table.columns) == list(featurizer.get_feature_names_out())
    assert list(table.index) == list("abcdef")
    np.testing.assert_array_equal(table.to_numpy(), plain)
    assert make().set_output(transform="polars").transform(files).shape == plain.shape
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(make().transform(files), pd.DataFrame)


def test_a_column_of_a_table(make, files):
    from sklearn.compose import make_column_transformer

    table = pd.DataFrame({"path": files, "age": np.arange(len(files))})
    both = make_column_transformer((make(), "path"), ("passthrough", ["age"]))
    found = both.fit_transform(table)
    assert found.shape[1] == make().transform(files).shape[1] + 1
    assert len(both.get_feature_names_out()) == found.shape[1]


def test_html(make):
    assert type(make()).__name__ in make()._repr_html_()


def test_progress_can_be_switched_on(make, clips, capsys):
    make().transform(clips)
    assert capsys.readouterr().err == ""
    make(verbose=1).transform(clips)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert "clip" in shown


def test_import_is_light():
    heavy = "'torch', 'transformers', 'soundfile', 'soxr'"
    program = f"import sys, gendiffclf.featurizers; sys.exit([m for m in ({heavy}) if m in sys.modules] != [])"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
