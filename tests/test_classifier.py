"""The classifier as its users meet it: options, layers, labels and rows."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from gendiffclf import ExactPath, GenerativeTransportClassifier, LearnedPath
from gendiffclf.estimators.kernel import KERNELS
from gendiffclf.estimators.tokenizers import TOKENIZERS
from gendiffclf.preprocessing import SCALINGS
from gendiffclf.transport.codes import CODES
from gendiffclf.transport.learned import OBJECTIVES
from gendiffclf.transport.schedules import MEAN_SCHEDULES, VARIANCE_SCHEDULES
from gendiffclf.transport.solvers import SOLVERS
from gendiffclf.transport.times import TIME_SAMPLERS

ESTIMATORS = ("both", "network", "kernel")
SHORT = {"n_steps": 3, "time_width": 8}
OPTIONS = [
    *[{"estimator": name} for name in ESTIMATORS],
    *[{"codes": name} for name in CODES],
    *[{"scaling": name} for name in SCALINGS],
    *[{"estimator": "network", "scaling": name} for name in SCALINGS],
    *[{"kernel": name} for name in KERNELS],
    *[{"estimator": "network", "tokenizer": name} for name in TOKENIZERS],
    *[{"path": ExactPath(mean=name)} for name in MEAN_SCHEDULES],
    *[{"path": ExactPath(variance=name)} for name in VARIANCE_SCHEDULES],
    *[{"path": LearnedPath(mean=name, **SHORT)} for name in MEAN_SCHEDULES],
    *[{"path": LearnedPath(variance=name, **SHORT)} for name in VARIANCE_SCHEDULES],
    *[{"path": LearnedPath(objective=name, **SHORT), "estimator": "network"} for name in OBJECTIVES],
    *[{"path": LearnedPath(time_sampling=name, **SHORT)} for name in TIME_SAMPLERS if name != "terminal"],
    {"path": LearnedPath(time_sampling="terminal", n_steps=1, time_width=8)},
    *[{"path": LearnedPath(solver=name, **SHORT)} for name in SOLVERS],
    {"n_centers": 20},
    {"n_members": 1, "estimator": "network"},
    {"n_members": 1, "patience": None},
    {"batch_size": 7},
    {"precision": "float64"},
    {"precision": "bfloat16"},
]


@pytest.fixture
def layered(iris):
    """150 rows of 3 layers with 4 features, of which the second is noise."""
    X, y = iris
    noise = np.random.default_rng(0).standard_normal((2, 150, 4))
    return np.stack([X + 0.3 * noise[0], noise[1], X], axis=1), y


# ---------------------------------------------------------------- every option


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_every_option_fits_and_predicts(tiny, iris, options):
    X, y = iris
    classifier = tiny(**options).fit(X, y)
    proba = classifier.predict_proba(X)
    assert proba.shape == (150, 3)
    assert proba.dtype == np.float64
    assert (proba > 0).all()
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-12)
    np.testing.assert_array_equal(classifier.predict(X), proba.argmax(1))


def test_what_there_is_after_fit_follows_from_the_estimator(tiny, iris):
    for name, (kernel, network) in {
        "both": (True, True),
        "kernel": (True, False),
        "network": (False, True),
    }.items():
        classifier = tiny(estimator=name).fit(*iris)
        assert (classifier.kernel_ is not None, classifier.network_ is not None) == (kernel, network)
        assert (classifier.logistic_ is not None) == (kernel and network)
        assert len(classifier.combination_.weights) == kernel + network
        assert sum(classifier.combination_.weights) == pytest.approx(1)
        assert classifier.n_iter_ == 3 * network
        assert 0 <= classifier.best_iter_ <= classifier.n_iter_
        assert classifier.n_features_in_ == 4
        assert hasattr(classifier, "partial_fit") == kernel


@pytest.mark.parametrize("estimator", ["network", "both"])
def test_history_tells_of_each_validation(tiny, iris, estimator):
    classifier = tiny(estimator=estimator, max_steps=25).fit(*iris)
    history = classifier.history_
    lists = ["step", "loss", "validation_brier", "seconds"]
    assert list(history) == [*lists, "stopped_by", "kernel_bytes"]
    assert {len(history[name]) for name in lists} == {3}
    assert history["stopped_by"] == "max_steps"
    assert (history["kernel_bytes"] > 0) == (estimator == "both")
    assert history["step"] == [10, 20, 25]
    assert classifier.best_iter_ in history["step"]
    assert np.isfinite(history["loss"]).all()
    assert np.all(np.diff(history["seconds"]) > 0)
    assert (np.array(history["validation_brier"]) >= 0).all()


def test_patience_counts_updates(tiny, iris):
    classifier = tiny(estimator="network", learning_rate=1e-12, ema_decay=0.0, max_steps=500, patience=30)
    assert classifier.fit(*iris).n_iter_ == 40  # the first validation, after 10 updates, is the best
    endless = tiny(estimator="network", n_members=1, patience=None, max_steps=23).fit(*iris)
    assert endless.n_iter_ == 23
    assert set(endless.history_["validation_brier"]) == {None}


def test_the_network_alone_learns(tiny, iris):
    X, y = iris
    classifier = tiny(estimator="network", max_steps=150, learning_rate=0.01).fit(X, y)
    assert classifier.score(X, y) > 0.93
    assert classifier.history_["validation_brier"][-1] < classifier.history_["validation_brier"][0]


def test_one_definition_of_the_network(tiny, iris, monkeypatch):
    """A block that changes in its module changes predictions and loss: no copy of it computes instead."""
    from gendiffclf.estimators.layers import FeedForward
    from gendiffclf.estimators.network import loss

    X, y = iris
    classifier = tiny(estimator="network").fit(X, y)
    rows = torch.as_tensor(classifier.scaler_.transform(X[:, None])).expand(2, -1, -1, -1)
    codes = classifier._codes().float()[torch.as_tensor(y)].expand(2, -1, -1)
    proba, before = classifier.predict_proba(X), loss(classifier.network_, rows, codes)
    monkeypatch.setattr(FeedForward, "activation", staticmethod(torch.square))
    assert not np.allclose(classifier.predict_proba(X), proba)
    assert not torch.allclose(loss(classifier.network_, rows, codes), before)


# --------------------------------------------------------------------- layers


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_layered_rows(tiny, layered, estimator, tokenizer):
    X, y = layered
    classifier = tiny(tokenizer=tokenizer, estimator=estimator, max_steps=150, learning_rate=0.01).fit(X, y)
    assert classifier.n_features_in_ == 3
    assert classifier.score(X, y) > 0.93
    if classifier.network_ is not None:
        assert classifier.network_.shape.n_layers == 3
    other = X.copy()
    other[:, 0] += 1  # a conditioning layer matters, and x1 is the last
    starts = [classifier.transport(rows, return_path=True)[0] for rows in (X, other)]
    np.testing.assert_array_equal(*starts)
    if estimator == "network":
        assert not np.allclose(classifier.predict_proba(other), classifier.predict_proba(X))


def test_layer_weights_tell_which_layer_carries_the_label(tiny, layered):
    X, y = layered
    weights = tiny(estimator="kernel").fit(X, y).layer_weights_
    assert weights.shape == (3,)
    assert weights.sum() == pytest.approx(1)
    assert weights[2] > 0.5
    assert weights[1] < 0.2
    with pytest.raises(AttributeError, match="layer_weights_ needs a kernel; fit with estimator='both' or 'kernel'"):
        tiny(estimator="network").fit(X, y).layer_weights_  # noqa: B018


# --------------------------------------------------------------------- labels


@pytest.mark.parametrize("estimator", ["kernel", "both"])
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
def test_labels_come_back_as_they_came(tiny, iris, names, estimator):
    X, y = iris
    classifier = tiny(estimator=estimator).fit(X, names[y])
    predicted = classifier.predict(X)
    assert predicted.dtype == classifier.classes_.dtype == names.dtype
    assert classifier.sample(X[:2]).dtype == names.dtype
    np.testing.assert_array_equal(classifier.classes_, np.unique(names))
    assert np.mean(predicted == names[y]) > 0.9


def test_labels_of_pandas(tiny, iris):
    X, y = iris
    for labels in (pd.Series(["a", "b", "c"])[y], pd.Series(pd.Categorical.from_codes(y, ["a", "b", "c"]))):
        assert set(tiny().fit(X, labels).predict(X)) <= {"a", "b", "c"}


def test_code_space_has_room_for_many_classes(tiny):
    rng = np.random.default_rng(0)
    y = np.arange(300) % 150
    classifier = tiny(width="auto", estimator="kernel").fit(rng.standard_normal((300, 5)), y)
    assert classifier.lift_.shape == (5, 384)
    assert classifier.predict_proba(rng.standard_normal((2, 5))).shape == (2, 150)


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


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_single_and_double_precision_rows_give_one_model(tiny, iris, estimator):
    X, y = iris
    single = X.astype(np.float32)
    one, other = (tiny(estimator=estimator).fit(rows, y) for rows in (single, single.astype(np.float64)))
    np.testing.assert_array_equal(one.predict_proba(single), other.predict_proba(single.astype(np.float64)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_order_of_rows_does_not_matter(tiny, iris, estimator):
    X, y = iris
    order = np.random.default_rng(0).permutation(150)
    one, other = tiny(estimator=estimator).fit(X, y), tiny(estimator=estimator).fit(X[order], y[order])
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_rows_are_no_infinity(tiny, iris, dtype):
    """Their sum may be beyond the largest number; they are not."""
    X, y = iris
    X = X.astype(dtype)
    X[:, 0] = np.finfo(dtype).max * np.where(y == 1, -1, 1)
    assert np.isfinite(tiny().fit(X, y).predict_proba(X)).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rows_on_disk_give_what_rows_in_memory_give(tiny, iris, estimator, tmp_path):
    X, y = iris
    mapped = np.memmap(tmp_path / "rows", np.float64, "w+", shape=X.shape)
    mapped[:] = X
    one, other = tiny(estimator=estimator, n_centers=40), tiny(estimator=estimator, n_centers=40)
    np.testing.assert_allclose(one.fit(mapped, y).predict_proba(mapped), other.fit(X, y).predict_proba(X), atol=1e-6)


def test_read_only_rows(tiny, iris):
    X, y = iris
    for array in (X, y):
        array.flags.writeable = False
    tiny().fit(X, y).partial_fit(X[:3], y[:3]).predict(X)


# --------------------------------------------------------- copies and neighbours


def test_clone_keeps_parameters_alone(tiny, iris):
    classifier = tiny(class_weight={0: 1.0}, path=LearnedPath(n_steps=3)).fit(*iris)
    other = clone(classifier)
    assert repr(other) == repr(classifier)
    assert other.path is not classifier.path
    assert not hasattr(other, "classes_")


def test_constructor_stores_what_it_is_given():
    marker, path = {0: 1.0}, LearnedPath()
    classifier = GenerativeTransportClassifier(class_weight=marker, path=path, depth="nonsense")
    assert classifier.class_weight is marker
    assert classifier.path is path
    assert classifier.depth == "nonsense"


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_folds_side_by_side(tiny, iris, backend):
    """Rows reach joblib's workers as mapped files; scores are those of one process."""
    import joblib

    X, y = np.repeat(iris[0], 400, axis=0), np.repeat(iris[1], 400)  # 1.9 MB: above joblib's threshold
    with joblib.parallel_config(backend=backend):
        found, expected = (cross_val_score(tiny(), X, y, cv=2, n_jobs=n_jobs) for n_jobs in (2, 1))
    np.testing.assert_array_equal(found, expected)


class _Small(GenerativeTransportClassifier):
    """A subclass with parameters of its own."""

    def __init__(self, *, size=32, random_state=0):
        super().__init__(width=size, max_steps=20, random_state=random_state)
        self.size = size


def test_subclasses_may_have_other_parameters(iris, tmp_path):
    X, y = iris
    classifier = clone(_Small(size=40)).fit(X, y)
    assert classifier.transform(X[:1]).shape == (1, 40)
    classifier.save(tmp_path / "small")
    loaded = _Small.load(tmp_path / "small")
    assert loaded.get_params() == {"random_state": 0, "size": 40}
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
