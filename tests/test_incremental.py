"""`partial_fit`: new rows and new classes after fit."""

import pickle

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split

from gendiffclf import GenerativeTransportClassifier, LearnedPath
from gendiffclf.incremental import MOST_NEW_CENTERS

WITH_KERNEL = ("both", "kernel")


@pytest.fixture
def digits_without_9(digits):
    """Training rows of digits 0 to 8, ten rows of 9, and test rows of all."""
    X, y = digits
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    return X[y < 9], y[y < 9], X[y == 9][:10], X_test, y_test


# --------------------------------------------------------------------- few shots


def recall_and_loss(digits, seed, **changes):
    """Recall on 9 after ten rows of it, and the accuracy lost on the others."""
    X, y = digits
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=seed)
    known = y_test < 9
    classifier = GenerativeTransportClassifier(random_state=seed, **changes).fit(X[y < 9], y[y < 9])
    before = classifier.score(X_test[known], y_test[known])
    nines = np.random.default_rng(seed).choice(np.flatnonzero(y == 9), 10, replace=False)
    classifier.partial_fit(X[nines], y[nines])
    return classifier.score(X_test[~known], y_test[~known]), before - classifier.score(X_test[known], y_test[known])


def test_ten_examples_of_a_new_digit(digits):
    recall, lost = recall_and_loss(digits, 0, estimator="kernel")
    assert recall > 0.7
    assert lost < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("estimator", WITH_KERNEL)
def test_ten_examples_of_a_new_digit_over_five_draws(digits, estimator):
    recall, lost = np.mean([recall_and_loss(digits, seed, estimator=estimator) for seed in range(5)], axis=0)
    assert recall >= 0.85
    assert lost <= 0.007


def test_held_out_estimates_get_a_column_for_a_new_class(tiny, iris, tmp_path):
    X, y = iris
    names = np.array(["b", "d", "e"])[y]
    classifier = tiny(estimator="kernel").fit(X, names)
    before = classifier.held_out_proba_
    classifier.partial_fit(X[:2] + 50, ["a", "c"])
    assert classifier.classes_.tolist() == list("abcde")
    np.testing.assert_array_equal(classifier.held_out_proba_[:, [1, 3, 4]], before)
    assert not classifier.held_out_proba_[:, [0, 2]].any()
    assert "| Accuracy |" in classifier.write_model_card(tmp_path / "model", names).read_text()


@pytest.mark.parametrize("estimator", WITH_KERNEL)
def test_what_stays_when_a_class_comes(tiny, digits_without_9, estimator):
    X, y, nines, X_test, _ = digits_without_9
    classifier = tiny(estimator=estimator).fit(X, y)
    network, width = classifier.network_, classifier.transport(X_test[:1]).shape
    code_index, codes = classifier.code_index_.copy(), classifier._codes()
    classifier.partial_fit(nines, np.full(10, 9))
    assert classifier.classes_.tolist() == list(range(10))
    np.testing.assert_array_equal(classifier.code_index_[:9], code_index)
    assert classifier._codes()[:9].equal(codes)
    assert classifier.network_ is network
    assert classifier.transport(X_test[:1]).shape == width
    assert (classifier.predict(nines) == 9).all()
    for n_steps in (1, 4, 10):
        ends = classifier.transport(X_test, n_steps) @ classifier._codes().numpy().T
        np.testing.assert_array_equal(classifier.classes_[ends.argmax(1)], classifier.predict(X_test))


def test_a_class_between_the_old_ones_keeps_their_codes(tiny, iris):
    X, y = iris
    names = np.array(["ant", "mite", "wasp"])[y]
    classifier = tiny().fit(X[y != 1], names[y != 1])
    old = dict(zip(classifier.classes_, classifier.code_index_, strict=True))
    classifier.partial_fit(X[y == 1][:10], names[y == 1][:10])
    assert classifier.classes_.tolist() == ["ant", "mite", "wasp"]
    assert classifier.code_index_.tolist() == [old["ant"], 2, old["wasp"]]
    assert classifier.predict_proba(X).shape == (150, 3)
    assert classifier.score(X, names) > 0.9


def test_new_rows_of_a_learned_path(tiny, iris):
    X, y = iris
    classifier = tiny(path=LearnedPath(n_steps=3, time_width=8)).fit(X[:100], y[:100])
    classifier.partial_fit(X[100:110], y[100:110])
    assert classifier.score(X[100:], y[100:]) > 0.5


def test_later_rows_of_known_classes_are_learnt(tiny, digits):
    X, y = digits
    classifier = tiny(estimator="kernel").fit(X[:60], y[:60])
    before = classifier.score(X[300:], y[300:])
    classifier.partial_fit(X[60:300], y[60:300])
    assert classifier.score(X[300:], y[300:]) > before + 0.01
    assert classifier.classes_.tolist() == list(range(10))


# ----------------------------------------------------------------------- centres


