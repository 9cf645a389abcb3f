"""The classifier as its users meet it."""

import copy
import io
import pickle
import re

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators.tokenizers import TOKENIZERS
from gendiffclf.preprocessing import SCALINGS
from gendiffclf.transport.codes import CODES, label_codes
from gendiffclf.transport.path import OBJECTIVES
from gendiffclf.transport.readout import project_on_simplex, temper
from gendiffclf.transport.schedules import MEAN_SCHEDULES, VARIANCE_SCHEDULES
from gendiffclf.transport.solvers import SOLVERS
from gendiffclf.transport.times import TIME_SAMPLERS

OPTIONS = [
    (name, option)
    for name, registry in {
        "codes": CODES,
        "mean_schedule": MEAN_SCHEDULES,
        "variance_schedule": VARIANCE_SCHEDULES,
        "objective": OBJECTIVES,
        "time_sampling": {"auto": None, **TIME_SAMPLERS},
        "solver": SOLVERS,
        "tokenizer": TOKENIZERS,
        "scaling": SCALINGS,
    }.items()
    for option in registry
]


@pytest.fixture
def layered(iris):
    """150 rows of 3 layers with 4 features."""
    X, y = iris
    noise = np.random.default_rng(0).standard_normal((150, 2, 4))
    return np.concatenate([noise + X[:, None], X[:, None]], axis=1), y


# ---------------------------------------------------------------- every option


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_fits_predicts_and_pickles(tiny, iris, name, option):
    X, y = iris
    classifier = tiny(**{name: option}).fit(X, y)
    proba = classifier.predict_proba(X)
    assert proba.shape == (150, 3)
    assert (proba > 0).all()
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-12)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(X), proba)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_layered_rows(tiny, layered, tokenizer):
    X, y = layered
    classifier = tiny(tokenizer=tokenizer, max_epochs=40, batch_size=32, learning_rate=0.01).fit(X, y)
    assert classifier.score(X, y) > 0.85
    assert classifier.model_.network.shape.n_condition_layers == 2
    one_layer = X.copy()
    one_layer[:, 0] += 1  # a conditioning layer matters, and x1 is the last
    assert not np.allclose(classifier.predict_proba(one_layer), classifier.predict_proba(X))
    np.testing.assert_array_equal(
        classifier.transport(one_layer, return_path=True)[0], classifier.transport(X, return_path=True)[0]
    )


# ----------------------------------------------------------- what comes back


def test_probabilities_predictions_and_cosines_agree(tiny, iris):
    X, y = iris
    classifier = tiny(max_epochs=20, batch_size=32).fit(X, y)
    proba, cosines = classifier.predict_proba(X), classifier.decision_function(X)
    assert proba.dtype == np.float64
    np.testing.assert_array_equal(classifier.predict(X), proba.argmax(1))
    np.testing.assert_array_equal(classifier.predict(X), cosines.argmax(1))
    np.testing.assert_allclose(classifier.predict_log_proba(X), np.log(proba))
    estimate, codes = proba @ label_codes("sinusoidal", 3, 32), label_codes("sinusoidal", 3, 32)
    expected = estimate @ codes.T / np.linalg.norm(estimate, axis=1, keepdims=True) / np.linalg.norm(codes, axis=1)
    np.testing.assert_allclose(cosines, expected, atol=1e-12)


def test_two_classes_have_one_decision_that_ranks_like_the_probability(tiny, iris):
    X, y = iris
    classifier = tiny(max_epochs=20).fit(X, y == 1)
    decision, proba = classifier.decision_function(X), classifier.predict_proba(X)[:, 1]
    assert decision.shape == (150,)
    assert np.abs(decision).max() <= 1
    np.testing.assert_array_equal(np.argsort(decision, kind="stable"), np.argsort(proba, kind="stable"))
    np.testing.assert_array_equal(decision > 0, proba > 0.5)


