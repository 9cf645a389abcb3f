"""Display classes in the style of scikit-learn: created by a `from_…` method, with their data and axes as attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_is_fitted, column_or_1d

from .metrics import ReliabilityBins, reliability_bins
from .optional import require
from .validation import check_integer, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

__all__ = ["ReliabilityDisplay", "TransportDisplay"]


def plain_text(name: object) -> str:
    """Return a name with its dollar signs escaped, since matplotlib takes text between two of them for a formula."""
    return str(name).replace("$", r"\$")


@dataclass
class TransportDisplay:
    """
    Transport of one row from its features, at t = 1 on the left, to the code of its class, at t = 0 on the right.

    It is recommended to use `from_estimator`.

    Parameters
    ----------
    states : ndarray of shape (n_steps + 1, L)
        States of the row, beginning with its lifted features.
    times : ndarray of shape (n_steps + 1,)
        Times of the states in [0, 1], descending.
    code : ndarray of shape (L,)
        Code to draw with the states.
    code_name : str
        Name of the code in the legend.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One for each state shown.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from gendiffclf import GenerativeTransportClassifier, TransportDisplay
    >>> X, y = load_wine(return_X_y=True)
    >>> classifier = GenerativeTransportClassifier(estimator="kernel").fit(X, y)
    >>> display = TransportDisplay.from_estimator(classifier, X, y, row=3, n_steps=8)  # doctest: +SKIP
    """

    states: np.ndarray
    times: np.ndarray
    code: np.ndarray
    code_name: str
    axes_: np.ndarray = field(init=False, repr=False)
    figure_: Figure = field(init=False, repr=False)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        row: int = 0,
        n_steps: int | None = None,
        n_panels: int = 5,
        axes: np.ndarray | None = None,
    ) -> TransportDisplay:
        """
        Transport one row and plot its states.

        Parameters
        ----------
        estimator : GenerativeTransportClassifier
            Fitted.
        X : array-like of shape (n, d) or (n, layers, d)
            Features.
        y : array-like of shape (n,), optional
            True labels; if None, the code nearest to the final state is shown.
        row : int, default=0
            Index of the row in `X`.
        n_steps : int >= 1, optional
            Steps of the transport; by default 20 on the exact path, and `n_steps` of a learned path.
        n_panels : int >= 2, default=5
            Number of states to show, evenly spaced along the path.
        axes : array of matplotlib Axes, optional
            One for each state shown; by default a new figure is created.

        Returns
        -------
        TransportDisplay

        Raises
        ------
        ValueError
            If there is no such row, or its label is not one of the classifier's classes.
        ImportError
            If matplotlib is not installed.
        """
        require("matplotlib", "plots")
        check_is_fitted(estimator, "classes_")
        check_integer("row", row, 0)
        n_rows = _num_samples(X)
        if row >= n_rows:
            raise ValueError(f"Got row={row}, expected an index below {n_rows}, the number of rows in X.")
        X = _safe_indexing(X, [row])
        if isinstance(estimator, Pipeline):
            X, estimator = estimator[:-1].transform(X) if len(estimator) > 1 else X, estimator[-1]
        n_steps = getattr(estimator.path_, "n_steps", 20) if n_steps is None else n_steps
        states = estimator.transport(X, n_steps=n_steps, return_path=True)[:, 0]  # (N + 1, L)
        codes = estimator.codes_
        if y is None:
            number = int((codes @ states[-1]).argmax())  # codes are equally long
            name = f"code of the nearest class, {estimator.classes_[number]}"
        else:
            labels = column_or_1d(np.asarray(y))
            if len(labels) != n_rows:
                raise ValueError(f"Got {len(labels)} labels in y for {n_rows} rows of X, expected one for each.")
            label = labels[row]
            matches = np.flatnonzero(estimator.classes_ == label)
            if not len(matches):
                raise ValueError(f"Got the label {shown(label)}, expected one of {estimator.classes_.tolist()}.")
            number = int(matches[0])
            name = f"code of its class, {label}"
        times = np.linspace(getattr(estimator.path_, "t_max", 1.0), 0, n_steps + 1)
        return cls(states, times, codes[number], name).plot(n_panels=n_panels, axes=axes)

    def plot(self, *, n_panels: int = 5, axes: np.ndarray | None = None) -> TransportDisplay:
        """
        Plot the states together with the code.

        Parameters
        ----------
        n_panels : int >= 2, default=5
            Number of states to show, evenly spaced along the path.
        axes : array of matplotlib Axes, optional
            As many as states are shown; by default a new figure is created.

        Returns
        -------
        TransportDisplay

        Raises
        ------
        ValueError
            If `n_panels` is below 2, or there are not as many axes as states shown.
        ImportError
            If matplotlib is not installed.
        """
        pyplot = require("matplotlib.pyplot", "plots")
        check_integer("n_panels", n_panels, 2)
        panels = np.unique(np.linspace(0, len(self.states) - 1, n_panels).round().astype(int))
        new_figure = axes is None
        if new_figure:
            size = (2.6 * len(panels), 2.9)
            _, axes = pyplot.subplots(1, len(panels), figsize=size, sharex=True, sharey=True, layout="constrained")
        axes = np.ravel(axes)  # type: ignore[arg-type]
        if len(axes) != len(panels):
            raise ValueError(f"Got {len(axes)} axes, expected {len(panels)}, one for each state shown.")
        coordinate = np.arange(len(self.code))
        for ax, i in zip(axes, panels, strict=True):
            ax.plot(coordinate, self.code, color="tab:orange", linewidth=2, alpha=0.6, label=plain_text(self.code_name))
            ax.plot(coordinate, self.states[i], color="tab:blue", linewidth=1, label="state")
            ax.set_title(f"t = {self.times[i]:.2g}")
            ax.set_xlabel("coordinate")
        axes[0].set_title(f"t = {self.times[0]:.2g}: features")
        axes[-1].set_title(f"t = {self.times[-1]:.2g}: estimate of the code")
        axes[0].set_ylabel("value")
        handles = axes[0].get_legend_handles_labels()
        if new_figure:
            axes[0].figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False)
        else:
            axes[-1].legend(*handles, fontsize="small")
        self.axes_, self.figure_ = axes, axes[0].figure
        return self


@dataclass
class ReliabilityDisplay:
    """
    Reliability diagram: accuracy against confidence of the most probable class, in bins of equal width.

    The area of a point grows with the number of rows in its bin. It is recommended to use `from_predictions` or
    `from_estimator`. `sklearn.calibration.CalibrationDisplay` does the same for the positive class of two.

    Parameters
    ----------
    bins : ReliabilityBins
        Confidence, accuracy and number of rows of each bin.
    name : str, optional
        Name in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D

    Examples
    --------
    >>> from gendiffclf import ReliabilityDisplay
    >>> y, proba = [0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
    >>> display = ReliabilityDisplay.from_predictions(y, proba, name="three rows")  # doctest: +SKIP
    """

    bins: ReliabilityBins
    name: str | None = None
    ax_: Axes = field(init=False, repr=False)
    figure_: Figure = field(init=False, repr=False)
    line_: Any = field(init=False, repr=False)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_proba: ArrayLike,
        *,
        n_bins: int = 15,
        labels: ArrayLike | None = None,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> ReliabilityDisplay:
        """
        Plot the reliability diagram of given probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            True labels.
        y_proba : array-like of shape (n, n_classes)
            Probabilities.
        n_bins : int >= 1, default=15
            Number of bins over [0, 1]; empty bins are not shown.
        labels : array-like of shape (n_classes,), optional
            Label of each column; by default the sorted labels of `y_true`.
        name : str, optional
            Name in the legend.
        ax : matplotlib Axes, optional
            Axes to plot on, which several displays can share; by default a new figure is created.

        Returns
        -------
        ReliabilityDisplay
        """
        return cls(reliability_bins(y_true, y_proba, n_bins=n_bins, labels=labels), name).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_bins: int = 15,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> ReliabilityDisplay:
        """
        Plot the reliability diagram of a fitted classifier on test rows.

        Parameters
        ----------
        estimator : classifier
            With `predict_proba`.
        X : array-like of shape (n, ...)
            Features.
        y : array-like of shape (n,)
            True labels.
        n_bins : int >= 1, default=15
            Number of bins over [0, 1].
        name : str, optional
            Name in the legend; by default the class name of the estimator.
        ax : matplotlib Axes, optional
            Axes to plot on; by default a new figure is created.

        Returns
        -------
        ReliabilityDisplay
        """
        require("matplotlib", "plots")
        name = type(estimator).__name__ if name is None else name
        proba = estimator.predict_proba(X)
        return cls.from_predictions(y, proba, n_bins=n_bins, labels=estimator.classes_, name=name, ax=ax)

    def plot(self, *, ax: Axes | None = None, **line: Any) -> ReliabilityDisplay:
        """
        Plot the bins, with the diagonal of perfect calibration.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to plot on; by default a new figure is created.
        **line
            Passed to `Axes.plot`.

        Returns
        -------
        ReliabilityDisplay
        """
        pyplot = require("matplotlib.pyplot", "plots")
        if ax is None:
            _, ax = pyplot.subplots(figsize=(4.5, 4.5), layout="constrained")
        assert ax is not None
        if "calibrated" not in ax.get_legend_handles_labels()[1]:
            ax.plot([0, 1], [0, 1], color="grey", linestyle=":", label="calibrated")
        label = f"ECE {self.bins.error:.3f}" if self.name is None else f"{self.name}, ECE {self.bins.error:.3f}"
        (self.line_,) = ax.plot(self.bins.confidence, self.bins.accuracy, **{"label": label, "linewidth": 1, **line})
        area = 4 + 200 * self.bins.n_rows / self.bins.n_rows.sum()
        ax.scatter(self.bins.confidence, self.bins.accuracy, s=area, color=self.line_.get_color(), alpha=0.7)
        ax.set(xlabel="Probability of the most probable class", ylabel="Accuracy", xlim=(0, 1), ylim=(0, 1.02))
        ax.legend(fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure  # type: ignore[assignment]
        return self