def test_new_rows_become_centres(tiny, iris):
    X, y = iris
    classifier = tiny(n_centers=40).fit(X, y)
    classifier.partial_fit(X[:7] + 0.01, y[:7]).partial_fit(X[7:10] + 0.01, y[7:10])
    assert len(classifier.kernel_.centers) == 50
    repeated = tiny(n_centers=40).fit(X, y).partial_fit(np.repeat(X[:7], 3, axis=0), np.repeat(y[:7], 3))
    assert len(repeated.kernel_.centers) == 40 + len(np.unique(X[:7], axis=0))


def test_the_number_of_new_centres_is_bounded(tiny):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((5500, 4)), rng.integers(3, size=5500)
    classifier = tiny(estimator="kernel").fit(X[:100], y[:100])
    before = len(classifier.kernel_.centers)
    rare = np.append(y[100:], [7])
    classifier.partial_fit(np.concatenate([X[100:], [[9, 9, 9, 9]]]), rare)
    added = len(classifier.kernel_.centers) - before
    assert MOST_NEW_CENTERS / 2 < added <= MOST_NEW_CENTERS + 4  # and a row of each class
    assert classifier.predict([[9, 9, 9, 9]])[0] == 7


@pytest.mark.parametrize(("repeat", "weight"), [(1, 50.0), (4, 1.0)])
def test_rows_of_a_new_class_stand_for_an_average_class(tiny, digits_without_9, repeat, weight):
    """However many they are and whatever they weigh."""
    X, y, nines, X_test, _ = digits_without_9
    found = []
    for n, w in ((1, 1.0), (repeat, weight)):
        rows = np.repeat(nines, n, axis=0)
        classifier = tiny(estimator="kernel").fit(X, y)
        classifier.partial_fit(rows, np.full(len(rows), 9), sample_weight=np.full(len(rows), w))
        found.append(classifier.predict_proba(X_test))
    np.testing.assert_allclose(found[1], found[0], atol=1e-9)


def test_a_weight_is_a_repetition(tiny, iris):
    X, y = iris
    weight = np.random.default_rng(0).integers(0, 4, 50)
    weighted, repeated = (tiny(n_centers=60).fit(X[50:], y[50:]) for _ in range(2))
    rows, labels = X[:50] + 1, y[50:100]
    weighted.partial_fit(rows, labels, sample_weight=weight)
    repeated.partial_fit(np.repeat(rows, weight, axis=0), np.repeat(labels, weight))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-9)


def test_calls_of_partial_fit_hardly_depend_on_their_order(tiny, digits_without_9):
    X, y, _, X_test, _ = digits_without_9
    found = []
    for parts in ((slice(0, 200), slice(200, 400)), (slice(200, 400), slice(0, 200))):
        classifier = tiny(estimator="kernel").fit(X[400:], y[400:])
        for part in parts:
            classifier.partial_fit(X[part], y[part])
        found.append(classifier.predict(X_test))
    assert np.mean(found[0] == found[1]) > 0.97


def test_rows_of_weight_zero_change_nothing(tiny, iris):
    X, y = iris
    one, other = tiny().fit(X, y), tiny().fit(X, y)
    one.partial_fit(X[:6], [7, 7, 7, 8, 8, 8], sample_weight=[0, 0, 0, 1, 1, 1])
    other.partial_fit(X[3:6], [8, 8, 8], classes=[7, 8])
    assert one.classes_.tolist() == other.classes_.tolist() == [0, 1, 2, 7, 8]
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_rows_of_nan_are_left_out(tiny, iris):
    X, y = iris
    broken = X[:5].copy()
    broken[2] = np.nan
    one, other = tiny().fit(X, y), tiny().fit(X, y)
    with pytest.warns(UserWarning, match="Got 1 of 5 rows of NaN only, the first at index 2; they are left out"):
        one.partial_fit(broken, [7] * 5)
    other.partial_fit(X[[0, 1, 3, 4]], [7] * 4)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


# ------------------------------------------------------------------ class weight


def added_weight(classifier, X, y, **changes) -> float:
    """The summed weight of the centres that a call adds."""
    n_old = len(classifier.kernel_.center_weight)
    classifier.set_params(**changes).partial_fit(X, y)
    return float(classifier.kernel_.center_weight[n_old:].sum())


def test_class_weights_of_rows_after_fit(tiny, iris):
    """As if the rows came with these weights."""
    X, y = iris
    by_class = tiny(class_weight={0: 0.5, 1: 3.0, 2: 1.0}).fit(X, y)
    by_row = pickle.loads(pickle.dumps(by_class)).set_params(class_weight=None)
    rows = np.r_[:4, 50:57]
    by_class.partial_fit(X[rows] + 0.1, y[rows])
    by_row.partial_fit(X[rows] + 0.1, y[rows], sample_weight=np.repeat([0.5, 3.0], [4, 7]))
    np.testing.assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), atol=1e-9)


def test_balanced_class_weights_after_fit_go_by_all_rows_so_far(tiny, iris):
    X, y = iris
    few = np.r_[:50, 50:60]
    classifier = tiny(class_weight="balanced").fit(X[few], y[few])
    assert added_weight(classifier, X[60:70], y[60:70]) == pytest.approx(10 * 70 / (2 * 20), rel=1e-4)
    assert added_weight(classifier, X[70:100], y[70:100]) == pytest.approx(30 * 100 / (2 * 50), rel=1e-4)


