"""Parameters: ranges, defaults, presets, and what follows from them."""

import inspect
import re
from dataclasses import replace

import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from gendiffclf import ExactPath, GenerativeTransportClassifier, LearnedPath
from gendiffclf.estimators.kernel import KERNELS
from gendiffclf.estimators.network import TransportNetwork
from gendiffclf.estimators.tokenizers import TOKENIZERS
from gendiffclf.parameters import (
    AUTO_BATCH,
    AUTO_COSINE_FEATURES,
    AUTO_LAPLACIAN_FEATURES,
    AUTO_WIDTH,
    ESTIMATORS,
    check_parameters,
    checked_path,
    code_width,
    kernels,
    n_heads,
    network_shape,
    presets,
    training_settings,
)
from gendiffclf.preprocessing import SCALINGS, lift_matrix
from gendiffclf.transport.codes import CODES

CHOICES = {
    "estimator": ESTIMATORS,
    "codes": CODES,
    "tokenizer": TOKENIZERS,
    "scaling": SCALINGS,
    "kernel": ("auto", *KERNELS),
    "precision": ("auto", "float32", "bfloat16", "float64"),
}
AT_LEAST_1 = ("depth", "n_members", "max_steps")
OUTSIDE = {
    **{name: [(0, r"an integer >= 1"), (1.5, r"an integer >= 1"), ("2", r"an integer >= 1")] for name in AT_LEAST_1},
    "path": [("learned", "'exact', an ExactPath or a LearnedPath"), (None, "'exact', an ExactPath or a LearnedPath")],
    "n_frequencies": [(-1, "an integer >= 0"), ("Auto", "an integer >= 0 or 'auto'")],
    "categorical_features": [("none", "'from_dtype', or a list"), ([0], "a DataFrame of pandas or polars")],
    "n_centers": [(0, "an integer >= 1"), ("all", "an integer >= 1 or 'auto'")],
    "batch_size": [(0, "an integer >= 1"), ("full", "an integer >= 1 or 'auto'")],
    "verbose": [(-1, "an integer >= 0"), ("yes", "an integer >= 0")],
    "patience": [(0, "an integer >= 1"), ("long", "an integer >= 1, 'auto' or None")],
    "width": [(1, "an integer >= 2"), ("Auto", "an integer >= 2 or 'auto'")],
    "mlp_ratio": [(0, r"a number in \(0, inf\)")],
    "dropout": [(1, r"a number in \[0, 1\)"), (-0.1, r"a number in \[0, 1\)")],
    "learning_rate": [
        ("fast", r"a number in \(0, inf\) or 'auto'"),
        (0, r"a number in \(0, inf\)"),
        (float("inf"), r"a number in \(0, inf\)"),
    ],
    "time_limit": [(0, r"a number in \(0, inf\)"), ("1 min", "a number")],
    "ema_decay": [(1, r"a number in \[0, 1\)"), (float("nan"), r"a number in \[0, 1\)")],
    "class_weight": [
        ("even", "a dict of weights by label, 'balanced' or None"),
        ({0: -1.0}, "non-negative finite weights"),
    ],
    "distributed": [(1, "True or False"), (None, "True or False")],
    "device": [("abacus", "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'")],
}
CASES = [(name, value, rule) for name, cases in OUTSIDE.items() for value, rule in cases]


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_lists_its_options(tiny, iris, name):
    options = ", ".join(map(repr, CHOICES[name]))
    with pytest.raises(ValueError, match=re.escape(f"Got {name}='nothing', expected one of {options}.")):
        tiny(**{name: "nothing"}).fit(*iris)


@pytest.mark.parametrize(("name", "value", "rule"), CASES)
def test_a_value_outside_its_range_is_named_with_the_rule(tiny, iris, name, value, rule):
    with pytest.raises(ValueError, match=rf"Got {name}={re.escape(repr(value))}.*, expected {rule}"):
        tiny(**{name: value}).fit(*iris)


def test_every_parameter_is_checked():
    unchecked = set(inspect.signature(GenerativeTransportClassifier).parameters) - set(CHOICES) - set(OUTSIDE)
    assert unchecked == {"random_state"}, "give the new parameter a row above"


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_every_call_that_learns_checks(tiny, iris, method):
    with pytest.raises(ValueError, match="depth=0"):
        getattr(tiny(depth=0), method)(*iris)
    with pytest.raises(ValueError, match="depth=0"):
        getattr(tiny().fit(*iris).set_params(depth=0), method)(*iris)


