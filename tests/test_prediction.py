"""What a fitted classifier gives: probabilities, cosines, transports, samples and scores."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from gendiffclf import ExactPath, LearnedPath
from gendiffclf.estimators.kernel_estimator import KernelEstimator
from gendiffclf.estimators.network import TransportNetwork
from gendiffclf.transport.codes import label_codes
from gendiffclf.transport.solvers import SOLVERS

ESTIMATORS = ("both", "network", "kernel")
N_STEPS = (1, 2, 4, 10, 100)


@pytest.fixture(scope="module")
def hard(tiny):
    """600 blurred digits of 10 classes: fitted on 300 of them, asked for the others."""
    X, y = load_digits(return_X_y=True)
    X = X[:600] + 10 * np.random.default_rng(0).standard_normal((600, 64))
    classifiers = {name: tiny(estimator=name).fit(X[:300], y[:300]) for name in ESTIMATORS}
    return classifiers, X[300:], y[300:]


def codes_of(classifier):
    return label_codes("sinusoidal", len(classifier.classes_), 32)[classifier.code_index_]


def nearest(classifier, states):
    distances = ((states[:, None] - codes_of(classifier)) ** 2).sum(-1)
    return classifier.classes_[distances.argmin(1)]


# --------------------------------------------------------- probabilities, cosines


@pytest.mark.parametrize("name", ESTIMATORS)
def test_probabilities_predictions_and_cosines_agree(hard, name):
    classifiers, X, _ = hard
    classifier = classifiers[name]
    proba, cosines = classifier.predict_proba(X), classifier.decision_function(X)
    np.testing.assert_array_equal(classifier.predict(X), proba.argmax(1))
    np.testing.assert_array_equal(classifier.predict(X), cosines.argmax(1))
    np.testing.assert_allclose(classifier.predict_log_proba(X), np.log(proba))
    codes = codes_of(classifier)
    estimate = proba @ codes  # Eq. 12: cosines between the estimate and the codes
    expected = estimate @ codes.T / np.linalg.norm(estimate, axis=1, keepdims=True) / np.linalg.norm(codes, axis=1)
    np.testing.assert_allclose(cosines, expected, atol=1e-12)
    assert cosines.min() >= 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_two_classes_have_one_decision_that_ranks_like_the_probability(tiny, iris, estimator):
    X, y = iris
    classifier = tiny(estimator=estimator).fit(X, y == 1)
    decision, proba = classifier.decision_function(X), classifier.predict_proba(X)[:, 1]
    assert decision.shape == (150,)
    assert np.abs(decision).max() <= 1
    np.testing.assert_array_equal(np.argsort(decision, kind="stable"), np.argsort(proba, kind="stable"))
    np.testing.assert_array_equal(decision > 0, proba > 0.5)


@pytest.mark.parametrize("path", ["exact", LearnedPath(n_steps=3, time_width=8)], ids=repr)
@pytest.mark.parametrize("estimator", ["both", "network"])
def test_a_row_has_the_same_result_in_any_batch(tiny, iris, path, estimator):
    X, y = iris
    classifier = tiny(path=path, estimator=estimator).fit(X, y)
    together = classifier.predict_proba(X)
    for size in (1, 7, 70):
        parts = [classifier.predict_proba(X[start : start + size]) for start in range(0, 150, size)]
        np.testing.assert_allclose(np.concatenate(parts), together, rtol=0, atol=1e-4)
    few = [classifier.predict_proba(X[start : start + 30]) for start in range(0, 150, 30)]
    alone = [classifier.predict_proba(X[i : i + 1]) for i in range(150)]
    np.testing.assert_allclose(np.concatenate(alone), np.concatenate(few), rtol=0, atol=1e-12)


def test_prediction_in_float64(tiny, iris):
    X, y = iris
    # Of one estimator: the choice of the logistic regression's penalty may turn on rounding.
    single, double = (tiny(estimator="network", precision=name).fit(X, y) for name in ("float32", "float64"))
    assert single.lift_.dtype == double.lift_.dtype
    assert next(double.network_.parameters()).dtype == torch.float64
    together = double.predict_proba(X)
    np.testing.assert_allclose(double.predict_proba(X[:5]), together[:5], rtol=0, atol=1e-12)
    np.testing.assert_allclose(single.predict_proba(X), together, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "method",
    ["predict", "predict_proba", "predict_log_proba", "decision_function", "transport", "sample", "score_samples"],
)
def test_nothing_is_predicted_before_fit(tiny, iris, method):
    with pytest.raises(NotFittedError):
        getattr(tiny(), method)(iris[0])


# ------------------------------------------------------------------ exact path


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("n_steps", N_STEPS)
def test_exact_transports_end_at_the_prediction(hard, name, n_steps):
    classifiers, X, _ = hard
    classifier = classifiers[name]
    states = classifier.transport(X, n_steps, return_path=True)
    assert states.shape == (n_steps + 1, 300, 32)
    np.testing.assert_array_equal(states[-1], classifier.transport(X, n_steps))
    np.testing.assert_array_equal(nearest(classifier, states[-1]), classifier.predict(X))
    if n_steps == 1:
        np.testing.assert_allclose(states[-1], classifier.predict_proba(X) @ codes_of(classifier), atol=1e-5)


def test_transport_starts_at_the_lifted_features(tiny, iris):
    X, y = iris
    for scaling, view in (("standard", 0), ("mixed", 1)):
        classifier = tiny(scaling=scaling).fit(X, y)
        scaled = classifier.scaler_.transform(X[:, None])[:, view]
        states = classifier.transport(X, 2, return_path=True)
        np.testing.assert_allclose(states[0], scaled @ classifier.lift_, atol=1e-5)


@pytest.mark.parametrize(
    ("solver", "n_steps", "least"), [("euler", (2, 10, 1000), 0.95), ("midpoint", (2, 10, 100), 0.97)]
)
def test_other_solvers_agree_as_steps_grow(hard, solver, n_steps, least):
    classifiers, X, _ = hard
    classifier = classifiers["kernel"]
    ends = [nearest(classifier, classifier.transport(X[:100], n, solver=solver)) for n in n_steps]
    shares = [np.mean(end == classifier.predict(X[:100])) for end in ends]
    assert shares == sorted(shares)
    assert shares[0] < 0.9
    assert shares[-1] >= least


@pytest.mark.parametrize("name", ESTIMATORS)
def test_predictions_depend_neither_on_the_path_nor_on_parameters_set_later(tiny, iris, name):
    X, y = iris
    classifier = tiny(estimator=name).fit(X, y)
    expected, end = classifier.predict_proba(X), classifier.transport(X, 3)
    for path in (ExactPath(mean="linear", variance="zero"), ExactPath(steepness=3, sigma=2)):
        other = tiny(estimator=name, path=path).fit(X, y)
        np.testing.assert_array_equal(other.predict_proba(X), expected)
        assert not np.allclose(
            other.transport(X, 3, return_path=True)[1], classifier.transport(X, 3, return_path=True)[1]
        )
    for path in (LearnedPath(solver="euler", n_steps=2), ExactPath(sigma=7)):
        classifier.set_params(path=path)
        np.testing.assert_array_equal(classifier.predict_proba(X), expected)
        np.testing.assert_array_equal(classifier.transport(X, 3), end)


@pytest.fixture
def asked(monkeypatch):
    """How many rows each estimator was asked for."""
    counts = {"kernel": 0, "network": 0}

    def counted(cls, method, name, count):
        original = getattr(cls, method)

        def call(self, *args):
            counts[name] += count(*args)
            return original(self, *args)

        monkeypatch.setattr(cls, method, call)

    counted(KernelEstimator, "estimate", "kernel", len)
    counted(TransportNetwork, "forward", "network", lambda x_t, *_: x_t.shape[1])
    return counts


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_steps", [1, 10])
def test_estimators_are_asked_once_a_row(hard, asked, solver, n_steps):
    """Whatever the solver, the number of steps and the number of classes."""
    classifiers, X, _ = hard
    classifiers["both"].transport(X, n_steps, solver=solver)
    assert asked == {"kernel": 300, "network": 300}
    for method in ("predict", "decision_function", "sample"):
        asked.update(kernel=0, network=0)
        getattr(classifiers["both"], method)(X)
        assert asked == {"kernel": 300, "network": 300}


def test_wrong_steps_and_solvers(tiny, iris):
    X, y = iris
    classifier = tiny(estimator="kernel").fit(X, y)
    for n_steps in (0, 1.5, True):
        with pytest.raises(ValueError, match=rf"Got n_steps={n_steps}, expected an integer >= 1 or None\."):
            classifier.transport(X, n_steps)
        with pytest.raises(ValueError, match=rf"Got n_steps={n_steps}, expected an integer >= 1\."):
            classifier.sample(X, n_steps=n_steps)
    with pytest.raises(
        ValueError, match=r"Got solver='rk4', expected one of 'exact', 'euler', 'midpoint', 'stochastic'\."
    ):
        classifier.transport(X, solver="rk4")
    with pytest.raises(ValueError, match=r"Got n_draws=0, expected an integer >= 1\."):
        classifier.sample(X, 0)


# --------------------------------------------------------------------- samples


@pytest.mark.parametrize("n_steps", [1, 4, 20])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_classes_are_sampled_with_their_probabilities(hard, name, n_steps):
    classifiers, X, _ = hard
    classifier = classifiers[name]
    drawn = classifier.sample(X[:12], 2000, random_state=0, n_steps=n_steps)
    assert drawn.shape == (12, 2000)
    for labels, proba in zip(drawn, classifier.predict_proba(X[:12]), strict=True):
        order = np.argsort(proba)
        rare = np.cumsum(2000 * proba[order]) < 20  # too few for the test each
        expected = np.append(2000 * proba[order[~rare]], 2000 * proba[order[rare]].sum())
        observed = np.append([(labels == c).sum() for c in order[~rare]], np.isin(labels, order[rare]).sum())
        possible = expected > 5
        assert (
            chisquare(
                observed[possible], expected[possible] * observed[possible].sum() / expected[possible].sum()
            ).pvalue
            > 1e-4
        )


def test_samples_come_from_their_seed_alone(hard):
    classifiers, X, _ = hard
    classifier = classifiers["kernel"]
    first, second, other = (classifier.sample(X, 3, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    before = torch.get_rng_state()
    np.testing.assert_array_equal(classifier.sample(X, 3, random_state=np.random.RandomState(0)), first)
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------- learned path


def test_a_learned_path_is_walked_as_it_says(tiny, iris, asked):
    X, y = iris
    path = LearnedPath(n_steps=4, time_width=8, solver="midpoint")
    classifier = tiny(path=path, estimator="network").fit(X, y)
    assert classifier.path_ is not path
    assert classifier.network_.shape.time_width == 8
    asked["network"] = 0
    states = classifier.transport(X, return_path=True)
    assert states.shape == (5, 150, 32)
    assert asked["network"] == 8 * 150
    np.testing.assert_array_equal(states[-1], classifier.transport(X))
    assert classifier.transport(X, n_steps=7, return_path=True).shape == (8, 150, 32)
    proba = classifier.predict_proba(X)
    classifier.set_params(path__n_steps=2, path__solver="exact")  # of the next fit
    np.testing.assert_array_equal(classifier.predict_proba(X), proba)
    assert path.n_steps == 2


def test_members_of_a_learned_path_are_averaged_at_its_end(tiny, iris):
    X, y = iris
    classifier = tiny(path=LearnedPath(n_steps=3, time_width=8), estimator="network").fit(X, y)
    coordinates = torch.as_tensor(classifier.transport(X) @ codes_of(classifier).T / 16)
    expected = classifier.combination_.probabilities([coordinates])
    np.testing.assert_allclose(classifier.predict_proba(X), expected, atol=1e-5)


def test_codes_are_those_of_the_classes(hard, tiny):
    for classifier in hard[0].values():
        np.testing.assert_allclose(classifier.codes_, codes_of(classifier), atol=1e-12)
    assert not hasattr(tiny(), "codes_")


def test_a_learned_path_learns(tiny, iris):
    X, y = iris
    path = LearnedPath(n_steps=4, time_width=16)
    classifier = tiny(path=path, estimator="network", max_steps=200, learning_rate=0.01).fit(X, y)
    assert classifier.score(X, y) > 0.93


def test_steps_that_do_not_suit_the_training(tiny, iris):
    X, y = iris
    classifier = tiny(path=LearnedPath(n_steps=3, time_width=8)).fit(X, y)
    with pytest.raises(ValueError, match="Got solver='euler' with n_steps=1, expected n_steps >= 2"):
        classifier.transport(X, n_steps=1, solver="euler")
    terminal = tiny(path=LearnedPath(time_sampling="terminal", n_steps=1, time_width=8)).fit(X, y)
    with pytest.raises(ValueError, match="Got time_sampling='terminal' with n_steps=5, expected n_steps=1"):
        terminal.transport(X, n_steps=5)


def test_transports_of_a_learned_path_are_no_draws(tiny, iris):
    classifier = tiny(path=LearnedPath(n_steps=3, time_width=8)).fit(*iris)
    with pytest.raises(
        ValueError, match=r"Got path=LearnedPath\(n_steps=3, time_width=8\), expected an exact path, .* path='exact'\."
    ):
        classifier.sample(iris[0])


# ------------------------------------------------------------------ rows of NaN


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rows_of_nan_get_the_prior_alone_and_among_others(tiny, iris, estimator):
    X, y = iris
    classifier = tiny(estimator=estimator).fit(X[20:], y[20:])
    broken = X.copy()
    broken[[3, 77]] = np.nan
    kept = np.setdiff1d(np.arange(150), [3, 77])
    with pytest.warns(
        UserWarning, match=r"Got 2 of 150 rows of NaN only, the first at index 3; they get the shares.*NaN as scores"
    ):
        together = classifier.predict_proba(broken)
    with pytest.warns(UserWarning, match=r"Got 1 of 1 rows of NaN only, the first at index 0; they get the shares"):
        alone = classifier.predict_proba(broken[3:4])
    prior = np.array([30, 50, 50]) / 130
    np.testing.assert_allclose(classifier.class_prior_, prior)
    np.testing.assert_allclose(together[[3, 77]], np.stack([prior, prior]))
    np.testing.assert_allclose(alone[0], prior)
    np.testing.assert_array_equal(together[kept], classifier.predict_proba(X)[kept])
    with pytest.warns(UserWarning, match="rows of NaN only"):
        assert np.isnan(classifier.transport(broken)).all(1).nonzero()[0].tolist() == [3, 77]
    with pytest.warns(UserWarning, match="rows of NaN only"):
        drawn = classifier.sample(broken[3:4], 2000, random_state=0)
    assert chisquare(np.bincount(drawn[0]), 2000 * prior).pvalue > 1e-4


def test_rows_of_nan_cost_no_other_row_in_fit(tiny, iris):
    X, y = iris
    broken = X.copy()
    broken[[3, 77]] = np.nan
    kept = np.setdiff1d(np.arange(150), [3, 77])
    with pytest.warns(UserWarning, match="2 of 150 rows of NaN only, the first at index 3; they are left out"):
        classifier = tiny().fit(broken, y)
    np.testing.assert_array_equal(classifier.predict_proba(X), tiny().fit(X[kept], y[kept]).predict_proba(X))
    grouped = tiny().fit(X[kept], y[kept], groups=kept // 5)
    with pytest.warns(UserWarning, match="rows of NaN only"):
        classifier = tiny().fit(broken, y, groups=np.arange(150) // 5)
    np.testing.assert_array_equal(classifier.predict_proba(X), grouped.predict_proba(X))


@pytest.mark.parametrize("kernel", ["gaussian", "cosine", "laplacian"])
def test_rows_far_from_0_are_predicted_alike_in_batches_of_any_size(tiny, kernel):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 5)), rng.integers(0, 2, 200)
    X[:, 0] += 2 * y
    classifier = tiny(estimator="kernel", scaling="none", kernel=kernel).fit(X[:100] + 300, y[:100])
    single = np.concatenate([classifier.predict_proba(row + 300) for row in X[100:, None]])
    np.testing.assert_allclose(classifier.predict_proba(X[100:] + 300), single, atol=1e-3)
