import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import Pipeline

from gendiffclf import AudioError, EmoSphereRegressor, FbankFeaturizer
from gendiffclf.featurizers.mel import FbankEncoder
from gendiffclf.metrics import concordance_correlation, concordance_scorer
from gendiffclf.systems import spherical

from .conftest import NAMES, RATE, tone

pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def fitted(rated):
    clips, Y = rated
    return EmoSphereRegressor(
        FbankFeaturizer(n_mels=8),
        dimensions=NAMES,
        value_range=(1, 5),
        width=16,
        head_dropout=0.1,
        n_epochs=60,
        batch_size=12,
        learning_rate=5e-3,
        device="cpu",
        precision="float32",
        random_state=0,
    ).fit(clips, Y)


def test_it_learns_in_the_units_of_the_caller(fitted, rated):
    clips, Y = rated
    predicted = fitted.predict(clips)
    assert predicted.shape == (24, 3)
    assert predicted.min() >= 1
    assert predicted.max() <= 5
    assert fitted.score(clips, Y) == pytest.approx(concordance_correlation(Y, predicted))
    assert fitted.score(clips, Y) > 0.8
    assert len(fitted.loss_curve_) == 60
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


def test_a_prediction_does_not_depend_on_the_clips_beside_it(fitted, rated):
    clips, _ = rated
    for method in ("predict", "predict_region_proba", "transform"):
        together = getattr(fitted, method)(clips)
        alone = np.concatenate([getattr(fitted, method)([clip]) for clip in clips])
        np.testing.assert_allclose(alone, together, atol=1e-5)


def test_regions_and_style_vectors(fitted, rated):
    clips, _ = rated
    probabilities = fitted.predict_region_proba(clips)
    assert probabilities.shape == (24, 8)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(fitted.predict_region(clips), probabilities.argmax(1))
    assert fitted.transform(clips).shape == (24, 16)
    assert fitted.get_feature_names_out().tolist() == [f"emosphereregressor{i}" for i in range(16)]
    table = pickle.loads(pickle.dumps(fitted)).set_output(transform="pandas").transform(clips[:2])
    assert list(table.columns) == fitted.get_feature_names_out().tolist()


def test_the_auxiliary_task_learns_the_regions(small, rated):
    clips, Y = rated
    settings = {"n_epochs": 60, "learning_rate": 5e-3, "head_dropout": 0.1, "dynamic_weight": False}
    regions = small(**settings).fit(clips, Y).predict_region(clips)
    assert (regions == spherical.regions(spherical.centred(Y, 1, 5))).mean() > 0.7


@pytest.mark.parametrize(
    ("changes", "n_regions", "width"),
    [
        ({"pooling": "mean", "n_regions": 19}, 19, 8),
        ({"pooling": "attentive", "n_regions": 33}, 33, 16),
        ({"n_regions": 73, "dynamic_weight": False}, 73, 16),
    ],
)
def test_parts_can_be_switched(changes, n_regions, width, small, rated):
    clips, Y = rated
    regressor = small(n_epochs=1, **changes).fit(clips, Y)
    assert regressor.predict_region_proba(clips).shape == (24, n_regions)
    assert regressor.transform(clips).shape == (24, width)


def test_without_the_auxiliary_task_there_are_no_regions(small, rated):
    clips, Y = rated
    regressor = small(n_regions=None, n_epochs=1).fit(clips, Y)
    assert regressor.predict(clips).shape == (24, 3)
    assert not hasattr(regressor, "predict_region")
    with pytest.raises(AttributeError) as caught:
        regressor.predict_region_proba(clips)
    assert "Got n_regions=None, expected a number of regions to predict; fit with n_regions=8." in str(
        caught.value.__cause__
    )


def test_order_and_scale_are_the_callers(small, rated):
    clips, Y = rated
    plain = small(n_regions=None).fit(clips, Y).predict(clips)
    stretched = small(n_regions=None, value_range=(-10, 10)).fit(clips, 5 * (Y - 3)).predict(clips)
    np.testing.assert_allclose(stretched, 5 * (plain - 3), atol=1e-4)


def test_regions_do_not_depend_on_the_order_of_columns(small, rated):
    clips, Y = rated
    turned = [2, 0, 1]
    one = small(pooling="mean", n_epochs=1).fit(clips, Y)
    other = small(pooling="mean", n_epochs=1, dimensions=[NAMES[i] for i in turned]).fit(clips, Y[:, turned])
    np.testing.assert_array_equal(one.network_.region_weights, other.network_.region_weights)
    assert other.dimensions_ == ["dominance", "arousal", "valence"]


