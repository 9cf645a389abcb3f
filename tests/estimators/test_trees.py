"""Gradient-boosted trees: the same as scikit-learn's, held out honestly, and only where they help."""

import copy

import numpy as np
import pytest
import torch
from kept_models import (
    assert_files_and_pickles_predict_alike,
    assert_one_row_and_many_agree,
    assert_onnx_predicts_alike,
)
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators import trees as module
from gendiffclf.estimators.combination import pooled_loss
from gendiffclf.estimators.training_rows import TrainingRows
from gendiffclf.estimators.trees import (
    LEAST_ROWS,
    MOST_CLASSES,
    MOST_SPLITS,
    N_LEVELS,
    SETTINGS,
    fit_trees,
    suitable,
)


@pytest.fixture(autouse=True)
def few_iterations(monkeypatch):
    monkeypatch.setattr(module, "ITERATIONS", (5, 10, 20))


def steps(n: int = 600, n_classes: int = 3, seed: int = 0):
    """Rows (n, 5) and classes by steps along the first two features."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(np.float32)
    y = ((X[:, 0] > 0.3).astype(int) + (np.abs(X[:, 1]) < 0.6)) % n_classes
    return X, y


def rows_of(
    X: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None, n_classes: int | None = None
) -> TrainingRows:
    weight = np.ones(len(y)) if weight is None else weight / weight.mean()
    targets = torch.nn.functional.one_hot(torch.as_tensor(y), n_classes or -1).double()
    return TrainingRows(torch.as_tensor(X)[:, None], targets, torch.as_tensor(weight))


def fit(data: TrainingRows, n_folds: int = 3, beside=None, **changes):
    """Trees and held-out probabilities, where nothing but the share of each class is known before."""
    everything = np.arange(len(data))
    train = [everything[everything % n_folds != k] for k in range(n_folds)]
    shares = data.offset.expand_as(data.targets)
    arguments = {"seed": 0, "is_short_of": lambda seconds: False, **changes}
    return fit_trees(
        data, train, everything, everything % n_folds, shares if beside is None else beside, data.weight, **arguments
    )


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tensors_say_what_scikit_learn_says(n_classes, dtype):
    X, y = steps(n_classes=n_classes)
    X, weight = np.round(X, 1).astype(dtype), np.random.default_rng(0).uniform(0.5, 2, len(y))
    data = rows_of(X, y, weight)
    found, _ = fit(data)
    model = HistGradientBoostingClassifier(
        early_stopping=False,
        max_iter=len(found.roots) // max(1, n_classes - (n_classes == 2)),
        random_state=0,
        **SETTINGS,
    )
    model.fit(X, y, data.weight.numpy())  # it has fewer values than levels, so scikit-learn bins them alike
    estimate = found.estimate(torch.as_tensor(X)[:, None])
    assert estimate.dtype == torch.as_tensor(X).dtype
    np.testing.assert_allclose(estimate, model.predict_proba(X), atol=1e-5)
    new = np.round(np.random.default_rng(1).normal(size=(500, 5)), 1).astype(dtype)  # not within gaps: edges differ
    np.testing.assert_allclose(found.estimate(torch.as_tensor(new)[:, None]), model.predict_proba(new), atol=1e-5)


def test_only_the_first_scaling_is_read():
    X, y = steps()
    data = rows_of(X, y)
    both = TrainingRows(torch.cat([data.rows, 1e3 * torch.randn_like(data.rows)], dim=1), data.targets, data.weight)
    one, two = fit(data), fit(both)
    torch.testing.assert_close(one[1], two[1], rtol=0, atol=0)
    torch.testing.assert_close(one[0].estimate(data.rows), two[0].estimate(both.rows), rtol=0, atol=0)


def test_held_out_probabilities_are_by_trees_that_saw_the_other_folds(monkeypatch):
    monkeypatch.setattr(module, "ITERATIONS", (8,))
    X, y = steps()
    X = np.round(X, 1)
    y = np.where(np.random.default_rng(0).random(600) < 0.3, (y + 1) % 3, y)
    fold = np.arange(600) % 3
    staged = np.empty((8, 600, 3))
    for one in range(3):
        model = HistGradientBoostingClassifier(early_stopping=False, max_iter=8, random_state=0, **SETTINGS)
        model.fit(X[fold != one], y[fold != one])
        staged[:, fold == one] = list(model.staged_predict_proba(X[fold == one]))
    best = min(range(8), key=lambda i: log_loss(y, staged[i]))
    found, held_out = fit(rows_of(X, y))
    np.testing.assert_allclose(held_out, staged[best], atol=1e-6)
    assert len(found.roots) == 3 * (best + 1)


def test_rows_of_a_fold_that_are_not_validated_teach_nothing_either():
    X, y = steps(900)
    fold, validated = np.arange(900) % 3, np.arange(900) % 2 == 0
    train = [np.flatnonzero(fold != k) for k in range(3)]
    found = []
    for labels in (y, np.where((fold == 0) & ~validated, (y + 1) % 3, y)):
        data = rows_of(X, labels)
        beside = data.offset.expand(450, 3)
        rest = np.flatnonzero(validated), fold[validated], beside, data.weight[validated]
        found.append(fit_trees(data, train, *rest, seed=0, is_short_of=lambda seconds: seconds < 0)[1])
    first = fold[validated] == 0
    assert torch.allclose(found[0][first], found[1][first], atol=0.05)  # the number of iterations may differ
    assert not torch.allclose(found[0][~first], found[1][~first], atol=0.05)


def test_they_grow_while_held_out_rows_gain():
    X, y = steps(1500)
    wrong = np.random.default_rng(0).random(1500) < 0.5
    noisy = np.where(wrong, np.random.default_rng(1).integers(0, 3, 1500), y)
    clear, few = fit(rows_of(X, y))[0], fit(rows_of(X[:300], noisy[:300]))[0]
    assert len(clear.roots) == 3 * 20
    assert len(few.roots) < 3 * 20


def test_short_time_ends_iterations():
    data, asked = rows_of(*steps()), []

    def is_short_of(seconds):
        asked.append(seconds)
        return len(asked) > 1

    found, held_out = fit(data, is_short_of=is_short_of)
    assert len(found.roots) <= 3 * 5
    assert held_out.shape == (600, 3)
    torch.testing.assert_close(held_out.sum(1), torch.ones(600).double())
    assert asked[0] > 0
    assert fit(data, is_short_of=lambda seconds: True) is None


def test_there_are_none_where_they_add_nothing():
    X, y = steps()
    data = rows_of(X, y)
    assert fit(data, beside=0.99 * data.targets + 0.01 / 3) is None
    noise = np.random.default_rng(0).integers(0, 3, len(y))
    assert fit(rows_of(X, noise)) is None


def test_they_lower_the_loss_of_what_they_join():
    data = rows_of(*steps(1000))
    shares = data.offset.expand_as(data.targets)
    _, held_out = fit(data)
    before, after = (pooled_loss([shares, *more], data.targets, data.weight) for more in ([], [held_out]))
    assert after < 0.8 * before


def test_a_class_that_a_fold_alone_has():
    X, y = steps(n_classes=2)
    y[:12:3] = 2
    data = rows_of(X, y)
    found, held_out = fit(data)
    assert (held_out[::3, 2] == 0).all()
    assert (held_out[1::3, 2] > 0).all()
    assert (found.estimate(data.rows)[:, 2] > 0).all()
    alone = np.where(np.arange(600) % 3 == 0, 1, 0)  # outside of the first fold there is one class
    assert fit(rows_of(X, alone)) is None


def test_new_classes_have_the_mean_logit():
    X, y = steps()
    found, _ = fit(rows_of(X, y))
    rows = torch.as_tensor(X)[:, None]
    before, after = found.estimate(rows), found.with_classes(np.array([0, 3, 1, 2])).estimate(rows)
    shares = after[:, [0, 2, 3]] / after[:, [0, 2, 3]].sum(1, keepdim=True)
    torch.testing.assert_close(shares, before)
    torch.testing.assert_close(after[:, 1].log(), after[:, [0, 2, 3]].log().mean(1))
    more = found.with_classes(np.array([0, 3, 1, 2])).with_classes(np.array([4, 0, 1, 2, 3])).estimate(rows)
    torch.testing.assert_close(more[:, [0]], more[:, [2]], rtol=0, atol=0)


def test_thresholds_are_apart_from_values():
    X, y = steps(3000)
    X[:, 0] = np.round(X[:, 0], 1)
    found, _ = fit(rows_of(X, y))
    inner = found.right != torch.arange(len(found.right))
    for feature in range(5):
        own = found.threshold[inner & (found.feature == feature)].numpy()
        values = np.unique(X[:, feature])
        assert len(own)
        assert not np.isin(own, values).any()
        assert (own > values[0]).all()
        assert (own < values[-1]).all()
    assert len(module._edges(X[:, 1])) < N_LEVELS
    assert len(module._edges(X[:, 0])) == len(np.unique(X[:, 0])) - 1


@pytest.mark.parametrize("values", [[1.0, 1.0], [1.0, np.nextafter(np.float32(1), np.float32(2))], [-1.0, 3.0]])
def test_edges_lie_between_neighbours(values):
    values = np.array(values, np.float32)
    edges = module._edges(values)
    assert len(edges) == len(np.unique(values)) - 1
    assert edges.dtype == np.float32
    assert (np.searchsorted(edges, values) == [0, len(edges)]).all()
    if values[1] - values[0] > 1e-3:  # new values lie in the middle, where rounding would decide
        assert abs(edges[0] - values.mean()) > 0.1 * (values[1] - values[0])


def test_a_value_of_most_rows_has_a_level_of_its_own():
    values = np.concatenate([np.zeros(2000), np.arange(1, 1001)]).astype(np.float32)
    edges = module._edges(values)
    assert len(edges) < N_LEVELS
    levels = np.searchsorted(edges, values)
    assert set(levels[:2000]) == {0}
    assert (levels[2000:] > 0).all()


def test_for_which_rows_they_are():
    rows, targets = torch.zeros(LEAST_ROWS, 2, 3), torch.eye(3).double()[torch.arange(LEAST_ROWS) % 3]
    data = TrainingRows(rows, targets, torch.ones(LEAST_ROWS).double())
    assert suitable(data, n_views=2)
    assert not suitable(data, n_views=1)  # then they are of two layers
    assert not suitable(data[:-1], n_views=2)
    wide = TrainingRows(rows.expand(-1, -1, 3)[..., :1].expand(-1, -1, MOST_SPLITS // 3 + 1), targets, data.weight)
    assert not suitable(wide, n_views=2)
    for n_classes, n_features in ((2, 200), (3, MOST_SPLITS // 3), (20, MOST_SPLITS // 20)):
        many = rows[..., :1].expand(-1, -1, n_features + 1), targets.new_zeros(LEAST_ROWS, n_classes)
        assert not suitable(TrainingRows(*many, data.weight), n_views=2)
        fewer = many[0][..., 1:], many[1]
        assert suitable(TrainingRows(*fewer, data.weight), n_views=2)
    many = rows[..., :1], targets.new_zeros(LEAST_ROWS, MOST_CLASSES + 1)
    assert not suitable(TrainingRows(*many, data.weight), n_views=2)


# --------------------------------------------------------------- in the classifier


@pytest.fixture(scope="module")
def fitted():
    """A classifier with trees, fitted to 700 rows, and other rows."""
    X, y = steps(1100)
    model = GenerativeTransportClassifier(max_steps=3, width=32, n_members=3, depth=1, device="cpu", random_state=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ITERATIONS", (5, 10, 20))
        model.fit(X[:700], np.array(["a", "b", "c"])[y[:700]])
    return model, X[700:], np.array(["a", "b", "c"])[y[700:]]


def test_they_join_the_product_of_the_classifier(fitted):
    model, X, y = fitted
    assert len(model.combination_.exponents) == 3
    assert model.combination_.exponents[2] > 0.3
    rows = torch.as_tensor(model.scaler_.transform(X[:, None]))
    trees = model.classes_[model.trees_.estimate(rows).argmax(1)]
    assert (trees == y).mean() > 0.9
    assert (model.predict(X) == y).mean() > 0.9


@pytest.mark.parametrize("changes", [{"estimator": "kernel"}, {"estimator": "network"}])
def test_they_are_not_in_single_estimators(tiny, changes):
    assert tiny(**changes, n_centers=50).fit(*steps()).trees_ is None


def test_held_out_estimates_are_with_them(fitted):
    model, X, y = fitted
    assert model.held_out_proba_.shape == (700, 3)
    np.testing.assert_allclose(model.held_out_proba_.sum(1), 1, atol=1e-9)
    _, labels = steps(1100)
    held_out, new = log_loss(labels[:700], model.held_out_proba_), log_loss(y, model.predict_proba(X))
    assert 0.5 < held_out / new < 2
    kernel = GenerativeTransportClassifier(estimator="kernel", device="cpu").fit(steps(1100)[0][:700], labels[:700])
    assert held_out < 0.7 * log_loss(labels[:700], kernel.held_out_proba_)


def test_one_row_and_many_agree(fitted):
    assert_one_row_and_many_agree(*fitted[:2])


def test_files_and_pickles_keep_them(fitted, tmp_path):
    assert_files_and_pickles_predict_alike(*fitted[:2], tmp_path)


def test_onnx_files_have_them(fitted, tmp_path, without_gaps):
    pytest.importorskip("onnxscript")
    assert_onnx_predicts_alike(*fitted[:2], tmp_path)


def test_a_new_class_is_found_beside_them(fitted):
    model, X, _ = fitted
    far = np.random.default_rng(0).normal(8, 0.5, (40, 5)).astype(np.float32)
    grown = copy.deepcopy(model).partial_fit(far[:20], ["new"] * 20)
    assert (grown.predict(far[20:]) == "new").mean() > 0.9
    assert (grown.predict(X) == "new").mean() < 0.05


def test_a_time_limit_that_the_kernel_used_up_leaves_them_out():
    X, y = steps(700)
    with pytest.warns(UserWarning, match="time_limit"):
        model = GenerativeTransportClassifier(time_limit=1e-3, device="cpu", random_state=0).fit(X, y)
    assert model.trees_ is None


def test_an_interrupt_leaves_them_out(monkeypatch, tiny):
    def interrupted(*_, seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit_trees", interrupted)
    with pytest.warns(UserWarning, match="Got an interrupt; the network's weights"):
        model = tiny().fit(*steps())
    assert model.trees_ is None
    assert model.history_["stopped_by"] == "interrupt"
    assert len(model.combination_.exponents) == 2
