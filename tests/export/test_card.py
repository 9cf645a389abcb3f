"""The model card says what is in the model, and measures of held-out rows where labels are given."""

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss

from gendiffclf import GenerativeTransportClassifier, expected_calibration_error

X, y = load_wine(return_X_y=True)
NAMES = np.array(["red", "white", "green|blue"])[y]


@pytest.fixture(scope="module")
def classifier(tiny):
    return tiny().fit(X, NAMES)


def test_with_labels(classifier, tmp_path):
    path = classifier.write_model_card(tmp_path / "wine.onnx", NAMES)
    assert path == tmp_path / "model_card.md"
    text = path.read_text()
    assert text.startswith("# wine.onnx\n\nA classifier of 3 classes")
    assert "Rows of 13 features" in text
    assert "| red | 59 |" in text
    assert "| green\\|blue | 48 |" in text
    truth, proba = NAMES[classifier.held_out_index_], classifier.held_out_proba_
    measures = [
        np.mean(classifier.classes_[proba.argmax(1)] == truth),
        log_loss(truth, proba, labels=classifier.classes_),
        expected_calibration_error(truth, proba, labels=classifier.classes_),
    ]
    assert f"| {' | '.join(f'{value:.4f}' for value in measures)} |" in text
    assert f"{len(truth)} rows, in 2 folds" in text
    assert "`max_steps=3`" in text
    assert "2 members" in text
    assert "the file holds 178 training rows" in text
    assert "gendiffclf 0" in text


def test_without_labels(tiny, tmp_path):
    layers = np.stack([X, X], axis=1)
    layers[0, 0, 0] = np.nan
    for estimator, words in (("kernel", "Network: none"), ("network", "Kernel: none")):
        classifier = tiny(estimator=estimator).fit(layers, y)
        text = classifier.write_model_card(tmp_path / "wine.safetensors").read_text()
        assert "Not measured" in text
        assert words in text
        assert "Rows of 2 layers of 13 features" in text
        assert "missing values in training depend on the class: 0" in text


def test_a_loaded_classifier_has_no_held_out_rows(classifier, tmp_path):
    path = tmp_path / "wine.safetensors"
    classifier.save(path)
    loaded = GenerativeTransportClassifier.load(path)
    assert "Not measured" in loaded.write_model_card(path).read_text()
    with pytest.raises(
        ValueError, match="Got y for a classifier without held-out estimates, expected one that was just fitted"
    ):
        loaded.write_model_card(path, NAMES)


@pytest.mark.parametrize("labels", [NAMES[:50], y])
def test_labels_are_those_of_fit(classifier, tmp_path, labels):
    with pytest.raises(ValueError, match=r"Got y of \d+ labels that are not those of fit"):
        classifier.write_model_card(tmp_path / "wine.onnx", labels)


def test_needs_a_fit_and_a_place(tiny, classifier, tmp_path):
    with pytest.raises(NotFittedError):
        tiny().write_model_card(tmp_path / "wine.onnx")
    with pytest.raises(FileNotFoundError, match="create the folder"):
        classifier.write_model_card(tmp_path / "nowhere" / "wine.onnx")