def test_transport_returns_the_estimate_or_the_whole_path(tiny, iris):
    X, y = iris
    classifier = tiny(n_steps=4).fit(X, y)
    path = classifier.transport(X, return_path=True)
    assert path.shape == (5, 150, 32)
    assert path.dtype == np.float32
    np.testing.assert_array_equal(path[-1], classifier.transport(X))
    scaled = classifier.scaler_.transform(X[:, None]).mean(axis=1)  # over the views, of which members see one each
    np.testing.assert_allclose(path[0], scaled @ classifier.model_.lift.numpy(), atol=1e-6)
    assert classifier.transport(X, n_steps=2, return_path=True).shape == (3, 150, 32)
    assert classifier.n_steps == 4


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("n_classes", [2, 10])
def test_network_calls_per_prediction(tiny, digits, name, n_classes):
    """As many as the solver says, whatever the number of classes."""
    X, y = digits
    classifier = tiny(max_epochs=1, n_steps=3, solver=name).fit(X[y < n_classes][:400], y[y < n_classes][:400])
    calls = []
    classifier.model_.network.register_forward_hook(lambda *_: calls.append(1))
    classifier.predict_proba(X[:50])
    assert len(calls) == 3 * SOLVERS[name]().calls_per_step


def test_steps_and_solver_change_after_fit_without_a_refit(tiny, iris):
    X, y = iris
    classifier = tiny().fit(X, y)
    one = classifier.transport(X)
    for changes in ({"n_steps": 5}, {"solver": "euler"}, {"solver": "stochastic", "n_steps": 3}):
        assert not np.allclose(classifier.set_params(**changes).transport(X), one)
    classifier.set_params(solver="exact", n_steps=1)
    np.testing.assert_array_equal(classifier.transport(X), one)
    for changes, message in (({"n_steps": 0}, "Got n_steps=0"), ({"n_steps": 1, "solver": "rk4"}, "Got solver='rk4'")):
        with pytest.raises(ValueError, match=message):
            classifier.set_params(**changes).predict(X)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_row_has_the_same_result_in_any_batch(tiny, iris, name):
    X, y = iris
    classifier = tiny(solver=name, n_steps=2).fit(X, y)
    together = classifier.predict_proba(X)
    for size in (1, 7, 70):
        parts = [classifier.predict_proba(X[start : start + size]) for start in range(0, 150, size)]
        np.testing.assert_allclose(np.concatenate(parts), together, rtol=0, atol=1e-12)


# --------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    "names",
    [
        np.array(["setosa", "versicolor", "virginica"]),
        np.array(["setosa", "versicolor", "virginica"], dtype=object),
        np.array([-5, 0, 12]),
        np.array([1, 2, 3], dtype=np.uint8),
        np.array([0.0, 1.0, 2.0], dtype=np.float32),
        np.array([False, True, True]),
    ],
    ids=["str", "object", "int", "uint8", "float32", "bool"],
)
def test_labels_come_back_as_they_came(tiny, iris, names):
    X, y = iris
    classifier = tiny(max_epochs=30, batch_size=32, learning_rate=0.01).fit(X, names[y])
    predicted = classifier.predict(X)
    assert predicted.dtype == classifier.classes_.dtype == names.dtype
    np.testing.assert_array_equal(classifier.classes_, np.unique(names))
    assert np.mean(predicted == names[y]) > 0.9


def test_labels_of_pandas(tiny, iris):
    X, y = iris
    for labels in (pd.Series(["a", "b", "c"])[y], pd.Series(pd.Categorical.from_codes(y, ["a", "b", "c"]))):
        assert set(tiny().fit(X, labels).predict(X)) <= {"a", "b", "c"}


# ------------------------------------------------------------------------ rows