def test_there_are_at_most_26_parameters():
    assert len(inspect.signature(GenerativeTransportClassifier).parameters) <= 26


def test_documented_options_are_those_there_are():
    section = inspect.getdoc(GenerativeTransportClassifier).split("Attributes\n")[0]
    documented = {
        name: set(re.findall(r'"(\w+)"', options))
        for name, options in re.findall(r"^(\w+) : \{(.*)\}, default", section, re.MULTILINE)
    }
    assert documented == {name: set(options) for name, options in CHOICES.items()}


# ----------------------------------------------------------------------- paths


def test_paths_of_ones_own():
    assert repr(checked_path("exact")) == "ExactPath()"
    for path in (ExactPath(sigma=2), LearnedPath(n_steps=3)):
        copied = checked_path(path)
        assert copied is not path
        assert repr(copied) == repr(path)


def test_parameters_of_a_path_are_the_classifiers(tiny):
    classifier = tiny(path=LearnedPath(n_steps=3))
    assert classifier.get_params()["path__n_steps"] == 3
    assert set(classifier.get_params(deep=False)) == set(inspect.signature(GenerativeTransportClassifier).parameters)
    classifier.set_params(path__n_steps=5, path__solver="midpoint")
    copied = clone(classifier)
    assert copied.path is not classifier.path
    assert copied.path.get_params() == {**LearnedPath().get_params(), "n_steps": 5, "solver": "midpoint"}
    with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
        classifier.set_params(path__colour="red")


def test_grid_search_over_a_path(tiny, iris):
    classifier = tiny(path=LearnedPath(time_width=8), estimator="network", max_steps=60, learning_rate=0.01)
    grid = {"path__n_steps": [1, 3], "path__steepness": [3.0, 10.0]}
    search = GridSearchCV(classifier, grid, cv=2, error_score="raise").fit(*iris)
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert search.best_score_ > 0.85
    assert search.best_estimator_.path_.n_steps == search.best_params_["path__n_steps"]
    assert classifier.path.n_steps == LearnedPath().n_steps


# --------------------------------------------------------------------- presets


@pytest.mark.parametrize("name", presets())
def test_presets_are_valid_and_can_be_changed(name):
    classifier = GenerativeTransportClassifier.from_preset(name, max_steps=7)
    check_parameters(classifier.get_params(deep=False))
    assert classifier.max_steps == 7
    changed = presets()[name]
    for parameter, value in GenerativeTransportClassifier().get_params(deep=False).items():
        expected = {**changed, "max_steps": 7}.get(parameter, value)
        assert repr(getattr(classifier, parameter)) == repr(expected)


def test_presets_share_no_path():
    one, other = (GenerativeTransportClassifier.from_preset("gen-ser") for _ in range(2))
    one.set_params(path__n_steps=3)
    assert other.path.n_steps == 20


def test_unknown_presets_and_changes():
    with pytest.raises(ValueError, match=r"Got name='gen-sir', expected one of 'default', 'gen-ser'\."):
        GenerativeTransportClassifier.from_preset("gen-sir")
    with pytest.raises(ValueError, match="colour"):
        GenerativeTransportClassifier.from_preset("default", colour="red")


def test_parameters_of_a_path_need_one():
    assert GenerativeTransportClassifier.from_preset("gen-ser", path__n_steps=3).path.n_steps == 3
    assert GenerativeTransportClassifier().set_params(path=LearnedPath(), path__n_steps=3).path.n_steps == 3
    with pytest.raises(
        ValueError, match="Got path__n_steps with path='exact', expected an object with parameters; pass"
    ):
        GenerativeTransportClassifier().set_params(path__n_steps=3)


