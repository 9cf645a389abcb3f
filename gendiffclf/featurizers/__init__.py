"""Speech featurisers: scikit-learn transformers from audio clips to features."""

from ._base import SpeechFeaturizer
from .audio import AudioError
from .cache import FeatureCache
from .checkpoint import release_encoders
from .egemaps import EgemapsFeaturizer
from .fbank import FbankFeaturizer
from .function import FunctionFeaturizer
from .hubert import HubertFeaturizer
from .speakers import SpeakerNormalizer

# Featurisers by short name; the contract tests run on each of them.
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