@pytest.mark.parametrize("library", [pd, pl])
def test_data_frames_and_their_names(tiny, iris, library):
    X, y = iris
    names = ["a", "b", "c", "d"]
    frame = library.DataFrame(dict(zip(names, X.T, strict=True)))
    classifier = tiny().fit(frame, library.Series(y))
    assert classifier.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(classifier.predict_proba(frame), tiny().fit(X, y).predict_proba(X))
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(frame[["b", "a", "c", "d"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        classifier.predict(X)


def test_single_and_double_precision_rows_give_one_model(tiny, iris):
    X, y = iris
    single = X.astype(np.float32)
    one, other = tiny().fit(single, y), tiny().fit(single.astype(np.float64), y)
    np.testing.assert_array_equal(one.predict_proba(single), other.predict_proba(single.astype(np.float64)))


def test_the_order_of_rows_does_not_matter(tiny, iris):
    X, y = iris
    order = np.random.default_rng(0).permutation(150)
    one, other = tiny().fit(X, y), tiny().fit(X[order], y[order])
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_weight_is_a_repetition(tiny, iris, method):
    X, y = iris
    weight = np.random.default_rng(0).integers(0, 4, 150)
    weighted, repeated = tiny(), tiny()
    getattr(weighted, method)(X, y, sample_weight=weight)
    getattr(repeated, method)(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-9)


def test_a_common_factor_of_the_weights_does_not_matter(tiny, iris):
    X, y = iris
    one, other = tiny().fit(X, y, np.ones(150)), tiny().fit(X, y, np.full(150, 4.0))
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-9)


def test_class_weights(tiny, digits):
    """A dictionary is the same as weights of rows, and "balanced" gives all classes one sum."""
    X, y = digits
    rows = np.r_[np.flatnonzero(y == 8)[:100], np.flatnonzero(y == 9)[:25]]
    X, y = X[rows], y[rows]
    by_dict = tiny(class_weight={8: 0.5, 9: 2.0}).fit(X, y).predict_proba(X)
    by_rows = tiny().fit(X, y, np.where(y == 8, 0.5, 2.0)).predict_proba(X)
    np.testing.assert_allclose(by_dict, by_rows, atol=1e-9)
    balanced = tiny(class_weight="balanced").fit(X, y).predict_proba(X)
    np.testing.assert_allclose(balanced, tiny(class_weight={8: 0.625, 9: 2.5}).fit(X, y).predict_proba(X), atol=1e-6)
    assert balanced[:, 1].mean() > tiny().fit(X, y).predict_proba(X)[:, 1].mean() + 0.05


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"0": 1.0}, r"Got class_weight for \['0'\], expected labels among \[0, 1, 2\]"),
        ({0: 0, 1: 0, 2: 0}, r"Got class_weight=\{0: 0, 1: 0, 2: 0\}, expected a row with a positive weight"),
        ({0: np.inf}, "expected non-negative finite weights"),
    ],
)
def test_class_weights_that_make_no_sense(tiny, iris, class_weight, message):
    with pytest.raises(ValueError, match=message):
        tiny(class_weight=class_weight).fit(*iris)


def test_messages_about_class_weights_show_plain_numbers(tiny, iris):
    with pytest.raises(ValueError, match=r"Got class_weight for \[7\], expected labels among \[0, 1, 2\]"):
        tiny(class_weight={np.int64(7): np.float64(1.5)}).fit(*iris)
    with pytest.raises(ValueError, match=r"Got class_weight=\{0: -1\.5\}, expected non-negative"):
        tiny(class_weight={np.int64(0): np.float64(-1.5)}).fit(*iris)


def test_a_weight_for_a_class_that_a_fold_lacks_is_no_error(tiny, iris):
    X, y = iris
    tiny(class_weight={0: 1, 1: 2, 2: 3}).fit(X[:100], y[:100])


# ---------------------------------------------------------------------- errors


