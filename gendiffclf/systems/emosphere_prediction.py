"""Prediction methods of `EmoSphereRegressor`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ..device import resolve_device
from ..featurizers.inputs import as_items
from ..metrics import concordance_correlation
from .emosphere_fitting import load_waves
from .emosphere_network import EmoSphereNetwork
from .emosphere_targets import in_order
from .steps import encode, map_padded

MAX_FRAMES = 16_000
MAX_SAMPLES = 1_600_000
"""Padded frames, or samples of waveforms, per batch of prediction."""


def _has_regions(estimator: EmoSpherePrediction) -> bool:
    network = getattr(estimator, "network_", None)
    if (estimator.n_regions if network is None else network.regions) is None:
        raise AttributeError("Got n_regions=None, expected a number of regions to predict; fit with n_regions=8.")
    return True


class EmoSpherePrediction(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods of a fitted `EmoSphereRegressor`."""

    n_regions: int | None
    device: str
    network_: EmoSphereNetwork
    value_range_: tuple[float, float]
    dimensions_: list[str]
    encoder_identity_: dict[str, Any]

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
            inputs = load_waves(params, network.encoder, clips)
        head = None if name == "style" else getattr(network, name)

        def outputs(padded: Tensor, mask: Tensor) -> NDArray[np.float64]:
            style = network.style(padded, mask)
            return (style if head is None else head(style)).double().cpu().numpy()

        return np.stack(map_padded(outputs, inputs, limit, device))
