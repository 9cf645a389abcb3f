"""New rows and new classes after fit."""

import pickle
import pkgutil

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.training.few_shot import RIDGE, gram_matrix, refit_last_map
from gendiffclf.training.vectors import ParameterVector


@pytest.fixture
def digits_without_9(digits):
    """Training rows of digits 0 to 8, ten rows of 9, and test rows of all."""
    X, y = digits
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    return X[y < 9], y[y < 9], X[y == 9][:10], X_test, y_test


def test_ten_examples_of_a_new_digit(digits_without_9):
    """Most nines are found, and the digits known before keep their accuracy, their codes and their network."""
    X, y, nines, X_test, y_test = digits_without_9
    classifier = GenerativeTransportClassifier(max_epochs=20, n_members=3, precision="float32", random_state=0).fit(
        X, y
    )
    known = y_test < 9
    before = classifier.score(X_test[known], y_test[known])
    shapes = {name: w.shape for name, w in classifier.model_.state_dict().items()}
    codes = classifier.transport(X_test[:1]).shape, classifier.code_index_.copy()

    classifier.partial_fit(nines, np.full(10, 9))
    predicted = classifier.predict(X_test)
    after = np.mean(predicted[known] == y_test[known])
    recall = np.mean(predicted[~known] == 9)
    assert before > 0.95
    assert after > before - 0.02
    assert recall > 0.6
    assert {name: w.shape for name, w in classifier.model_.state_dict().items()} == shapes
    assert classifier.transport(X_test[:1]).shape == codes[0]
    np.testing.assert_array_equal(classifier.code_index_[:9], codes[1])
    np.testing.assert_array_equal(classifier.classes_, np.arange(10))


def test_new_rows_count_as_much_as_they_weigh(digits_without_9):
    """Rows of a new class stand for an average class, however many they are and whatever they weigh."""
    X, y, nines, X_test, _ = digits_without_9
    found = []
    for repeat, weight in ((1, 1.0), (1, 50.0), (4, 1.0)):
        classifier = GenerativeTransportClassifier(max_epochs=3, n_members=1, device="cpu", random_state=0).fit(X, y)
        rows = np.repeat(nines, repeat, axis=0)
        classifier.partial_fit(rows, np.full(len(rows), 9), sample_weight=np.full(len(rows), weight))
        found.append(classifier.predict_proba(X_test))
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    np.testing.assert_allclose(found[2], found[0], atol=1e-5)


def test_the_refit_is_ridge_regression_on_old_and_new_rows(tiny, iris):
    """Old rows with their estimates as targets, new rows with their codes, the penalty on the change."""
    X, y = iris
    model = tiny(n_members=2, scaling="quantile").fit(X[:100], y[:100]).model_.double()
    rows, new = (torch.randn(n, 1, 4, generator=torch.Generator().manual_seed(n)).double() for n in (60, 7))
    codes = model.codes("sinusoidal", 3)[torch.arange(7) % 3]
    weight, new_weight = torch.linspace(0.5, 2, 60).double(), torch.linspace(1, 3, 7).double()

    def parts(rows):
        x1, condition = model.split(rows[None])
        residual, hidden, gate = model.network.before_last_map(x1, condition, torch.tensor(1.0).double())
        return residual, torch.cat([hidden, torch.ones(2, len(rows), 1)], dim=-1), gate

    with torch.no_grad():
        old_map = torch.cat([model.network.last_map.weight, model.network.last_map.bias], dim=1)
        _, old_states, _ = parts(rows)
        residual, states, gate = parts(new)
        gram = gram_matrix(model, rows, weight)
        torch.testing.assert_close(gram, (old_states * weight[:, None]).mT @ old_states)
        both = refit_last_map(model, gram, new, codes, new_weight)
        torch.testing.assert_close(both, gram + (states * new_weight[:, None]).mT @ states)
        new_map = torch.cat([model.network.last_map.weight, model.network.last_map.bias], dim=1)
        ridge = RIDGE * both.diagonal(dim1=-2, dim2=-1).mean(-1).sqrt() ** 2
        for member in range(2):
            root = weight.sqrt()[:, None]
            new_root = new_weight.sqrt()[:, None]
            target = (codes - residual[member]) / gate[member] - states[member] @ old_map[member]
            design = torch.cat(
                [
                    root * old_states[member],
                    new_root * states[member],
                    ridge[member].sqrt() * torch.eye(old_states.shape[-1]).double(),
                ]
            )
            goal = torch.cat(
                [
                    torch.zeros(60, 32).double(),
                    new_root * target,
                    torch.zeros(old_states.shape[-1], 32).double(),
                ]
            )
            change = torch.linalg.lstsq(design, goal).solution
            torch.testing.assert_close(new_map[member] - old_map[member], change, rtol=1e-6, atol=1e-8)


