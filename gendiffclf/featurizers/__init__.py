"""From clips of speech to features: featurisers that stand in a scikit-learn pipeline."""

from ._base import SpeechFeaturizer
from .audio import AudioError
from .cache import FeatureCache
from .checkpoint import release_encoders
from .egemaps import EgemapsFeaturizer
from .fbank import FbankFeaturizer
from .function import FunctionFeaturizer
from .hubert import HubertFeaturizer
from .speakers import SpeakerNormalizer

# Every featuriser by its short name; the contract tests run over these.
FEATURIZERS: dict[str, type[SpeechFeaturizer]] = {
    "egemaps": EgemapsFeaturizer,
    "fbank": FbankFeaturizer,
    "function": FunctionFeaturizer,
    "hubert": HubertFeaturizer,
}

__all__ = [
    "FEATURIZERS",
    "AudioError",
    "EgemapsFeaturizer",
    "FbankFeaturizer",
    "FeatureCache",
    "FunctionFeaturizer",
    "HubertFeaturizer",
    "SpeakerNormalizer",
    "SpeechFeaturizer",
    "release_encoders",
]
