"""Normalisation by speaker: closed form, routing through pipelines and folds, and what it refuses."""

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline

from gendiffclf.featurizers import SpeakerNormalizer


@pytest.fixture
def rows():
    """40 rows of 5 speakers whose offsets and gains are many times what tells the classes apart."""
    rng = np.random.default_rng(0)
    speakers = np.repeat(list("abcde"), 8)
    y = np.tile([0, 1], 20)
    offset = np.repeat(rng.normal(size=(5, 3)) * 50, 8, axis=0)
    gain = np.repeat(rng.uniform(0.1, 10, size=(5, 1)), 8, axis=0)
    X = (y[:, None] * np.ones(3) + 0.1 * rng.normal(size=(40, 3))) * gain + offset
    return X, y, speakers


@given(seed=st.integers(0, 99), n_clips=st.sampled_from([None, 2, 5]))
def test_z_scores_of_the_first_clips_of_each_speaker(seed, n_clips):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 3)) * 7 + 100
    speakers = rng.integers(0, 3, size=40)
    speakers[:9] = np.tile([0, 1, 2], 3)
    found = SpeakerNormalizer(n_clips).fit_transform(X, groups=speakers)
    for s in range(3):
        mine = X[speakers == s]
        first = mine[:n_clips]
        np.testing.assert_allclose(found[speakers == s], (mine - first.mean(0)) / first.std(0), rtol=1e-7)


def test_no_speaker_depends_on_another(rows):
    X, _, speakers = rows
    together = SpeakerNormalizer().transform(X, groups=speakers)
    for name in set(speakers):
        mine = speakers == name
        np.testing.assert_allclose(SpeakerNormalizer().transform(X[mine], groups=speakers[mine]), together[mine])


def test_later_clips_change_nothing_in_the_causal_variant(rows):
    X, _, speakers = rows
    whole = SpeakerNormalizer(n_clips=3).transform(X, groups=speakers)
    early = np.tile(np.arange(8) < 5, 5)
    np.testing.assert_array_equal(
        SpeakerNormalizer(n_clips=3).transform(X[early], groups=speakers[early]), whole[early]
    )


def test_layers_nan_and_constant_features(rows):
    X, _, speakers = rows
    layered = np.stack([X, 2 * X + 1, np.ones_like(X)], axis=1).astype(np.float32)
    layered[3] = np.nan
    found = SpeakerNormalizer().transform(layered, groups=speakers)
    assert found.dtype == np.float32
    assert np.isnan(found[3]).all()
    rest = np.delete(found, 3, axis=0)
    np.testing.assert_allclose(rest[:, 0], rest[:, 1], atol=1e-3)
    assert (rest[:, 2] == 0).all()
    np.testing.assert_allclose(rest[:7, 0].mean(axis=0), 0, atol=1e-4)


def test_a_speaker_of_broken_clips_only(rows):
    X, _, speakers = rows
    X[:8] = np.nan
    found = SpeakerNormalizer().transform(X, groups=speakers)
    assert np.isnan(found[:8]).all()
    assert np.isfinite(found[8:]).all()


def test_a_single_clip_is_warned_of():
    X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 8.0]])
    with pytest.warns(UserWarning, match=r"Got a single clip of 1 of 2 speakers \(b\)"):
        found = SpeakerNormalizer().transform(X, groups=["a", "a", "b"])
    assert (found[2] == 0).all()


def test_labels_that_belong_to_speakers_are_warned_of(rows):
    X, y, speakers = rows
    owned = np.isin(speakers, ["a", "b"])
    with pytest.warns(
        UserWarning, match="the same for all clips of each of 5 speakers, .* leave out SpeakerNormalizer"
    ):
        SpeakerNormalizer().fit_transform(X, owned, groups=speakers)
    owned[0] = False  # one clip of another label
    SpeakerNormalizer().fit_transform(X, owned, groups=speakers)
    SpeakerNormalizer().fit(X, np.zeros(40), groups=speakers)  # a single label
    SpeakerNormalizer().fit(X[::8], np.arange(5), groups=speakers[::8])  # a single clip of each
    SpeakerNormalizer().fit(X, np.stack([y, y], axis=1), groups=speakers)  # several targets


def test_routing_through_a_pipeline_and_folds(rows):
    X, y, speakers = rows
    with sklearn.config_context(enable_metadata_routing=True):
        plain = cross_val_score(LogisticRegression(), X, y, cv=GroupKFold(5), params={"groups": speakers})
        # The splitter and the transformer both request groups.
        pipeline = make_pipeline(SpeakerNormalizer(), LogisticRegression())
        found = cross_validate(pipeline, X, y, cv=GroupKFold(5), params={"groups": speakers})["test_score"]
        assert found.mean() == 1
        assert plain.mean() < 0.8
        fitted = clone(pipeline).fit(X, y, groups=speakers)
        np.testing.assert_array_equal(fitted.predict(X, groups=speakers), y)
        with pytest.raises(ValueError, match="Got groups=None, expected the speaker of each row"):
            fitted.predict(X)


def test_before_the_folds_is_the_same_as_inside(rows):
    X, y, speakers = rows
    normalised = SpeakerNormalizer().fit_transform(X, groups=speakers)
    outside = cross_val_score(LogisticRegression(), normalised, y, groups=speakers, cv=GroupKFold(5))
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(SpeakerNormalizer(), LogisticRegression())
        inside = cross_val_score(pipeline, X, y, cv=GroupKFold(5), params={"groups": speakers})
    np.testing.assert_array_equal(outside, inside)


def test_tables_keep_their_names(rows):
    pandas = pytest.importorskip("pandas")
    X, _, speakers = rows
    table = pandas.DataFrame(X, columns=["f0", "loudness", "jitter"])
    found = SpeakerNormalizer().set_output(transform="pandas").fit_transform(table, groups=speakers)
    assert list(found.columns) == list(table.columns)


@pytest.mark.parametrize(
    ("n_clips", "groups", "message"),
    [
        (1, ["a", "b"], "Got n_clips=1, expected an integer >= 2"),
        (None, None, "Got groups=None"),
        (None, ["a"], "inconsistent numbers of samples"),
        (None, ["a", None], r"Got groups with None at index 1 \(1 of 2 rows\), expected a value for each row"),
        (None, [np.nan, np.nan], r"Got groups with nan at index 0, 1 \(2 of 2 rows\)"),
        (None, ["a", float("nan")], "Got groups with nan at index 1"),
        (None, np.array([1.0, np.nan]), "Got groups with nan at index 1"),
    ],
)
def test_what_is_refused(n_clips, groups, message):
    with pytest.raises(ValueError, match=message):
        SpeakerNormalizer(n_clips).fit_transform(np.ones((2, 2)), groups=groups)
