"""From clips of speech to features: featurisers that stand in a scikit-learn pipeline."""

from ._base import SpeechFeaturizer
from .audio import AudioError
from .cache import FeatureCache
from .checkpoint import release_encoders
from .fbank import FbankFeaturizer
from .hubert import HubertFeaturizer

# Every featuriser by its short name; the contract tests run over these.
FEATURIZERS: dict[str, type[SpeechFeaturizer]] = {
    "fbank": FbankFeaturizer,
    "hubert": HubertFeaturizer,
}

__all__ = [
    "FEATURIZERS",
    "AudioError",
    "FbankFeaturizer",
    "FeatureCache",
    "HubertFeaturizer",
    "SpeechFeaturizer",
    "release_encoders",
]
