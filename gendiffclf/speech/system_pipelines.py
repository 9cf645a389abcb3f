"""Pipelines of featuriser and estimator for EmoSphere-SER and SELM, with settings for encoders and log-mel energies."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline

from ..featurizers import FbankFeaturizer, HubertFeaturizer, SpeechFeaturizer
from ..systems.emosphere import EmoSphereRegressor
from ..systems.emosphere_targets import DIMENSIONS
from ..systems.selm import SelmClassifier
from ..validation import check_choice, shown
from .provenance import steps_of

LAYERS = {"emosphere": -1, "selm": 4}
"""Hidden state of the speech encoder used in each paper."""
FRAMES = {"hop_seconds": 0.04, "window_seconds": 0.05}
"""Log-mel frames every 40 ms suffice for small networks, and are four times as fast as the featuriser's default."""
SMALL: dict[str, dict[str, Any]] = {
    "emosphere": {"width": 64, "dropout": 0.3, "batch_size": 32},
    "selm": {
        "language_model": "bytes",
        "n_prefix": 8,
        "n_mapper_layers": 1,
        "n_heads": 4,
        "dropout": 0.3,
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
    },
}
"""Hyperparameters for log-mel frames, for which the sizes of the papers' networks would be too large."""


def system_pipeline(
    system: str, featurizer: SpeechFeaturizer, *, value_range: Any = None, tuned_encoder: Any = None, **run: Any
) -> Pipeline:
    """
    Build a pipeline of a featuriser and EmoSphere-SER or SELM, with steps "featurizer" and "regressor" or "classifier".

    The featuriser, of log-mel energies or a speech encoder, is set to return frames. `value_range` are the ends of the rating
    scale, for EmoSphere-SER, which may fine-tune `tuned_encoder` (str or Path) instead of using the featuriser. `run` are
    parameters of the estimator, such as `random_state`, `device`, `verbose`.
    """
    check_choice("system", system, tuple(LAYERS))
    if system == "selm" and tuned_encoder is not None:
        raise ValueError(f"Got tuned_encoder={shown(tuned_encoder)} with SELM, expected None: its encoder is frozen.")
    if system == "selm":
        name, estimator = "classifier", SelmClassifier(None, **run)
    else:
        name = "regressor"
        estimator = EmoSphereRegressor(None, dimensions=list(DIMENSIONS), value_range=value_range, **run)
    if tuned_encoder is not None:
        return Pipeline([(name, estimator.set_params(encoder=tuned_encoder, tune_encoder=True))])
    if isinstance(featurizer, FbankFeaturizer):
        featurizer.set_params(pooling="none", **FRAMES)
        estimator.set_params(**{**SMALL[system], **run})
    elif isinstance(featurizer, HubertFeaturizer):
        featurizer.set_params(pooling="none", layers=LAYERS[system])
    else:
        raise ValueError(
            f"Got a featuriser of type {type(featurizer).__name__} for {system}, expected one with frames; use fbank or hubert."
        )
    return Pipeline([("featurizer", featurizer), (name, estimator)])


def rates(pipeline: Any) -> bool:
    """Whether the last step of a pipeline predicts ratings instead of labels."""
    return isinstance(steps_of(pipeline)[-1][1], EmoSphereRegressor)
