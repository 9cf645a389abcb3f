"""
Ratings on a sphere

`EmoSphereRegressor` predicts arousal, valence and dominance, and `SphereDisplay` draws
them. Tones stand in for speech.
"""

# %%
# Arousal, valence and dominance from 1 to 7 follow how fast a tone pulses, its pitch, and
# how clear of noise it is.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from gendiffclf import EmoSphereRegressor, FbankFeaturizer, SphereDisplay

rng = np.random.default_rng(0)
points = rng.uniform(size=(120, 3))
Y = pd.DataFrame(1 + 6 * points, columns=["arousal", "valence", "dominance"])
time = np.arange(8000) / 16000
clips = []
for a, v, d in points:
    tone = np.sin(2 * np.pi * (200 + 800 * v) * time)
    noise = np.exp(-1 - 4 * d) * rng.normal(size=len(time))
    pulses = 1 + 0.9 * np.sin(2 * np.pi * (2 + 8 * a) * time)
    clips.append((pulses * (tone + noise), 16000))
train, test = slice(0, 80), slice(80, None)

# %%
# Style pooling follows changes over time. A mean over frames does not, so it misses the
# pulses.
frames = FbankFeaturizer(n_mels=16, hop_seconds=0.025)
settings = {"width": 32, "head_dropout": 0.2, "n_epochs": 100, "batch_size": 16}
for pooling in ("mean", "style"):
    regressor = EmoSphereRegressor(
        frames, value_range=(1, 7), pooling=pooling, random_state=0, **settings
    )
    regressor.fit(clips[train], Y[train])
    ccc = regressor.score(clips[test], Y[test])
    print(f"{pooling:5} mean concordance of new tones: {ccc:.2f}")

# %%
# The position of a point is the prediction of style pooling, its colour the octant of the
# true ratings.
fig, ax = plt.subplots(
    num="Predicted ratings of new tones on the sphere",
    figsize=(4.8, 4),
    subplot_kw={"projection": "mollweide"},
)
SphereDisplay.from_estimator(regressor, clips[test], Y[test], ax=ax)
plt.show()
