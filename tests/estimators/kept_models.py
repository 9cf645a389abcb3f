"""What holds of every fitted classifier, whichever estimators it has: one row or many, files, pickles and ONNX predict alike."""

import pickle

import numpy as np

from gendiffclf import GenerativeTransportClassifier, load_predictor


def assert_one_row_and_many_agree(model, X):
    np.testing.assert_allclose(model.predict_proba(X[:3]), model.predict_proba(X)[:3], atol=1e-5)


def assert_files_and_pickles_predict_alike(model, X, folder):
    model.save(folder / "model.safetensors")
    loaded = GenerativeTransportClassifier.load(folder / "model.safetensors")
    for other in (loaded, pickle.loads(pickle.dumps(model))):
        assert [other.gaussian_ is None, other.trees_ is None] == [model.gaussian_ is None, model.trees_ is None]
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))


def assert_onnx_predicts_alike(model, X, folder):
    model.to_onnx(folder / "model.onnx")
    np.testing.assert_allclose(
        load_predictor(folder / "model.onnx").predict_proba(X), model.predict_proba(X), atol=1e-5
    )