@pytest.mark.parametrize(("class_weight", "factor"), [(None, 1), ({0: 1, 1: 1, 2: 3.0}, 3), ("balanced", 1)])
def test_class_weights_of_a_new_class(tiny, iris, class_weight, factor):
    """Its first rows weigh as much as an average class, times the class weight; "balanced" asks for no more."""
    X, y = iris
    classifier = tiny().fit(X[:100], y[:100])
    added = added_weight(classifier, X[100:107], y[100:107], class_weight=class_weight)
    assert added == pytest.approx(50 * factor, rel=1e-4)


def test_a_class_announced_in_an_earlier_call_is_new_until_its_first_rows(tiny, iris):
    X, y = iris
    classifier = tiny().fit(X[:100], y[:100]).partial_fit(X[:1], y[:1], classes=[2])
    assert added_weight(classifier, X[100:107], y[100:107]) == pytest.approx(50, rel=1e-4)
    assert added_weight(classifier, X[107:109], y[107:109]) == pytest.approx(2, rel=1e-3)


def test_class_weights_that_make_no_sense_for_later_rows(tiny, iris):
    X, y = iris
    classifier = tiny().fit(X, y)
    for class_weight, message in (
        ({"0": 1.0}, r"Got class_weight for \['0'\]"),
        ({0: 0.0}, "expected a row with a positive weight"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier.set_params(class_weight=class_weight).partial_fit(X[:5], y[:5])


# ---------------------------------------------------------- failing partial_fit


def assert_unchanged(classifier, before: dict) -> None:
    """The attributes are those in `before`, the same objects."""
    assert vars(classifier).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(classifier).items())


FAILURES = {
    "more classes than codes": (
        lambda X, y: (X[:20], np.arange(20)),
        ValueError,
        r"Got 20 classes for 'sinusoidal' codes of width=32, expected a width of at least 41; fit with width=41",
    ),
    "text": (lambda X, y: (np.full_like(X, "a", dtype=object), y), ValueError, "expected numbers; make X a DataFrame"),
    "labels of another type": (lambda X, y: (X, y.astype(str)), ValueError, "Got labels of type str, expected int"),
    "other features": (lambda X, y: (X[:, :2], y), ValueError, "X has 2 features"),
    "infinity": (lambda X, y: (np.where(X > 4, np.inf, X), y), ValueError, "contains infinity"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failing_call_leaves_the_classifier_as_it_was(tiny, iris, case):
    X, y = iris
    change, error, message = FAILURES[case]
    classifier = tiny().fit(X, y)
    before, probabilities = dict(vars(classifier)), classifier.predict_proba(X)
    with pytest.raises(error, match=message):
        classifier.partial_fit(*change(X, y))
    assert_unchanged(classifier, before)
    np.testing.assert_array_equal(classifier.predict_proba(X), probabilities)


@pytest.mark.parametrize("case", ["more classes than codes", "text", "infinity"])
def test_a_failing_first_call_leaves_the_classifier_unfitted(tiny, iris, case):
    change, error, _ = FAILURES[case]
    classifier = tiny()
    with pytest.raises(error):
        classifier.partial_fit(*change(*iris))
    assert vars(classifier) == classifier.get_params()
    with pytest.raises(NotFittedError):
        classifier.predict(iris[0])


def test_an_interrupted_call_leaves_everything_as_it_was(tiny, iris, monkeypatch):
    """The interruption comes when the correction has been computed; the next call is as if it had not been."""
    from gendiffclf.estimators.kernel_estimator import KernelEstimator

    X, y = iris
    classifier, other = (tiny().fit(X, y) for _ in range(2))
    classifier.predict_proba(X)
    before, corrected = dict(vars(classifier)), KernelEstimator.corrected

    def interrupted(*args):
        corrected(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KernelEstimator, "corrected", interrupted)
        with pytest.raises(KeyboardInterrupt):
            classifier.partial_fit(X[:20], np.full(20, 7))
    assert_unchanged(classifier, before)
    np.testing.assert_array_equal(classifier.predict_proba(X), other.predict_proba(X))
    for one in (classifier, other):
        one.partial_fit(X[:30], y[:30])
    np.testing.assert_array_equal(classifier.predict_proba(X), other.predict_proba(X))


def test_a_network_alone_has_no_centres_to_join(tiny, iris):
    X, y = iris
    classifier = tiny(estimator="network").fit(X, y)
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as caught:
        classifier.partial_fit(X, y)
    assert str(caught.value.__cause__).endswith(
        "expected a kernel, which the rows of partial_fit can join; use estimator='both'."
    )
    with pytest.raises(
        ValueError,
        match=r"Got estimator='network' in the fit before partial_fit, expected a kernel, .*; fit with estimator=",
    ):
        classifier.set_params(estimator="both").partial_fit(X, y)
