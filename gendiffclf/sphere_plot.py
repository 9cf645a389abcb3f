"""Display of ratings on the sphere of arousal, valence and dominance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .optional import require
from .systems.emosphere_targets import DIMENSIONS, check_range, check_ratings, dimension_names, in_order
from .systems.spherical import OCTANTS, centred, regions, to_spherical

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

__all__ = ["SphereDisplay"]

NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
MIN_AREA, MAX_AREA = 6, 60


@dataclass
class SphereDisplay:
    """
    Map of ratings on the sphere: position shows the direction of a rating, size its distance from the centre.

    Longitude is the azimuth, the direction in the plane of arousal and dominance; latitude is valence. Points are coloured by
    the octant of the true ratings, if given, otherwise by their own: with good predictions, each octant has one colour. It is
    recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    points : ndarray of shape (n, 3)
        (arousal, valence, dominance) in [-1, 1].
    octants : ndarray of shape (n,), int
        Octant by which each point is coloured, from 0.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from gendiffclf import SphereDisplay
    >>> ratings = [[6, 6, 5], [2, 3, 2]]
    >>> display = SphereDisplay.from_predictions(
    ...     ratings, dimensions=["arousal", "valence", "dominance"], value_range=(1, 7)
    ... )  # doctest: +SKIP
    """

    points: np.ndarray
    octants: np.ndarray
    ax_: Axes = field(init=False, repr=False)
    figure_: Figure = field(init=False, repr=False)

    @classmethod
    def from_predictions(
        cls,
        y_pred: ArrayLike,
        y_true: ArrayLike | None = None,
        *,
        dimensions: Any = None,
        value_range: Any = None,
        ax: Axes | None = None,
    ) -> SphereDisplay:
        """
        Plot given ratings.

        Parameters
        ----------
        y_pred : array-like of shape (n, 3)
            Ratings to plot.
        y_true : array-like of shape (n, 3), optional
            True ratings with the same columns, by whose octants points are coloured.
        dimensions : sequence of str, optional
            "arousal", "valence" and "dominance" in the order of the columns of arrays; not needed for DataFrames.
        value_range : (float, float)
            Ends of the rating scale.
        ax : matplotlib Axes, optional
            Axes to plot on, with the projection "mollweide"; by default a new figure is created.

        Returns
        -------
        SphereDisplay

        Raises
        ------
        ValueError
            If ratings are invalid, or the axes have another projection.
        ImportError
            If matplotlib is not installed.
        """
        require("matplotlib", "plots")
        low, high = check_range(value_range)
        points = _points(y_pred, dimensions, low, high)
        true_points = points if y_true is None else _points(y_true, dimensions, low, high)
        if len(points) != len(true_points):
            raise ValueError(
                f"Got {len(points)} predictions and {len(true_points)} true ratings, expected equal numbers."
            )
        return cls(points, regions(true_points)).plot(ax=ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, Y: Any = None, *, ax: Axes | None = None) -> SphereDisplay:
        """
        Plot the predictions of a fitted regressor.

        Parameters
        ----------
        estimator : EmoSphereRegressor or Pipeline
            Fitted; a pipeline with the regressor last.
        X : list of n clips
        Y : array-like of shape (n, 3), optional
            True ratings with columns as in the estimator's `dimensions_`, or a DataFrame with these columns.
        ax : matplotlib Axes, optional
            As for `from_predictions`.

        Returns
        -------
        SphereDisplay
        """
        require("matplotlib", "plots")
        check_is_fitted(estimator)
        regressor = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        names, scale = regressor.dimensions_, regressor.value_range_
        return cls.from_predictions(
            estimator.predict(X), in_order(Y, names), dimensions=names, value_range=scale, ax=ax
        )

    def plot(self, *, ax: Axes | None = None) -> SphereDisplay:
        """
        Plot the map.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes with the projection "mollweide"; by default a new figure is created.

        Returns
        -------
        SphereDisplay

        Raises
        ------
        ValueError
            If the axes have another projection.
        ImportError
            If matplotlib is not installed.
        """
        pyplot = require("matplotlib.pyplot", "plots")
        new_figure = ax is None
        if new_figure:
            _, ax = pyplot.subplots(figsize=(7, 4.8), layout="constrained", subplot_kw={"projection": "mollweide"})
        assert ax is not None
        if ax.name != "mollweide":
            raise ValueError(
                f"Got axes with the projection {ax.name!r}, expected 'mollweide'; create them with "
                "subplot_kw={'projection': 'mollweide'}."
            )
        radius, azimuth, polar = to_spherical(self.points)
        area = MIN_AREA + (MAX_AREA - MIN_AREA) * radius / np.sqrt(3)
        colours = pyplot.get_cmap("tab10")
        for octant in np.unique(self.octants):
            own = self.octants == octant
            name = f"{NUMERALS[octant]} ({', '.join(s + n[0].upper() for s, n in zip(OCTANTS[octant], DIMENSIONS, strict=True))})"
            ax.scatter(
                azimuth[own],
                np.pi / 2 - polar[own],
                s=area[own],
                color=colours(octant),
                alpha=0.7,
                linewidths=0,
                label=name,
            )
        ax.set_xticks(np.pi * np.array([-0.5, 0, 0.5]), ["−dominance", "+arousal", "+dominance"], fontsize="small")
        ax.set_yticks([-np.pi / 2, 0, np.pi / 2], ["−valence", "", "+valence"], fontsize="small")
        ax.grid(True, linewidth=0.5)
        self.ax_, self.figure_ = ax, ax.figure  # type: ignore[assignment]
        style = {"fontsize": "small", "frameon": False}
        if new_figure:
            self.figure_.legend(loc="outside lower center", ncols=4, **style)
        else:  # two columns, since the axes may be small
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, **style)
        return self


def _points(ratings: Any, dimensions: Any, low: float, high: float) -> np.ndarray:
    """Ratings as (arousal, valence, dominance) in [-1, 1], of shape (n, 3)."""
    names = dimension_names(ratings, None if hasattr(ratings, "columns") else dimensions)
    values = check_ratings(ratings, low, high, len(ratings))
    return centred(values, low, high)[:, [names.index(name) for name in DIMENSIONS]]