def test_gen_ser_is_the_recipe_of_the_paper():
    classifier = GenerativeTransportClassifier.from_preset("gen-ser")
    recipe = {"estimator": "network", "width": 1024, "depth": 4, "batch_size": 128, "max_steps": 400_000,
              "learning_rate": 5e-4, "codes": "sinusoidal", "path__mean": "logistic", "path__variance": "bridge",
              "path__objective": "target", "path__time_sampling": "uniform", "path__solver": "euler", "n_members": 1,
              "tokenizer": "single", "patience": None}  # fmt: skip
    params = classifier.get_params()
    assert {name: params[name] for name in recipe} == recipe


@pytest.mark.parametrize(("queries_and_keys", "n_parameters"), [(True, 71_359_512), (False, 62_962_712)])
def test_size_of_the_papers_network(monkeypatch, queries_and_keys, n_parameters):
    """24 conditioning layers of width 1024, behind the layer where transport starts."""
    _ = torch.arange(1, device="meta") % 1  # loads code that names the generator
    monkeypatch.setattr(torch, "Generator", lambda: None)  # the meta device, which has no numbers, has no generator
    params = GenerativeTransportClassifier.from_preset("gen-ser").get_params(deep=False)
    shape = replace(network_shape(params, 25, 1024, 1024), queries_and_keys=queries_and_keys)
    assert shape.time_width == 1024
    with torch.device("meta"):
        network = TransportNetwork(shape, lift_matrix(1024, 1024, 0))
    assert sum(x.numel() for x in network.parameters()) == n_parameters


# ------------------------------------------------------------- what follows


def test_which_kernels_are_tried_goes_by_the_number_of_features():
    params = {"kernel": "auto"}
    assert set(kernels(params, AUTO_COSINE_FEATURES - 1)) == {"gaussian", "laplacian"}
    assert set(kernels(params, AUTO_COSINE_FEATURES)) == {"gaussian", "cosine", "laplacian"}
    assert set(kernels(params, AUTO_LAPLACIAN_FEATURES)) == {"gaussian", "cosine", "laplacian"}
    assert set(kernels(params, AUTO_LAPLACIAN_FEATURES + 1)) == {"gaussian", "cosine"}
    assert kernels({"kernel": "laplacian"}, AUTO_LAPLACIAN_FEATURES + 1) == ("laplacian",)


@pytest.mark.parametrize(("width", "n"), [(1024, 16), (64, 4), (384, 16), (48, 3), (100, 5), (8, 1), (34, 2), (37, 1)])
def test_heads_divide_the_width(width, n):
    assert n_heads(width) == n
    assert width % n == 0


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("n_classes", [2, 10, 60, 500])
def test_automatic_width_leaves_room(codes, n_classes):
    params = {"width": "auto", "codes": codes}
    width = code_width(params, n_classes)
    assert width >= AUTO_WIDTH
    assert CODES[codes]().width_for(n_classes + min(n_classes, 16)) <= width
    # Room for a class costs two dimensions at most, and so does not make the network grow faster than the classes.
    assert width <= max(AUTO_WIDTH, 2 * (n_classes + 16) + 1) + 64
    assert code_width({**params, "width": 48}, n_classes) == 48


@pytest.mark.parametrize(
    ("n_features", "number", "scale"),
    [(1, 16, 0.2), (5, 16, 0.2), (10, 8, 0.1 * 2**0.5), (20, 4, 0.1), (40, 4, 0.1), (41, 0, 0.1)],
)
def test_few_features_get_more_and_higher_frequencies(n_features, number, scale):
    params = GenerativeTransportClassifier(n_frequencies="auto").get_params(deep=False)
    shape = network_shape(params, 1, n_features, 64)
    assert (shape.n_frequencies, shape.frequency_scale) == (number, pytest.approx(scale))
    assert network_shape({**params, "n_frequencies": 3}, 1, n_features, 64).n_frequencies == 3


@pytest.mark.parametrize(("n_rows", "size"), [(10, 16), (256, 32), (800, 100), (10_000, 256)])
def test_automatic_batches_grow_with_the_rows(n_rows, size):
    params = GenerativeTransportClassifier(batch_size="auto").get_params(deep=False)
    assert AUTO_BATCH == (16, 256)
    assert training_settings(params, n_rows, 64, torch.device("cpu"), validated=True).batch_size == size
    fixed = training_settings({**params, "batch_size": 7}, n_rows, 64, torch.device("cpu"), validated=True)
    assert fixed.batch_size == 7


