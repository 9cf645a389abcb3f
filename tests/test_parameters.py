"""Parameters: ranges, defaults, presets, and what follows from them."""

import inspect
import re

import pytest
import torch

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators.tokenizers import TOKENIZERS
from gendiffclf.parameters import (
    PRESETS,
    check_parameters,
    code_width,
    frequencies,
    network_shape,
    training_settings,
    transport_settings,
)
from gendiffclf.preprocessing import LIFTS, SCALINGS
from gendiffclf.transport.codes import CODES
from gendiffclf.transport.path import OBJECTIVES
from gendiffclf.transport.schedules import MEAN_SCHEDULES, VARIANCE_SCHEDULES
from gendiffclf.transport.solvers import SOLVERS
from gendiffclf.transport.times import TIME_SAMPLERS

CHOICES = {
    "codes": CODES,
    "mean_schedule": MEAN_SCHEDULES,
    "variance_schedule": VARIANCE_SCHEDULES,
    "objective": OBJECTIVES,
    "time_sampling": {"auto": None, **TIME_SAMPLERS},
    "solver": SOLVERS,
    "tokenizer": TOKENIZERS,
    "scaling": SCALINGS,
    "lift": LIFTS,
    "learning_rate_schedule": ("constant", "cosine"),
    "precision": ("auto", "float32", "bfloat16", "float64"),
}
AT_LEAST_1 = ("n_steps", "depth", "n_heads", "time_width", "chunk_size", "n_members", "max_epochs", "batch_size")
OUTSIDE = {
    **{name: [(0, r"an integer >= 1"), (1.5, r"an integer >= 1"), ("2", r"an integer >= 1")] for name in AT_LEAST_1},
    "n_frequencies": [(-1, "an integer >= 0"), ("Auto", "'auto' or an integer >= 0")],
    "verbose": [(-1, "an integer >= 0"), ("yes", "an integer >= 0")],
    "max_steps": [(0, "an integer >= 1")],
    "n_iter_no_change": [(0, "an integer >= 1")],
    "width": [(1, "an integer >= 2"), ("Auto", "'auto' or an integer >= 2"), (130, "a width that the heads divide")],
    "steepness": [
        (-1, r"a number in \[0, 200\]"),
        (201, r"a number in \[0, 200\]"),
        (float("nan"), r"a number in \[0, 200\]"),
    ],
    "sigma": [(0, r"a number in \(0, inf\)"), (float("inf"), r"a number in \(0, inf\)")],
    "t_max": [(0, r"a number in \(0, 1\]"), (1.1, r"a number in \(0, 1\]")],
    "t_min": [(-0.1, r"a number in \[0, 1.0\)"), (1.0, r"a number in \[0, 1.0\)")],
    "feedforward_ratio": [(0, r"a number in \(0, inf\)")],
    "frequency_scale": [(0, r"a number in \(0, inf\)"), ("all", "'auto' or a number > 0")],
    "dropout": [(1, r"a number in \[0, 1\)"), (-0.1, r"a number in \[0, 1\)")],
    "learning_rate": [(0, r"a number in \(0, inf\)"), (float("inf"), r"a number in \(0, inf\)")],
    "weight_decay": [(-1, r"a number in \[0, inf\)")],
    "averaging": [(1, r"a number in \[0, 1\)")],
    "validation_fraction": [(0, r"a number in \(0, 0.5\]"), (0.6, r"a number in \(0, 0.5\]")],
    "cross_fit": [(1, "True or False")],
    "early_stopping": [("no", "True or False")],
    "warm_start": [(None, "True or False")],
    "class_weight": [("even", "one of 'balanced'"), ({0: -1.0}, "non-negative finite weights")],
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


def test_no_noise_to_learn(tiny, iris):
    """The estimate would not depend on the network at all."""
    with pytest.raises(
        ValueError, match=r"Got objective='noise' with variance_schedule='zero', expected a path with noise"
    ):
        tiny(objective="noise", variance_schedule="zero").fit(*iris)


def test_every_parameter_is_checked():
    unchecked = set(inspect.signature(GenerativeTransportClassifier).parameters) - set(CHOICES) - set(OUTSIDE)
    assert unchecked == {"random_state"}, "give the new parameter a row above"


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_nothing_is_checked_before_it_is_used(tiny, iris, method):
    classifier = tiny(depth=0)
    with pytest.raises(ValueError, match="depth=0"):
        getattr(classifier, method)(*iris)


def test_documented_parameters_and_defaults_are_those_of_the_signature():
    documented = {}
    section = inspect.getdoc(GenerativeTransportClassifier).split("Attributes\n")[0]
    for names, defaults in re.findall(r"^([\w, ]+) : .*default=(.*)$", section, re.MULTILINE):
        documented |= dict(zip(names.split(", "), defaults.split(" and "), strict=True))
    signature = inspect.signature(GenerativeTransportClassifier).parameters
    assert list(documented) == list(signature)
    for name, default in documented.items():
        assert eval(default) == signature[name].default, name


def test_documented_options_are_those_there_are():
    section = inspect.getdoc(GenerativeTransportClassifier).split("Attributes\n")[0]
    documented = {
        name: set(re.findall(r'"(\w+)"', options))
        for name, options in re.findall(r"^(\w+) : \{(.*)\}, default", section, re.MULTILINE)
    }
    assert documented == {name: set(options) for name, options in CHOICES.items()}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_can_be_changed(name):
    classifier = GenerativeTransportClassifier.from_preset(name, max_epochs=7)
    check_parameters(classifier.get_params())
    assert classifier.max_epochs == 7
    expected = {**GenerativeTransportClassifier().get_params(), **PRESETS[name], "max_epochs": 7}
    assert classifier.get_params() == expected


def test_unknown_presets_and_changes():
    with pytest.raises(ValueError, match=r"Got name='gen-sir', expected one of 'default', 'gen-ser'\."):
        GenerativeTransportClassifier.from_preset("gen-sir")
    with pytest.raises(TypeError, match="colour"):
        GenerativeTransportClassifier.from_preset("default", colour="red")


def test_gen_ser_is_the_recipe_of_the_paper():
    params = GenerativeTransportClassifier.from_preset("gen-ser").get_params()
    recipe = {"width": 1024, "depth": 4, "n_heads": 16, "batch_size": 128, "max_steps": 400_000, "learning_rate": 5e-4,
              "codes": "sinusoidal", "mean_schedule": "logistic", "variance_schedule": "bridge", "objective": "target",
              "time_sampling": "uniform", "solver": "euler", "n_members": 1, "tokenizer": "single"}  # fmt: skip
    assert {name: params[name] for name in recipe} == recipe


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("n_heads", [1, 3, 4, 16])
@pytest.mark.parametrize("n_classes", [2, 60, 500])
def test_automatic_width_leaves_room_and_suits_the_heads(codes, n_heads, n_classes):
    params = {"width": "auto", "codes": codes, "n_heads": n_heads}
    width = code_width(params, n_classes)
    assert width >= 64
    assert width % n_heads == 0
    assert CODES[codes]().capacity(width) >= 2 * n_classes
    assert code_width({**params, "width": 48}, n_classes) == 48


@pytest.mark.parametrize(
    ("n_features", "number", "scale"), [(1, 16, 0.2), (5, 16, 0.2), (10, 8, 0.1 * 2**0.5), (20, 4, 0.1), (300, 4, 0.1)]
)
def test_few_features_get_more_and_higher_frequencies(n_features, number, scale):
    params = GenerativeTransportClassifier().get_params()
    assert frequencies(params, n_features) == (number, pytest.approx(scale))
    assert frequencies({**params, "n_frequencies": 3, "frequency_scale": 0.7}, n_features) == (3, 0.7)


def test_settings_take_every_parameter_over():
    """Each differs from the default, so that none can be forgotten on the way."""
    changes = {"n_members": 3, "depth": 5, "n_heads": 2, "feedforward_ratio": 3.0, "time_width": 7, "n_frequencies": 9,
               "frequency_scale": 0.7, "tokenizer": "chunks", "chunk_size": 3, "dropout": 0.4, "mean_schedule": "cosine",
               "steepness": 3.0, "variance_schedule": "constant", "sigma": 2.0, "objective": "noise",
               "time_sampling": "mixed", "t_min": 0.1, "t_max": 0.9, "max_epochs": 11, "max_steps": 12, "batch_size": 13,
               "learning_rate": 0.14, "learning_rate_schedule": "cosine", "weight_decay": 0.15, "averaging": 0.16,
               "precision": "float64", "solver": "euler", "n_steps": 17}  # fmt: skip
    params = GenerativeTransportClassifier(**changes).get_params()
    settings = (
        network_shape(params, n_layers=4, n_features=6, width=8),
        transport_settings(params),
        training_settings(params, torch.device("cpu")),
    )
    found = {name: value for part in settings for name, value in vars(part).items()}
    for name, value in changes.items():
        if name not in ("feedforward_ratio", "precision"):
            assert found[name] == value, name
    assert found["hidden_width"] == 24
    assert found["precision"] is torch.float64
    assert (found["n_condition_layers"], found["n_features"], found["width"]) == (3, 6, 8)
