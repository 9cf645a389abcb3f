"""`partial_fit`: rows that come after `fit`, also of new classes, join the kernel's centres in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.metaestimators import available_if

from .device import exact_dtype, resolve_device
from .validation import all_or_nothing, checked_rows, class_factors

MOST_NEW_CENTERS = 1000
"""Rows of one call that join the centres, at most; each stands for its share of the call's rows of its class."""


def _has_kernel(classifier: Any) -> bool:
    """Raise an AttributeError, as scikit-learn asks of a method that there is not, where new rows have no kernel to join."""
    if classifier.estimator == "network":
        raise AttributeError(
            "Got estimator='network', expected a kernel, which the rows of partial_fit can join; use estimator='both'."
        )
    return True


class IncrementalMixin:
    """`partial_fit` of the classifier, on the attributes that `fit` sets."""

    if TYPE_CHECKING:
        classes_: np.ndarray
        code_index_: np.ndarray
        kernel_: Any
        logistic_: Any
        gaussian_: Any
        trees_: Any
        held_out_proba_: np.ndarray
        _class_counts: np.ndarray
        _predictors: dict[Any, Any]

        def __getattr__(self, name: str) -> Any: ...

    @available_if(_has_kernel)
    @all_or_nothing
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """
        Learn from more rows, also of classes never seen before. Without a `fit` before, this is `fit`. It needs a kernel: with
        `estimator="network"` there is no such method.

        A class that is new gets the next free code; no code, and no shape in the network, changes. New rows, about 1,000 per call
        at most, become centres of the kernel. A correction is fitted in closed form, with the residuals as targets at the new
        rows and zero at the old centres. The first rows of a class count together as much as an average class of the training
        rows.

        A `class_weight` multiplies the weights of the rows as in `fit`. "balanced" goes by all rows so far, those of the call
        included, and earlier rows keep the weights they had; the first rows of a class have an average class' weight as they
        are. If a call fails, the classifier is as it was before.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d)
            Features.
        y : array-like of shape (n,)
            Labels.
        classes : array-like of shape (n_classes,), optional
            Labels to expect; those in `y` by default. Further ones can come in any later call. The first call needs rows of two
            classes.
        sample_weight : array-like of shape (n,), optional
            Non-negative weights.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`; if a label is not among `classes`, where they are given; and after a `fit` without a kernel.
        """
        first = not hasattr(self, "classes_")
        if first:
            self.fit(X, y, sample_weight=sample_weight)
        else:
            self._checked_parameters()
        rows, y, weight, _ = checked_rows(self, X, y, sample_weight, self.scaler_.center.shape)
        if self.kernel_ is None:
            raise ValueError(
                "Got estimator='network' in the fit before partial_fit, expected a kernel, which new rows can join; fit with "
                "estimator='both', or fit again on old and new rows."
            )
        announced = np.unique(y if classes is None else np.asarray(classes))
        if not first:
            self._check_label_type(announced)
        y, announced = self._in_one_type(y), self._in_one_type(announced)
        unknown = np.setdiff1d(y, announced if first else np.union1d(announced, self.classes_))
        if classes is not None and len(unknown):
            raise ValueError(f"Got labels {unknown.tolist()} in y, expected labels among classes={announced.tolist()}.")
        self._add_classes(announced)
        if not first:
            self._learn_more(rows, np.searchsorted(self.classes_, y), weight)
        return self

    def _learn_more(self, rows: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> None:
        """Correct the classifier by rows (n, layers, d) of known or new classes."""
        import torch

        from .training.copies import distinct_rows

        kept, weight, _ = distinct_rows(rows, labels[:, None], weight)
        labels = labels[kept]
        new = self._class_counts[labels] == 0
        self._class_counts = self._class_counts + np.bincount(labels, weight, minlength=len(self.classes_))
        factors = class_factors(self.class_weight, self.classes_, self._class_counts, labels, weight)
        if self.class_weight == "balanced":
            factors[new] = 1
        for label in np.unique(labels[new]):
            weight[labels == label] *= self._class_size / weight[labels == label].sum()
        weight *= factors
        if len(kept) > MOST_NEW_CENTERS:
            chosen = np.arange(len(kept)) % -(-len(kept) // MOST_NEW_CENTERS) == 0
            chosen[np.unique(labels, return_index=True)[1]] = True
            for label in np.unique(labels):
                weight[labels == label] *= weight[labels == label].sum() / weight[(labels == label) & chosen].sum()
            kept, labels, weight = kept[chosen], labels[chosen], weight[chosen]
        device = resolve_device(self.device)
        scaled = torch.as_tensor(self.scaler_.transform(rows, kept)).to(device, exact_dtype(device))
        targets = torch.nn.functional.one_hot(torch.as_tensor(labels, device=device), len(self.classes_)).to(scaled)
        with torch.no_grad():
            self.kernel_ = self.kernel_.to(scaled).corrected(
                scaled,
                targets,
                self._predictor(scaled).coordinates(scaled),
                torch.as_tensor(weight).to(scaled),
                self.combination_.probabilities,
            )
        self._predictors = {}

    def _check_label_type(self, labels: np.ndarray) -> None:
        """NumPy would turn numbers into text to put them into one array with text."""
        old, new = (type(found.tolist()[0]) for found in (self.classes_, labels))
        if not (old is new or {old, new} == {int, float}):
            raise ValueError(
                f"Got labels of type {new.__name__}, expected {old.__name__} as in classes_={self.classes_.tolist()}."
            )

    def _in_one_type(self, labels: np.ndarray) -> np.ndarray:
        """Whole numbers, also as floats of a column that had a gap, as integers of a type that holds `classes_` too."""
        whole = labels.dtype.kind in "iu" or (
            labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.trunc(labels)).all()
        )
        if self.classes_.dtype.kind not in "iu" or not whole or not len(labels):
            return labels
        new, old = ((int(some.min()), int(some.max())) for some in (labels, self.classes_))
        for dtype in (self.classes_.dtype, np.dtype(np.int64), np.dtype(np.uint64)):
            if np.iinfo(dtype).min <= min(*new, *old) and max(*new, *old) <= np.iinfo(dtype).max:
                self.classes_ = self.classes_.astype(dtype)
                return labels.astype(dtype)
        raise ValueError(
            f"Got labels from {new[0]} to {new[1]} after classes from {old[0]} to {old[1]}, expected integers that one type "
            "holds; encode the labels."
        )

    def _add_classes(self, labels: np.ndarray) -> None:
        """Give codes to the labels that have none."""
        new = np.setdiff1d(labels, self.classes_)
        if not len(new):
            return
        both = np.concatenate([self.classes_, new])
        order = np.argsort(both)
        index = np.concatenate([self.code_index_, self.code_index_.max() + 1 + np.arange(len(new))])
        self.classes_, self.code_index_ = both[order], index[order]
        self._codes()  # raises where the space is too small
        self._class_counts = np.concatenate([self._class_counts, np.zeros(len(new))])[order]
        if hasattr(self, "held_out_proba_"):
            self.held_out_proba_ = np.pad(self.held_out_proba_, [(0, 0), (0, len(new))])[:, order]
        for name in ("kernel_", "logistic_", "gaussian_", "trees_"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name).with_classes(order))
        self._predictors = {}
