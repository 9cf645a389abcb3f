"""Speech featurisers: scikit-learn transformers from audio clips to features."""

from ._base import SpeechFeaturizer
from .acoustic import AcousticFeaturizer
from .audio import AudioError
from .cache import FeatureCache
from .checkpoint import release_encoders
from .egemaps import EgemapsFeaturizer
from .fbank import FbankFeaturizer
from .function import FunctionFeaturizer
from .hubert import HubertFeaturizer
from .speakers import SpeakerNormalizer

FEATURIZERS: dict[str, type[SpeechFeaturizer]] = {
    "acoustic": AcousticFeaturizer,
    "egemaps": EgemapsFeaturizer,
    "fbank": FbankFeaturizer,
    "function": FunctionFeaturizer,
    "hubert": HubertFeaturizer,
}
"""Featurisers by short name; the contract tests run on each of them."""

__all__ = [
    "FEATURIZERS",
    "AcousticFeaturizer",
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
