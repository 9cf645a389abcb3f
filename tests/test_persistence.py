"""Files: equal after a round trip, refused when damaged or newer, complete or absent."""

import copy
import json
import os
import pickle
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import safetensors
import torch
from sklearn.base import BaseEstimator
from sklearn.datasets import load_wine

from gendiffclf import ExactPath, GenerativeTransportClassifier, LearnedPath
from gendiffclf._version import VERSION
from gendiffclf.persistence import FORMAT_VERSION, save_classifier
from gendiffclf.transport.codes import CODES

X, y = load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def classifier(tiny):
    return tiny().fit(X, y)


@pytest.fixture
def saved(classifier, tmp_path):
    path = tmp_path / "wine.safetensors"
    classifier.save(path)
    return path


def round_trip(classifier, path):
    classifier.save(path)
    return GenerativeTransportClassifier.load(path)


def assert_equal(a, b):
    """Equal in type, dtype and every bit, through dicts, lists, dataclasses and paths."""
    assert type(a) is type(b) or isinstance(a, np.generic)  # JSON has Python's numbers
    if isinstance(a, torch.nn.Module):
        assert_equal(a.shape, b.shape)
        assert_equal(dict(a.state_dict()), dict(b.state_dict()))
        assert [x.requires_grad for x in a.parameters()] == [x.requires_grad for x in b.parameters()]
    elif isinstance(a, BaseEstimator):
        assert_equal(a.get_params(), b.get_params())
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert a.stride() == b.stride()
        assert torch.equal(a, b)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_equal(left, right)
    elif hasattr(a, "__dataclass_fields__"):
        assert_equal(*({field: getattr(x, field) for field in x.__dataclass_fields__} for x in (a, b)))
    else:
        assert a == b


def assert_same(before, after):
    """Two classifiers have the same parameters and attributes, and predict the same."""
    parameters, fitted = before.get_params(), ({**vars(c), "_predictors": {}} for c in (before, after))
    assert_equal(parameters, after.get_params())
    kept = [{k: v for k, v in values.items() if k not in parameters} for values in fitted]
    # Held-out estimates grow with the training rows, and stay out of files and pickles.
    left, right = ({k: v for k, v in values.items() if not k.startswith("held_out_")} for values in kept)
    assert_equal(left, right)
    for method in ("predict_proba", "predict", "transport", "score_samples"):
        np.testing.assert_array_equal(getattr(before, method)(X), getattr(after, method)(X))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scaling": "quantile", "estimator": "network", "precision": "float64"},
        {"scaling": "robust", "estimator": "kernel", "codes": "paired"},
        {"scaling": "none", "tokenizer": "chunks", "n_centers": 50},
        {"n_members": 1, "estimator": "network", "class_weight": "balanced", "patience": None},
        {"path": ExactPath(mean="cosine", sigma=0.7)},
        {"path": LearnedPath(n_steps=3, time_width=8)},
        {"path": LearnedPath(n_steps=3, objective="velocity", solver="stochastic"), "estimator": "network"},
        {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}},
    ],
    ids=repr,
)
def test_everything_comes_back(tiny, tmp_path, changes):
    before = tiny(**changes).fit(X, y)
    before.predict(X)
    assert_same(before, round_trip(before, tmp_path / "classifier"))


@pytest.mark.parametrize("estimator", ["both", "network", "kernel"])
def test_layered_input_comes_back(tiny, tmp_path, estimator):
    rows = np.random.default_rng(0).normal(size=(30, 3, 5))
    before = tiny(estimator=estimator, tokenizer="layers").fit(rows, np.arange(30) % 2)
    after = round_trip(before, tmp_path / "classifier")
    np.testing.assert_array_equal(before.predict_proba(rows), after.predict_proba(rows))
    if estimator != "network":
        np.testing.assert_array_equal(before.layer_weights_, after.layer_weights_)


def test_the_path_is_that_of_fit(tiny, tmp_path):
    before = tiny(path=LearnedPath(n_steps=3, time_width=8)).fit(X, y).set_params(path__n_steps=5)
    after = round_trip(before, tmp_path / "classifier")
    assert after.path_.n_steps == 3
    assert after.path.n_steps == 5


@pytest.mark.parametrize("changes", [{}, {"estimator": "kernel", "n_centers": 50}], ids=repr)
def test_learning_goes_on(tiny, tmp_path, changes):
    """After a fit, and again after rows of a new class."""
    known = y < 2
    before = tiny(**changes).fit(X[known], y[known])
    for rows in (np.flatnonzero(~known)[:5], np.flatnonzero(~known)[5:9]):
        after = round_trip(before, tmp_path / "classifier")
        for classifier in (before, after):
            classifier.partial_fit(X[rows], y[rows])
        assert_same(before, after)


