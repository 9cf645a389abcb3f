"""Classification as generative transport: a scikit-learn classifier for embeddings, speech first."""

from typing import TYPE_CHECKING, Any

from ._version import VERSION

if TYPE_CHECKING:
    from .classifier import GenerativeTransportClassifier
    from .featurizers import AudioError, FbankFeaturizer, FeatureCache, HubertFeaturizer
    from .metrics import expected_calibration_error
    from .plots import ReliabilityDisplay, TransportDisplay
    from .transport.exact import ExactPath
    from .transport.learned import LearnedPath

__version__ = VERSION
__all__ = [
    "AudioError",
    "ExactPath",
    "FbankFeaturizer",
    "FeatureCache",
    "GenerativeTransportClassifier",
    "HubertFeaturizer",
    "LearnedPath",
    "ReliabilityDisplay",
    "TransportDisplay",
    "expected_calibration_error",
]

_HOMES = {
    "AudioError": "featurizers",
    "ExactPath": "transport.exact",
    "FbankFeaturizer": "featurizers",
    "FeatureCache": "featurizers",
    "GenerativeTransportClassifier": "classifier",
    "HubertFeaturizer": "featurizers",
    "LearnedPath": "transport.learned",
    "ReliabilityDisplay": "plots",
    "TransportDisplay": "plots",
    "expected_calibration_error": "metrics",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
