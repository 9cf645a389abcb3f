"""Scaling of features and their lift into the code space."""

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import ndtri

from gendiffclf import GenerativeTransportClassifier, preprocessing
from gendiffclf.device import thread_limit
from gendiffclf.preprocessing import SCALINGS, SMOOTH_CLIP, FeatureScaler, lift_matrix

columns = arrays(np.float64, st.integers(2, 40), elements=st.floats(-1e3, 1e3))


def scale(X: np.ndarray, kind: str, weight: np.ndarray | None = None) -> np.ndarray:
    X = np.asarray(X, float).reshape(len(X), 1, -1)
    return FeatureScaler.fit(X, np.ones(len(X)) if weight is None else weight, kind).transform(X)


@pytest.mark.parametrize("kind", SCALINGS)
@given(column=columns)
def test_scaling_is_finite_float32_and_never_reverses_an_order(kind, column):
    found = scale(column, kind)[:, 0, 0]
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (np.diff(found[column.argsort()]) >= -1e-6).all()


@pytest.mark.parametrize("kind", SCALINGS)
@given(column=columns, seed=st.integers(0, 99))
def test_a_weight_of_2_counts_like_two_rows(kind, column, seed):
    weight = np.random.default_rng(seed).integers(1, 4, len(column))
    weighted = FeatureScaler.fit(column.reshape(-1, 1, 1), weight.astype(float), kind)
    repeated_rows = np.repeat(column, weight).reshape(-1, 1, 1)
    repeated = FeatureScaler.fit(repeated_rows, np.ones(weight.sum()), kind)
    for one, other in ((weighted.center, repeated.center), (weighted.scale, repeated.scale)):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    if kind == "quantile":
        np.testing.assert_array_equal(weighted.quantiles, repeated.quantiles)


@pytest.mark.parametrize("n", [105, 255, 510])
@pytest.mark.parametrize("weight", [2.0, 3.0, 0.1])
def test_quantiles_do_not_depend_on_the_unit_of_weights(n, weight):
    X = np.random.default_rng(n).normal(size=n)
    np.testing.assert_array_equal(scale(X, "quantile", np.full(n, weight)), scale(X, "quantile"))


@pytest.mark.parametrize("kind", SCALINGS)
def test_layers_and_features_are_scaled_each_by_itself(kind):
    X = np.random.default_rng(0).normal(5, 3, (50, 2, 3))
    whole = FeatureScaler.fit(X, np.ones(50), kind).transform(X)
    for layer, feature in np.ndindex(2, 3):
        np.testing.assert_array_equal(whole[:, layer, feature], scale(X[:, layer, feature], kind)[:, 0, 0])


@pytest.mark.parametrize("kind", SCALINGS)
def test_the_callers_rows_stay_as_they_are(kind):
    X = np.random.default_rng(0).normal(5, 3, (50, 1, 3))
    before = X.copy()
    FeatureScaler.fit(X, np.ones(50), kind).transform(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("kind", ["robust", "standard", "quantile"])
def test_normal_features_come_to_the_scale_of_codes(kind):
    found = scale(np.random.default_rng(0).normal(100, 7, 20_000), kind)
    assert found.mean() == pytest.approx(0, abs=0.03)
    assert 0.707 < found.std() < 1.05


def test_standard_scaling_in_closed_form():
    X = np.array([1.0, 2, 3, 6])
    np.testing.assert_allclose(scale(X, "standard")[:, 0, 0], (X - X.mean()) / X.std(), rtol=1e-6)


def test_robust_scaling_in_closed_form():
    """Quartiles of 0 … 8 are 2, 4, 6 (in steps of the rows); the clip is smooth."""
    X = np.arange(9.0)
    values = (X - 4) / (4 / 1.349)
    np.testing.assert_allclose(scale(X, "robust")[:, 0, 0], values / np.sqrt(1 + (values / 3) ** 2), rtol=1e-6)


@pytest.mark.parametrize("value", [1e2, 1e20, 1e200, 1e308])
def test_robust_scaling_bounds_outliers_of_any_size(value):
    X = np.arange(9.0).reshape(-1, 1, 1)
    found = FeatureScaler.fit(X, np.ones(9), "robust").transform(np.array([[[value]], [[-value]]]))
    np.testing.assert_allclose(found.ravel(), [SMOOTH_CLIP, -SMOOTH_CLIP], rtol=0.01)


def test_robust_scaling_of_a_feature_that_is_mostly_constant():
    found = scale(np.r_[np.zeros(90), np.full(10, 500.0)], "robust").ravel()
    assert found[0] == 0
    assert 1 < found[-1] < SMOOTH_CLIP


@pytest.mark.parametrize("kind", ["robust", "standard", "quantile", "mixed"])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 1 / 3])
@pytest.mark.parametrize("n_rows", [7, 1001])
def test_constant_features_are_zero_and_new_values_of_them_stay_small(kind, value, n_rows):
    """The mean of many .1 is not .1, least of all in a sum over rows, and a deviation of 1e-16 is no scale to divide by."""
    weight = np.random.default_rng(0).uniform(0.5, 2, n_rows)
    scaler = FeatureScaler.fit(np.full((n_rows, 1, 20), value), weight, kind)
    for dtype in (np.float64, np.float32):
        np.testing.assert_allclose(scaler.transform(np.full((1, 1, 20), value, dtype)), 0, atol=1e-6)
    assert np.abs(scaler.transform(np.full((1, 1, 20), value + 1))).max() <= 1 + 1e-6