def test_calls_of_partial_fit_hardly_depend_on_their_order(tiny, digits_without_9):
    X, y, _, X_test, _ = digits_without_9
    found = []
    for parts in ((slice(0, 200), slice(200, 400)), (slice(200, 400), slice(0, 200))):
        classifier = tiny(max_epochs=20).fit(X[400:], y[400:])
        for part in parts:
            classifier.partial_fit(X[part], y[part])
        found.append(classifier.predict(X_test))
    assert np.mean(found[0] == found[1]) > 0.97


def test_a_class_between_the_old_ones_keeps_their_codes(tiny, iris):
    X, y = iris
    names = np.array(["ant", "mite", "wasp"])[y]
    classifier = tiny(max_epochs=60, batch_size=16, learning_rate=0.01).fit(X[y != 1], names[y != 1])
    old = dict(zip(classifier.classes_, classifier.code_index_, strict=True))
    classifier.partial_fit(X[y == 1][:10], names[y == 1][:10])
    assert classifier.classes_.tolist() == ["ant", "mite", "wasp"]
    assert classifier.code_index_.tolist() == [old["ant"], 2, old["wasp"]]
    assert classifier.predict_proba(X).shape == (150, 3)
    assert classifier.score(X, names) > 0.8


# ------------------------------------------------------------------ class weight


def weight_of_rows(classifier) -> float:
    """The summed weight of the rows in the Gram matrix: its last entry is that of the constant 1."""
    return float(classifier.gram_[0, -1, -1])


def added_weight(classifier, X, y, **changes) -> float:
    """By how much a call of partial_fit moves `weight_of_rows`."""
    before = weight_of_rows(classifier)
    return weight_of_rows(classifier.set_params(**changes).partial_fit(X, y)) - before


def test_class_weights_of_rows_after_fit(tiny, iris):
    """As if the rows came with these weights, and as much as in fit."""
    X, y = iris
    weights = {0: 0.5, 1: 3.0, 2: 1.0}
    by_class = tiny(class_weight=weights).fit(X, y)
    assert weight_of_rows(by_class) == pytest.approx(4.5 * 50, rel=1e-5)
    by_row = pickle.loads(pickle.dumps(by_class)).set_params(class_weight=None)
    rows = np.r_[:4, 50:57]
    by_class.partial_fit(X[rows], y[rows])
    by_row.partial_fit(X[rows], y[rows], sample_weight=np.repeat([0.5, 3.0], [4, 7]))
    assert weight_of_rows(by_class) == pytest.approx(4.5 * 50 + 4 * 0.5 + 7 * 3, rel=1e-5)
    np.testing.assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), atol=1e-6)


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