def rows_with(value):
    X = np.ones((6, 4))
    X[2, 1] = value
    return X


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (csr_array(np.eye(6)), [0, 1] * 3, TypeError, "[Ss]parse"),
        (
            rows_with(np.nan),
            [0, 1] * 3,
            ValueError,
            r"Got X that contains NaN, first in row 2, expected finite .* make_pipeline\(SimpleImputer\(\), classifier\)",
        ),
        (
            rows_with(-np.inf),
            [0, 1] * 3,
            ValueError,
            r"Got X that contains infinity or a number beyond float64, first in row 2, expected .* clip or replace it",
        ),
        (np.empty((0, 4)), [], ValueError, "0 sample"),
        (np.empty((6, 0)), [0, 1] * 3, ValueError, "0 feature"),
        (np.ones((6, 4)), [0] * 6, ValueError, r"Got 1 class in y \(0\), expected at least 2 classes; add rows"),
        (np.ones((6, 4)), [0, 1] * 2, ValueError, "inconsistent numbers of samples"),
        (np.ones((6, 4)), np.linspace(0, 1, 6), ValueError, "Unknown label type: continuous"),
        (
            np.ones((2, 2, 2, 2)),
            [0, 1],
            ValueError,
            r"Got X of 4 dimensions, expected \(rows, features\) or \(rows, layers",
        ),
        (np.ones(6), [0, 1] * 3, ValueError, "Expected 2D array, got 1D"),
        (np.ones((6, 4), complex), [0, 1] * 3, ValueError, "Complex data not supported"),
    ],
    ids=[
        "sparse",
        "nan",
        "infinity",
        "no rows",
        "no features",
        "one class",
        "lengths",
        "continuous",
        "4-D",
        "1-D",
        "complex",
    ],
)
def test_rows_that_cannot_be_fitted(tiny, X, y, error, message):
    with pytest.raises(error, match=message):
        tiny().fit(X, y)


@pytest.mark.parametrize("sample_weight", [np.zeros(150), np.full(150, -1.0), np.full(150, np.nan), np.ones(3)])
def test_weights_that_make_no_sense(tiny, iris, sample_weight):
    message = "zeros only|at least one non-zero|Negative values|NaN|sample_weight.shape"
    with pytest.raises(ValueError, match=message):
        tiny().fit(*iris, sample_weight=sample_weight)


def test_rows_of_another_width(tiny, iris, layered):
    X, y = iris
    with pytest.raises(ValueError, match="X has 3 features, but GenerativeTransportClassifier is expecting 4 features"):
        tiny().fit(X, y).predict(X[:, :3])
    classifier = tiny().fit(*layered)
    with pytest.raises(
        ValueError, match=r"Got X of shape \(150, 3, 3\), expected \(rows, 3, 4\) as in fit; make X like"
    ):
        classifier.predict(layered[0][:, :, :3])


@pytest.mark.parametrize(
    ("fitted", "given"),
    [
        ((5, 8), (4, 8)),
        ((5, 8), (5, 7)),
        ((5, 8), (8,)),
        ((5, 8), (5,)),
        ((5, 8), (1, 5, 8)),
        ((1, 8), (8,)),
        ((8,), (5, 8)),
        ((8,), (8, 8)),
        ((8,), (1, 8)),
    ],
)
def test_rows_of_other_layers(tiny, fitted, given):
    """Both shapes are told, before scikit-learn takes the layers for features."""
    y = np.arange(20) % 2
    X, other = (np.random.default_rng(0).standard_normal((20, *shape)) for shape in (fitted, given))
    classifier = tiny(max_epochs=1, warm_start=True).fit(X, y)
    message = re.escape(
        f"Got X of shape {other.shape}, expected (rows, {', '.join(map(str, fitted))}) as in fit; make X like the rows of "
        "fit, or fit another classifier on rows like these."
    )
    for rows in (other, other.tolist()):
        with pytest.raises(ValueError, match=message):
            classifier.predict(rows)
    for learn in (classifier.fit, classifier.partial_fit):
        with pytest.raises(ValueError, match=message):
            learn(other, y)
    assert len(classifier.predict(X.tolist())) == 20


