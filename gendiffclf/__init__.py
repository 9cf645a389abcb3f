"""Classification as generative transport: a scikit-learn classifier for tables, embeddings and speech."""

from typing import TYPE_CHECKING

from ._version import VERSION
from .optional import lazy_exports

if TYPE_CHECKING:
    from .classifier import GenerativeTransportClassifier
    from .export.predictor import OnnxPredictor, load_predictor
    from .featurizers import AcousticFeaturizer, AudioError, FbankFeaturizer, FeatureCache, HubertFeaturizer
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
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "classifier": ("GenerativeTransportClassifier",),
        "export.predictor": ("OnnxPredictor", "load_predictor"),
        "featurizers": ("AcousticFeaturizer", "AudioError", "FbankFeaturizer", "FeatureCache", "HubertFeaturizer"),
        "labels": ("label_quality",),
        "metrics": ("concordance_correlation", "expected_calibration_error"),
        "onnx_converter": ("register_onnx_converter",),
        "plots": ("ReliabilityDisplay", "TransportDisplay"),
        "sphere_plot": ("SphereDisplay",),
        "systems.emosphere": ("EmoSphereRegressor",),
        "systems.selm": ("SelmClassifier",),
        "transport.exact": ("ExactPath",),
        "transport.learned": ("LearnedPath",),
        "votes": ("jensen_shannon_divergence", "vote_cross_entropy"),
    },
)