@pytest.mark.parametrize("kind", ["standard", "mixed"])
def test_rounding_errors_are_no_scale(kind):
    X = 1 + np.finfo(np.float64).eps * (np.arange(100) % 2).reshape(-1, 1, 1)
    found = FeatureScaler.fit(X, np.ones(100), kind).transform(X)
    np.testing.assert_allclose(found[:, -1], 0, atol=1e-6)  # by mean and deviation


def test_quantiles_are_made_normal_and_bounded():
    X = np.random.default_rng(0).lognormal(size=5000)
    found = scale(X, "quantile").ravel()
    middle = (found > -2) & (found < 2)

    expected = ndtri((X.argsort().argsort() + 0.5) / 5000)
    np.testing.assert_allclose(found[middle], expected[middle], atol=0.05)
    scaler = FeatureScaler.fit(X.reshape(-1, 1, 1), np.ones(5000), "quantile")
    far = scaler.transform(np.array([[[-1e9]], [[1e9]]]))
    np.testing.assert_array_equal(far.ravel(), [-SMOOTH_CLIP, SMOOTH_CLIP])


def test_a_value_counts_by_the_root_of_its_rows_and_gets_the_middle_of_its_levels():
    X = np.r_[np.linspace(-2, -1, 100), np.zeros(500), np.linspace(1, 2, 400)]
    found = scale(X, "quantile").ravel()
    root = 500**0.5

    assert found[100] == pytest.approx(ndtri((100 + root / 2) / (500 + root)), abs=0.02)


@given(n_features=st.integers(1, 40), width=st.integers(1, 40))
def test_the_lift_keeps_lengths(n_features, width):
    lift = lift_matrix(n_features, width, 0)
    assert lift.shape == (n_features, width)
    if n_features <= width:
        np.testing.assert_allclose(lift @ lift.T, np.eye(n_features), atol=1e-12)
    else:  # on average over directions
        np.testing.assert_allclose(lift.T @ lift, n_features / width * np.eye(width), atol=1e-12)
        assert (lift**2).sum() == pytest.approx(n_features)


def test_features_as_wide_as_the_code_space_stay_where_they_are():
    np.testing.assert_array_equal(lift_matrix(5, 5, 0), np.eye(5))


