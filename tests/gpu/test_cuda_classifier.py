"""Classifiers on a CUDA device against those on the CPU."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from gendiffclf import GenerativeTransportClassifier, LearnedPath
from gendiffclf.training import loop

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)


def moved(classifier, device, folder):
    """The same classifier on a device, through a file."""
    classifier.save(folder / "classifier.safetensors")
    return GenerativeTransportClassifier.load(folder / "classifier.safetensors").set_params(device=device)


@pytest.mark.parametrize("rows", [X_train[:300], X_train], ids=["few rows", "many rows"])
@pytest.mark.parametrize("n_centers", ["auto", 100])
def test_the_kernel_is_that_of_the_cpu(rows, n_centers):
    """It is closed form in float64, so only rounding is between the two."""
    both = [
        GenerativeTransportClassifier(estimator="kernel", n_centers=n_centers, device=device, random_state=0)
        for device in ("cuda", "cpu")
    ]
    ours, reference = (classifier.fit(rows, y_train[: len(rows)]) for classifier in both)
    assert ours.kernel_.centers.device.type == "cuda"
    assert ours.kernel_.settings.kernel == reference.kernel_.settings.kernel
    assert ours.kernel_.settings.penalty == reference.kernel_.settings.penalty
    np.testing.assert_allclose(ours.predict_proba(X_test[:20]), reference.predict_proba(X_test[:20]), atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X_test), reference.predict_proba(X_test), atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("estimator", ["both", "network"])
def test_fits_are_as_good_as_on_the_cpu(estimator, precision):
    """Batches come from another random generator, so figures are compared, not estimates."""
    losses = {}
    for device in ("cuda", "cpu"):
        classifier = GenerativeTransportClassifier(
            estimator=estimator, device=device, precision=precision, random_state=0
        ).fit(X_train, y_train)
        losses[device] = log_loss(y_test, classifier.predict_proba(X_test))
        assert classifier.score(X_test, y_test) > 0.97
    assert losses["cuda"] < 1.25 * losses["cpu"]


def test_trees_say_the_same_on_both_devices(tiny, tmp_path):
    few = slice(20, 50)  # with all 64 features trees would take too long
    ours = tiny(device="cuda").fit(X_train[:, few], y_train > 4)
    assert ours.trees_ is not None
    reference = moved(ours, "cpu", tmp_path)
    for rows in (X_test[:5], X_test):
        np.testing.assert_allclose(ours.predict_proba(rows[:, few]), reference.predict_proba(rows[:, few]), atol=1e-3)


def test_normal_distributions_say_the_same_on_both_devices(tiny, tmp_path):
    X, y = np.random.default_rng(0).normal(size=(600, 4)), np.arange(600) % 3
    X[y == 1] *= [2.5, 0.4, 1, 1]
    X[y == 2, 2] = X[y == 2, 3] + 0.3 * X[y == 2, 2]
    ours = tiny(device="cuda").fit(X, y)
    assert ours.gaussian_ is not None
    reference = moved(ours, "cpu", tmp_path)
    for rows in (X[:5], X):
        np.testing.assert_allclose(ours.predict_proba(rows), reference.predict_proba(rows), atol=1e-4)


@pytest.mark.parametrize("path", ["exact", LearnedPath(n_steps=3, time_width=8)])
def test_a_classifier_predicts_alike_on_both_devices(tiny, tmp_path, path):
    ours = tiny(device="cuda", path=path, max_steps=50).fit(X_train, y_train)
    reference = moved(ours, "cpu", tmp_path)
    back = moved(reference, "cuda", tmp_path)
    for rows in (X_test[:5], X_test):
        expected = reference.predict_proba(rows)
        np.testing.assert_allclose(ours.predict_proba(rows), expected, atol=1e-4)
        np.testing.assert_array_equal(ours.predict_proba(rows), back.predict_proba(rows))
    for name in ("transport", "decision_function"):
        found, expected = (getattr(classifier, name)(X_test[:9]) for classifier in (ours, reference))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_exact_path_on_both_devices(tiny, tmp_path):
    ours = tiny(device="cuda", max_steps=50).fit(X_train, y_train)
    reference = moved(ours, "cpu", tmp_path)
    found, expected = (c.transport(X_test[:9], n_steps=7, return_path=True) for c in (ours, reference))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    draws = ours.sample(X_test[:5], n_draws=4000, random_state=0)
    frequencies = (draws[..., None] == ours.classes_).mean(axis=draws.shape.index(4000))
    np.testing.assert_allclose(frequencies, ours.predict_proba(X_test[:5]), atol=0.04)


@pytest.mark.parametrize("estimator", ["both", "kernel"])
def test_later_rows_count_alike_on_both_devices(tiny, tmp_path, estimator):
    ours = tiny(device="cuda", estimator=estimator).fit(X_train[:400], y_train[:400])
    reference = moved(ours, "cpu", tmp_path)
    later = np.where(np.arange(60) % 2, y_train[400:460], 10)  # a class that is new
    for classifier in (ours, reference):
        classifier.partial_fit(X_train[400:460], later)
        assert classifier.classes_.tolist() == list(range(11))
    np.testing.assert_allclose(ours.predict_proba(X_test[:20]), reference.predict_proba(X_test[:20]), atol=1e-4)


def test_rows_on_disk(tiny, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, X_train.astype(np.float32))
    on_disk = tiny(device="cuda", max_steps=20).fit(np.load(path, mmap_mode="r"), y_train)
    in_memory = tiny(device="cuda", max_steps=20).fit(X_train.astype(np.float32), y_train)
    np.testing.assert_allclose(on_disk.predict_proba(X_test), in_memory.predict_proba(X_test), atol=1e-3)


def test_weights_and_groups(tiny):
    groups, weight = np.arange(len(X_train)) % 20, 1 - 0.9 * (y_train == 3)
    ours = tiny(device="cuda", max_steps=30).fit(X_train, y_train, sample_weight=weight, groups=groups)
    reference = tiny(device="cpu", max_steps=30).fit(X_train, y_train, sample_weight=weight, groups=groups)
    assert ours.score(X_test, y_test) > reference.score(X_test, y_test) - 0.02


def test_prediction_goes_on_with_fewer_rows_when_memory_is_short(tiny, little_memory):
    classifier = tiny(device="cuda").fit(X_train, y_train)
    rows = np.repeat(X_test, 40, axis=0)
    expected = classifier.predict_proba(rows)
    little_memory(8 * 2**20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        np.testing.assert_allclose(classifier.predict_proba(rows), expected, atol=1e-5)


def test_products_in_float32_do_not_use_tf32(tiny):
    """Without a word from the user; torch's switch makes float32 products about a thousand times less precise."""
    ours = tiny(device="cuda", max_steps=30).fit(X_train, y_train)
    strict = ours.predict_proba(X_test)
    before = torch.get_float32_matmul_precision()
    assert before == "highest"
    torch.set_float32_matmul_precision("high")
    try:
        loose = ours.predict_proba(X_test)
    finally:
        torch.set_float32_matmul_precision(before)
    assert 1e-6 < np.abs(loose - strict).max() < 0.05


