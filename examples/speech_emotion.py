"""
Speech emotion: from clips to a figure that holds for new voices

The steps are the same for any label of speech. Corpora of emotional speech may not be redistributed, so here voices
are synthesised, and ten vowels stand for emotions.
"""

# %%
# A corpus is a table with a row for each clip: path, label and speaker. `read_corpus` makes it from folders.
import tempfile

import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.pipeline import make_pipeline

from gendiffclf import FbankFeaturizer, GenerativeTransportClassifier
from gendiffclf.speech import audit, evaluate, synthesize_corpus

folder = tempfile.TemporaryDirectory()
corpus = synthesize_corpus(folder.name, n_speakers=10, n_takes=2, random_state=0)
print(corpus[["label", "speaker", "gender"]].iloc[::30].to_string())

# %%
# `audit` looks for what would make figures worthless, such as copies under another speaker's name.
findings = audit(corpus).findings
print([finding.code for finding in findings])

# %%
# Log-mel features need no weights. For emotion, put `HubertFeaturizer("facebook/hubert-large-ll60k")` in their place.
# No speaker is in both training and test: folds are of whole speakers, and so are the intervals.
classifier = GenerativeTransportClassifier(estimator="kernel", random_state=0)
pipeline = make_pipeline(FbankFeaturizer(n_mels=40), classifier)
evaluation = evaluate(pipeline, corpus, n_folds=3, random_state=0)
print(evaluation.intervals.loc[["uar", "wa"]].round(3).to_string())

# %%
# Which vowels are confused: neighbours, as for people.
fig, ax = plt.subplots(
    num="Confusion matrix of vowels by voices not in training", figsize=(4.8, 4.8)
)
display = ConfusionMatrixDisplay(
    evaluation.confusion, display_labels=evaluation.classes
)
display.plot(ax=ax, cmap="Blues", colorbar=False, xticks_rotation=60)
plt.show()
