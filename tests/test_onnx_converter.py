"""skl2onnx converts pipelines that end in the classifier."""

import copy
import sys

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf import register_onnx_converter
from gendiffclf.export import graph

skl2onnx = pytest.importorskip("skl2onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

X, y = load_wine(return_X_y=True)
X = X.astype(np.float32)
# Off the values of training: the scaling by ranks has steps there, and scikit-learn's steps round otherwise than ONNX's.
NEW = X + np.float32(1e-3) * np.random.default_rng(0).standard_normal(X.shape, dtype=np.float32)


@pytest.fixture(autouse=True)
def _registered():
    register_onnx_converter()


@pytest.mark.usefixtures("without_gaps")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:skl2onnx", "ignore::DeprecationWarning:onnx")
@pytest.mark.parametrize(
    ("kernel", "labels"), [("laplacian", [np.array(["a", "b", "ü"])[y], y, y * 2.0]), ("gaussian", [y == 1])]
)
def test_pipelines(tiny, kernel, labels, monkeypatch):
    # The graph before the labels takes seconds to export, and is the same for all labels of as many classes.
    export, exports = graph._exported, []
    monkeypatch.setattr(
        graph, "_exported", lambda *a: copy.deepcopy((exports or exports.append(export(*a)) or exports)[0])
    )
    for each in labels:
        pipeline = make_pipeline(StandardScaler(), PCA(6), tiny(estimator="kernel", kernel=kernel)).fit(X, each)
        model = skl2onnx.to_onnx(pipeline, X[:1], options={"zipmap": False}, target_opset=18)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        label, probabilities = session.run(None, {"X": NEW})
        np.testing.assert_allclose(probabilities, pipeline.predict_proba(NEW), rtol=0, atol=1e-5)
        np.testing.assert_array_equal(label, pipeline.predict(NEW))


def test_older_opsets_are_refused(tiny):
    pipeline = make_pipeline(StandardScaler(), tiny(estimator="kernel")).fit(X, y)
    with pytest.raises(ValueError, match="Got target_opset=15, expected at least 18; pass target_opset=18"):
        skl2onnx.to_onnx(pipeline, X[:1], target_opset=15)


def test_layers_are_refused(tiny):
    classifier = tiny(estimator="kernel").fit(np.stack([X, X], axis=1), y)
    with pytest.raises(ValueError, match=r"Got a classifier of layered input \(2, 13\), expected rows \(n, d\)"):
        skl2onnx.to_onnx(classifier, X[:1])


def test_categories_of_the_classifier_are_refused(tiny):
    scaler = StandardScaler().set_output(transform="pandas")
    pipeline = make_pipeline(scaler, tiny(estimator="kernel", categorical_features=["x0"])).fit(np.round(X), y)
    with pytest.raises(
        ValueError, match=r"Got a classifier fitted to the categories \['x0'\], expected numbers only; encode"
    ):
        skl2onnx.to_onnx(pipeline, X[:1], target_opset=18)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"needs the package 'skl2onnx'.*\[onnx\]"):
        register_onnx_converter()
