"""
Gender from speech

Any column of the corpus can be the label. Synthesised voices make this easy; recorded ones are less clear-cut.
"""

# %%
import tempfile

import matplotlib.pyplot as plt
from sklearn.pipeline import make_pipeline

from gendiffclf import AcousticFeaturizer, GenerativeTransportClassifier
from gendiffclf.speech import evaluate, synthesize_corpus

folder = tempfile.TemporaryDirectory()
corpus = synthesize_corpus(folder.name, n_speakers=10, n_takes=1, random_state=0)
corpus = corpus.assign(vowel=corpus["label"], label=corpus["gender"])
classifier = GenerativeTransportClassifier(estimator="kernel", random_state=0)
pipeline = make_pipeline(AcousticFeaturizer(cache=None), classifier)
evaluation = evaluate(pipeline, corpus, n_folds=5, random_state=0)
print(evaluation.intervals.loc[["wa", "log_loss"]].round(3).to_string())

# %%
# How certain is the classifier about each voice? Points on the wrong side of the line are misclassified clips.
predictions = evaluation.predictions.sort_values(["label", "speaker"])
fig, ax = plt.subplots(num="Predicted probability of 'female' for each voice")
for marker, (gender, rows) in zip("os", predictions.groupby("label"), strict=True):
    ax.plot(
        rows["p_female"],
        rows["speaker"].astype(str),
        marker,
        markersize=4,
        label=gender,
    )
ax.axvline(0.5, color="grey", linestyle=":")
ax.set(xlabel="predicted probability of 'female'", ylabel="voice", xlim=(-0.02, 1.02))
ax.legend()
plt.show()