def test_a_data_frame_names_its_columns(small, rated):
    clips, Y = rated
    table = pd.DataFrame(Y[:, ::-1], columns=NAMES[::-1])
    regressor = small(dimensions=None).fit(clips, table)
    assert regressor.dimensions_ == NAMES[::-1]
    assert regressor.score(clips, table[NAMES]) == regressor.score(clips, table)
    with pytest.raises(
        ValueError, match=r"Got Y with columns \['valence', 'power'\], expected also dominance, arousal"
    ):
        regressor.score(clips, table[["valence"]].assign(power=1))


@pytest.mark.parametrize(
    ("changes", "Y", "message"),
    [
        ({"dimensions": None}, None, "Got Y without column names and dimensions=None"),
        (
            {"dimensions": ["arousal", "valence", "power"]},
            None,
            "Got dimensions .*'power'.*expected arousal, valence, dominance",
        ),
        ({"value_range": None}, None, "Got value_range=None, expected the ends of the rating scale"),
        ({"value_range": (5, 1)}, None, r"Got value_range=\(5, 1\), expected the ends of the rating scale"),
        ({"value_range": (1, 2)}, None, r"Got Y\[0, \d\]=[\d.]+, expected ratings from 1 to 2"),
        ({}, np.full((24, 3), np.nan), r"Got Y\[0, 0\]=nan, expected ratings from 1 to 5"),
        ({}, np.ones((24, 2)), r"Got Y of shape \(24, 2\) for 24 clips, expected \(24, 3\)"),
        ({}, pd.DataFrame(np.ones((24, 3)), columns=NAMES[::-1]), "Got Y with columns .* expected the same"),
        ({}, np.tile([1, 2, 3], (24, 1)), "Got the same ratings for all 24 clips, expected different ones"),
        ({"pooling": "max"}, None, "Got pooling='max', expected one of 'style', 'mean', 'attentive'"),
        ({"n_regions": 9}, None, "Got n_regions=9, expected one of 8, 19, 33, 73"),
        ({"width": 7}, None, "Got width=7, expected an even number"),
        ({"encoder": 3}, None, "Got encoder=3, expected 'fbank', a hub name, a folder"),
        ({"tune_encoder": True}, None, "Got encoder=FbankFeaturizer with tune_encoder=True, expected a hub name"),
        ({"encoder": "x", "tune_encoder": True, "layer": 3}, None, "Got layer=3 with tune_encoder=True, expected -1"),
        ({"n_epochs": 0}, None, "Got n_epochs=0, expected an integer >= 1"),
        ({"batch_size": 1}, None, "Got batch_size=1, expected an integer >= 2, since the loss is a correlation"),
        ({"learning_rate": 0}, None, "Got learning_rate=0, expected a number"),
        ({"dimensions": 3}, None, r"Got dimensions \[3\], expected arousal, valence, dominance"),
        ({"value_range": "15"}, None, "Got value_range='15', expected the ends of the rating scale"),
        ({"n_regions": [8]}, None, r"Got n_regions=\[8\], expected one of 8, 19, 33, 73"),
        ({"checkpoints": 3}, None, "Got checkpoints=3, expected a folder or None"),
        ({}, [["high"] * 3] * 24, r"Got Y of shape \(24, 3\) with other values .*'high'.*, expected numbers"),
    ],
)
def test_what_is_wrong_is_named(changes, Y, message, small, rated):
    clips, ratings = rated
    with pytest.raises(ValueError, match=message):
        small(**changes).fit(clips, ratings if Y is None else Y)


def test_a_constant_dimension_is_named_and_the_others_are_trained(small, rated):
    clips, Y = rated
    with pytest.warns(UserWarning, match="Got the same valence for all 24 clips, expected different ratings") as caught:
        regressor = small(n_epochs=20).fit(clips, Y * [1, 0, 1] + [0, 3, 0])
    assert caught[0].filename == __file__
    assert np.corrcoef(regressor.predict(clips)[:, 0], Y[:, 0])[0, 1] > 0.5


