"""The folded network computes what the network does."""

import pickle

import numpy as np
import pytest
import torch

from gendiffclf import GenerativeTransportClassifier, folding
from gendiffclf.estimators.network import NetworkShape
from gendiffclf.folding import FEW_ROWS, MANY_ROWS, applies, folded
from gendiffclf.model import TransportModel, TransportSettings
from gendiffclf.transport.readout import project_on_codes

SETTINGS = TransportSettings("logistic", 10.0, "bridge", 0.5, "target", "terminal", 0.001, 1.0)


def random_model(shape: NetworkShape, *, dtype: torch.dtype = torch.float32, settings=SETTINGS) -> TransportModel:
    """A model none of whose parameters is 0, as scales, gates and biases are at first."""
    lift = np.random.default_rng(0).normal(size=(shape.n_features, shape.width)) / np.sqrt(shape.n_features)
    model = TransportModel(shape, settings, lift, torch.Generator().manual_seed(0))
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.1)
    return model.to(dtype)


def rows_of(n: int, d: int, dtype: torch.dtype = torch.float32, views: int = 1) -> torch.Tensor:
    return torch.randn(1, n, views, d, generator=torch.Generator().manual_seed(2), dtype=dtype)


def projections(model: TransportModel, rows: torch.Tensor, n_classes: int) -> torch.Tensor:
    ends = model.transport(rows, solver="exact", n_steps=1)[-1]
    return project_on_codes(ends, model.codes("sinusoidal", n_classes))


@pytest.fixture(params=[False, True], ids=["MKL", "oneDNN"])
def products(request, monkeypatch):
    """Either source of products, as far as this machine has them."""
    if request.param and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("torch comes without oneDNN here")
    monkeypatch.setattr(folding, "mkl_holds_back", lambda: request.param)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("n_rows", [1, FEW_ROWS, FEW_ROWS + 1, 70])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_members": 1, "depth": 1},
        {"depth": 3, "hidden_width": 50},
        {"n_frequencies": 0},
        {"n_features": 40},
        {"queries_and_keys": True},
        {"dropout": 0.5},
        {"n_views": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_projections_are_those_of_the_ends_of_transport(changes, n_rows, dtype, tolerance):
    shape = NetworkShape(
        **{"n_features": 5, "width": 32, "n_members": 3, "hidden_width": 16, "n_frequencies": 2, **changes}
    )
    model = random_model(shape, dtype=dtype)
    rows = rows_of(n_rows, shape.n_features, dtype, shape.n_views)
    with torch.inference_mode():
        found = folded(model, "sinusoidal", range(7))(rows)
        expected = projections(model, rows, 7)
    assert found.shape == (shape.n_members, n_rows, 7)
    torch.testing.assert_close(found.to(dtype), expected, rtol=0, atol=tolerance)


def test_the_time_is_that_where_transport_starts():
    settings = TransportSettings("logistic", 10.0, "bridge", 0.5, "target", "uniform", 0.001, 0.7)
    model = random_model(NetworkShape(5, width=32, hidden_width=16), settings=settings)
    rows = rows_of(3, 5)
    torch.testing.assert_close(
        folded(model, "sinusoidal", range(4))(rows).float(), projections(model, rows, 4), rtol=0, atol=1e-5
    )


def test_codes_come_in_the_order_that_is_asked_for():
    model, rows = random_model(NetworkShape(5, width=32, hidden_width=16)), rows_of(3, 5)
    in_order, other = (folded(model, "sinusoidal", index)(rows) for index in ([0, 1, 2, 3], [3, 0, 2]))
    torch.testing.assert_close(other, in_order[..., [3, 0, 2]], rtol=0, atol=1e-14)


def test_it_is_made_once_and_anew_after_a_change():
    model, rows = random_model(NetworkShape(5, width=32, hidden_width=16)), rows_of(3, 5)
    first = folded(model, "sinusoidal", range(4))
    assert folded(model, "sinusoidal", range(4)) is first
    with torch.no_grad():
        model.network.last_map.weight.mul_(2)
    torch.testing.assert_close(
        folded(model, "sinusoidal", range(4))(rows).float(), projections(model, rows, 4), rtol=0, atol=1e-5
    )
    model.double()
    torch.testing.assert_close(
        folded(model, "sinusoidal", range(4))(rows.double()), projections(model, rows.double(), 4), rtol=0, atol=1e-12
    )


def test_a_model_made_in_inference_mode():
    with torch.inference_mode():
        model, rows = random_model(NetworkShape(5, width=32, hidden_width=16)), rows_of(3, 5)
        found = folded(model, "sinusoidal", range(4))(rows)
        torch.testing.assert_close(found.float(), projections(model, rows, 4), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "n_layers", "solver", "n_steps"),
    [
        ({"tokenizer": "layers"}, 1, "exact", 1),
        ({"tokenizer": "chunks"}, 1, "exact", 1),
        ({}, 2, "exact", 1),
        ({}, 1, "euler", 1),
        ({}, 1, "exact", 2),
    ],
)
def test_what_it_does_not_apply_to(changes, n_layers, solver, n_steps):
    assert applies(random_model(NetworkShape(5, width=32)), 1, "exact", 1)
    assert not applies(random_model(NetworkShape(5, width=32, **changes)), n_layers, solver, n_steps)


