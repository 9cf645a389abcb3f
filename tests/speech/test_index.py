"""Results keep the index of a table, so that they can be columns of it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from gendiffclf.speech import compare, evaluate, evaluate_ratings, predict_clips, predict_ratings, train, train_ratings


@pytest.fixture(params=["sampled", "named", "repeated"])
def shuffled(request, table):
    """The clips in another order, under an index that is no row number or not unique."""
    corpus, features = table
    order = np.random.default_rng(1).permutation(len(corpus))
    names = {"named": "clip " + corpus["path"], "repeated": corpus.index // 2}.get(request.param, corpus.index)
    return corpus.set_axis(names).iloc[order], features[order]


def test_predictions_are_columns_of_the_table(shuffled):
    corpus, features = shuffled
    fitted = train(LogisticRegression(), corpus, features=features)
    predictions = predict_clips(fitted, corpus, features=features)
    pd.testing.assert_index_equal(predictions.index, corpus.index)
    assert predictions["predicted"].tolist() == fitted.predict(features).tolist()
    pd.testing.assert_series_equal(predictions["path"], corpus["path"])


def test_evaluations_have_the_index_and_the_same_measures(shuffled):
    corpus, features = shuffled
    plain = evaluate(LogisticRegression(), corpus.reset_index(drop=True), features=features)
    found = evaluate(LogisticRegression(), corpus, features=features)
    pd.testing.assert_index_equal(found.predictions.index, corpus.index)
    pd.testing.assert_frame_equal(found.predictions.reset_index(drop=True), plain.predictions)
    pd.testing.assert_frame_equal(found.intervals, plain.intervals)
    pd.testing.assert_frame_equal(found.by_group, plain.by_group)
    pd.testing.assert_frame_equal(found.by_class, plain.by_class)
    assert compare(found, plain).n_clips == 96
    assert {**found.as_dict(), "about": {}} == {**plain.as_dict(), "about": {}}


def test_broken_clips_are_found_again(shuffled):
    corpus, features = shuffled
    features[[3, 20]] = np.nan
    with pytest.warns(UserWarning, match="Got 2 of 96 clips that are broken"):
        found = evaluate(LogisticRegression(), corpus, features=features)
    pd.testing.assert_index_equal(found.failures.index, corpus.index[[3, 20]])
    pd.testing.assert_index_equal(found.predictions.index, np.delete(corpus.index, [3, 20]))


def test_ratings_have_the_index_too(shuffled):
    corpus, features = shuffled
    corpus = corpus.assign(arousal=features[:, 0] + 0.1 * features[:, 1])
    settings = {"dimensions": ["arousal"], "features": features}
    found = evaluate_ratings(LinearRegression(), corpus, **settings)
    pd.testing.assert_index_equal(found.predictions.index.sort_values(), corpus.index.sort_values())
    if corpus.index.is_unique:
        pd.testing.assert_series_equal(found.predictions["path"].loc[corpus.index], corpus["path"])
    plain = evaluate_ratings(LinearRegression(), corpus.reset_index(drop=True), **settings)
    assert found.less(plain)["arousal"]["difference"] == 0


def test_ratings_are_columns_of_the_table(vowels, pipeline):
    rated = vowels.assign(arousal=np.linspace(0, 1, len(vowels))).sample(frac=1, random_state=0)
    fitted = train_ratings(pipeline.set_params(generativetransportclassifier=LinearRegression()), rated, ["arousal"])
    found = predict_ratings(fitted, rated, ["arousal"])
    pd.testing.assert_series_equal(found["path"], rated["path"])