def test_a_loaded_classifier_is_fitted_anew_as_any(tiny, tmp_path):
    after = round_trip(tiny().fit(X, y), tmp_path / "classifier")
    np.testing.assert_array_equal(after.fit(X[:100], y[:100]).predict(X), tiny().fit(X[:100], y[:100]).predict(X))


def test_files_are_as_small_as_the_centres_allow(tiny, tmp_path):
    sizes = []
    for n_centers in (50, 150):
        tiny(estimator="kernel", n_centers=n_centers).fit(X, y).save(tmp_path / "classifier")
        sizes.append((tmp_path / "classifier").stat().st_size)
    values = 13 + 3 + 1  # a centre in one scaling, its coefficients and its weight
    assert (sizes[1] - sizes[0]) / 100 <= 8 * values + 1


@pytest.mark.parametrize(
    "labels",
    [
        np.array([-3, 7, 300]),
        np.array([1, 2, 250], np.uint8),
        np.array([False, True]),
        np.array(["a", "ö", "three words"]),
        np.array(["a", "ö", "three words"], object),
        np.array([1.0, 2.0, 3.0], np.float32),
    ],
    ids=lambda labels: f"{labels.dtype}",
)
def test_labels_come_back(tiny, tmp_path, labels):
    before = tiny().fit(X, labels[y % len(labels)])
    after = round_trip(before, tmp_path / "classifier")
    assert_equal(before.classes_, after.classes_)
    assert_equal(before.predict(X), after.predict(X))


@pytest.mark.parametrize("labels", [np.array(["2020-01-01", "2021-01-01"], "M8[D]"), np.array([(1,), (2,)], object)])
def test_other_labels_are_refused(classifier, tmp_path, labels):
    other = copy.copy(classifier)
    other.classes_ = labels
    with pytest.raises(TypeError, match=r"Got labels of dtype .*, expected numbers, booleans or strings"):
        other.save(tmp_path / "classifier")
    assert not list(tmp_path.iterdir())


def test_feature_names_come_back(tiny, tmp_path):
    frame = pd.DataFrame(X, columns=[f"feature {i}" for i in range(X.shape[1])])
    before = tiny().fit(frame, y)
    after = round_trip(before, tmp_path / "classifier")
    assert_equal(before.feature_names_in_, after.feature_names_in_)
    np.testing.assert_array_equal(before.predict_proba(frame), after.predict_proba(frame))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("class_weight", {0: 1.0, 1: 2.5, 2: 1.0}, {0: 1.0, 1: 2.5, 2: 1.0}),
        ("class_weight", {"a": 1.0}, {"a": 1.0}),
        ("class_weight", {np.int64(1): np.float64(2)}, {1: 2.0}),
        ("random_state", np.random.RandomState(3), None),
        ("mlp_ratio", np.float32(2.5), 2.5),
        ("path", LearnedPath(steepness=np.float32(2.5)), LearnedPath(steepness=2.5)),
        ("device", torch.device("cpu"), "cpu"),
        ("categorical_features", pd.Index(["colour"]), ["colour"]),
    ],
)
def test_parameters_come_back(classifier, tmp_path, name, value, expected):
    after = round_trip(copy.copy(classifier).set_params(**{name: value}), tmp_path / "classifier")
    assert_equal(getattr(after, name), expected)


@pytest.mark.parametrize("value", [object(), torch.ones(2)])
def test_other_parameters_are_refused(classifier, tmp_path, value):
    with pytest.raises(TypeError, match=r"Got class_weight=.*, expected a number, string, boolean, None"):
        copy.copy(classifier).set_params(class_weight=value).save(tmp_path / "classifier")


def test_other_attributes_are_refused(classifier, tmp_path):
    other = copy.copy(classifier)
    other.surprise_ = object()
    with pytest.raises(TypeError, match="Got surprise_ of type object, expected numbers, strings, arrays or tensors"):
        save_classifier(other, tmp_path / "classifier")


