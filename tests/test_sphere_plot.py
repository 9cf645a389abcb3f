"""The picture of ratings on the sphere."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from gendiffclf import SphereDisplay

pytest.importorskip("matplotlib")
NAMES = ["arousal", "valence", "dominance"]
SCALE = {"dimensions": NAMES, "value_range": (-1, 1)}


pytestmark = pytest.mark.usefixtures("pyplot")


def drawn(display):
    """Longitude and latitude of the points, in the order of octants."""
    return np.concatenate([np.asarray(part.get_offsets()) for part in display.ax_.collections])


def test_points_are_at_their_angles():
    azimuth, polar = np.array([0.3, -2.0, 2.9]), np.array([0.4, 2.0, 1.2])
    horizontal = 0.5 * np.sin(polar)
    points = np.column_stack([horizontal * np.cos(azimuth), 0.5 * np.cos(polar), horizontal * np.sin(azimuth)])
    display = SphereDisplay.from_predictions(points, **SCALE)
    np.testing.assert_allclose(display.points, points)
    found = {tuple(np.round(row, 6)) for row in drawn(display)}
    assert found == {tuple(np.round(row, 6)) for row in np.column_stack([azimuth, np.pi / 2 - polar])}


def test_colours_are_of_the_truth_and_areas_of_the_radius():
    predicted, truth = [[0.9, 0.9, 0.9], [0.1, 0.1, 0.1]], [[0.5, 0.5, 0.5], [-0.5, -0.5, -0.5]]
    display = SphereDisplay.from_predictions(predicted, truth, **SCALE)
    assert display.octants.tolist() == [0, 6]
    assert display.ax_.get_legend_handles_labels()[1] == ["I (+A, +V, +D)", "VII (-A, -V, -D)"]
    large, small = (part.get_sizes()[0] for part in display.ax_.collections)
    assert large > small


def test_columns_are_named(pyplot):
    table = pd.DataFrame([[0.2, -0.4, 0.6]], columns=["dominance", "arousal", "valence"])
    np.testing.assert_allclose(SphereDisplay.from_predictions(table, value_range=(-1, 1)).points, [[-0.4, 0.6, 0.2]])

    class Fitted(BaseEstimator):
        def fit(self):
            self.dimensions_, self.value_range_ = ["dominance", "arousal", "valence"], (-1, 1)
            return self

        def predict(self, X):
            return table.to_numpy()

    ax = pyplot.figure().add_subplot(projection="mollweide")
    display = SphereDisplay.from_estimator(Fitted().fit(), ["clip.wav"], table[NAMES], ax=ax)
    assert display.ax_ is ax
    np.testing.assert_allclose(display.points, [[-0.4, 0.6, 0.2]])
    assert display.octants.tolist() == [1]  # -++
    piped = SphereDisplay.from_estimator(Pipeline([("emotion", Fitted().fit())]), ["clip.wav"], table[NAMES])
    np.testing.assert_array_equal(piped.points, display.points)


def test_wrong_calls_say_so(monkeypatch, pyplot):
    with pytest.raises(ValueError, match="Got 1 predictions and 2 true ratings, expected equal numbers"):
        SphereDisplay.from_predictions(np.zeros((1, 3)), np.zeros((2, 3)), **SCALE)
    with pytest.raises(ValueError, match="Got axes with the projection 'rectilinear', expected 'mollweide'"):
        SphereDisplay.from_predictions(np.zeros((1, 3)), ax=pyplot.gca(), **SCALE)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="needs the package 'matplotlib'"):
        SphereDisplay.from_predictions(np.zeros((1, 3)), **SCALE)