@pytest.mark.parametrize("shape", [(20, 1), (20, 1, 1)])
def test_one_layer_of_one_feature(tiny, shape):
    X = np.arange(20.0)
    classifier = tiny(max_epochs=1).fit(X.reshape(shape), X > 9)
    for other in ((20, 1), (20, 1, 1)):
        assert classifier.predict(X.reshape(other)).shape == (20,)
    with pytest.raises(ValueError, match=r"Got X of shape \(10, 2, 1\), expected \(rows, 1, 1\) as in fit"):
        classifier.predict(X.reshape(10, 2, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_rows_are_no_infinity(tiny, iris, dtype):
    """Their sum may be beyond the largest number; they are not."""
    X, y = iris
    X = X.astype(dtype)
    X[:, 0] = np.finfo(dtype).max * np.where(y == 1, -1, 1)
    assert np.isfinite(tiny().fit(X, y).predict_proba(X)).all()


def test_more_classes_than_the_width_holds(tiny, digits):
    with pytest.raises(
        ValueError, match=r"Got 10 classes, but 'sinusoidal' codes of width=16 hold at most 7; use width >= 21"
    ):
        tiny(width=16).fit(*digits)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function", "transport"])
def test_nothing_is_predicted_before_fit(tiny, iris, method):
    with pytest.raises(NotFittedError):
        getattr(tiny(), method)(iris[0])


def test_nothing_is_saved_before_fit(tiny, tmp_path):
    with pytest.raises(NotFittedError):
        tiny().save(tmp_path / "classifier")


# ------------------------------------------------------------------ failing fits

FAILURES = {
    "groups": ({}, {"groups": np.arange(7)}, ValueError, "Got 7 groups for 150 rows"),
    "weights": ({}, {"sample_weight": np.zeros(150)}, ValueError, "zeros only|at least one non-zero"),
    "class weights": ({"class_weight": {0: -1}}, {}, ValueError, "expected non-negative finite weights"),
    "divergence": ({"learning_rate": 1e30}, {}, FloatingPointError, "training diverged"),
    "interruption": ({"verbose": 1}, {}, RuntimeError, "interrupted"),
}


@pytest.fixture
def interrupting(monkeypatch):
    """With verbose=1, training is interrupted when it has changed the weights for an epoch."""
    from gendiffclf.training.progress import Progress

    def report(self, **figures):
        if self.verbose:
            raise RuntimeError("interrupted")

    monkeypatch.setattr(Progress, "report", report)


@pytest.mark.usefixtures("interrupting")
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("case", FAILURES)
def test_a_failing_fit_leaves_the_classifier_as_it_was(tiny, iris, case, warm_start):
    X, y = iris
    changes, arguments, error, message = FAILURES[case]
    names = pd.DataFrame(X, columns=list("abcd"))
    classifier = tiny(warm_start=warm_start).fit(names, y).set_params(**changes)
    before, probabilities = dict(vars(classifier)), classifier.predict_proba(names)
    with pytest.raises(error, match=message):
        classifier.fit(names if warm_start else X[:, :3], y, **arguments)
    assert vars(classifier).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(classifier).items())
    np.testing.assert_array_equal(classifier.predict_proba(names), probabilities)


@pytest.mark.usefixtures("interrupting")
@pytest.mark.parametrize("case", FAILURES)
def test_a_failing_first_fit_leaves_the_classifier_unfitted(tiny, iris, case):
    X, y = iris
    changes, arguments, error, message = FAILURES[case]
    classifier = tiny(**changes)
    with pytest.raises(error, match=message):
        classifier.fit(X, y, **arguments)
    assert vars(classifier) == classifier.get_params()
    with pytest.raises(NotFittedError):
        classifier.predict(X)


# --------------------------------------------------- randomness and side effects


def test_the_seed_decides(tiny, iris):
    X, y = iris
    proba = [tiny(random_state=seed).fit(X, y).predict_proba(X) for seed in (1, 1, 2, np.random.RandomState(1))]
    np.testing.assert_array_equal(proba[0], proba[1])
    np.testing.assert_array_equal(proba[0], proba[3])
    assert not np.allclose(proba[0], proba[2])
    classifier = tiny(random_state=1)
    np.testing.assert_array_equal(classifier.fit(X, y).fit(X, y).predict_proba(X), proba[0])


def test_members_differ_and_their_means_come_back(tiny, iris):
    X, y = iris
    classifier = tiny(n_members=3).fit(X, y)
    rows = torch.as_tensor(classifier.scaler_.transform(X[:, None]))[None]
    with torch.inference_mode():
        ends = classifier.model_.transport(rows, solver="exact", n_steps=1)[-1].double()
    codes = torch.as_tensor(label_codes("sinusoidal", 3, 32))
    assert ends.std(0).max() > 0.01
    np.testing.assert_allclose(classifier.transport(X), ends.mean(0), atol=1e-5)
    calibration = classifier.calibration_
    each = temper(project_on_simplex(ends @ codes.T / 16), calibration.temperature, calibration.smoothing)
    np.testing.assert_allclose(classifier.predict_proba(X), each.mean(0), atol=1e-5)


@pytest.mark.parametrize("failing", [False, True])
def test_the_callers_world_stays_as_it_is(tiny, iris, failing):
    """Arrays, both global random states, threads, gradient and inference modes, dtype and determinism of torch."""
    X, y = iris
    weight = np.linspace(0.5, 2, 150)
    arrays = [a.copy() for a in (X, y, weight)]

    def world():
        return (
            np.random.get_state()[1].tobytes(),  # noqa: NPY002
            torch.get_rng_state().numpy().tobytes(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_autocast_enabled("cpu"),
        )

    before = world()
    classifier = tiny(
        dropout=0.2, time_sampling="uniform", learning_rate=1e30 if failing else 1e-3, precision="bfloat16"
    )
    if failing:
        with pytest.raises(FloatingPointError):
            classifier.fit(X, y, weight)
    else:
        classifier.fit(X, y, weight).partial_fit(X[:9], y[:9], sample_weight=weight[:9])
        classifier.set_params(solver="stochastic", n_steps=2).predict_proba(X)
        tiny().partial_fit(X, y, sample_weight=weight)
    assert world() == before
    for array, copied in zip((X, y, weight), arrays, strict=True):
        np.testing.assert_array_equal(array, copied)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fit_and_predict_in_any_mode_of_torch(tiny, iris, mode):
    """A caller who switched gradients off can still train."""
    X, y = iris
    expected = tiny().fit(X, y).predict_proba(X)
    with mode():
        found = tiny().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(found, expected)


def test_read_only_rows(tiny, iris):
    X, y = iris
    for array in (X, y):
        array.flags.writeable = False
    tiny().fit(X, y).partial_fit(X[:3], y[:3]).predict(X)


def test_nothing_is_printed(tiny, iris, capsys):
    tiny().fit(*iris).predict(iris[0])
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


# ------------------------------------------------------------ copies and pickles


def by_joblib(classifier):
    file = io.BytesIO()
    joblib.dump(classifier, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("duplicate", [lambda c: pickle.loads(pickle.dumps(c)), by_joblib, copy.deepcopy, copy.copy])
def test_copies_predict_and_learn_alike(tiny, iris, duplicate):
    X, y = iris
    classifier = tiny().fit(X, y)
    other = duplicate(classifier)
    np.testing.assert_array_equal(other.predict_proba(X), classifier.predict_proba(X))
    assert other.get_params() == classifier.get_params()
    before = classifier.predict_proba(X)
    other.partial_fit(X[:9], np.full(9, 7))
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


def tensors_in(value, seen=None):
    """Every tensor that is reachable from a value."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, torch.nn.Module):
        yield from value.state_dict().values()
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part, seen)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors_in(part, seen)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def test_pickles_hold_tensors_on_the_cpu(tiny, iris, method, device):
    classifier = getattr(tiny(device=device), method)(*iris)
    tensors = list(tensors_in(classifier.__getstate__()))
    assert len(tensors) > 5
    assert {tensor.device.type for tensor in tensors} == {"cpu"}


def test_pickles_hold_no_training_rows(tiny, digits):
    """Their size depends on the network, not on the number of rows."""
    X, y = digits
    few, many = (len(pickle.dumps(tiny(max_epochs=1).fit(X[:n], y[:n]))) for n in (200, 1700))
    assert many == pytest.approx(few, rel=0.01)


def test_clone_keeps_parameters_alone(tiny, iris):
    classifier = tiny(class_weight={0: 1.0}).fit(*iris)
    other = clone(classifier)
    assert other.get_params() == classifier.get_params()
    assert not hasattr(other, "classes_")


def test_constructor_stores_what_it_is_given(tiny):
    marker = {0: 1.0}
    assert tiny(class_weight=marker).class_weight is marker
    assert tiny(depth="nonsense").depth == "nonsense"


# ------------------------------------------------------------------- warm start


def test_a_warm_start_goes_on_from_the_weights(tiny, iris):
    X, y = iris
    classifier = tiny(warm_start=True, max_epochs=20, averaging=0.0, early_stopping=False).fit(X, y)
    first = classifier.history_["loss"]
    second = classifier.fit(X, y).history_["loss"]
    assert second[0] < first[0] / 2
    cold = tiny(max_epochs=20, averaging=0.0, early_stopping=False).fit(X, y)
    np.testing.assert_allclose(cold.fit(X, y).history_["loss"], first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda X, y: (X, y + 1),
            r"Got classes \[1, 2, 3\] with warm_start=True, expected \[0, 1, 2\] .* use partial_fit",
        ),
        (lambda X, y: (X[:, :2], y), "X has 2 features, but .* is expecting 4 features"),
    ],
)
def test_a_warm_start_that_does_not_fit_leaves_the_model_alone(tiny, iris, change, message):
    X, y = iris
    classifier = tiny(warm_start=True).fit(X, y)
    before = classifier.predict_proba(X)
    with pytest.raises(ValueError, match=message):
        classifier.fit(*change(X, y))
    assert classifier.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


def test_a_warm_start_keeps_the_codes_that_partial_fit_gave(tiny, iris):
    X, y = iris
    classifier = tiny(warm_start=True).fit(X[y != 1], y[y != 1]).partial_fit(X[y == 1], y[y == 1])
    index = classifier.code_index_.tolist()
    assert index == [0, 2, 1]
    assert classifier.fit(X, y).code_index_.tolist() == index


def test_rows_of_nan_only_cost_no_other_row(tiny, iris):
    X, y = iris
    broken = X.copy()
    broken[[3, 77]] = np.nan
    kept = np.setdiff1d(np.arange(150), [3, 77])
    with pytest.warns(UserWarning, match="2 of 150 rows of NaN only, the first at index 3; they are left out"):
        classifier = tiny().fit(broken, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), tiny().fit(X[kept], y[kept]).predict_proba(X))
    with pytest.warns(UserWarning, match="they get the shares of the classes"):
        found = classifier.predict_proba(broken)
    np.testing.assert_array_equal(found[kept], classifier.predict_proba(X)[kept])
    np.testing.assert_allclose(found[3], np.array([49, 49, 50]) / 148)
    with pytest.warns(UserWarning, match="rows of NaN only"):
        assert np.isnan(classifier.transport(broken)[77]).all()
    grouped = tiny().fit(X[kept], y[kept], groups=kept // 5)
    with pytest.warns(UserWarning, match="rows of NaN only"):
        classifier = tiny().fit(broken, y, groups=np.arange(150) // 5)
    np.testing.assert_array_equal(classifier.predict_proba(X), grouped.predict_proba(X))
    broken[5, 0] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        classifier.predict(broken)
    with pytest.raises(ValueError, match="Got 150 rows of NaN only"):
        tiny().fit(np.full_like(X, np.nan), y)


def test_rows_of_an_unknown_class_score_lower(digits):
    X, y = digits
    known = y != 0
    classifier = GenerativeTransportClassifier(n_members=2, max_epochs=15, random_state=0).fit(
        X[known][::2], y[known][::2]
    )
    score = classifier.score_samples(np.vstack([X[~known], X[known][1::2]]))
    assert score.shape == (len(X[~known]) + len(X[known][1::2]),)
    assert (score <= 0).all()
    foreign = np.arange(len(score)) < (~known).sum()
    assert roc_auc_score(foreign, -score) > 0.8


def test_a_row_of_nan_has_no_score(tiny, iris):
    X = iris[0].copy()
    classifier = tiny().fit(*iris)
    X[3] = np.nan
    with pytest.warns(UserWarning, match="NaN"):
        score = classifier.score_samples(X)
    assert np.isnan(score[3])
    assert np.isfinite(np.delete(score, 3)).all()