def test_a_clip_that_cannot_be_read_is_named(fitted, small, rated, tmp_path):
    clips, Y = rated
    (tmp_path / "broken.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"broken\.wav"):
        small().fit([*clips[:3], tmp_path / "broken.wav"], Y[:4])
    with pytest.raises(AudioError, match=r"broken\.wav"):
        fitted.predict([tmp_path / "broken.wav"])
    with pytest.raises(NotFittedError):
        small().predict(clips)


def test_long_clips_are_cut(small, rated):
    clips, Y = rated
    regressor = small(max_seconds=0.2).fit(clips, Y)
    long = tone(0.5, 300, 0.5, 0)
    np.testing.assert_array_equal(regressor.predict([(long, RATE)]), regressor.predict([(long[: RATE // 5], RATE)]))
    assert not np.allclose(regressor.transform([(long, RATE)]), regressor.transform([(long[: RATE // 10], RATE)]))


def test_seeds_repeat_and_leave_the_process_alone(small, rated):
    clips, Y = rated
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (small().fit(clips, Y).predict(clips) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert not np.array_equal(first, small(random_state=1).fit(clips, Y).predict(clips))


def test_a_fit_is_quiet_and_verbose_shows_progress(small, rated, capfd):
    clips, Y = rated
    small(encoder="fbank").fit(clips, Y)
    assert capfd.readouterr() == ("", "")
    small(encoder="fbank", verbose=True).fit(clips, Y)
    shown = capfd.readouterr().err
    assert re.search(r"6/6 .*loss=", shown)
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", shown)  # time spent and time left


def test_pickles_and_clones_predict_alike(fitted, rated):
    clips, _ = rated
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(clips), fitted.predict(clips))
    copy = clone(fitted)
    assert repr(copy) == repr(fitted)
    assert not hasattr(copy, "network_")
    assert is_regressor(copy)


def test_cross_validation_of_a_table_of_ratings(small, rated):
    clips, Y = rated
    table = pd.DataFrame(Y[:, ::-1], columns=NAMES[::-1])
    settings = {"cv": GroupKFold(3), "groups": np.arange(24) % 3, "return_estimator": True, "return_indices": True}
    found = cross_validate(small(dimensions=None, n_epochs=1), clips, table, **settings)
    for score, regressor, rows in zip(found["test_score"], found["estimator"], found["indices"]["test"], strict=True):
        assert regressor.dimensions_ == NAMES[::-1]
        predicted = regressor.predict([clips[i] for i in rows])
        assert score == pytest.approx(concordance_correlation(Y[rows, ::-1], predicted))


def test_cross_validation_by_speakers_and_a_grid(small, rated):
    clips, Y = rated
    pipeline = Pipeline([("emotion", small(n_epochs=1))])
    parameters = {"emotion__pooling": ["mean", "style"], "emotion__encoder__n_mels": [4]}
    grid = GridSearchCV(pipeline, parameters, cv=GroupKFold(2), scoring=concordance_scorer)
    grid.fit(clips, Y, groups=np.arange(24) % 3)
    assert grid.best_params_["emotion__pooling"] in ("mean", "style")
    assert grid.predict(clips).shape == (24, 3)
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()


def test_a_folder_loads_to_the_same_predictions(fitted, rated, tmp_path):
    clips, Y = rated
    fitted.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "weights.safetensors"]
    loaded = EmoSphereRegressor.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.predict(clips), fitted.predict(clips))
    assert loaded.score(clips, Y) == fitted.score(clips, Y)
    assert loaded.dimensions_ == fitted.dimensions_
    with pytest.raises(
        ValueError, match=r"which exists, expected a new folder; overwrite=True \(--overwrite\) replaces a model"
    ):
        fitted.save(tmp_path / "model")
    fitted.save(tmp_path / "model", overwrite=True)
    other = EmoSphereRegressor.load(tmp_path / "model", encoder=FbankFeaturizer(n_mels=9))
    with pytest.raises(ValueError, match="whose n_mels differ from those in fit, expected the same"):
        other.predict(clips)


def test_training_in_half_precision_is_close_and_keeps_float32(small, rated):
    clips, Y = rated
    settings = {"n_epochs": 5, "dropout": 0.0, "head_dropout": 0.0}
    whole = small(**settings).fit(clips, Y)
    half = small(**settings, precision="bfloat16").fit(clips, Y)
    assert {weight.dtype for weight in half.network_.parameters()} == {torch.float32}
    assert half.loss_curve_ != whole.loss_curve_
    np.testing.assert_allclose(half.loss_curve_, whole.loss_curve_, rtol=0.05)


def test_frames_come_from_the_cache(small, rated, tmp_path, monkeypatch):
    clips, Y = rated
    settings = {"encoder": "fbank", "cache": tmp_path}
    first = small(**settings).fit(clips, Y)

    def fail(*_):
        raise AssertionError("encoded again")

    monkeypatch.setattr(FbankEncoder, "encode", fail)
    np.testing.assert_array_equal(small(**settings).fit(clips, Y).predict(clips), first.predict(clips))
    with pytest.raises(AssertionError, match="encoded again"):
        small(**settings, max_seconds=0.1).fit(clips, Y)
