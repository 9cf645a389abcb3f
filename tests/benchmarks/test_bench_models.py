"""The registry."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from benchmarks.models import MODELS, OPTIONAL, PLAIN, configuration, create_model, for_columns, named
from benchmarks.peers import CalibratedSVC, LabelEncoded, TunedLogistic, inner_folds
from gendiffclf.transport.learned import LearnedPath


@pytest.mark.parametrize("name", PLAIN)
def test_configuration_holds_every_parameter_and_is_stable(name: str):
    first, second = configuration(create_model(name)), configuration(create_model(name))
    assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)
    assert set(first) == set(create_model(name).get_params(deep=True))


def test_configuration_is_plain():
    values = {"C": np.float64(2.0), "class_weight": {0: np.nan}, "random_state": (1, None), "solver": len}
    model = LogisticRegression(**values)
    found = configuration(model)
    assert {name: found[name] for name in values} == {
        "C": 2.0, "class_weight": {"0": "nan"}, "random_state": [1, None], "solver": "len",
    }  # fmt: skip


def test_configuration_holds_the_path():
    found = configuration(create_model("ours", {"path": LearnedPath(n_steps=4)}))
    assert (found["path"], found["path__n_steps"]) == ("LearnedPath", 4)


def test_parameters_are_set():
    assert configuration(create_model("ours", {"n_members": 3}))["n_members"] == 3


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("hgb", "hist. gradient boosting"),
        ("svc + sigmoid", "SVM + sigmoid"),
        ("mlp: entropy", "MLP (256, 256): entropy"),
        ("ours, trained with feature dropout", "ours, trained with feature dropout"),
        ("5 nearest training rows", "5 nearest training rows"),
    ],
)
def test_names_on_pages(label: str, name: str):
    assert named(label) == name


def test_unknown_model_is_refused():
    with pytest.raises(ValueError, match="Got model 'nobody', expected one of ours, logreg"):
        create_model("nobody")


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(PLAIN)))
def test_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch):
    for package in ("lightgbm", "xgboost", "catboost", "pytabkit"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=r"This needs the package '\w+', which is not installed: `pip install -e '.\[bench\]'"
    ):
        create_model(name)


def test_labels_come_back():
    X, y = np.array([[0.0], [1.0], [2.0]]), np.array(["x", "y", "z"])
    model = LabelEncoded(LogisticRegression()).fit(X, y)
    np.testing.assert_array_equal(model.classes_, y)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("groups", [None, np.arange(150) % 12])
@pytest.mark.parametrize("model", [TunedLogistic(C=(1e-4, 1.0)), CalibratedSVC(C=(1e-4, 1.0), gamma=(0.5, 1.0))])
def test_settings_are_chosen_on_inner_folds(model, groups, iris):
    X, y = iris[0], iris[1].astype(str)
    fitted = model.fit(X, y, groups=groups)
    assert (fitted.predict_proba(X).argmax(axis=1) == iris[1]).mean() > 0.9  # the smaller C gives the prior
    np.testing.assert_array_equal(fitted.classes_, np.unique(y))
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1)


def test_inner_folds_keep_groups_whole_and_suit_rare_classes():
    y, groups = np.array(["a", "b"] * 30), np.arange(60) // 4
    for train, test in inner_folds(y, groups):
        assert not set(groups[train]) & set(groups[test])
    rare = np.array(["a"] * 20 + ["b"] * 3)
    assert [("b" in rare[train], "b" in rare[test]) for train, test in inner_folds(rare)] == [(True, True)] * 3
    assert len(inner_folds(y, np.arange(60) // 20)) == 3


@pytest.mark.parametrize("name", ["ours", "logreg_tuned", "hgb", "lightgbm", "catboost"])
def test_models_take_columns_of_categories_with_gaps(name: str):
    if name in OPTIONAL:
        pytest.importorskip(name)
    rng = np.random.default_rng(0)
    colour = rng.choice(["red", "blue", None], 60)
    X = pd.DataFrame({"size": rng.normal(size=60), "colour": pd.Categorical(colour)})
    X.loc[::7, "size"] = np.nan
    y = np.where(colour == "red", "yes", "no")
    fast = {"ours": {"estimator": "kernel"}, "catboost": {"iterations": 20}}
    model = for_columns(name, create_model(name, fast.get(name)), X).fit(X, y)
    assert (model.predict_proba(X).argmax(1) == (y == "yes")).mean() == 1


def test_models_on_arrays_are_themselves():
    model = create_model("logreg_tuned")
    assert for_columns("logreg_tuned", model, np.zeros((3, 2))) is model
