"""
A timeline of a long recording

A trained model slides along a recording and gives each segment a label. Memory does not grow with its length.
"""

# %%
# Train on clips of eight voices, men and women, each of four vowels in a row. Clips to learn from should be like the windows
# that the model will see: a model of single vowels called all of such a recording female when it was tried.
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import soundfile
from sklearn.pipeline import make_pipeline

from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier
from gendiffclf.speech import synthesize_corpus, timeline

rate = 16000
with tempfile.TemporaryDirectory() as folder:
    corpus = synthesize_corpus(folder, n_speakers=10, n_takes=2, random_state=0)
    corpus["sound"] = [soundfile.read(path)[0] for path in corpus["path"]]
rng = np.random.default_rng(0)
clips, labels, speakers = [], [], []
voices = list(corpus.groupby("speaker"))
for speaker, rows in voices[:4] + voices[5:9]:
    order = rng.permutation(len(rows)).reshape(-1, 4)
    clips += [
        (np.concatenate(rows["sound"].iloc[four].tolist()), rate) for four in order
    ]
    labels += [rows["gender"].iloc[0]] * len(order)
    speakers += [speaker] * len(order)
classifier = GenerativeTransportClassifier(estimator="kernel", random_state=0)
pipeline = make_pipeline(FbankFeaturizer(n_mels=40), classifier)
pipeline.fit(clips, labels, generativetransportclassifier__groups=speakers)
print(len(clips), "clips of", sorted(set(speakers)))

# %%
# The recording: the two voices left, in turns.
turns, truth = [], []
for turn in range(4):
    speaker, rows = voices[(4, 9)[turn % 2]]
    turns.append(np.concatenate(rows["sound"].iloc[10 * (turn // 2) :][:10].tolist()))
    truth.append(f"{speaker} ({rows['gender'].iloc[0]})")
recording = np.concatenate(turns), rate
found = timeline(
    pipeline, recording, window=1.5, hop=0.25, min_duration=1, detect_speech=False
)
print("in turns:", ", ".join(truth))
print(found)

# %%
fig, ax = plt.subplots(num="Probability of each label over time")
for label in found.classes:
    ax.plot(found.table["start"], found.table[f"p_{label}"], label=label)
for end in np.cumsum([len(turn) / rate for turn in turns])[:-1]:
    ax.axvline(end, color="grey", linestyle=":")
ax.set(
    xlabel="seconds (dotted: the speaker changes)",
    ylabel="probability",
    ylim=(-0.02, 1.02),
)
ax.legend()
plt.show()