def test_the_seed_chooses_the_lift():
    one, same, other = (lift_matrix(3, 8, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_values_rounded_to_single_precision_keep_their_place():
    """Tables are often fitted in float64 and predicted in float32, as in ONNX."""
    X = np.round(np.random.default_rng(0).gamma(2, size=(500, 3)), 1)
    scaler = FeatureScaler.fit(X[:, None], np.ones(500), "mixed")
    rounded = scaler.transform(X.astype(np.float32)[:, None])
    np.testing.assert_allclose(scaler.transform(X[:, None]), rounded, atol=1e-4)


def levels_by_interpolation(values: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Levels of one feature's values (n,) among its quantiles, each at the middle of those equal to it; 0 and 1 at the ends."""
    levels, distinct = np.linspace(0, 1, len(quantiles)), np.unique(quantiles)
    middle = np.array([levels[quantiles == value].mean() for value in distinct])
    if len(distinct) > 1:
        middle[-1], middle[0] = 1, 0
    return np.interp(values, distinct, middle)


@given(
    train=columns | arrays(np.float64, st.integers(2, 400), elements=st.integers(-3, 3).map(float)),
    new=arrays(np.float64, 20, elements=st.floats(-1e3, 1e3) | st.integers(-4, 4).map(float)),
)
def test_quantile_scaling_is_interpolation_between_quantiles(train, new):
    scaler = FeatureScaler.fit(train.reshape(-1, 1, 1), np.ones(len(train)), "quantile")
    values = np.concatenate([train, new])
    expected = np.clip(ndtri(levels_by_interpolation(values, scaler.quantiles[:, 0, 0])), -SMOOTH_CLIP, SMOOTH_CLIP)
    np.testing.assert_allclose(scaler.transform(values.reshape(-1, 1, 1))[:, 0, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["quantile", "robust", "standard"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_any_size_stay_in_order(kind, dtype):
    largest, tiny = np.finfo(dtype).max / 4, np.finfo(dtype).smallest_subnormal
    X = np.array([-largest, -1, -tiny, 0, tiny, 1, largest], dtype).reshape(-1, 1, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        found = FeatureScaler.fit(X, np.ones(7), kind).transform(X).ravel()
    if kind != "standard" or dtype == np.float32:  # whose squares overflow
        assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("kind", ["robust", "mixed"])
def test_the_largest_number_is_one_more_outlier(kind):
    X = np.random.default_rng(0).normal(0, 0.1, (50, 1, 1))
    scaler = FeatureScaler.fit(X, np.ones(50), kind)
    far, farthest = scaler.transform(np.array([1e30, np.finfo(float).max]).reshape(2, 1, 1))
    np.testing.assert_allclose(farthest, far, rtol=1e-6)


@pytest.mark.parametrize("kind", SCALINGS)
def test_rows_by_index_are_those_rows(kind):
    X = np.random.default_rng(0).normal(5, 3, (50, 2, 3)).astype(np.float32)
    index, weight = np.array([7, 3, 3, 40, 11]), np.arange(1.0, 6)
    one, other = FeatureScaler.fit(X, weight, kind, index), FeatureScaler.fit(X[index], weight, kind)
    np.testing.assert_array_equal(one.transform(X, index), other.transform(X[index]))


@pytest.mark.parametrize("kind", SCALINGS)
def test_pieces_of_rows_and_features_make_no_difference(kind, monkeypatch):
    X = np.random.default_rng(0).normal(5, 3, (40, 2, 7))
    whole = FeatureScaler.fit(X, np.ones(40), kind).transform(X)
    for name, size in (("_FIT_VALUES", 120), ("_TRANSFORM_VALUES", 33), ("_COLUMNS", 3)):
        monkeypatch.setattr(preprocessing, name, size)
    np.testing.assert_array_equal(FeatureScaler.fit(X, np.ones(40), kind).transform(X), whole)


def test_mixed_scaling_is_quantile_and_clipped_standard_side_by_side():
    X = np.random.default_rng(0).standard_t(2, size=(200, 3, 4))
    quantile, standard, mixed = (
        FeatureScaler.fit(X, np.ones(200), kind).transform(X) for kind in ("quantile", "standard", "mixed")
    )
    np.testing.assert_array_equal(mixed[:, :3], quantile)
    np.testing.assert_allclose(mixed[:, 3:], standard / np.sqrt(1 + (standard / 6) ** 2), atol=1e-6)


@pytest.mark.parametrize("kind", ["quantile", "robust"])
def test_an_even_selection_stands_for_very_many_rows(kind, monkeypatch):
    X = np.random.default_rng(0).normal(size=(20_000, 1, 2))
    exact = FeatureScaler.fit(X, np.ones(len(X)), kind).transform(X)
    monkeypatch.setattr(preprocessing, "_MOST_ROWS", 5000)
    scaler = FeatureScaler.fit(X, np.ones(len(X)), kind)
    if kind == "quantile":
        np.testing.assert_array_equal(scaler.quantiles[[0, -1]], [X[::4].min(0), X[::4].max(0)])
    assert np.abs(scaler.transform(X) - exact).mean() < 0.03


class Reads(np.ndarray):
    """An array that notes which rows are read by number."""

    def __getitem__(self, key):
        if isinstance(key, np.ndarray) and hasattr(self, "log"):
            self.log.append(key)
        return super().__getitem__(key)


@pytest.mark.parametrize("kind", ["quantile", "standard", "mixed"])
def test_of_many_rows_a_bounded_number_is_read_once_and_in_order(kind, monkeypatch):
    """On disk, reading scattered rows once for each few features would take hours."""
    monkeypatch.setattr(preprocessing, "_MOST_ROWS", 100)
    monkeypatch.setattr(preprocessing, "_FIT_VALUES", 500)
    X = np.random.default_rng(0).normal(size=(950, 2, 30)).view(Reads)
    X.log = []
    index = np.random.default_rng(1).permutation(950)[:900]
    weight = np.random.default_rng(2).uniform(1, 2, 900)
    found = FeatureScaler.fit(X, weight, kind, index)
    (rows,) = X.log
    assert len(rows) == 100
    assert (np.diff(rows) > 0).all()
    expected = FeatureScaler.fit(np.array(X), weight[::9], kind, index[::9])
    np.testing.assert_allclose(found.center, expected.center)
    np.testing.assert_allclose(found.scale, expected.scale)
    if kind != "standard":
        np.testing.assert_array_equal(found.quantiles, expected.quantiles)


def test_a_fit_to_rows_on_disk_adds_no_copy_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(preprocessing, "_MOST_ROWS", 1000)
    monkeypatch.setattr(preprocessing, "_FIT_VALUES", 2**15)
    X = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float32, (20_000, 1, 64))
    X[:] = np.random.default_rng(0).normal(size=X.shape)
    index = np.random.default_rng(1).permutation(len(X))
    tracemalloc.start()
    try:
        scaler = FeatureScaler.fit(X, np.ones(len(X)), "quantile", index)
        assert tracemalloc.get_traced_memory()[1] < X.nbytes / 2
        tracemalloc.reset_peak()
        with thread_limit(1):  # each has a block of its own
            scaler.transform(X, index)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * X.nbytes
    finally:
        tracemalloc.stop()


def test_a_pickle_holds_nothing_that_follows_from_the_rest():
    X = np.random.default_rng(0).normal(size=(300, 1, 3))
    scaler = FeatureScaler.fit(X, np.ones(300), "quantile")
    before = pickle.dumps(scaler)
    expected = scaler.transform(X)
    assert len(pickle.dumps(scaler)) == len(before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(scaler)).transform(X), expected)


def test_values_beyond_float32_need_a_scaling():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    X[:, 0] += 3 * y
    with pytest.raises(
        ValueError, match=r'values up to 1e\+300 .* scaling="none", expected at most 1e\+15; choose another'
    ):
        GenerativeTransportClassifier(estimator="kernel", scaling="none").fit(np.vstack([X[:-1], [1e300, 0, 0]]), y)
    far = np.column_stack([X[:, 0], X[:, 1] + 1e9, X[:, 2]])
    with pytest.raises(
        ValueError, match=r'values around 1e\+09 and scaling="none", expected values .* rounded to [1-4] in'
    ):
        GenerativeTransportClassifier(estimator="kernel", scaling="none").fit(far, y)
    sums = X[:, :1] * 1e-16 + 1  # that are 1 but for rounding
    GenerativeTransportClassifier(estimator="kernel", scaling="none").fit(np.hstack([X, sums]), y)
    for offset in (0.1, 1e5):  # of a constant feature, or one far from 0
        GenerativeTransportClassifier(estimator="kernel", scaling="none").fit(X * [0, 1, 1] + offset, y)
    for scaling in SCALINGS:
        classifier = GenerativeTransportClassifier(estimator="kernel", scaling=scaling).fit(X, y)
        assert np.isfinite(classifier.predict_proba([[1e300, 0, 0], [-1e300, 1e300, 0]])).all()