def test_codes_of_ones_own_are_registered_before_loading(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(CODES, "own", CODES["sinusoidal"])
    tiny(codes="own").fit(X, y).save(tmp_path / "classifier")
    monkeypatch.delitem(CODES, "own")
    with pytest.raises(
        ValueError, match=r"Got codes='own', expected one of .* may need parts of your own: register them"
    ):
        GenerativeTransportClassifier.load(tmp_path / "classifier")


def test_a_path_of_a_class_of_ones_own_is_refused(tiny, tmp_path):
    class OwnPath(ExactPath):
        pass

    with pytest.raises(
        TypeError, match=r"Got path=OwnPath\(\), expected a number, string, .*; set another value, or use pickle"
    ):
        tiny(path=OwnPath()).fit(X, y).save(tmp_path / "classifier")


def test_header_is_json_for_any_reader(saved, classifier):
    with safetensors.safe_open(saved, framework="np") as file:
        metadata = file.metadata()
        names = set(file.keys())
    assert metadata["format_version"] == str(FORMAT_VERSION)
    content = json.loads(metadata["content"])
    assert content["parameters"]["width"] == 32
    assert content["package_version"] == VERSION
    fitted_values = content["fitted"]
    assert fitted_values["classes_"]["__values__"]["values"] == [0, 1, 2]
    assert fitted_values["n_features_in_"] == 13
    assert fitted_values["network_"]["__TransportNetwork__"]["shape"]["__NetworkShape__"] == asdict(
        classifier.network_.shape
    )
    assert {"scaler_.center", "scaler_.scale", "lift_", "kernel_.centers", "network_.state.lift"} <= names


def test_nothing_is_pickled(classifier, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("pickle was used")

    for module, name in ((pickle, "dumps"), (pickle, "loads"), (torch, "save"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    round_trip(classifier, tmp_path / "classifier")


def test_any_damage_is_refused(saved):
    data = saved.read_bytes()
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(data[:8], "little")
    places = [*range(12), *rng.integers(header, size=300), *rng.integers(header, len(data), size=60), len(data) - 1]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"Got .*, (which is damaged|whose contents do not|expected|of format)|Got .* of format"
        ):
            GenerativeTransportClassifier.load(saved)


@pytest.mark.parametrize("length", [0, 7, 8, 1000, -1])
def test_a_cut_file_is_refused(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ValueError, match="damaged"):
        GenerativeTransportClassifier.load(saved)


def test_a_longer_file_is_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="do not have the checksum"):
        GenerativeTransportClassifier.load(saved)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other"
    safetensors.torch.save_file({"a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=r"which is damaged or not a saved classifier, expected a file written by"):
        GenerativeTransportClassifier.load(path)
    safetensors.torch.save_file({}, path, {"format": "other", "format_version": "1", "sha256": "", "content": "{}"})
    with pytest.raises(ValueError, match="of format 'other', expected 'gendiffclf"):
        GenerativeTransportClassifier.load(path)


@pytest.mark.parametrize(("newer", "remedy"), [(1, "upgrade gendiffclf"), (-1, "fit and save the classifier again")])
def test_other_formats_are_refused(saved, monkeypatch, classifier, newer, remedy):
    version = FORMAT_VERSION + newer
    monkeypatch.setattr("gendiffclf.persistence.FORMAT_VERSION", version)
    classifier.save(saved)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=f"of format version {version}, expected {FORMAT_VERSION}, .*; {remedy}"):
        GenerativeTransportClassifier.load(saved)


def test_parameters_of_a_newer_package_are_refused(saved):
    class Older(GenerativeTransportClassifier):
        def get_params(self, deep=True):
            return {name: value for name, value in super().get_params(deep).items() if name != "depth"}

    with pytest.raises(ValueError, match=r"with the parameters \['depth'\], written by gendiffclf"):
        Older.load(saved)


def test_a_failed_write_leaves_the_old_file(saved, classifier, monkeypatch):
    before = saved.read_bytes()

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        classifier.save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_is_no_file(classifier, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    with pytest.raises(
        IsADirectoryError,
        match=r"Got path='.*models', which is a folder, expected the name of a file; add one, such as '.*models.classifier",
    ):
        classifier.save(folder)
    assert list(tmp_path.rglob("*")) == [folder]


def test_the_folder_of_a_file_must_exist(classifier, tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"Got path='.*models.a', expected a file in a folder that exists; create the folder '.*models' first\.",
    ):
        classifier.save(tmp_path / "models" / "a")
    assert not list(tmp_path.iterdir())


def test_unfitted_classifiers_are_refused(tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        GenerativeTransportClassifier().save(tmp_path / "classifier")


def test_loading_draws_from_no_global_stream(saved):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    GenerativeTransportClassifier.load(saved)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
