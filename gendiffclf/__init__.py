"""Classification as generative transport: a scikit-learn classifier for embeddings, speech first."""

from typing import TYPE_CHECKING, Any

from ._version import VERSION

if TYPE_CHECKING:
    from .classifier import GenerativeTransportClassifier
    from .export.predictor import OnnxPredictor, load_predictor
    from .featurizers import AudioError, FbankFeaturizer, FeatureCache, HubertFeaturizer
    from .labels import label_quality
    from .metrics import concordance_correlation, expected_calibration_error
    from .onnx_converter import register_onnx_converter
    from .plots import ReliabilityDisplay, TransportDisplay
    from .sphere_plot import SphereDisplay
    from .systems.emosphere import EmoSphereRegressor
    from .systems.selm import SelmClassifier
    from .transport.exact import ExactPath
    from .transport.learned import LearnedPath
    from .votes import jensen_shannon_divergence, vote_cross_entropy

__version__ = VERSION
__all__ = [
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
]

_HOMES = {
    "AudioError": "featurizers",
    "EmoSphereRegressor": "systems.emosphere",
    "ExactPath": "transport.exact",
    "FbankFeaturizer": "featurizers",
    "FeatureCache": "featurizers",
    "GenerativeTransportClassifier": "classifier",
    "HubertFeaturizer": "featurizers",
    "LearnedPath": "transport.learned",
    "OnnxPredictor": "export.predictor",
    "ReliabilityDisplay": "plots",
    "SelmClassifier": "systems.selm",
    "SphereDisplay": "sphere_plot",
    "TransportDisplay": "plots",
    "concordance_correlation": "metrics",
    "expected_calibration_error": "metrics",
    "jensen_shannon_divergence": "votes",
    "label_quality": "labels",
    "load_predictor": "export.predictor",
    "register_onnx_converter": "onnx_converter",
    "vote_cross_entropy": "votes",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
