"""Every featuriser is a transformer of scikit-learn: parameters, clones, pickles, tags and tables."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer


def test_parameters_are_stored_and_nothing_else(make):
    featurizer = make()
    assert vars(featurizer).keys() == featurizer.get_params().keys()
    assert all(getattr(featurizer, name) is value for name, value in featurizer.get_params().items())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("on_error", "ignore", "Got on_error='ignore', expected one of 'raise', 'nan', 'skip_with_warning'"),
        ("sampling_rate", 0, "Got sampling_rate=0, expected a number in"),
        ("n_jobs", 0, "Got n_jobs=0, expected None or an integer other than 0"),
        ("n_jobs", True, "Got n_jobs=True, expected None or an integer other than 0"),
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
    table = pd.DataFrame({"path": files, "age": np.arange(len(files))})
    both = make_column_transformer((make(), "path"), ("passthrough", ["age"]))
    found = both.fit_transform(table)
    assert found.shape[1] == make().transform(files).shape[1] + 1
    assert len(both.get_feature_names_out()) == found.shape[1]


def test_html(make):
    assert type(make()).__name__ in make()._repr_html_()
