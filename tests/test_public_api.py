"""Everything public, in one place: a name that goes from here, or comes, is a change that users see."""

import importlib
import pkgutil

import pytest

import gendiffclf

API = {
    "gendiffclf": [
        "AcousticFeaturizer",
        "AudioError",
        "EmoSphereRegressor",
        "ExactPath",
        "FbankFeaturizer",
        "FeatureCache",
        "GenerativeTransportClassifier",
        "HubertFeaturizer",
        "LearnedPath",
        "OnnxPredictor",
        "ReliabilityDisplay",
        "SelmClassifier",
        "SphereDisplay",
        "TransportDisplay",
        "concordance_correlation",
        "expected_calibration_error",
        "jensen_shannon_divergence",
        "label_quality",
        "load_predictor",
        "register_onnx_converter",
        "vote_cross_entropy",
    ],
    "gendiffclf.cli": [
        "COMMANDS",
        "Command",
        "main",
    ],
    "gendiffclf.demo": [
        "run_demo",
    ],
    "gendiffclf.featurizers": [
        "AcousticFeaturizer",
        "AudioError",
        "EgemapsFeaturizer",
        "FEATURIZERS",
        "FbankFeaturizer",
        "FeatureCache",
        "FunctionFeaturizer",
        "HubertFeaturizer",
        "SpeakerNormalizer",
        "SpeechFeaturizer",
        "release_encoders",
    ],
    "gendiffclf.labels": [
        "label_quality",
    ],
    "gendiffclf.metrics": [
        "concordance_correlation",
        "concordance_scorer",
        "expected_calibration_error",
    ],
    "gendiffclf.plots": [
        "ReliabilityDisplay",
        "TransportDisplay",
    ],
    "gendiffclf.speech": [
        "Audit",
        "Comparison",
        "Evaluation",
        "FewShot",
        "Finding",
        "LAYOUTS",
        "RatingEvaluation",
        "Timeline",
        "audit",
        "compare",
        "evaluate",
        "evaluate_fitted",
        "evaluate_ratings",
        "few_shot",
        "load_model",
        "predict_clips",
        "predict_ratings",
        "read_corpus",
        "save_model",
        "synthesize_corpus",
        "synthesize_vowel",
        "timeline",
        "train",
        "train_ratings",
    ],
    "gendiffclf.sphere_plot": ["SphereDisplay"],
    "gendiffclf.votes": [
        "jensen_shannon_divergence",
        "vote_cross_entropy",
    ],
}
"""From a module to its `__all__`, sorted. Whoever changes it says so in CHANGELOG.md."""


@pytest.mark.parametrize("module", API)
def test_exports_are_as_listed(module):
    assert sorted(importlib.import_module(module).__all__) == API[module]
    for name in API[module]:
        assert hasattr(importlib.import_module(module), name)


def test_every_module_with_exports_is_listed():
    modules = [info.name for info in pkgutil.walk_packages(gendiffclf.__path__, "gendiffclf.")]
    modules.remove("gendiffclf.__main__")
    found = [name for name in modules if hasattr(importlib.import_module(name), "__all__")]
    assert sorted(["gendiffclf", *found]) == sorted(API)
