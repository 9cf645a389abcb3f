"""
A timeline of a long recording

A trained model moves along a recording and labels its segments. Memory does not grow with the length of the recording.
"""

# %%
# Train on clips of eight voices, men and women, each with four vowels in a row. Training clips should resemble the
# windows that the model will see: when it was tried, a model of single vowels labelled all of the recording female.
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
# The recording contains the two remaining voices, which take turns.
turns, truth = [], []
for turn in range(4):
    speaker, rows = voices[(4, 9)[turn % 2]]
    turns.append(np.concatenate(rows["sound"].iloc[10 * (turn // 2) :][:10].tolist()))
    truth.append(f"{speaker} ({rows['gender'].iloc[0]})")
recording = np.concatenate(turns), rate
found = timeline(
    pipeline, recording, window=1.5, hop=0.25, min_duration=1, detect_speech=False
)
print("speakers:", ", ".join(truth))
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