def test_balanced_class_weights_of_a_stream_go_by_all_rows_so_far(tiny, iris):
    """50 rows of one class and 10 of another, then 10 and 40."""
    X, y = iris
    calls = [
        (np.r_[:50, 50:60], np.repeat([60 / 100, 60 / 20], [50, 10])),
        (np.r_[:10, 60:100], np.repeat([110 / 120, 110 / 100], [10, 40])),
    ]
    balanced, weighted, plain = (
        tiny(class_weight="balanced", scaling="none"),
        tiny(scaling="none"),
        tiny(scaling="none"),
    )
    for rows, weight in calls:
        balanced.partial_fit(X[rows], y[rows])
        weighted.partial_fit(X[rows], y[rows], sample_weight=weight)
        plain.partial_fit(X[rows], y[rows])
    np.testing.assert_allclose(balanced.transport(X), weighted.transport(X), atol=1e-5)
    assert not np.allclose(balanced.transport(X), plain.transport(X), atol=1e-3)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_class_weights_that_make_no_sense_for_later_rows(tiny, iris, method):
    X, y = iris
    classifier = getattr(tiny(), method)(X, y)
    for class_weight, message in (
        ({"0": 1.0}, r"Got class_weight for \['0'\]"),
        ({0: 0.0}, "expected a row with a pos"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier.set_params(class_weight=class_weight).partial_fit(X[:5], y[:5])


# ----------------------------------------------------------- failing partial_fit


def assert_unchanged(classifier, before: dict) -> None:
    """The attributes are those in `before`, the same objects."""
    assert vars(classifier).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(classifier).items())


FAILURES = {
    "more classes than codes": (lambda X, y: (X[:20], np.arange(20)), ValueError, "codes of width=32 hold at most 15"),
    "text": (lambda X, y: (np.full_like(X, "a", dtype=object), y), ValueError, "could not convert string to float"),
    "labels of another type": (lambda X, y: (X, y.astype(str)), ValueError, "Got labels of type str, expected int"),
    "other features": (lambda X, y: (X[:, :2], y), ValueError, "X has 2 features"),
    "NaN": (lambda X, y: (np.where(X > 4, np.nan, X), y), ValueError, "contains NaN"),
}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("case", FAILURES)
def test_a_failing_call_leaves_the_classifier_as_it_was(tiny, iris, method, case):
    X, y = iris
    change, error, message = FAILURES[case]
    classifier = getattr(tiny(), method)(X, y)
    before, probabilities = dict(vars(classifier)), classifier.predict_proba(X)
    with pytest.raises(error, match=message):
        classifier.partial_fit(*change(X, y))
    assert_unchanged(classifier, before)
    np.testing.assert_array_equal(classifier.predict_proba(X), probabilities)


@pytest.mark.parametrize("case", ["more classes than codes", "text", "NaN"])
def test_a_failing_first_call_leaves_the_classifier_unfitted(tiny, iris, case):
    change, error, _ = FAILURES[case]
    classifier = tiny()
    with pytest.raises(error):
        classifier.partial_fit(*change(*iris))
    assert vars(classifier) == classifier.get_params()
    with pytest.raises(NotFittedError):
        classifier.predict(iris[0])


@pytest.mark.parametrize(
    ("method", "last"),
    [
        ("fit", "gendiffclf.training.few_shot.refit_last_map"),
        ("partial_fit", "gendiffclf.training.optimizer.AveragedAdam.state"),
    ],
)
def test_an_interrupted_call_leaves_weights_and_optimiser_as_they_were(tiny, iris, monkeypatch, method, last):
    """The interruption comes when all weights have been changed; the next call is as if it had not been."""
    X, y = iris
    classifier, other = (getattr(tiny(), method)(X, y) for _ in range(2))
    before = dict(vars(classifier))
    work = pkgutil.resolve_name(last)

    def interrupted(*args):
        work(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(last, interrupted)
        with pytest.raises(KeyboardInterrupt):
            classifier.partial_fit(X[:20], np.full(20, 7))
    assert_unchanged(classifier, before)
    np.testing.assert_array_equal(classifier.predict_proba(X), other.predict_proba(X))
    for one in (classifier, other):
        one.partial_fit(X[:30], y[:30])
    np.testing.assert_array_equal(classifier.predict_proba(X), other.predict_proba(X))


# ---------------------------------------------------------------------- labels


def test_labels_may_be_announced_before_their_rows(tiny, iris):
    X, y = iris
    classifier = tiny().fit(X, y)
    classifier.partial_fit(X[:5], y[:5], classes=[0, 1, 2, 3, 4])
    assert classifier.classes_.tolist() == [0, 1, 2, 3, 4]
    assert classifier.predict_proba(X).shape == (150, 5)
    assert set(classifier.predict(X)) <= {0, 1, 2}


def test_the_stream_announces_classes_and_takes_new_ones(tiny, iris):
    X, y = iris
    classifier = tiny(learning_rate=0.01)
    classifier.partial_fit(X[:100], y[:100], classes=[0, 1])
    assert classifier.classes_.tolist() == [0, 1]
    index = classifier.code_index_.tolist()
    for _ in range(40):
        classifier.partial_fit(X, y)
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.code_index_.tolist() == [*index, 2]
    assert classifier.n_iter_ == 41
    assert len(classifier.history_["loss"]) == 41
    assert classifier.score(X, y) > 0.9


def test_the_stream_goes_on_after_pickling_as_if_nothing_happened(tiny, iris):
    X, y = iris
    classifier = tiny().partial_fit(X, y)
    copy = pickle.loads(pickle.dumps(classifier))
    for one in (classifier, copy):
        one.partial_fit(X, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), copy.predict_proba(X))


@pytest.mark.parametrize("objective", ["velocity", "noise"])
def test_other_objectives_have_no_closed_form(tiny, iris, objective):
    """Whatever the parameter says later: it is the fit's objective that counts."""
    X, y = iris
    classifier = tiny(objective=objective).fit(X, y)
    before = {**vars(classifier), "objective": "target"}
    for labels in (y, y + 1):
        with pytest.raises(
            ValueError,
            match=rf"Got objective='{objective}' in the fit before partial_fit, expected 'target', .* "
            "fit with objective='target', fit again on old and new rows, or call partial_fit without a fit before",
        ):
            classifier.set_params(objective="target").partial_fit(X, labels)
    assert_unchanged(classifier, before)


@pytest.mark.parametrize("objective", ["velocity", "noise"])
def test_other_objectives_learn_from_a_stream(tiny, iris, objective):
    X, y = iris
    classifier = tiny(objective=objective).partial_fit(X[:100], y[:100])
    before = classifier.transport(X)
    assert classifier.partial_fit(X, y).n_iter_ == 2
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert not np.array_equal(before, classifier.transport(X))


def test_rows_of_weight_zero_change_nothing(tiny, iris):
    X, y = iris
    one, other = tiny().fit(X, y), tiny().fit(X, y)
    one.partial_fit(X[:6], [7, 7, 7, 8, 8, 8], sample_weight=[0, 0, 0, 1, 1, 1])
    other.partial_fit(X[3:6], [8, 8, 8], classes=[7, 8])
    assert one.classes_.tolist() == other.classes_.tolist() == [0, 1, 2, 7, 8]
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_more_classes_than_codes(tiny, iris):
    X, y = iris
    classifier = tiny(width=8).fit(X, y)
    probabilities = classifier.predict_proba(X)
    with pytest.raises(
        ValueError,
        match=r"Got 4 classes with the new \[3\], but 'sinusoidal' codes of width=8 hold at most 3; "
        "fit again with width >= 9",
    ):
        classifier.partial_fit(X[:3], [3, 3, 3])
    assert classifier.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(classifier.predict_proba(X), probabilities)


@pytest.mark.parametrize(
    ("labels", "new", "message"),
    [
        ([0, 1, 2], "a", r"Got labels of type str, expected int as in classes_=\[0, 1, 2\]"),
        (["a", "b", "c"], 1, r"Got labels of type int, expected str as in classes_=\['a', 'b', 'c'\]"),
    ],
)
def test_labels_of_another_type(tiny, iris, labels, new, message):
    X, y = iris
    classifier = tiny().fit(X, np.array(labels)[y])
    with pytest.raises(ValueError, match=message):
        classifier.partial_fit(X[:2], [new, new])
    assert classifier.classes_.tolist() == labels


def test_labels_that_were_not_announced(tiny, iris):
    X, y = iris
    message = r"Got labels \[2\] in y, expected labels among classes=\[0, 1\]\."
    with pytest.raises(ValueError, match=message):
        tiny().partial_fit(X, y, classes=[0, 1])
    classifier = tiny().fit(X[:100], y[:100])
    with pytest.raises(ValueError, match=message):
        classifier.partial_fit(X, y, classes=[0, 1])


def test_fit_starts_anew_after_partial_fit(tiny, iris):
    X, y = iris
    classifier = tiny().partial_fit(X, y).partial_fit(X[:3], [5, 5, 5])
    assert classifier.fit(X, y).classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(classifier.predict_proba(X), tiny().fit(X, y).predict_proba(X))


def test_a_stream_of_another_layout_is_refused(tiny, iris):
    streamed = tiny().partial_fit(*iris)
    streamed._training_state["weights"] = streamed._training_state["weights"].chunk(2)
    with pytest.raises(ValueError, match="a stream that another version of gendiffclf began"):
        streamed.partial_fit(*iris)


def test_a_stream_goes_on_from_the_last_weights_and_predicts_with_their_average(tiny, iris):
    streamed = tiny(averaging=0.5).partial_fit(*iris)
    state = streamed._training_state
    assert torch.equal(ParameterVector(streamed.model_.network).copy(), state["average"])
    assert not torch.equal(state["weights"], state["average"])


def test_a_stream_can_stop_averaging(tiny, iris):
    streamed = tiny(averaging=0.9).partial_fit(*iris)
    weights = streamed._training_state["weights"]
    streamed.set_params(averaging=0.0, learning_rate=1e-12).partial_fit(*iris)
    torch.testing.assert_close(streamed._training_state["weights"], weights, rtol=0, atol=1e-6)
