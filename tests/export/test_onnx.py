"""ONNX files give what the classifier gives, and `load_predictor` needs neither torch nor scikit-learn for it."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import NotFittedError

from gendiffclf import GenerativeTransportClassifier, LearnedPath, load_predictor, parameters
from gendiffclf.export.predictor import METADATA_KEY

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TOLERANCE = 1e-5


def exported(classifier, folder):
    path = folder / "model.onnx"
    classifier.to_onnx(path)
    return path


def assert_equal(classifier, path, X, tolerance=TOLERANCE):
    """The file, by itself and as a predictor, gives labels and probabilities of the classifier; also row by row."""
    expected = classifier.set_params(precision="float64").predict_proba(X)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    label, probabilities = session.run(["label", "probabilities"], {"X": X})
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=tolerance)
    predictor = load_predictor(path)
    np.testing.assert_array_equal(predictor.predict_proba(X), probabilities)
    np.testing.assert_allclose(predictor.predict_proba(X[:1]), expected[:1], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(label, classifier.predict(X))
    labels = predictor.predict(X)
    np.testing.assert_array_equal(labels, classifier.predict(X))
    assert labels.dtype == classifier.classes_.dtype
    np.testing.assert_array_equal(predictor.classes_, classifier.classes_)
    assert predictor.n_features_in_ == classifier.n_features_in_
    return label


def table(load, missing=0.0):
    X, y = load(return_X_y=True)
    X = X.astype(np.float32)
    X[np.random.default_rng(0).random(X.shape) < missing] = np.nan
    return X, y


@pytest.mark.usefixtures("without_gaps")
def test_a_network_narrower_than_the_code_space(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(parameters, "AUTO_NETWORK_WIDTH", 32)
    X, y = table(load_digits)
    classifier = tiny(width="auto", kernel="gaussian").fit(X, y)
    assert classifier.network_.shape.width == 32 < classifier.network_.shape.code_width
    assert assert_equal(classifier, exported(classifier, tmp_path), X).dtype == np.int64


def test_missing_values_strings_and_later_rows(tiny, tmp_path):
    X, y = table(load_wine, 0.1)
    X[:, 3] = np.nan  # missing in all rows
    y = np.array(["a", "bb", "ü"])[y]
    classifier = tiny(kernel="laplacian").fit(X[::2], y[::2]).partial_fit(X[1::4], y[1::4])
    assert classifier.kernel_.corrections is not None
    X = X[:50]
    X[1, 0], X[2, 1] = 3e38, -3e38
    assert assert_equal(classifier, exported(classifier, tmp_path), X).dtype == object


@pytest.mark.usefixtures("without_gaps")
def test_later_classes_and_small_integers(tiny, tmp_path):
    X, y = table(load_iris)
    classifier = tiny(kernel="cosine").fit(X[::2], y[::2].astype(np.int8)).partial_fit(X[1::4], y[1::4] + 1)
    assert classifier.kernel_.corrections is not None
    assert_equal(classifier, exported(classifier, tmp_path), X)


@pytest.mark.usefixtures("without_gaps")
def test_network_alone_and_booleans(tiny, tmp_path):
    X, y = table(load_breast_cancer)
    classifier = tiny(estimator="network", scaling="robust").fit(X, y > 0)
    assert assert_equal(classifier, exported(classifier, tmp_path), X).dtype == bool


def test_labels_beyond_those_of_onnx(tiny, tmp_path):
    X, y = table(load_iris)
    classifier = tiny(estimator="kernel").fit(X, y.astype(np.uint64) + np.uint64(2**64 - 5))
    with pytest.raises(ValueError, match=r"Got the label 18446744073709551613, expected at most 9223372036854775807"):
        classifier.to_onnx(tmp_path / "classifier.onnx")


@pytest.mark.usefixtures("without_gaps")
def test_constant_features_in_single_precision(tiny, tmp_path):
    """The least deviation of a constant would be a unit in which rounding to float32 is large."""
    X, y = table(load_iris)
    X = np.c_[X.astype(np.float64), np.full((len(X), 3), 0.1)]
    classifier = tiny().fit(X, y)
    single = X.astype(np.float32)
    assert_equal(classifier, exported(classifier, tmp_path), single)
    np.testing.assert_allclose(classifier.predict_proba(single), classifier.predict_proba(X), rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["single", "layers", "chunks"])
def test_layers(tiny, tmp_path, tokenizer):
    X, y = table(load_iris, 0.05)
    X = np.stack([X, X**2, -X], axis=1)
    classifier = tiny(tokenizer=tokenizer).fit(X, y + 1.0)
    assert assert_equal(classifier, exported(classifier, tmp_path), X).dtype == np.float64


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["quantile", "standard", "none"])
def test_scalings(tiny, tmp_path, scaling):
    X, y = table(load_wine, 0.1)
    classifier = tiny(estimator="kernel", scaling=scaling).fit(X, y)
    assert_equal(classifier, exported(classifier, tmp_path), X)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [LearnedPath(n_steps=3), LearnedPath(objective="velocity", n_steps=2), LearnedPath(solver="stochastic", n_steps=2)],
)
def test_learned_paths(tiny, tmp_path, path):
    X, y = table(load_iris)
    classifier = tiny(path=path, estimator="network").fit(X, y)
    assert_equal(classifier, exported(classifier, tmp_path), X, tolerance=10 * TOLERANCE)  # float32 at every step


@pytest.fixture(scope="module")
def table_classifier(tiny):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    X = pd.DataFrame({"size": rng.normal(y), "kind": np.where(rng.random(60) < 0.2, "x", np.array(["y", "z"])[y])})
    return tiny(estimator="kernel").fit(X, y), X


@pytest.fixture(scope="module")
def table_file(table_classifier, tmp_path_factory):
    return exported(table_classifier[0], tmp_path_factory.mktemp("table"))


def test_tables(table_classifier, table_file):
    classifier, X = table_classifier
    predictor = load_predictor(table_file)
    expected = classifier.predict_proba(X)
    np.testing.assert_allclose(predictor.predict_proba(X), expected, rtol=0, atol=TOLERANCE)
    encoded = classifier.table_encoder_.transform(X)
    np.testing.assert_allclose(predictor.predict_proba(encoded), expected, rtol=0, atol=TOLERANCE)


def test_tables_of_many_categories_with_gaps(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("gendiffclf.missing._LARGEST_MATRIX", 99)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    X = pd.DataFrame({"a": rng.normal(y), "kind": [f"k{i % 8}" for i in range(80)], "b": rng.normal(y)})
    X.loc[::5, "a"] = np.nan
    classifier = tiny(estimator="kernel").fit(X, y)
    assert classifier.scaler_.missing.correlated.tolist() == [0, 9]
    predictor = load_predictor(exported(classifier, tmp_path))
    new = pd.DataFrame({"a": [np.nan, 1, np.nan], "kind": ["k1", "unseen", "unseen"], "b": [0.5, np.nan, -2]})
    np.testing.assert_allclose(predictor.predict_proba(new), classifier.predict_proba(new), rtol=0, atol=TOLERANCE)


def test_tables_of_numbers_and_a_loaded_classifier(tiny, tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    classifier = tiny(estimator="kernel").fit(X, y)
    classifier.save(tmp_path / "model.safetensors")
    again = GenerativeTransportClassifier.load(tmp_path / "model.safetensors")
    predictor = load_predictor(exported(again, tmp_path))
    assert predictor.feature_names_in_ == X.columns.tolist()
    X.iloc[::3, 1] = np.nan
    expected = classifier.set_params(precision="float64").predict_proba(X)
    for rows in (X, X.to_numpy(), X.convert_dtypes(), X.convert_dtypes(dtype_backend="pyarrow")):
        np.testing.assert_allclose(predictor.predict_proba(rows), expected, rtol=0, atol=TOLERANCE)
    for other in (X[X.columns[::-1]], X.iloc[:, :3], X.set_axis(range(4), axis=1)):
        with pytest.raises(
            ValueError, match=r"Got X with the columns \[.*\], expected \['sepal length .* take X\[predictor"
        ):
            predictor.predict(other)
    with pytest.raises(ValueError, match=r"pandas\.Series, expected an array, or a DataFrame .* use X\.to_frame"):
        predictor.predict(pd.Series([1.0]))
    with pytest.raises(
        ValueError, match=r"Got X that is no array \(.*'long'\), expected numbers or NaN of shape \(rows, 4\)"
    ):
        predictor.predict([["long"] * 4])


def test_predictors_go_to_other_processes(table_classifier, table_file, monkeypatch):
    monkeypatch.chdir(table_file.parent)
    predictor = load_predictor(table_file.name, n_threads=1)
    pickled = pickle.dumps(predictor)
    monkeypatch.chdir("/")
    other = pickle.loads(pickled)
    X = table_classifier[1]
    np.testing.assert_array_equal(other.predict_proba(X), predictor.predict_proba(X))
    assert len(pickled) < 1000


@pytest.mark.parametrize("n_threads", [0, -1, 2.5, "two"])
def test_numbers_of_threads_that_make_no_sense(table_file, n_threads):
    with pytest.raises(ValueError, match=r"Got n_threads=.*, expected an integer >= 1, or None for one per core\."):
        load_predictor(table_file, n_threads=n_threads)


def test_an_array_of_texts_in_place_of_a_table_is_refused(table_classifier, table_file):
    message = r"Got X that is no array .* of shape \(rows, 4\), or a DataFrame with the columns of fit\."
    with pytest.raises(ValueError, match=message):
        load_predictor(table_file).predict(table_classifier[1].to_numpy())


def test_columns_in_another_order_are_refused(table_classifier, table_file):
    X = table_classifier[1]
    with pytest.raises(
        ValueError, match=r"Got X with the columns \['kind', 'size'\], expected \['size', 'kind'\] as in fit"
    ):
        load_predictor(table_file).predict(X[["kind", "size"]])


def test_rows_of_nan_and_many_rows(table_classifier, table_file):
    classifier, X = table_classifier
    predictor = load_predictor(table_file, n_threads=1)
    rows = np.repeat(classifier.table_encoder_.transform(X), 20, axis=0)
    np.testing.assert_array_equal(predictor.predict_proba(rows)[::20], predictor.predict_proba(rows[::20]))
    rows[[3, 7]] = np.nan
    with pytest.warns(UserWarning, match="Got 2 of 1200 rows of NaN only, the first at index 3; they get the class"):
        found = predictor.predict_proba(rows)
    np.testing.assert_allclose(found[[3, 7]], np.tile(classifier.class_prior_, (2, 1)), rtol=1e-6)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("value", [np.inf, 1e300])
def test_infinity_is_an_error(table_file, value):
    with pytest.raises(
        ValueError, match="infinity or a number beyond float32 in column 0, first in row 1, expected finite numbers or"
    ):
        load_predictor(table_file).predict([[0, 0, 1, 0], [value, 0, 1, 0]])


@pytest.mark.parametrize("X", [np.zeros((2, 3)), np.zeros((0, 4)), np.zeros(4), np.zeros((1, 1, 4))])
def test_other_shapes_are_errors(table_file, X):
    with pytest.raises(
        ValueError, match=r"Got X of shape \(.*\), expected \(rows, 4\) with at least one row; pass the features of"
    ):
        load_predictor(table_file).predict_proba(X)


def test_files_that_are_not_exported_classifiers(table_file, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(table_file.read_bytes()[:1000])
    other = tmp_path / "other.onnx"
    model = onnx.load(table_file)
    del model.metadata_props[:]
    onnx.save(model, other)
    for path in (broken, other):
        with pytest.raises(
            ValueError,
            match=r"which is not a complete exported classifier, expected a file written by .*to_onnx; export",
        ):
            load_predictor(path)
    with pytest.raises(FileNotFoundError):
        load_predictor(tmp_path / "missing.onnx")


def test_other_format_versions_are_errors(table_file, tmp_path):
    model = onnx.load(table_file)
    (entry,) = (prop for prop in model.metadata_props if prop.key == METADATA_KEY)
    entry.value = entry.value.replace('"format_version": 1', '"format_version": 99')
    path = tmp_path / "later.onnx"
    onnx.save(model, path)
    with pytest.raises(ValueError, match="of format version 99, expected 1; export it with this version"):
        load_predictor(path)


def test_standard_operators_only(table_file):
    model = onnx.load(table_file)
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} == {""}
    assert not model.functions


def test_imputation_is_left_out_for_rows_without_gaps(table_file):
    """Half of the nodes are its steps; each takes time in a single row."""
    nodes = onnx.load(table_file).graph.node
    (branches,) = ({a.name: len(a.g.node) for a in node.attribute} for node in nodes if node.op_type == "If")
    assert branches["else_branch"] < 3
    assert branches["then_branch"] > 50
    assert not any(inner.metadata_props for node in nodes for a in node.attribute for inner in a.g.node)


def test_what_cannot_be_exported(tiny, tmp_path):
    with pytest.raises(NotFittedError):
        tiny().to_onnx(tmp_path / "model.onnx")
    X, y = table(load_iris)
    classifier = tiny(estimator="kernel", scaling="standard").fit(X, y)
    with pytest.raises(IsADirectoryError, match="which is a folder"):
        classifier.to_onnx(tmp_path)
    classifier.classes_ = np.array(["a", 1, None], dtype=object)
    with pytest.raises(
        TypeError, match=r"labels of dtype object \(the first is 'a'\), expected numbers, booleans or strings"
    ):
        classifier.to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_neither_torch_nor_scikit_learn_is_imported(table_file):
    code = f"""
import sys
import gendiffclf
predictor = gendiffclf.load_predictor({str(table_file)!r})
print(predictor.predict([[0, 0, 1, 0]]).shape, predictor.predict_proba([[0, 0, 1, 0]] * 2).shape)
assert not {{"torch", "sklearn", "scipy", "onnx"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(1,) (2, 2)\n"


def test_a_missing_package_is_named(monkeypatch, table_file):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"needs the package 'onnxruntime'.*\[onnx\]"):
        load_predictor(table_file)