@pytest.mark.parametrize("objective", ["velocity", "noise"])
def test_it_does_not_apply_to_other_objectives(objective):
    settings = TransportSettings("logistic", 10.0, "bridge", 0.5, objective, "uniform", 0.001, 1.0)
    assert not applies(random_model(NetworkShape(5, width=32), settings=settings), 1, "exact", 1)


# ------------------------------------------------------------ in the classifier


@pytest.fixture
def unfolded(monkeypatch):
    """A function that gives a classifier's probabilities without folding."""

    def predict_proba(classifier, X):
        with monkeypatch.context() as patch:
            patch.setattr(folding, "applies", lambda *_: False)
            return classifier.predict_proba(X)

    return predict_proba


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("n_rows", [1, 20, FEW_ROWS + 1, 700])
def test_probabilities_stay_the_same(tiny, digits, unfolded, precision, n_rows):
    X, y = digits
    classifier = tiny(n_members=3, depth=2, precision=precision).fit(X[:400], y[:400])
    tolerance = 1e-5 if precision == "float32" else 1e-7  # rows are scaled to float32
    np.testing.assert_allclose(classifier.predict_proba(X[:n_rows]), unfolded(classifier, X[:n_rows]), atol=tolerance)


def test_a_rows_probabilities_hardly_depend_on_its_neighbours(tiny, digits):
    """To 1e-12 among few rows, to float32's rounding among many."""
    X, y = digits
    classifier = tiny(depth=2).fit(X[:400], y[:400])
    many = classifier.predict_proba(X[: MANY_ROWS + 100])
    few = classifier.predict_proba(X[:FEW_ROWS])
    for i in (0, 7, FEW_ROWS - 1):
        np.testing.assert_allclose(classifier.predict_proba(X[i : i + 1])[0], few[i], rtol=0, atol=1e-12)
        np.testing.assert_allclose(many[i], few[i], rtol=0, atol=2e-6)
    order = np.random.default_rng(0).permutation(len(many))
    np.testing.assert_allclose(classifier.predict_proba(X[order]), many[order], rtol=0, atol=2e-6)


def test_every_way_to_change_a_classifier_is_seen(tiny, digits, unfolded):
    X, y = digits
    classifier = tiny(warm_start=True).fit(X[:200], y[:200])
    classifier.predict_proba(X[:5])
    for change in (
        lambda: classifier.fit(X[200:400], y[200:400]),
        lambda: classifier.partial_fit(X[200:400], y[200:400]),
        lambda: classifier.partial_fit(X[:4], np.arange(4) + 20),
        lambda: classifier.set_params(n_steps=2),
        lambda: classifier.set_params(n_steps=1, solver="stochastic"),
        lambda: classifier.set_params(solver="exact"),
    ):
        change()
        np.testing.assert_allclose(classifier.predict_proba(X[:50]), unfolded(classifier, X[:50]), atol=1e-5)


def test_nothing_of_it_is_pickled_or_saved(tiny, iris, tmp_path):
    classifier = tiny().fit(*iris)
    before = vars(classifier).copy()
    pickled = pickle.dumps(classifier)
    expected = classifier.predict_proba(iris[0])
    assert vars(classifier) == before
    assert len(pickle.dumps(classifier)) == len(pickled)
    classifier.save(tmp_path / "classifier")
    for again in (pickle.loads(pickled), GenerativeTransportClassifier.load(tmp_path / "classifier")):
        np.testing.assert_allclose(again.predict_proba(iris[0]), expected, rtol=0, atol=1e-12)


def test_rows_of_nan_do_not_spoil_others(tiny, iris):
    X, y = iris
    classifier = tiny().fit(X, y)
    spoilt = X.copy()
    spoilt[3] = np.nan
    with pytest.warns(UserWarning, match="1 of 150 rows of NaN only"):
        found = classifier.predict_proba(spoilt)
    np.testing.assert_array_equal(found[3], classifier.class_prior_)
    np.testing.assert_allclose(np.delete(found, 3, 0), np.delete(classifier.predict_proba(X), 3, 0), rtol=0, atol=1e-12)