def histories(monkeypatch, fit, **changes):
    """Losses of a fit as it is, and with changes in the training loop."""
    as_it_is = fit().history_["loss"]
    for name, value in changes.items():
        monkeypatch.setattr(loop, name, value)
    return as_it_is, fit().history_["loss"]


@pytest.mark.parametrize("path", ["exact", LearnedPath(time_width=8)])
def test_captured_updates_are_those_made_one_by_one(tiny, monkeypatch, path):
    def fit():
        return tiny(device="cuda", path=path, estimator="network", max_steps=100, dropout=0.2, patience=None).fit(X, y)

    captured, one_by_one = histories(
        monkeypatch, fit, CapturedUpdate=lambda _: lambda update, numbers, gain: update(numbers, gain)
    )
    np.testing.assert_allclose(captured, one_by_one, rtol=1e-2)
    assert captured[-1] < captured[0] / 2


@pytest.mark.parametrize("max_steps", [1, 3, 4, 5])
def test_updates_before_and_after_the_capture_count(tiny, max_steps):
    assert tiny(device="cuda", estimator="network", max_steps=max_steps, patience=None).fit(X, y).n_iter_ == max_steps


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_compiled_updates_are_those_that_are_not(monkeypatch, precision):
    def fit():
        classifier = GenerativeTransportClassifier.from_preset(
            "gen-ser", width=64, max_steps=300, learning_rate=1e-3, device="cuda", precision=precision,
            random_state=0,
        )  # fmt: skip
        classifier.path.set_params(time_width=64)
        return classifier.fit(np.repeat(X_train[:, None], 3, axis=1), y_train)

    plain, compiled = histories(monkeypatch, fit, pays=lambda *_: True)
    np.testing.assert_allclose(compiled, plain, rtol=0.02 if precision == "float32" else 0.1)
    assert compiled[-1] < compiled[0] / 2


def test_the_paper_s_recipe_learns():
    rows, test_rows = (np.repeat(part[:, None], 3, axis=1) for part in (X_train, X_test))
    classifier = GenerativeTransportClassifier.from_preset(
        "gen-ser", width=64, max_steps=1500, device="cuda", random_state=0
    )
    classifier.path.set_params(time_width=64)
    assert classifier.fit(rows, y_train).score(test_rows, y_test) > 0.95
