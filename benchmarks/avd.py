"""
Arousal, valence and dominance of acted emotions, as a stand-in for ratings that a corpus lacks.

The table is ours. Signs and proportions follow the means that Russell and Mehrabian (1977, Evidence for a three-factor theory of
emotions) are quoted with for these words, rounded to tenths; their text was not at hand, and calm is our guess. A strongly acted
emotion is the point of the table, a normal one 0.6 of it: farther from the centre is more intense. Nobody rated the clips so: a
figure on these targets says how well a model tells acted emotions and intensities apart, laid out in three dimensions.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

DIMENSIONS = ("arousal", "valence", "dominance")
RANGE = (-1.0, 1.0)
POINTS: dict[str, tuple[float, float, float]] = {
    "neutral": (0.0, 0.0, 0.0),
    "calm": (-0.4, 0.5, 0.1),
    "happy": (0.5, 0.8, 0.4),
    "sad": (-0.3, -0.6, -0.3),
    "angry": (0.6, -0.5, 0.3),
    "fearful": (0.6, -0.6, -0.4),
    "disgusted": (0.4, -0.6, 0.1),
    "surprised": (0.7, 0.4, -0.1),
}
"""(arousal, valence, dominance) of a strongly acted emotion, in [-1, 1]."""
INTENSITIES = {"normal": 0.6, "strong": 1.0}


def with_targets(corpus: pd.DataFrame) -> pd.DataFrame:
    """A corpus with `emotion` and `intensity`, which must be in the tables, and a column for each of `DIMENSIONS`."""
    for column, known in (("emotion", POINTS), ("intensity", INTENSITIES)):
        unknown = sorted(set(corpus[column]) - set(known))
        if unknown:
            raise ValueError(f"Got {column} {unknown[0]!r}, expected some of {', '.join(known)}.")
    points = np.array([POINTS[emotion] for emotion in corpus["emotion"]])
    targets = points * np.array([INTENSITIES[intensity] for intensity in corpus["intensity"]])[:, None]
    return corpus.assign(**dict(zip(DIMENSIONS, targets.T, strict=True)))
