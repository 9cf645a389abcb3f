"""Prediction, transport and sampling of the classifier, on the attributes that `fit` sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .device import resolve_device
from .validation import check_choice, check_integer, check_real, checked_features

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import ArrayLike

    from .predictor import Predictor


class PredictionMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods of a fitted classifier that predict, transport and sample."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def predict(self, X: ArrayLike, *, novelty_quantile: float | None = None, novelty_label: Any = None) -> np.ndarray:
        """
        Predict the most probable class of each row, or on request "none of these".

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
        novelty_quantile : float in (0, 1), optional
            Rows that `is_novel` finds novel at this quantile get `novelty_label`, and so does this share of ordinary rows.
        novelty_label : object, optional
            By default None, in an array of objects.

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        ValueError
            As `is_novel`.
        """
        check_is_fitted(self, "classes_")
        labels = self.classes_[self.predict_proba(X).argmax(axis=1)]
        if novelty_quantile is None:
            return labels
        novel = self.is_novel(X, novelty_quantile)
        other = np.asarray(novelty_label)
        labels = labels.astype(np.result_type(labels, other) if other.dtype.kind == labels.dtype.kind else object)
        labels[novel] = novelty_label
        return labels

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """
        Predict class probabilities: estimates of the code at t = T, projected onto the codes, read as probabilities and mixed.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Columns in the order of `classes_`. Rows with only NaN get the class frequencies in training, with a warning. More
            than 32 rows are computed in float32 unless `precision="float64"`: rounding changes probabilities by about 1e-5, by
            1e-4 on some data, and by 1e-2 where hundreds of features are copies of one. Otherwise the probabilities of a row do
            not depend on the other rows.
        """
        return self._compute(X, lambda predictor, rows: predictor.probabilities(rows), self.class_prior_)

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """
        The logarithm of `predict_proba`.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Natural logarithms.
        """
        return np.log(self.predict_proba(X))

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """
        Cosines between the codes and the mean code by the probabilities, `Σ_c p_c x0(c)` (Eq. 12).

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)

        Returns
        -------
        ndarray of shape (n, n_classes), or (n,) for two classes
            In [0, 1], largest for the predicted class. For two classes, the second minus the first, in [-1, 1].
        """
        probabilities = self.predict_proba(X)
        cosines = probabilities / np.linalg.norm(probabilities, axis=1, keepdims=True)
        return cosines[:, 1] - cosines[:, 0] if cosines.shape[1] == 2 else cosines

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """
        Similarity of rows to the training rows; low for rows of a class that was not among them.

        Three measures are compared with those of held-out training rows: the distance to the five nearest rows of the kernel,
        the length of the network's estimate outside the span of the codes, and the entropy of the probabilities. The score is
        the sum of the logarithms of the shares of held-out rows that are at least as unusual.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)

        Returns
        -------
        ndarray of shape (n,)
            At most 0; NaN for rows with only NaN. Without held-out rows (a single network, `patience=None`), minus the length.
        """
        measures = self._compute(X, lambda predictor, rows: predictor.measures(rows), np.nan).astype(np.float64)
        scores = self._novelty.score(measures)
        scores[np.isnan(measures).all(axis=1)] = np.nan
        return scores

    def is_novel(self, X: ArrayLike, quantile: float = 0.05) -> np.ndarray:
        """
        Whether rows belong to none of the classes: `score_samples` is among the lowest of held-out training rows.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
        quantile : float in (0, 1), default=0.05
            Largest share of ordinary rows that are called novel, on average over training sets, if new rows come from the
            distribution of the training rows.

        Returns
        -------
        ndarray of shape (n,), bool
            True for rows with only NaN.

        Raises
        ------
        ValueError
            If the quantile is not in (0, 1), or too small for the number of held-out rows.
        """
        check_real("quantile", quantile, 0, 1, low_open=True, high_open=True)
        scores = self.score_samples(X)
        n = len(self._novelty.scores)
        if not n:
            raise ValueError(
                "Got a classifier without held-out rows, expected some to compare with; fit with a kernel, or with n_members > 1 "
                "and patience."
            )
        if quantile < 1 / (n + 1):
            raise ValueError(
                f"Got quantile={quantile:g} with {n} held-out rows, expected at least 1/{n + 1}; take a larger quantile, "
                "or fit on more rows."
            )
        return (self._novelty.p_value(scores) <= quantile) | np.isnan(scores)

    def transform(self, X: ArrayLike) -> np.ndarray:
        """
        Learnt representation of rows: the estimate of the code before it is read as probabilities.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)

        Returns
        -------
        ndarray of shape (n, width), float64
            Weighted mean of the estimates of kernel and network, near the code of the row's class; NaN for rows with only NaN.
            Training rows are nearer to their code than new rows, so fit another model on top to rows of its own.
        """
        estimates = self._compute(X, lambda predictor, rows: predictor.representation(rows), np.nan)
        return estimates.astype(np.float64)

    def transport(
        self, X: ArrayLike, n_steps: int | None = None, return_path: bool = False, solver: str | None = None
    ) -> np.ndarray:
        """
        Transport rows to the code space.

        On the exact path, one step ends at the estimate at t = T, many steps end at the code of the most probable class. Euler's
        and the midpoint method leave the path if steps are long; they are for comparison.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
        n_steps : int >= 1, optional
            Steps N; by default 1 on the exact path, and those of a learned path.
        return_path : bool, default=False
            Whether to return all states.
        solver : {"exact", "euler", "midpoint", "stochastic"}, optional
            By default "exact", and that of a learned path.

        Returns
        -------
        ndarray of shape (n, width), or (n_steps + 1, n, width) with `return_path`
            The state at t = 0, or all states from the lifted features on. On a learned path, the mean over members.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or does not suit the learned path that was fitted.
        """
        from .transport.solvers import SOLVERS

        check_integer("n_steps", n_steps, 1, also=(None,))
        if solver is not None:
            check_choice("solver", solver, SOLVERS)

        def states(predictor: Predictor, rows: torch.Tensor) -> torch.Tensor:
            path = predictor.transport(rows, n_steps, solver)
            return path if return_path else path[-1]

        return self._compute(X, states, np.nan)

    def sample(self, X: ArrayLike, n_draws: int = 1, random_state: Any = None, n_steps: int = 4) -> np.ndarray:
        """
        Sample labels by stochastic transports, which sample a class given the state and a new point of its path at each step.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
        n_draws : int >= 1, default=1
            Transports per row.
        random_state : int, RandomState instance or None, default=None
            Seed.
        n_steps : int >= 1, default=4
            Steps per transport, which do not change the distribution of its end.

        Returns
        -------
        ndarray of shape (n, n_draws)
            Labels, with the frequencies of `predict_proba`.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or the path is learned, whose transports are not samples.
        """
        import torch

        from .transport.exact import ExactPath, sample

        check_is_fitted(self, "classes_")
        check_integer("n_draws", n_draws, 1)
        check_integer("n_steps", n_steps, 1)
        if not isinstance(self.path_, ExactPath):
            raise ValueError(
                f"Got path={self.path_!r}, expected an exact path, on which transports are samples; fit with path='exact'."
            )
        probabilities = self.predict_proba(X)
        start = self._compute(X, lambda predictor, rows: predictor.start(rows), 0.0)
        labels = sample(
            self.path_.path(),
            torch.as_tensor(probabilities),
            torch.as_tensor(start),
            self._codes(),
            n_draws=n_draws,
            n_steps=n_steps,
            generator=torch.Generator().manual_seed(int(check_random_state(random_state).randint(2**31))),
        )
        return self.classes_[labels.numpy()]

    @property
    def _n_features_out(self) -> int:
        """Columns of `transform`, for `get_feature_names_out`."""
        return self._code_width

    @property
    def class_prior_(self) -> np.ndarray:
        """Share of each class in the training weights, (n_classes,)."""
        check_is_fitted(self, "classes_")
        return self._class_counts / self._class_counts.sum()

    @property
    def codes_(self) -> np.ndarray:
        """The code of each class, (n_classes, width)."""
        check_is_fitted(self, "classes_")
        return np.asarray(self._codes())

    @property
    def layer_weights_(self) -> np.ndarray:
        """Contribution of each layer to the kernel, (n_layers,), summing to 1."""
        return np.array(self._kernel_of("layer_weights_").settings.layer_weights)

    @property
    def feature_relevance_(self) -> np.ndarray:
        """Share of each scaled feature in the kernel's squared distances, (n_features_out,), summing to 1."""
        factors = self._kernel_of("feature_relevance_").relevance
        shares = np.ones(self.scaler_.n_features_out) if factors is None else factors.cpu().double().numpy() ** 2
        return shares / shares.sum()

    def _kernel_of(self, attribute: str) -> Any:
        check_is_fitted(self, "classes_")
        if self.kernel_ is None:
            raise AttributeError(f"{attribute} needs a kernel; fit with estimator='both' or 'kernel'.")
        return self.kernel_

    @property
    def _dtype(self) -> torch.dtype:
        import torch

        return torch.float64 if self.precision == "float64" else torch.float32

    def _codes(self) -> torch.Tensor:
        """The codes of `classes_`, (K, L), float64."""
        import torch

        from .transport.codes import label_codes

        return torch.as_tensor(label_codes(self._code_kind, int(self.code_index_.max()) + 1, self._code_width))[
            self.code_index_.tolist()
        ]

    def _predictor(self, like: torch.Tensor) -> Predictor:
        """Predictor on a tensor's device and in its precision, cached."""
        import torch

        from .predictor import Predictor

        key = like.device, like.dtype
        if key not in self._predictors:
            # A copy, since joblib may have mapped it from a file, where it is not writable
            lift = torch.tensor(self.lift_)
            parts = (
                self.kernel_,
                self.network_,
                self.logistic_,
                self.gaussian_,
                self.trees_,
                self.combination_,
                self.path_,
                self._codes(),
                lift,
            )
            self._predictors[key] = Predictor(*parts).to(like)
        return self._predictors[key]

    def _compute(
        self, X: ArrayLike, compute: Callable[[Predictor, torch.Tensor], torch.Tensor], of_missing: np.ndarray | float
    ) -> np.ndarray:
        """Apply a function to the scaled rows of X, (..., n, k); `of_missing` (k,) is the result of rows with only NaN."""
        import torch

        from .inference import in_blocks, prediction_dtype

        check_is_fitted(self, "classes_")
        rows, missing = checked_features(self, X, self.scaler_.center.shape)
        device = resolve_device(self.device)
        like = torch.empty(0, dtype=prediction_dtype(len(rows), device, self.precision), device=device)
        predictor = self._predictor(like)
        results = in_blocks(rows, lambda block: compute(predictor, block), scale=self.scaler_.transform, like=like)
        results[..., missing, :] = of_missing
        return results