@pytest.mark.parametrize(
    ("n_rows", "width", "rate"),
    [(256, 64, 0.01), (257, 64, 0.005), (256, 128, 0.01), (257, 256, 0.005), (100, 640, 0.002), (5000, 640, 0.002)],
)
def test_many_rows_and_wide_networks_get_a_lower_rate(n_rows, width, rate):
    params = GenerativeTransportClassifier().get_params(deep=False)
    settings = training_settings(params, n_rows, width, torch.device("cpu"), validated=True)
    assert settings.learning_rate == pytest.approx(rate)


@pytest.mark.parametrize(
    ("n_rows", "width", "patience"),
    [(10, 64, 10), (80, 64, 10), (300, 64, 37), (640, 64, 80), (1600, 64, 80), (4000, 128, 200), (10**6, 128, 1000),
     (4000, 512, 80), (10**6, 512, 250)],
)  # fmt: skip
def test_patience_grows_with_the_rows_less_so_for_wide_networks(n_rows, width, patience):
    params = GenerativeTransportClassifier().get_params(deep=False)
    assert training_settings(params, n_rows, width, torch.device("cpu"), validated=True).patience == patience


@pytest.mark.parametrize(
    ("precision", "batch_size", "width", "expected"),
    [
        ("auto", 64, 64, torch.float32),
        ("auto", 65, 64, torch.bfloat16),
        ("auto", 64, 128, torch.bfloat16),
        ("bfloat16", 64, 64, torch.bfloat16),
    ],
)
def test_small_batches_are_not_converted_to_bfloat16(monkeypatch, precision, batch_size, width, expected):
    """On processors, even those that have it."""
    monkeypatch.setattr("gendiffclf.device.resolve_precision", lambda *_: torch.bfloat16)
    params = GenerativeTransportClassifier(precision=precision, batch_size=batch_size).get_params(deep=False)
    assert training_settings(params, 1000, width, torch.device("cpu"), validated=True).precision is expected


def test_steps_without_validation_rows():
    """A patience says then how many there are."""
    device = torch.device("cpu")
    params = GenerativeTransportClassifier(max_steps=100, patience=30).get_params(deep=False)
    assert training_settings(params, 10, 64, device, validated=True).max_steps == 100
    assert training_settings(params, 10, 64, device, validated=False).max_steps == 30
    assert training_settings({**params, "patience": None}, 10, 64, device, validated=False).max_steps == 100


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, 512), ({"width": 2048}, 2048), ({"path": LearnedPath()}, 2048)],
    ids=["auto", "given", "learned path"],
)
def test_many_classes_make_no_wider_network_than_this(changes, expected):
    """A learned path has its states in the code space."""
    params = GenerativeTransportClassifier(**changes).get_params(deep=False)
    shape = network_shape(params, 1, 20, 2048)
    assert (shape.width, shape.code_width) == (expected, 2048)
    assert network_shape(params, 1, 20, 64).width == 64


def test_settings_take_every_parameter_over():
    """Each differs from the default, so that none can be forgotten on the way."""
    changes = {"n_members": 5, "depth": 5, "mlp_ratio": 3.0, "n_frequencies": 9, "tokenizer": "chunks",
               "dropout": 0.4, "max_steps": 12, "batch_size": 13, "learning_rate": 0.14,
               "ema_decay": 0.16, "patience": 17, "precision": "float64", "path": LearnedPath(time_width=7),
               "scaling": "standard"}  # fmt: skip
    params = GenerativeTransportClassifier(**changes).get_params(deep=False)
    settings = (
        network_shape(params, n_layers=4, n_features=6, width=8),
        training_settings(params, 100, 8, torch.device("cpu"), validated=True),
    )
    found = {name: value for part in settings for name, value in vars(part).items()}
    for name, value in changes.items():
        if name not in ("mlp_ratio", "precision", "path", "scaling"):
            assert found[name] == value, name
    assert found["hidden_width"] == 24
    assert found["precision"] is torch.float64
    assert found["time_width"] == 7
    assert found["n_views"] == 1
    assert (found["n_layers"], found["n_features"], found["width"]) == (4, 6, 8)
    assert network_shape({**params, "path": "exact"}, 4, 6, 8).time_width == 0
