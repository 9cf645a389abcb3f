"""Copies and pickles: they predict alike, are small, live on the CPU and name their version."""

import copy
import io
import pickle
import tempfile

import joblib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

from gendiffclf import LearnedPath

ESTIMATORS = ("both", "network", "kernel")


def by_pickle(classifier):
    return pickle.loads(pickle.dumps(classifier))


def by_joblib(classifier):
    file = io.BytesIO()
    joblib.dump(classifier, file)
    file.seek(0)
    return joblib.load(file)


def by_mapped_file(classifier):
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(classifier, f"{folder}/classifier")
        return joblib.load(f"{folder}/classifier", mmap_mode="r")  # its arrays are not writable


@pytest.fixture(scope="module", params=ESTIMATORS)
def classifier(request, tiny):
    """Fitted to irises; tests leave it as it is."""
    return tiny(estimator=request.param).fit(*load_iris(return_X_y=True))


@pytest.mark.parametrize("duplicate", [by_pickle, by_joblib, by_mapped_file, copy.deepcopy, copy.copy])
def test_copies_predict_and_learn_alike(classifier, iris, duplicate):
    X, y = iris
    before = classifier.predict_proba(X)
    other = duplicate(classifier)
    np.testing.assert_array_equal(other.predict_proba(X), before)
    assert other.get_params() == classifier.get_params()
    if other.estimator != "network":
        other.partial_fit(X[:9], np.full(9, 7))
        assert other.classes_.tolist() == [0, 1, 2, 7]
    other.fit(X[:100], y[:100])
    assert classifier.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


def test_copies_of_a_learned_path(tiny, iris):
    X, y = iris
    classifier = tiny(path=LearnedPath(n_steps=3, time_width=8, solver="stochastic")).fit(X, y)
    other = by_pickle(classifier)
    np.testing.assert_array_equal(other.transport(X), classifier.transport(X))
    assert other.path_.get_params() == classifier.path_.get_params()


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
    elif hasattr(value, "__dataclass_fields__"):
        yield from tensors_in(vars(value), seen)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def test_pickles_hold_tensors_on_the_cpu(tiny, iris, method, device):
    X, y = iris
    classifier = getattr(tiny(device=device), method)(X, y)
    classifier.partial_fit(X[:3], y[:3]).predict(X)
    state = classifier.__getstate__()
    assert state["_predictors"] == {}
    tensors = list(tensors_in(state))
    assert len(tensors) > 10
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert not any(tensor.requires_grad for tensor in tensors)


def test_pickles_grow_with_the_centres_alone(tiny, digits):
    """Not with the rows, unless these are centres or the thousand that unusual rows are compared with, nor with predictions."""
    X, y = digits
    few, many = (tiny(n_centers=100).fit(X[:n], y[:n]) for n in (1100, 1700))
    size = len(pickle.dumps(few))
    assert len(pickle.dumps(many)) == pytest.approx(size, rel=0.01)
    few.predict(X)
    assert len(pickle.dumps(few)) == size
    alone = [len(pickle.dumps(tiny(estimator="network").fit(X[:n], y[:n]))) for n in (1100, 1700)]
    assert alone[0] == pytest.approx(alone[1], rel=0.01)


def test_centres_weigh_what_they_must(tiny, digits):
    X, y = (values[:600] for values in digits)
    sizes = [len(pickle.dumps(tiny(estimator="kernel", n_centers=m).fit(X, y))) for m in (50, 550)]
    values = 64 + 10 + 1  # a centre in one scaling, its coefficients and its weight
    assert (sizes[1] - sizes[0]) / 500 <= 8 * values + 8


def test_a_pickle_of_another_version_warns(tiny, iris, monkeypatch):
    X, y = iris
    classifier = tiny(estimator="kernel").fit(X, y)
    monkeypatch.setattr("gendiffclf.saving.VERSION", "0.0.1")
    pickled = pickle.dumps(classifier)
    pickle.loads(pickled)
    monkeypatch.undo()
    with pytest.warns(
        UserWarning, match=r"Got a pickle by gendiffclf 0\.0\.1, read by .*; use save and load, or fit again\."
    ):
        other = pickle.loads(pickled)
    np.testing.assert_array_equal(other.predict_proba(X), classifier.predict_proba(X))
    assert not hasattr(other, "_package_version")


def test_a_pickle_of_an_unfitted_classifier(tiny):
    assert by_pickle(tiny(width=48)).get_params() == tiny(width=48).get_params()
