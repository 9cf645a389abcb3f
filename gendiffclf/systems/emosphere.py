"""EmoSphere-SER (arXiv 2505.19693) as a scikit-learn regressor of arousal, valence and dominance."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassNamePrefixFeaturesOutMixin, RegressorMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ..device import resolve_device
from ..featurizers import FeatureCache
from ..featurizers.inputs import as_items
from ..metrics import concordance_correlation
from ..validation import all_or_nothing
from .emosphere_fitting import check_parameters, new_arguments, new_network, open_tuned, training_examples
from .emosphere_network import EmoSphereNetwork
from .emosphere_targets import check_range, check_ratings, check_varied, dimension_names, in_order
from .estimator import ClipEstimator
from .frames import clip_waves
from .steps import checkpoint_folder, encode, map_padded, training_seed
from .training import train_module
from .tuned_encoder import TunedEncoder

MAX_FRAMES = 16_000
MAX_SAMPLES = 1_600_000
"""Padded frames, or samples of waveforms, per batch of prediction."""


def _has_regions(estimator: EmoSphereRegressor) -> bool:
    network = getattr(estimator, "network_", None)
    if (estimator.n_regions if network is None else network.regions) is None:
        raise AttributeError("Got n_regions=None, expected a number of regions to predict; fit with n_regions=8.")
    return True


@dataclass(eq=False, repr=False)
class EmoSphereRegressor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RegressorMixin, ClipEstimator):
    """
    Regression of arousal, valence and dominance on clips of speech, with the sphere's region as an auxiliary task.

    Parameters
    ----------
    encoder : "fbank", str, Path, Module, SpeechFeaturizer or None, default="microsoft/wavlm-large"
        Source of the frames: log-mel energies, which need no weights; a hub name, folder or loaded model of transformers; or
        a featuriser such as `FbankFeaturizer(n_mels=40, deltas=1)`. With None, `X` holds frames instead of clips, arrays of
        shape (n_frames, d), as in a pipeline after a featuriser with `pooling="none"`.
    tune_encoder : bool, default=False
        Whether to fine-tune the encoder's transformer, as in the paper. With a frozen encoder each clip is encoded once.
    layer : int, default=-1
        Hidden state used as frames; a tuned encoder uses the last.
    max_seconds : float > 0 or None, default=12.0
        Longer clips are truncated to this length, in seconds; frames, with `encoder=None`, are not. None uses whole clips.
    dimensions : sequence of str, optional
        "arousal", "valence" and "dominance" in the order of the columns of `Y`. Not needed for a DataFrame.
    value_range : (float, float)
        Ends of the rating scale, such as (1, 7). Required, since they define the centre of the sphere.
    pooling : {"style", "mean", "attentive"}, default="style"
        Pooling of frames into a vector: the paper's style pooling, the mean, or attentive statistics.
    n_regions : {8, 19, 33, 73} or None, default=8
        Regions of the sphere in the auxiliary task, see `gendiffclf.systems.spherical`; None trains without it.
    dynamic_weight : bool, default=True
        Whether the weight of the auxiliary task falls to 0 over the first five epochs, or stays 1.
    width : int, default=1024
        Width of the pooling and the heads; even.
    dropout : float in [0, 1), default=0.1
        Dropout in the pooling.
    head_dropout : float in [0, 1), default=0.5
        Dropout in the heads.
    n_epochs : int >= 1 or "auto", default="auto"
        Passes over the clips: "auto" is 20, or as many as make 1000 updates if these are more.
    batch_size : int >= 2, default=64
        Clips per step. The loss is a correlation over them, so batches should be large; the incomplete last batch of an epoch
        is skipped.
    accumulation_steps : int >= 1, default=1
        Steps per update.
    learning_rate : float > 0 or "auto", default="auto"
        Learning rate of AdamW: "auto" is 1e-5 with a tuned encoder, otherwise 1e-3.
    weight_decay : float >= 0, default=0.01
        Weight decay of AdamW.
    sampling_rate : float or None, default=None
        Sampling rate of bare arrays, in Hz.
    cache : bool, str, Path, FeatureCache or None, default=True
        Where frames of a frozen encoder are cached, as in `HubertFeaturizer`.
    checkpoints : str, Path or None, default=None
        Folder for a checkpoint after each epoch. An interrupted `fit` called again with the same clips, ratings,
        parameters and number of processes resumes from the last one and ends with the same weights.
    distributed : bool, default=False
        Whether the processes of a launched group (`torchrun`) train one model, with `batch_size` clips per step each.
    device : str, default="auto"
        Device to compute on: "auto" takes the first available of cuda, mps and cpu.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of matrix products in training; "auto" is bfloat16 on devices with hardware support. Prediction uses
        float32.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, order and dropout. With `checkpoints` or `distributed`, None means 0, since later calls
        and other processes must use the same seed.
    verbose : int, default=0
        If nonzero, show a progress bar with the time left.

    Attributes
    ----------
    dimensions_ : list of str
        Names of the columns of `Y` and of predictions.
    value_range_ : tuple of float
        Ends of the rating scale.
    network_ : EmoSphereNetwork
        The trained network.
    encoder_identity_ : dict
        Identifies the weights and settings of the encoder.
    loss_curve_ : list of float
        Training loss of each epoch.

    See Also
    --------
    GenerativeTransportClassifier : Predicts classes instead of ratings.

    Notes
    -----
    The loss is Σ over dimensions of (1 - CCC), plus w(e) times the cross-entropy of regions with class weights N / (K · n_k).
    The layers follow the authors' released code; the page "EmoSphere-SER" lists the deviations from it. Frames of a frozen
    encoder are standardised by their mean and standard deviation over training. All frames are held in memory.

    References
    ----------
    "EmoSphere-SER: Enhancing Speech Emotion Recognition Through Spherical Representation with Auxiliary Classification",
    Interspeech 2025, arXiv 2505.19693.

    Examples
    --------
    >>> import numpy as np
    >>> from gendiffclf import EmoSphereRegressor
    >>> clips = [(np.sin(np.arange(4000) * (0.05 + 0.02 * i)), 16000) for i in range(6)]
    >>> Y = np.linspace(1, 7, 6)[:, None] * [1, 1, 1]
    >>> regressor = EmoSphereRegressor(
    ...     "fbank", dimensions=["arousal", "valence", "dominance"], value_range=(1, 7), width=16, n_epochs=1, random_state=0
    ... )
    >>> regressor.fit(clips, Y).predict(clips).shape
    (6, 3)
    """

    encoder: Any = "microsoft/wavlm-large"
    _: KW_ONLY
    tune_encoder: bool = False
    layer: int = -1
    max_seconds: float | None = 12.0
    dimensions: Any = None
    value_range: Any = None
    pooling: str = "style"
    n_regions: int | None = 8
    dynamic_weight: bool = True
    width: int = 1024
    dropout: float = 0.1
    head_dropout: float = 0.5
    n_epochs: int | str = "auto"
    batch_size: int = 64
    accumulation_steps: int = 1
    learning_rate: float | str = "auto"
    weight_decay: float = 0.01
    sampling_rate: float | None = None
    cache: bool | str | os.PathLike[str] | FeatureCache | None = True
    checkpoints: str | os.PathLike[str] | None = None
    distributed: bool = False
    device: str = "auto"
    precision: str = "auto"
    random_state: Any = None
    verbose: int = 0

    _check_parameters = staticmethod(check_parameters)

    @all_or_nothing
    def fit(self, X: Any, Y: Any) -> EmoSphereRegressor:
        """
        Train on rated clips.

        Parameters
        ----------
        X : list of n clips
            In the forms listed at `HubertFeaturizer`.
        Y : array-like of shape (n, 3)
            Ratings on the scale `value_range`, with columns as in `dimensions`, or a DataFrame.

        Returns
        -------
        self : object
            The regressor.

        Raises
        ------
        AudioError
            If a clip cannot be read.
        ValueError
            If a parameter is out of range, a rating is missing or outside `value_range`, or all clips have the same ratings.
        ImportError
            If the extra `finetune` is not installed.

        Warns
        -----
        UserWarning
            If all clips have the same rating in a dimension, which is then not trained.
        """
        params = self._checked_parameters()
        names = dimension_names(Y, self.dimensions)
        low, high = check_range(self.value_range)
        clips = as_items(X)
        ratings = check_ratings(Y, low, high, len(clips))
        check_varied(ratings, names)
        seed = training_seed(params)
        encoder: TunedEncoder | None = None
        if self.tune_encoder:
            encoder, identity = open_tuned(params)
            inputs = clip_waves(clips, params, encoder.rate, encoder.min_samples)
        else:
            inputs, identity = encode(params, clips)
        network = new_network(params, encoder, inputs, seed)
        examples = training_examples(params, network, inputs, ratings, names, (low, high))
        self.loss_curve_ = train_module(
            network,
            examples,
            seed=seed,
            folder=checkpoint_folder(params, identity, examples, seed),
            **new_arguments(params, len(examples)),
        )
        self.network_ = network.eval()
        self.dimensions_, self.value_range_ = names, (low, high)
        self.encoder_identity_ = identity
        return self

    @property
    def _n_features_out(self) -> int:
        """Size of a pooled vector, for `get_feature_names_out`."""
        return self.network_.pooling.width

    def predict(self, X: Any) -> NDArray[np.float64]:
        """
        Predict ratings, on the scale and in the order of the training ratings.

        Parameters
        ----------
        X : list of n clips

        Returns
        -------
        ratings : ndarray of shape (n, 3), float64
            Within `value_range`; columns as in `dimensions_`. The ratings of a clip do not depend on the other clips.
        """
        ratings = np.clip(self._outputs(X, "ratings"), 0, 1)
        low, high = self.value_range_
        return low + (high - low) * ratings

    @available_if(_has_regions)
    def predict_region(self, X: Any) -> NDArray[np.int64]:
        """
        Predict the most probable region of the sphere for each clip.

        Parameters
        ----------
        X : list of n clips

        Returns
        -------
        number : ndarray of shape (n,), int
            Numbered as in `gendiffclf.systems.spherical.regions`.
        """
        return self._outputs(X, "regions").argmax(axis=1)

    @available_if(_has_regions)
    def predict_region_proba(self, X: Any) -> NDArray[np.float64]:
        """
        Predict the probability of each region of the sphere.

        Parameters
        ----------
        X : list of n clips

        Returns
        -------
        probabilities : ndarray of shape (n, n_regions), float64
            From the head of the auxiliary task, which with `dynamic_weight` is trained in the first five epochs only.
        """
        return softmax(self._outputs(X, "regions"), axis=1)

    def transform(self, X: Any) -> NDArray[np.float64]:
        """
        Return the pooled vector of each clip, the input of both heads.

        Parameters
        ----------
        X : list of n clips

        Returns
        -------
        style : ndarray of shape (n, d), float64
            d is `width` for style pooling, the size of a frame for the mean, and twice that for attentive statistics.
        """
        return self._outputs(X, "style")

    def score(self, X: Any, Y: Any, sample_weight: ArrayLike | None = None) -> float:
        """
        Mean concordance correlation coefficient over the three dimensions.

        Parameters
        ----------
        X : list of n clips
        Y : array-like of shape (n, 3)
            True ratings with columns as in `dimensions_`, or a DataFrame with these columns in any order.
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        ccc : float
            In [-1, 1].

        Raises
        ------
        ValueError
            If `Y` has another shape or lacks a column.
        """
        check_is_fitted(self)
        truth = in_order(Y, self.dimensions_)
        return float(concordance_correlation(truth, self.predict(X), sample_weight=sample_weight))

    def _outputs(self, X: Any, name: str) -> NDArray[np.float64]:
        """Outputs of one head, or the pooled vectors for "style", of shape (n, k)."""
        check_is_fitted(self)
        params = self.get_params(deep=False)
        device = resolve_device(self.device)
        network = self.network_.to(device).eval()
        clips = as_items(X)
        if network.encoder is None:
            limit = MAX_FRAMES
            inputs, _ = encode(params, clips, self.encoder_identity_)
        else:
            limit = MAX_SAMPLES
            inputs = clip_waves(clips, params, network.encoder.rate, network.encoder.min_samples)
        head = None if name == "style" else getattr(network, name)

        def outputs(padded: Tensor, mask: Tensor) -> NDArray[np.float64]:
            style = network.style(padded, mask)
            return (style if head is None else head(style)).double().cpu().numpy()

        return np.stack(map_padded(outputs, inputs, limit, device))

    def _description(self) -> tuple[dict[str, Any], dict[str, Any]]:
        parameters, fitted = super()._description()
        encoder = self.network_.encoder
        return parameters, {**fitted, "tuned": None if encoder is None else encoder.description()}

    def _restore(self, fitted: dict[str, Any]) -> None:
        tuned = fitted.pop("tuned")
        encoder = None if tuned is None else TunedEncoder.from_description(tuned)
        self.network_ = EmoSphereNetwork(**fitted.pop("network"), encoder=encoder)
        self.value_range_ = tuple(fitted.pop("value_range_"))

    def __sklearn_tags__(self) -> Tags:
        """Declare a multi-output regressor."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        return tags
