"""What a fitted EmoSphereRegressor answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..device import resolve_device
from ..featurizers.inputs import as_items
from ..metrics import concordance_correlation
from .emosphere_fitting import check_identity, encoder_inputs, open_encoder, predict_in_batches
from .emosphere_network import EmoSphereNetwork


def _has_regions(estimator: EmoSpherePrediction) -> bool:
    if estimator.n_regions is None:
        raise AttributeError("Got n_regions=None, expected a partition to predict regions of; fit with n_regions=8.")
    return True


class EmoSpherePrediction:
    """Methods of `EmoSphereRegressor` that need a fit."""

    encoder: Any
    n_regions: int | None
    device: str
    network_: EmoSphereNetwork
    value_range_: tuple[float, float]
    dimensions_: list[str]
    encoder_identity_: dict[str, Any]

    def predict(self, X: Any) -> NDArray[np.float64]:
        """
        Ratings of clips, in the units and the order of the ratings learnt from.

        Parameters
        ----------
        X : list of n clips

        Returns
        -------
        ratings : ndarray of shape (n, 3), float64
            Within `value_range`; columns as `dimensions_`. A clip's ratings do not depend on the clips beside it.
        """
        shares = np.clip(self._outputs(X, "ratings"), 0, 1)
        low, high = self.value_range_
        return low + (high - low) * shares

    @available_if(_has_regions)
    def predict_region(self, X: Any) -> NDArray[np.int64]:
        """
        Most probable region of the sphere for each clip.

        Parameters
        ----------
        X : list of n clips

        Returns
        -------
        number : ndarray of shape (n,), int
            As `gendiffclf.systems.spherical.regions` counts them.
        """
        return self._outputs(X, "regions").argmax(axis=1)

    @available_if(_has_regions)
    def predict_region_proba(self, X: Any) -> NDArray[np.float64]:
        """
        Probability of each region of the sphere.

        Parameters
        ----------
        X : list of n clips

        Returns
        -------
        probabilities : ndarray of shape (n, n_regions), float64
            Of the auxiliary task's head, which learns in the first epochs only if `dynamic_weight`.
        """
        return softmax(self._outputs(X, "regions"), axis=1)

    def transform(self, X: Any) -> NDArray[np.float64]:
        """
        Pooled vector of each clip, which both heads start from.

        Parameters
        ----------
        X : list of n clips

        Returns
        -------
        style : ndarray of shape (n, d), float64
            d is `width` for style pooling, and one or two times the size of a frame for the mean and attentive statistics.
        """
        return self._outputs(X, "style")

    def score(self, X: Any, Y: Any, sample_weight: ArrayLike | None = None) -> float:
        """
        Mean concordance correlation coefficient over the three dimensions.

        Parameters
        ----------
        X : list of n clips
        Y : array-like of shape (n, 3)
            True ratings; columns as `dimensions_`, or a DataFrame with these names in any order.
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        ccc : float
            In [-1, 1].
        """
        check_is_fitted(self)
        truth = Y[self.dimensions_] if hasattr(Y, "columns") else Y
        return float(concordance_correlation(truth, self.predict(X), sample_weight=sample_weight))

    def _outputs(self, X: Any, name: str) -> NDArray[np.float64]:
        """What one head says of each clip, or the pooled vectors: (n, k)."""
        check_is_fitted(self)
        params = self.get_params(deep=False)  # type: ignore[attr-defined]
        encoder = self.network_.encoder
        if encoder is None:
            encoder, identity = open_encoder(params)
            check_identity(self.encoder, identity, self.encoder_identity_)
        inputs = encoder_inputs(params, encoder, as_items(X))
        return predict_in_batches(self.network_, inputs, name, resolve_device(self.device))
